"""What is peculiar to a sender: its signature, its letters, the answers it takes for success."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from gateways.registry import ADAPTERS, SENDERS
from gateways.sender import Reply, Sender, Sms, Verdict
from tests.support.simulated import KANNEL, NOW, SECRET, SOAP, STANDARD, links

REPLYING = {**SOAP, "dialect": "GetMOData", "style": "reply", "refuse_value": "1|Sai cu phap"}


def sender(gateway: Mapping[str, Any]) -> Sender[Any]:
    """The sender of a gateway table."""
    (link,) = links(gateway)
    return link.sender()


def sms(number: int = 0, text: str = "VNN 5") -> Sms:
    """A message of an account with one carrier."""
    return Sms(number, f"77{number:09d}", "+84950000001", "1408", text, "VNN", "viettel", None, NOW)


def test_every_adapter_has_its_sender_under_the_same_name() -> None:
    assert {name: kind.name for name, kind in SENDERS.items()} == {name: name for name in ADAPTERS}


def test_the_signature_is_one_the_reference_library_accepts() -> None:
    speaker = sender(STANDARD)
    now = datetime.now(UTC)
    request = speaker.request([sms(each) for each in range(3)], now)
    document = Webhook(SECRET).verify(request.body, dict(request.headers))
    assert [each["data"]["message_id"] for each in document["data"]] == ["77000000000", "77000000001", "77000000002"]


def test_kannel_writes_a_blank_as_a_plus_and_the_air_s_letters_in_utf_16() -> None:
    speaker = sender(KANNEL)
    assert "&coding=0&charset=UTF-8&text=VNN+5&udh=&bill=&meta=" in speaker.request([sms()], NOW).address
    written = speaker.request([sms(text="gửi 5+")], NOW).address
    assert "&coding=2&charset=UTF-16BE&text=%00g%1E%ED%00i%00+%005%00%2B&udh=" in written


ANSWERS: dict[str, tuple[Mapping[str, Any], int, bytes, Verdict]] = {
    "another id was accepted": (STANDARD, 200, b'{"accepted":["x"]}', Verdict.REFUSED),
    "nothing was accepted": (STANDARD, 200, b'{"accepted":[]}', Verdict.REFUSED),
    "no JSON": (STANDARD, 200, b"ok", Verdict.REFUSED),
    "conflict": (STANDARD, 409, b'{"accepted":[],"conflicts":["77000000000"]}', Verdict.CONFLICT),
    "a conflict of another id": (STANDARD, 409, b'{"accepted":[],"conflicts":["x"]}', Verdict.REFUSED),
    "overloaded": (STANDARD, 429, b'{"error":"overloaded"}', Verdict.LATER),
    "malformed": (STANDARD, 400, b'{"error":"malformed"}', Verdict.REFUSED),
    "an answer that the donor would read": (KANNEL, 200, b"ok", Verdict.REFUSED),
    "Kannel's other success": (KANNEL, 202, b"", Verdict.TAKEN),
    "a value that means refund": (SOAP, 200, b"<receiverMOResult>2</receiverMOResult>", Verdict.REFUSED),
    "a prefixed tag": (SOAP, 200, b"<a:receiverMOResult>1</a:receiverMOResult>", Verdict.REFUSED),
    "success but 202": (SOAP, 202, b"<receiverMOResult>1</receiverMOResult>", Verdict.REFUSED),
    "declined in reply style": (REPLYING, 200, b"<GetMODataResult>1|Sai cu phap</GetMODataResult>", Verdict.DECLINED),
}


@pytest.mark.parametrize(("gateway", "status", "body", "verdict"), ANSWERS.values(), ids=ANSWERS)
def test_only_the_protocol_s_own_success_is_taken_as_one(
    gateway: Mapping[str, Any], status: int, body: bytes, verdict: Verdict
) -> None:
    speaker = sender(gateway)
    assert speaker.judge([sms()], Reply(status, "text/plain", body)) is verdict
