"""OneAPI: notifications, lists, ids that are missing, and amountTransaction."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Message, Reversal
from gateways.gateway import MalformedCallback
from gateways.outcome import Answer, Outcome
from tests.gateways.calls import KEY, PLAIN, RECEIVED_AT, STATUS_ALONE, Sms, gateway, request
from tests.gateways.contract import AdapterContract

SECRET = "tram-oneapi-1"
SETTINGS: dict[str, Any] = {"path_secret": SECRET, "message_reference": "referenceCode"}
OK = Answer(200, b"", "text/plain")
PAGE = (Path(__file__).parents[3] / "docs" / "carriers" / "oneapi_sms.md").read_text(encoding="utf-8")


def posted(document: object) -> Callback:
    """What an operator posts."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return request(body=body, headers={"content-type": "application/json"}, path_secret=SECRET)


def written(sms: Sms = PLAIN, **more: Any) -> dict[str, Any]:
    """One message in the standard's words."""
    said = {
        "dateTime": "2026-11-21T08:30:00Z",
        "messageId": sms.id,
        "senderAddress": None if sms.msisdn is None else f"tel:{sms.msisdn}",
        "destinationAddress": None if sms.short_code is None else f"tel:{sms.short_code}",
        "message": sms.text,
    } | more
    return {name: value for name, value in said.items() if value is not None}


def notified(message: dict[str, Any]) -> dict[str, Any]:
    return {"inboundSMSMessageNotification": {"callbackData": "acc-1", "inboundSMSMessage": message}}


def listed(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"inboundSMSMessageList": {"inboundSMSMessage": list(messages), "resourceURL": None}}


def charged(status: str = "Charged", amount: object = "20000", currency: str = "VND", **more: Any) -> dict[str, Any]:
    said = {
        "endUserId": "tel:+84950000001",
        "referenceCode": "m-1",
        "serverReferenceCode": "op-77",
        "clientCorrelator": "c-1",
        "transactionOperationStatus": status,
        "paymentAmount": {"chargingInformation": {"amount": amount, "currency": currency, "description": "VNN"}},
    } | more
    return {"amountTransaction": {name: value for name, value in said.items() if value is not None}}


class TestOneApiSms(AdapterContract):
    adapter = "oneapi_sms"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    mutations = 3_000
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, OK) | STATUS_ALONE

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return posted(notified(written(sms)))

    def with_content(self, content: bytes) -> Callback:
        return posted(content)

    def others(self) -> Iterator[Callback]:
        yield posted(listed(written(Sms(id="1")), written(Sms(id="2"))))
        yield posted(charged())
        yield posted(charged("Refunded"))


def ids(document: object, received_at: Any = RECEIVED_AT, **settings: Any) -> list[tuple[str, tuple[str, ...]]]:
    """The ids and flags of a callback's events."""
    ours = gateway("oneapi_sms", SETTINGS | settings)
    events = ours.open(replace(posted(document), received_at=received_at), KEY)
    return [(event.native_id, event.flags) for event in events]


def test_a_list_is_one_callback_and_its_messages_are_as_many() -> None:
    assert ids(listed(*(written(Sms(id=str(each))) for each in range(3)))) == [("0", ()), ("1", ()), ("2", ())]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (listed(), "inboundSMSMessageList.inboundSMSMessage"),
        (listed(*[written()] * 101), "inboundSMSMessageList.inboundSMSMessage"),
        (listed(written(), written(Sms(msisdn="12"))), "inboundSMSMessageList.inboundSMSMessage.1.senderAddress"),
        (listed(written(message=5)), "inboundSMSMessageList.inboundSMSMessage.0.message"),
        ({"inboundSMSMessageNotification": {}}, "inboundSMSMessageNotification.inboundSMSMessage"),
        ({"deliveryInfoNotification": {}}, "body"),
        ([], "body"),
        ({**notified(written()), **charged()}, "body"),
        ({**notified(written()), **listed(written())}, "body"),
        (charged(amount="20000.5"), "amountTransaction.paymentAmount.chargingInformation.amount"),
        (charged(amount=20000.5), "amountTransaction.paymentAmount.chargingInformation.amount"),
        (charged(amount="-1"), "amountTransaction.paymentAmount.chargingInformation.amount"),
        (charged(amount="1000000000001"), "amountTransaction.paymentAmount.chargingInformation.amount"),
        (charged(currency="USD"), "amountTransaction.paymentAmount.chargingInformation.currency"),
        (charged(referenceCode=None), "amountTransaction.referenceCode"),
        (charged(serverReferenceCode=None), "amountTransaction.serverReferenceCode"),
        (charged(paymentAmount=None), "amountTransaction.paymentAmount"),
    ],
)
def test_a_malformed_callback_names_the_place(document: object, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        ids(document)
    assert [error.path for error in caught.value.errors] == [place]


def test_an_id_that_is_missing_is_derived_where_the_account_allows_it() -> None:
    document = notified(written(Sms(id=None)))
    ((first, flags),) = ids(document, without_ids=True)
    assert first.startswith("d:")
    assert flags == ()
    later = RECEIVED_AT.replace(minute=31)
    assert ids(document, later, without_ids=True) == [(first, ())]
    assert ids(notified(written(Sms(id=None), dateTime="2026-11-21T08:30:01Z")), without_ids=True) != [(first, ())]
    assert ids(notified(written(Sms(id=None, text="VNN 6"))), without_ids=True) != [(first, ())]


def test_without_id_and_time_nothing_is_ever_one() -> None:
    bare = written(Sms(id=None), dateTime=None)
    ((first, flags), (second, _)) = ids(listed(bare, bare), without_ids=True)
    assert flags == ("weak_id",)
    assert first != second
    assert ids(notified(bare), RECEIVED_AT.replace(minute=31), without_ids=True) != [(first, ("weak_id",))]


@pytest.mark.parametrize(
    ("said", "status", "flags"),
    [
        ("Charged", ChargeStatus.SUCCEEDED, ()),
        ("Reserved", ChargeStatus.RESERVED, ()),
        ("Processing", ChargeStatus.PENDING, ()),
        ("Denied", ChargeStatus.FAILED, ()),
        ("Considering", ChargeStatus.PENDING, ("unknown_status",)),
    ],
)
def test_a_transaction_is_a_notice_about_the_charge_of_a_message(
    said: str, status: ChargeStatus, flags: tuple[str, ...]
) -> None:
    for amount in ("20000", "20000.00", 20000):
        (event,) = gateway("oneapi_sms", SETTINGS).open(posted(charged(said, amount)), KEY)
        assert isinstance(event, Charge)
        assert (event.native_id, event.charge_id, event.message_ref) == (f"op-77:{said}", "op-77", "m-1")
        assert (event.status, event.amount_vnd, event.flags) == (status, 20_000, flags)


def test_a_refund_is_a_reversal() -> None:
    ours = gateway("oneapi_sms", SETTINGS | {"message_reference": "clientCorrelator"})
    (event,) = ours.open(posted(charged("Refunded")), KEY)
    assert isinstance(event, Reversal)
    assert (event.native_id, event.message_ref, event.amount_vnd) == ("op-77:Refunded", "c-1", 20_000)


def test_a_charge_that_can_name_no_message_is_malformed() -> None:
    with pytest.raises(MalformedCallback):
        gateway("oneapi_sms", {"path_secret": SECRET}).open(posted(charged()), KEY)


def test_the_callback_in_the_document_is_understood() -> None:
    example = PAGE[PAGE.index("--data '") + len("--data '") :].partition("'")[0]
    (event,) = gateway("oneapi_sms", SETTINGS).open(posted(example.encode()), KEY)
    assert isinstance(event, Message)
    assert (event.msisdn, event.short_code, event.text) == ("84950000001", "1408", "VNN 5")
