"""eSMS: its signature over decoded values, its time, and the reply that a donor reads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, ClassVar
from xml.etree.ElementTree import fromstring

import pytest

from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS
from gateways.sender import Reply, Verdict
from gateways.wire.donor_reply import REPLY_TEXT
from tests.gateways.calls import KEY, STATUS_ALONE, gateway, result
from tests.gateways.contract import sent_sms
from tests.gateways.documented import documented
from tests.gateways.signed_form import Call, SignedFormContract

SECRET = "test-private-key"
SETTINGS = {"cpid": "CP01", "secrets": [SECRET]}


def taken(native_id: str, text: str = REPLY_TEXT) -> Answer:
    """The answer to a message."""
    body = (
        f"<ClientResponse><Message>{text}</Message><Smsid>{native_id}</Smsid>"
        "<Receiver>84950000001</Receiver></ClientResponse>"
    )
    return Answer(200, body.encode(), "text/xml; charset=utf-8")


class TestEsmsGet(SignedFormContract):
    adapter = "esms_get"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    methods = frozenset({"GET"})
    secret = SECRET
    plain_call: ClassVar[dict[str, str]] = {
        "sender": "84950000001", "content": "VNN 5", "serviceNumber": "1408", "keyword": "VNN", "cpid": "CP01",
        "smsid": "700000001", "receiverTime": "20261121153000",
    }  # fmt: skip
    names: ClassVar[dict[str, str]] = {
        "id": "smsid", "msisdn": "sender", "short_code": "serviceNumber", "text": "content",
    }  # fmt: skip
    signed = ("cpid", "smsid", "content", "receiverTime")
    signature_name = "sign"
    vector = "49ca2f482de2c504d889b443974e2fee"
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, taken("900000001")) | STATUS_ALONE

    @classmethod
    def signature(cls, call: Call, secret: str) -> str:
        signed = "".join(call.get(name, "") for name in ("cpid", "smsid", "content", "receiverTime")) + secret
        return md5(signed.encode("utf-8", "surrogateescape")).hexdigest()

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "another cpid", self.sent({**self.plain_call, "cpid": "CP02"})


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("esms_get", SETTINGS)


def read(gateway: Gateway[Any], **changes: str) -> Message:
    """The message of a call."""
    (event,) = gateway.open(TestEsmsGet.sent({**TestEsmsGet.plain_call, **changes}), KEY)
    assert isinstance(event, Message)
    return event


def test_the_time_is_vietnam_s(ours: Gateway[Any]) -> None:
    message = read(ours)
    meant = datetime(2026, 11, 21, 8, 30, tzinfo=UTC), "20261121153000"
    assert (message.message_at, message.operator_time) == meant


@pytest.mark.parametrize("written", ["", "20261121", "20261321153000", "00010101000000", "2026112115300x"])
def test_a_time_that_cannot_be_read_does_not_cost_the_gift(ours: Gateway[Any], written: str) -> None:
    message = read(ours, receiverTime=written)
    assert (message.text, message.message_at, message.operator_time) == ("VNN 5", None, None)
    assert message.flags == (("field_left_out",) if written else ())


def test_a_reply_is_xml_whatever_stands_in_it() -> None:
    ours = gateway("esms_get", {**SETTINGS, "reply_text": "Cảm ơn <bạn> & hẹn gặp lại"})
    message = read(ours, smsid="<7&>")
    root = fromstring(ours.respond(result(Outcome.ACCEPTED, (message,))).body)
    said = [(each.tag, each.text) for each in root]
    assert said == [("Message", "Cảm ơn <bạn> & hẹn gặp lại"), ("Smsid", "<7&>"), ("Receiver", "84950000001")]


def test_only_an_answer_about_the_message_is_a_success(ours: Gateway[Any]) -> None:
    sender, sms = SENDERS["esms_get"]("acc", ours.settings), sent_sms()
    for answer, verdict in ((taken(sms.native_id), Verdict.TAKEN), (taken("8"), Verdict.REFUSED)):
        assert sender.judge([sms], Reply(answer.status, "text/xml", answer.body)) is verdict
    assert sender.judge([sms], Reply(202, "text/xml", taken(sms.native_id).body)) is Verdict.REFUSED


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("esms_get")
    (message,) = page.open(callback, KEY)
    assert isinstance(message, Message)
    assert (message.native_id, message.text, message.carrier) == ("700000001", "VNN 5", "viettel")
