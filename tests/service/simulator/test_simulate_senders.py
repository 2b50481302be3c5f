"""The simulator's carriers: what they write is what our adapters read, and how they take an answer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from standardwebhooks import Webhook

from gateways.callback import Callback as GatewayCallback
from gateways.events import Message
from gateways.gateway import Account
from gateways.outcome import Outcome, Result
from gateways.registry import ADAPTERS
from service.simulator.links import Link
from service.simulator.message import Sms
from service.simulator.runner import SENDERS
from service.simulator.senders import KannelSender, Reply, Sender, Verdict
from tests.support.simulated import IN_2019, KANNEL, NOW, PEER, SECRET, SOAP, STANDARD, links

DIALECTS: dict[str, Mapping[str, Any]] = {
    "standard": STANDARD,
    "kannel": KANNEL,
    "receiverMO": SOAP,
    "moReceiver": {**SOAP, "dialect": "moReceiver"},
    "GetMOData in reply style": {**SOAP, "dialect": "GetMOData", "style": "reply", "refuse_value": "1|Sai cu phap"},
    "Base64": {**SOAP, "base64": True},
}
TEXTS = ("VNN 5", "vnn  7", "VNN\n7", "VNN & 5", "<VNN 3>", "đa cam gửi 1409", "VNN 5 ❤️", "５ + 5 = 100%", "", "   ")


def sender(gateway: Mapping[str, Any]) -> Sender:
    """The sender of a gateway table."""
    (link,) = links(gateway)
    return SENDERS[link.protocol](link)


def sms(link: Link, text: str = "VNN 5", number: int = 0, at: datetime | None = IN_2019) -> Sms:
    """A message over `link`, of the first carrier that it can say."""
    carrier, said = next(iter(link.carriers.items()))
    return Sms(
        number, f"77{number:09d}", "+84950000001", "1408", text, "VNN", carrier, said, at if link.is_timed else None
    )


@pytest.mark.parametrize("gateway", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("number", [0, 1])
def test_what_a_sender_writes_is_what_the_adapter_reads(gateway: Mapping[str, Any], text: str, number: int) -> None:
    speaker = sender(gateway)
    message = sms(speaker.link, text, number)
    request = speaker.request([message], NOW)
    path, _, query = request.address.partition("?")
    steps = path.split("/")
    assert steps[1:4] == ["gw", speaker.link.protocol, speaker.link.account]
    callback = GatewayCallback(
        method=request.method, query=query, headers={k.lower(): v for k, v in request.headers.items()},
        body=request.body, peer=PEER, received_at=NOW, path_secret=steps[4] if len(steps) > 4 else None,
    )  # fmt: skip
    account = Account(gateway["code"], gateway["carrier"], (ip_network("127.0.0.0/8"),), speaker.link.settings)
    adapter = ADAPTERS[speaker.link.protocol](account)
    (event,) = adapter.open(callback, b"a digest key for tests")
    assert isinstance(event, Message)
    assert (event.text, event.msisdn, event.short_code) == (text, "84950000001", "1408")
    assert (event.carrier, event.message_at) == (message.carrier, message.at)
    taken = adapter.respond(Result(outcome=Outcome.ACCEPTED, now=NOW, events=(event,)))
    reply = Reply(taken.status, (taken.content_type or "").partition(";")[0], taken.body)
    assert speaker.judge([message], reply) is Verdict.TAKEN
    refused = adapter.respond(Result(outcome=Outcome.UNAUTHENTICATED, now=NOW))
    assert speaker.judge([message], Reply(refused.status, "text/plain", refused.body)) is Verdict.REFUSED
    later = adapter.respond(Result(outcome=Outcome.UNAVAILABLE, now=NOW))
    assert speaker.judge([message], Reply(later.status, "text/plain", later.body)) is Verdict.LATER


def test_the_signature_is_one_the_reference_library_accepts() -> None:
    speaker = sender(STANDARD)
    now = datetime.now(UTC)
    request = speaker.request([sms(speaker.link, number=each) for each in range(3)], now)
    document = Webhook(SECRET).verify(request.body, dict(request.headers))
    assert [each["data"]["message_id"] for each in document["data"]] == ["77000000000", "77000000001", "77000000002"]


def test_kannel_writes_a_blank_as_a_plus_and_the_air_s_letters_in_utf_16() -> None:
    speaker = sender(KANNEL)
    assert isinstance(speaker, KannelSender)
    assert "&coding=0&charset=UTF-8&text=VNN+5&udh=&bill=&meta=" in speaker.request([sms(speaker.link)], NOW).address
    written = speaker.request([sms(speaker.link, "gửi 5+")], NOW).address
    assert "&coding=2&charset=UTF-16BE&text=%00g%1E%ED%00i%00+%005%00%2B&udh=" in written


REPLYING = DIALECTS["GetMOData in reply style"]
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
    assert speaker.judge([sms(speaker.link)], Reply(status, "text/plain", body)) is verdict
