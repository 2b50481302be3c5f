"""V-COM: its checksum, its codes, and what it sends again days later."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, ClassVar

import orjson
import pytest

from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS
from gateways.sender import Reply, Verdict
from tests.gateways.calls import KEY, PLAIN, Sms, flipped_bits, gateway, request
from tests.gateways.contract import AdapterContract, sent_sms
from tests.gateways.documented import documented

SECRET = "test-secure-key"
SETTINGS = {"client_id": "demo-cp", "secrets": [SECRET]}
PLAIN_CALL: dict[str, Any] = {
    "type": "new", "client_id": "demo-cp", "request_id": "900000001", "service_id": "1408", "command_code": "VNN",
    "message": "VNN 5", "telco": "VT", "phone": "84950000001", "time": 1763712000,
}  # fmt: skip
VECTOR = "I4uFg8DSCHaNb2RssJfB0gTLH9LbZBDHw99jeuFU98s="


def checksum(call: dict[str, Any], secret: str = SECRET) -> str:
    """As V-COM's document says."""
    first = "".join(str(call.get(name, "")) for name in ("client_id", "request_id", "phone"))
    return b64encode(
        sha256(f"{first}{secret}{call.get('time', '')}".encode("utf-8", "surrogatepass")).digest()
    ).decode()


def posted(call: dict[str, Any], **more: Any) -> Callback:
    """A call with its checksum, unless it brings one."""
    signed = {**call, "checksum": checksum(call), **more}
    return request(body=json.dumps(signed).encode(), headers={"content-type": "application/json"})


def answer(code: int, message: str, status: int = 200, *headers: tuple[str, str]) -> Answer:
    """An error in V-COM's words."""
    return Answer(status, orjson.dumps({"errors": {"code": code, "message": message}}), "application/json", headers)


OK = Answer(200, b'{"data":{"code":200,"status":"success","message":""}}', "application/json")
REFUSED = answer(106, "invalid checksum")
LATER = answer(503, "later", 503, ("retry-after", "5"))


class TestVcomJson(AdapterContract):
    adapter = "vcom_json"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    mutations = 3_000
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, OK) | {
        Outcome.CONFLICT: answer(104, "request_id exists with another content"),
        Outcome.MALFORMED: answer(106, "invalid parameter"),
        Outcome.UNAUTHENTICATED: REFUSED,
        Outcome.STALE: REFUSED,
        Outcome.TOO_LARGE: answer(106, "too large", 413),
        Outcome.OVERLOADED: LATER,
        Outcome.UNAVAILABLE: LATER,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        said = {"request_id": sms.id, "phone": sms.msisdn, "service_id": sms.short_code, "message": sms.text}
        call = {name: value for name, value in {**PLAIN_CALL, **said}.items() if value is not None}
        return posted(call)

    def with_content(self, content: bytes) -> Callback:
        try:
            call = json.loads(content)
            return posted({name: value for name, value in call.items() if name != "checksum"})
        except (ValueError, AttributeError, RecursionError):
            return request(body=content)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "no checksum", posted(PLAIN_CALL, checksum="")
        yield "another secret", posted(PLAIN_CALL, checksum=checksum(PLAIN_CALL, "another"))
        yield "another client", posted({**PLAIN_CALL, "client_id": "other-cp"})
        yield "no JSON", request(body=b"{")
        yield "no object", request(body=b"[]")

    def flipped(self) -> Iterator[Callback]:
        for name in ("request_id", "phone", "client_id"):
            for changed in flipped_bits(PLAIN_CALL[name]):
                yield posted({**PLAIN_CALL, name: changed}, checksum=VECTOR)
        for changed in flipped_bits(VECTOR):
            yield posted(PLAIN_CALL, checksum=changed)


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("vcom_json", SETTINGS, carrier="from_message")


def read(gateway: Gateway[Any], **changes: Any) -> Message:
    """The message of a call; None leaves a member out."""
    call = {name: value for name, value in {**PLAIN_CALL, **changes}.items() if value is not None}
    (event,) = gateway.open(posted(call), KEY)
    assert isinstance(event, Message)
    return event


def test_the_checksum_is_the_document_s(ours: Gateway[Any]) -> None:
    assert checksum(PLAIN_CALL) == VECTOR
    message = read(ours)
    assert (message.message_at, message.operator_time) == (datetime(2025, 11, 21, 8, 0, tzinfo=UTC), "1763712000")
    written = ours.open(posted({**PLAIN_CALL, "time": "1763712000", "request_id": 900000001}), KEY)
    assert written == (message,)


def test_a_repeat_at_another_time_is_the_same_message(ours: Gateway[Any]) -> None:
    first, again = read(ours), read(ours, type="recovery", time=1763712000 + 3 * 86_400)
    assert (first.native_id, first.digest) == (again.native_id, again.digest)


def test_a_previous_secret_is_right_while_it_rotates() -> None:
    rotating = gateway("vcom_json", {**SETTINGS, "secrets": ["new-key", SECRET]})
    assert rotating.open(posted(PLAIN_CALL), KEY)
    with pytest.raises(SignatureRejected):
        gateway("vcom_json", {**SETTINGS, "secrets": ["new-key"]}).open(posted(PLAIN_CALL), KEY)


@pytest.mark.parametrize(
    ("telco", "carrier"),
    [("VT", "viettel"), ("vn", "vinaphone"), ("MB", "mobifone"), ("HT", "vietnamobile"), ("?", "unknown")],
)
def test_the_operator_s_code_is_understood(ours: Gateway[Any], telco: str, carrier: str) -> None:
    assert read(ours, telco=telco).carrier == carrier


@pytest.mark.parametrize("changes", [{"time": 1}, {"time": "soon"}, {"telco": 1.5}, {"telco": "x" * 201}])
def test_an_optional_member_that_cannot_be_read_does_not_cost_the_gift(
    ours: Gateway[Any], changes: dict[str, Any]
) -> None:
    message = read(ours, **changes)
    assert (message.text, message.flags) == ("VNN 5", ("field_left_out",))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"type": "test"}, "body.type"),
        ({"type": None}, "body.type"),
        ({"message": 5}, "body.message"),
        ({"service_id": True}, "body.service_id"),
    ],
)
def test_a_malformed_call_names_the_place(ours: Gateway[Any], changes: dict[str, Any], place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(ours, **changes)
    assert [error.path for error in caught.value.errors] == [place]


def test_a_member_given_twice_is_nobody_s(ours: Gateway[Any]) -> None:
    body = posted(PLAIN_CALL).body
    with pytest.raises(MalformedCallback):
        ours.open(request(body=body.replace(b"{", b'{"message": "VNN 9", ', 1)), KEY)
    with pytest.raises(SignatureRejected):
        ours.open(replace(request(body=body.replace(b"{", b'{"phone": "84950000002", ', 1))), KEY)


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b'{"data":{"code":200}}', Verdict.TAKEN),
        (202, b'{"data":{"code":200}}', Verdict.REFUSED),
        (200, b'{"data":{"code":201}}', Verdict.REFUSED),
        (200, b'{"errors":{"code":104}}', Verdict.CONFLICT),
        (200, b'{"errors":{"code":106}}', Verdict.REFUSED),
        (200, b"ok", Verdict.REFUSED),
        (200, b'{"data":1}', Verdict.REFUSED),
    ],
)
def test_only_v_com_s_own_success_is_one(ours: Gateway[Any], status: int, body: bytes, verdict: Verdict) -> None:
    sender = SENDERS["vcom_json"]("acc", ours.settings)
    assert sender.judge([sent_sms()], Reply(status, "application/json", body)) is verdict


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("vcom_json")
    (message,) = page.open(callback, KEY)
    assert isinstance(message, Message)
    assert (message.native_id, message.text, message.carrier) == ("900000001", "VNN 5", "viettel")
