"""eSMS: its signature over decoded values, its time, and the reply that a donor reads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote_plus, urlencode
from xml.etree.ElementTree import fromstring

import pytest

from gateways.adapters.esms_get import REPLY_TEXT
from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS
from gateways.sender import Reply, Verdict
from tests.gateways.calls import KEY, PLAIN, Sms, flipped_bits, gateway, request, result
from tests.gateways.contract import AdapterContract, sent_sms
from tests.gateways.documented import documented

SECRET = "test-private-key"
SETTINGS = {"cpid": "CP01", "secrets": [SECRET]}
PLAIN_CALL = {
    "sender": "84950000001", "content": "VNN 5", "serviceNumber": "1408", "keyword": "VNN", "cpid": "CP01",
    "smsid": "700000001", "receiverTime": "20261121153000",
}  # fmt: skip
VECTOR = "49ca2f482de2c504d889b443974e2fee"
EMPTY = {status: Answer(status, b"", "text/plain") for status in (400, 403, 413)}
LATER = Answer(503, b"", "text/plain", (("retry-after", "5"),))


def signature(call: dict[str, str], secret: str = SECRET) -> str:
    """As eSMS's document says."""
    signed = "".join(call.get(name, "") for name in ("cpid", "smsid", "content", "receiverTime")) + secret
    return md5(signed.encode("utf-8", "surrogateescape")).hexdigest()


def fetched(call: dict[str, str], sign: str | None = None) -> Callback:
    """A call with its signature, unless another is given."""
    values = {**call, "sign": signature(call) if sign is None else sign}
    return request(method="GET", query=urlencode(values, errors="surrogateescape"))


def taken(native_id: str, text: str = REPLY_TEXT) -> Answer:
    """The answer to a message."""
    body = (
        f"<ClientResponse><Message>{text}</Message><Smsid>{native_id}</Smsid>"
        "<Receiver>84950000001</Receiver></ClientResponse>"
    )
    return Answer(200, body.encode(), "text/xml; charset=utf-8")


class TestEsmsGet(AdapterContract):
    adapter = "esms_get"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    methods = frozenset({"GET"})
    fuzzed = "query"
    mutations = 3_000
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, taken("900000001")) | {
        Outcome.MALFORMED: EMPTY[400],
        Outcome.UNAUTHENTICATED: EMPTY[403],
        Outcome.STALE: EMPTY[403],
        Outcome.TOO_LARGE: EMPTY[413],
        Outcome.OVERLOADED: LATER,
        Outcome.UNAVAILABLE: LATER,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        said = {"smsid": sms.id, "sender": sms.msisdn, "serviceNumber": sms.short_code, "content": sms.text}
        return fetched({name: value for name, value in {**PLAIN_CALL, **said}.items() if value is not None})

    def with_content(self, content: bytes) -> Callback:
        pairs = parse_qsl(
            content.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape"
        )
        call: dict[str, str] = {}
        for name, value in pairs:
            call.setdefault(name, value)
        call.pop("sign", None)
        return fetched(call)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "no signature", fetched(PLAIN_CALL, "")
        yield "another secret", fetched(PLAIN_CALL, signature(PLAIN_CALL, "another"))
        yield "another cpid", fetched({**PLAIN_CALL, "cpid": "CP02"})
        yield "nothing", request(method="GET")

    def flipped(self) -> Iterator[Callback]:
        for name in ("cpid", "smsid", "content", "receiverTime"):
            for changed in flipped_bits(PLAIN_CALL[name]):
                yield fetched({**PLAIN_CALL, name: changed}, VECTOR)
        for changed in flipped_bits(VECTOR):
            if changed.lower() != VECTOR:
                yield fetched(PLAIN_CALL, changed)


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("esms_get", SETTINGS)


def read(gateway: Gateway[Any], **changes: str) -> Message:
    """The message of a call."""
    (event,) = gateway.open(fetched({**PLAIN_CALL, **changes}), KEY)
    assert isinstance(event, Message)
    return event


def test_the_signature_is_the_document_s(ours: Gateway[Any]) -> None:
    assert signature(PLAIN_CALL) == VECTOR
    message = read(ours)
    assert (message.message_at, message.operator_time) == (
        datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
        "20261121153000",
    )
    assert ours.open(fetched(PLAIN_CALL, VECTOR.upper()), KEY) == (message,)


def test_the_signature_is_over_the_bytes_that_came(ours: Gateway[Any]) -> None:
    text = "đa cam".encode("cp1258").decode("utf-8", "surrogateescape")
    assert read(ours, content=text).text == "đa cam"
    assert read(ours, content="ủng hộ & 5+").text == "ủng hộ & 5+"


def test_a_previous_secret_is_right_while_it_rotates() -> None:
    assert gateway("esms_get", {**SETTINGS, "secrets": ["new-key", SECRET]}).open(fetched(PLAIN_CALL), KEY)
    with pytest.raises(SignatureRejected):
        gateway("esms_get", {**SETTINGS, "secrets": ["new-key"]}).open(fetched(PLAIN_CALL), KEY)


@pytest.mark.parametrize("written", ["", "20261121", "20261321153000", "00010101000000", "2026112115300x"])
def test_a_time_that_cannot_be_read_does_not_cost_the_gift(ours: Gateway[Any], written: str) -> None:
    message = read(ours, receiverTime=written)
    assert (message.text, message.message_at, message.operator_time) == ("VNN 5", None, None)
    assert message.flags == (("field_left_out",) if written else ())


def test_a_parameter_given_twice_is_malformed(ours: Gateway[Any]) -> None:
    callback = fetched(PLAIN_CALL)
    for name in ("sender", "serviceNumber", "content", "smsid"):
        with pytest.raises(MalformedCallback):
            ours.open(request(method="GET", query=f"{callback.query}&{name}={quote_plus('1409')}"), KEY)


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
