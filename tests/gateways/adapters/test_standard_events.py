"""What the events of the `standard` protocol say, and which are malformed."""

from dataclasses import replace
from typing import Any

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Message, Reversal, ReversalScope
from gateways.gateway import Gateway, MalformedCallback
from tests.gateways.adapters.standard_calls import SECRET, charge, message, posted, reversal
from tests.gateways.calls import KEY, RECEIVED_AT, gateway


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("standard", {"secrets": [SECRET]}, carrier="from_message")


def faults(gateway: Gateway[Any], callback: Callback) -> list[tuple[str, str]]:
    """Where and why a callback is malformed."""
    with pytest.raises(MalformedCallback) as caught:
        gateway.open(callback, KEY)
    return [(error.path, error.reason) for error in caught.value.errors]


@pytest.mark.parametrize("status", list(ChargeStatus))
def test_every_charge_status_is_understood(ours: Gateway[Any], status: ChargeStatus) -> None:
    optional = {
        "message_id": "m-1",
        "msisdn": "0950000001",
        "short_code": "tel:+841408",
        "reason": "barred",
        "occurred_at": "2026-11-21T15:30:00",
    }
    (event,) = ours.open(posted(charge(status, **optional)), KEY)
    assert isinstance(event, Charge)
    assert event == Charge(
        native_id=f"c-1:{status}",
        digest=event.digest,
        charge_id="c-1",
        status=status,
        amount_vnd=100000,
        message_ref="m-1",
        msisdn="84950000001",
        short_code="1408",
        occurred_at=RECEIVED_AT,
        reason="barred",
    )


def test_a_reversal_is_understood(ours: Gateway[Any]) -> None:
    (event,) = ours.open(posted(reversal(scope="partial", kind="refund", message_id="m-1")), KEY)
    assert isinstance(event, Reversal)
    assert event == Reversal(
        native_id="r-1",
        digest=event.digest,
        amount_vnd=20000,
        charge_ref="c-1",
        message_ref="m-1",
        scope=ReversalScope.PARTIAL,
        kind="refund",
    )
    (plain,) = ours.open(posted(reversal()), KEY)
    assert isinstance(plain, Reversal)
    assert plain.scope is None


DIFFERENT = {
    "charge amount": (charge(), charge(amount=100001)),
    "charge message": (charge(), charge(message_id="m-2")),
    "charge reason": (charge("failed"), charge("failed", reason="barred")),
    "reversal amount": (reversal(), reversal(amount=1)),
    "reversal scope": (reversal(), reversal(scope="total")),
    "reversal of another charge": (reversal(), reversal(charge_id="c-2")),
    "reversal by message": (reversal(), reversal(charge_id=None, message_id="c-1")),
    "message parts": (message(), message(parts=1)),
    "message amount": (message(), message(amount=1)),
    "parts for amount": (message(parts=1), message(amount=1)),
    "message carrier": (message(), message(carrier="viettel")),
}


@pytest.mark.parametrize("label", DIFFERENT)
def test_other_content_has_another_digest(ours: Gateway[Any], label: str) -> None:
    first, second = (ours.open(posted(event), KEY)[0] for event in DIFFERENT[label])
    assert first.native_id == second.native_id
    assert first.digest != second.digest


NUMBER = "is not a Vietnamese mobile number"
CONTROL = "holds a control character or half of a character"
SHORT_CODE = "is not a short code of 3 to 6 digits"
LENGTH = "must have 1 to 200 characters"
MALFORMED: dict[str, tuple[object, list[tuple[str, str]]]] = {
    "no object": ([], [("body", "is not an object")]),
    "no type": ({"data": {}}, [("type", "is missing")]),
    "other type": ({"type": "message.sent", "data": {}}, [("type", "is not a type of event that is allowed here")]),
    "type that is no string": ({"type": 7, "data": {}}, [("type", "is not a type of event that is allowed here")]),
    "no data": ({"type": "message.received"}, [("data", "is missing")]),
    "data is a list": ({"type": "message.received", "data": []}, [("data", "is not an object")]),
    "two faults": (
        message(message_id=None, msisdn="1"),
        [("data.message_id", "is missing"), ("data.msisdn", NUMBER)],
    ),
    "id is a number": (message(message_id=7), [("data.message_id", "is not a string")]),
    "empty id": (message(message_id=""), [("data.message_id", LENGTH)]),
    "control in id": (
        message(message_id="a\u0085"),
        [("data.message_id", CONTROL)],
    ),
    "short code of letters": (
        message(short_code="14O8"),
        [("data.short_code", SHORT_CODE)],
    ),
    "only what refuses is told": (message(msisdn="1", carrier="", parts=0), [("data.msisdn", NUMBER)]),
    "an empty required field": (message(short_code="", carrier=""), [("data.short_code", SHORT_CODE)]),
    "the message of a charge": (charge(message_id="m\n"), [("data.message_id", CONTROL)]),
    "the charge of a reversal": (reversal(charge_id=7, message_id="m"), [("data.charge_id", "is not a string")]),
    "a reversal of nothing but blanks": (
        reversal(charge_id="", message_id=""),
        [("data", "names neither charge_id nor message_id")],
    ),
    "amount as text": (charge(amount="100000"), [("data.amount", "is not an integer")]),
    "amount as float": (charge(amount=100000.0), [("data.amount", "is not an integer")]),
    "amount as truth": (charge(amount=True), [("data.amount", "is not an integer")]),
    "amount below 0": (charge(amount=-1), [("data.amount", "is out of range")]),
    "amount beyond": (charge(amount=10**12 + 1), [("data.amount", "is out of range")]),
    "amount of 64 bits": (charge(amount=2**63 - 1), [("data.amount", "is out of range")]),
    "amount beyond 64 bits": (charge(amount=2**63), [("data.amount", "is an integer beyond 64 bits")]),
    "reversal amount beyond": (reversal(amount=10**12 + 1), [("data.amount", "is out of range")]),
    "reserved amount beyond": (
        charge(amount=10**12 + 1) | {"type": "charge.reserved"},
        [("data.amount", "is out of range")],
    ),
    "amount beyond in a batch": (
        {"type": "batch", "data": [message(), charge(amount=10**12 + 1)]},
        [("data.1.data.amount", "is out of range")],
    ),
    "no amount": (charge(amount=None), [("data.amount", "is missing")]),
    "no charge id": (charge(charge_id=None), [("data.charge_id", "is missing")]),
    "no currency": (charge(currency=None), [("data.currency", "is missing")]),
    "dollars": (charge(currency="USD"), [("data.currency", "is not one of the values allowed here")]),
    "charge number": (charge(msisdn="12"), [("data.msisdn", NUMBER)]),
    "no reversal id": (reversal(reversal_id=None), [("data.reversal_id", "is missing")]),
    "no reversal amount": (reversal(amount=None), [("data.amount", "is missing")]),
    "reversal of nothing": (reversal(charge_id=None), [("data", "names neither charge_id nor message_id")]),
    "half scope": (reversal(scope="half"), [("data.scope", "is not one of the values allowed here")]),
    "empty batch": ({"type": "batch", "data": []}, [("data", "must hold 1 to 100 events")]),
    "batch of 101": ({"type": "batch", "data": [message()] * 101}, [("data", "must hold 1 to 100 events")]),
    "batch in a batch": (
        {"type": "batch", "data": [{"type": "batch", "data": [message()]}]},
        [("data.0.type", "is not a type of event that is allowed here")],
    ),
    "third of a batch": (
        {"type": "batch", "data": [message(), charge(), message(text=None)]},
        [("data.2.data.text", "is missing")],
    ),
}


@pytest.mark.parametrize("label", MALFORMED)
def test_a_malformed_event_is_told_where_and_why(ours: Gateway[Any], label: str) -> None:
    payload, expected = MALFORMED[label]
    assert faults(ours, posted(payload)) == expected


UNREADABLE: dict[str, dict[str, Any]] = {
    "parts 0": message(parts=0),
    "parts as text": message(parts="2"),
    "amount as text": message(amount="100000"),
    "amount below 0": message(amount=-1),
    "amount beyond": message(amount=10**12 + 1),
    "amount beyond 64 bits": message(amount=2**70),
    "parts beyond": message(parts=256),
    "carrier empty": message(carrier=""),
    "carrier with a line": message(carrier="viettel\n"),
    "carrier of a number": message(carrier=4),
    "time empty": message(operator_time=""),
    "time of day only": message(operator_time="15:30"),
    "day that is not": message(operator_time="2026-02-30T00:00:00Z"),
    "last century": message(operator_time="1999-12-31T23:59:59Z"),
    "no time at all": message(operator_time="0001-01-01T00:00:00"),
    "time as a number": message(operator_time=1795249800),
    "all of them": message(operator_time=[], parts=None, amount={}, carrier=True),
    "time of a charge": charge(occurred_at="0001-01-01T00:00:00Z"),
    "reason of a charge": charge("failed", reason="x" * 201),
    "empty references of a charge": charge(message_id="", msisdn="", short_code="", occurred_at="", reason=""),
    "time of a reversal": reversal(occurred_at="soon"),
    "empty words of a reversal": reversal(message_id="", kind="", scope="", currency=""),
}


@pytest.mark.parametrize("label", UNREADABLE)
def test_an_optional_field_that_cannot_be_read_is_left_out_and_flagged(ours: Gateway[Any], label: str) -> None:
    payload = UNREADABLE[label]
    whole = {"message.received": message(), "charge.reversed": reversal()}.get(
        payload["type"], charge(payload["type"].removeprefix("charge."))
    )
    (event,) = ours.open(posted(payload), KEY)
    (plain,) = ours.open(posted(whole), KEY)
    assert event == replace(plain, flags=("field_left_out",))
    batch = {"type": "batch", "data": [whole | {"timestamp": "now"}, payload, whole]}
    assert ours.open(posted(batch), KEY) == (plain, event, plain)


def test_half_a_character_in_one_text_refuses_no_batch(ours: Gateway[Any]) -> None:
    batch: dict[str, Any] = {"type": "batch", "data": [message(message_id=f"m-{number}") for number in range(4)]}
    batch["data"][2]["data"]["text"] = "VNN 5 \ud83c"
    events = ours.open(posted(batch), KEY)
    assert [(event.native_id, event.flags) for event in events] == [
        ("m-0", ()),
        ("m-1", ()),
        ("m-2", ("text_repaired",)),
        ("m-3", ()),
    ]
    batch["data"][3]["data"]["message_id"] = "m\ud83c"
    assert faults(ours, posted(batch)) == [("data.3.data.message_id", CONTROL)]


def test_a_zero_amount_and_the_largest_are_taken(ours: Gateway[Any]) -> None:
    for amount in (0, 10**12):
        (event,) = ours.open(posted(charge(amount=amount)), KEY)
        assert isinstance(event, Charge)
        assert event.amount_vnd == amount


def test_a_nul_in_a_text_is_repaired_and_a_null_field_is_absent(ours: Gateway[Any]) -> None:
    payload = message(text="VNN\x005")
    payload["data"]["carrier"] = None
    (event,) = ours.open(posted(payload), KEY)
    assert isinstance(event, Message)
    assert (event.text, event.flags) == ("VNN5", ("text_repaired",))
