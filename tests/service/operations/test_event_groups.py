"""Callbacks that speak of one thing are one group, whoever ties them; the others are apart."""

from gateways.events import Charge, ChargeStatus, Event, Message, Reversal
from service.operations.event_groups import grouped, is_unnamed, names_in


def sms(native_id: str, msisdn: str = "84950000001") -> Message:
    return Message(native_id=native_id, digest=b"", msisdn=msisdn, short_code="1408", text="VNN", carrier="viettel")


def charged(charge_id: str, ref: str | None = None, msisdn: str | None = None) -> Charge:
    return Charge(
        native_id=f"{charge_id}:s", digest=b"", charge_id=charge_id, status=ChargeStatus.SUCCEEDED, amount_vnd=1,
        message_ref=ref, msisdn=msisdn,
    )  # fmt: skip


def back(native_id: str, charge: str | None = None, ref: str | None = None) -> Reversal:
    return Reversal(native_id=native_id, digest=b"", amount_vnd=1, charge_ref=charge, message_ref=ref)


CALLBACKS: dict[str, tuple[int, list[Event]]] = {
    "a message": (1, [sms("m-1")]),
    "another of its donor": (1, [sms("m-2")]),
    "nothing that could be read": (1, []),
    "its charge": (1, [charged("c-1", "m-1")]),
    "the same id of another account": (2, [sms("m-1")]),
    "what took the charge back": (1, [back("r-1", charge="c-1")]),
    "nothing once more": (1, []),
    "a repeat in a batch": (1, [sms("m-8"), sms("m-1")]),
    "of a charge that is stored": (1, [back("r-2", charge="c-7")]),
    "of the message that it belongs to": (1, [back("r-3", ref="m-7")]),
    "a charge without a message": (3, [charged("c-1", None, "84950000009")]),
    "whose donor it was": (3, [sms("m-1", "84950000009")]),
}
GROUPS = [
    {"a message", "its charge", "what took the charge back", "a repeat in a batch"},
    {"another of its donor"},
    {"nothing that could be read"},
    {"the same id of another account"},
    {"nothing once more"},
    {"of a charge that is stored", "of the message that it belongs to"},
    {"a charge without a message", "whose donor it was"},
]


def test_what_names_one_thing_is_together_and_nothing_else() -> None:
    items = [(label, names_in(account, events)) for label, (account, events) in CALLBACKS.items()]
    unnamed = frozenset(account for account, events in CALLBACKS.values() if any(map(is_unnamed, events)))
    assert unnamed == {3}
    ties = [{(1, "charge", "c-7"), (1, "message", "m-7")}]
    found = grouped(items, ties, unnamed)
    assert [set(group) for group in found] == GROUPS
    order = list(CALLBACKS)
    assert all(sorted(group, key=order.index) == group for group in found)
