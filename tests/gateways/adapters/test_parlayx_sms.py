"""Parlay X: Huawei's header and its digest, texts in hexadecimal digits, ids that are missing, receipts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, ClassVar
from xml.sax.saxutils import escape

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import MalformedCallback, SignatureRejected
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS
from gateways.sender import Reply, Verdict
from tests.gateways.adapters.soap_calls import HEAD
from tests.gateways.adapters.test_vn_soap_mo import ENVELOPE, fault
from tests.gateways.calls import KEY, PLAIN, RECEIVED_AT, Sms, flipped_bits, gateway, request, result
from tests.gateways.contract import AdapterContract, sent_sms
from tests.gateways.documented import documented

PASSWORD = "sp-pass"
SETTINGS: dict[str, Any] = {"user": "sp01", "password": PASSWORD, "password_form": "md5_spId"}
VECTOR = "a839219764aeed011512f31a2aa605b3"
SIGNED_AT = "20261121153000"
SUFFIX = 'xmlns="http://www.csapi.org/schema/parlayx/sms/notification/v2_2/local"/>'
OK = Answer(
    200, (HEAD + ENVELOPE.format(f"<notifySmsReceptionResponse {SUFFIX}")).encode(), "text/xml; charset=utf-8"
)
LATER = fault(500, "Server", "try again later", ("retry-after", "5"))
REFUSED = fault(500, "Client", "unauthenticated")

PLAIN_HEADER: dict[str, str | None] = {
    "spRevId": "sp01", "spRevpassword": VECTOR, "spId": "000001", "serviceId": "svc-1408", "timeStamp": SIGNED_AT,
    "linkid": "L-77", "traceUniqueID": "T-900000001",
}  # fmt: skip
PLAIN_MESSAGE: dict[str, str | None] = {
    "message": "VNN 5", "senderAddress": "tel:84950000001", "smsServiceActivationNumber": "tel:1408",
    "dateTime": "2026-11-21T15:30:00.000+07:00",
}  # fmt: skip


def elements(values: dict[str, str | None], prefix: str = "") -> str:
    """Elements by name; None is left out."""
    told = ((f"{prefix}{name}", value) for name, value in values.items() if value is not None)
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in told)


def posted(body: str, header: dict[str, str | None] | None = None, **more: Any) -> Callback:
    """A notification; `header` is what Huawei's says otherwise."""
    said = elements(PLAIN_HEADER | (header or {}), "h:")
    written = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>'
        f'<h:NotifySOAPHeader xmlns:h="http://www.huawei.com.cn/schema/common/v2_1">{said}</h:NotifySOAPHeader>'
        f"</e:Header><e:Body>{body}</e:Body></e:Envelope>"
    )
    return request(body=written.encode("utf-8", "surrogatepass"), **more)


def reception(header: dict[str, str | None] | None = None, **changes: str | None) -> Callback:
    """A notification of a message; `changes` are its elements."""
    inner = elements(PLAIN_MESSAGE | changes)
    namespace = "http://www.csapi.org/schema/parlayx/sms/notification/v3_1/local"
    body = (
        f'<n:notifySmsReception xmlns:n="{namespace}"><n:correlator>sub-1408</n:correlator>'
        f"<n:message>{inner}</n:message></n:notifySmsReception>"
    )
    return posted(body, header)


def receipt(state: str, correlator: str | None = "T-1") -> Callback:
    """A notification of what became of an SMS."""
    inner = elements({"address": "tel:84950000001", "deliveryStatus": state})
    return posted(
        f"<notifySmsDeliveryReceipt>{elements({'correlator': correlator})}"
        f"<deliveryStatus>{inner}</deliveryStatus></notifySmsDeliveryReceipt>"
    )


class TestParlayXSms(AdapterContract):
    adapter = "parlayx_sms"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    mutations = 1_500
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, OK) | {
        Outcome.MALFORMED: fault(500, "Client", "malformed; data.text is missing"),
        Outcome.UNAUTHENTICATED: REFUSED,
        Outcome.STALE: REFUSED,
        Outcome.TOO_LARGE: fault(413, "Client", "too large"),
        Outcome.OVERLOADED: LATER,
        Outcome.UNAVAILABLE: LATER,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return reception(
            {"traceUniqueID": sms.id},
            senderAddress=None if sms.msisdn is None else f"tel:{sms.msisdn}",
            smsServiceActivationNumber=sms.short_code,
            message=sms.text,
        )

    def with_content(self, content: bytes) -> Callback:
        return request(body=content)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "no password", reception({"spRevpassword": None})
        yield "the password itself", reception({"spRevpassword": PASSWORD})
        yield "another spRevId", reception({"spRevId": "sp02"})
        yield "no time", reception({"timeStamp": None})
        yield "no envelope", request(body=b"<Envelope>")
        yield "nothing", request()
        yield "half a character", reception({"spId": "\ud800"})
        twice = reception().body.replace(b"<h:spId>", b"<h:spId>000001</h:spId><h:spId>", 1)
        yield "an id twice", request(body=twice)

    def flipped(self) -> Iterator[Callback]:
        for name in ("spId", "timeStamp", "spRevId"):
            for changed in flipped_bits(str(PLAIN_HEADER[name])):
                yield reception({name: changed})
        for changed in flipped_bits(VECTOR):
            if changed.lower() != VECTOR:
                yield reception({"spRevpassword": changed})


class TestParlayXSmsInHex(TestParlayXSms):
    settings: ClassVar[dict[str, Any]] = {
        "hex_dcs": True, "password": PASSWORD, "password_form": "plain", "path_secret": "hex-1",
    }  # fmt: skip
    mutations = 300

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return self._given(super().callback(replace(sms, text=None if sms.text is None else in_hex(sms.text))))

    def _given(self, callback: Callback) -> Callback:
        body = callback.body.replace(VECTOR.encode(), PASSWORD.encode())
        return replace(callback, body=body, path_secret="hex-1")

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, path_secret="hex-1")

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from AdapterContract.strangers(self)
        yield "a digest instead", replace(super().callback(), path_secret="hex-1")

    def flipped(self) -> Iterator[Callback]:
        for secret in flipped_bits("hex-1"):
            yield replace(self.callback(), path_secret=secret)
        for changed in flipped_bits(PASSWORD):
            yield replace(reception({"spRevpassword": changed}, message="00"), path_secret="hex-1")


def in_hex(text: str) -> str:
    """As Huawei's platform writes a text."""
    return (b"\x00" + text.encode() if text.isascii() else b"\x08" + text.encode("utf-16-be")).hex()


def read(callback: Callback, **settings: Any) -> Event:
    """The one event of a callback."""
    (event,) = gateway("parlayx_sms", SETTINGS | settings).open(callback, KEY)
    return event


def message(callback: Callback, **settings: Any) -> Message:
    """The message of a callback."""
    event = read(callback, **settings)
    assert isinstance(event, Message)
    return event


def test_the_digest_is_the_document_s() -> None:
    assert md5(f"000001{PASSWORD}{SIGNED_AT}".encode()).hexdigest() == VECTOR
    event = message(reception())
    assert (event.native_id, event.message_at) == ("T-900000001", datetime(2026, 11, 21, 8, 30, tzinfo=UTC))
    assert event.operator_time == "2026-11-21T15:30:00.000+07:00"
    assert message(reception({"spRevpassword": VECTOR.upper()})) == event


@pytest.mark.parametrize(
    ("form", "given"),
    [("plain", PASSWORD), ("md5_spRevId", md5(f"sp01{PASSWORD}{SIGNED_AT}".encode()).hexdigest())],
)
def test_the_account_says_how_the_password_is_made(form: str, given: str) -> None:
    assert message(reception({"spRevpassword": given}), password_form=form).text == "VNN 5"
    with pytest.raises(SignatureRejected):
        message(reception(), password_form=form)


def test_a_previous_password_is_right_while_it_rotates() -> None:
    assert message(reception(), password=["new-pass", PASSWORD]).text == "VNN 5"
    with pytest.raises(SignatureRejected):
        message(reception(), password=["new-pass"])


@pytest.mark.parametrize(
    ("written", "text", "flags"),
    [
        ("00564E4E2035", "VNN 5", ()),
        ("081EE6004E0047002000481ED8", "ỦNG HỘ", ()),
        (" 00564e4e2035\n", "VNN 5", ()),
        ("00", "", ()),
        ("", "", ()),
        ("08004", None, ()),
        ("VNN 5", None, ()),
        ("0556564E", "VVN", ("field_left_out",)),
    ],
)
def test_a_text_in_hexadecimal_digits_begins_with_its_coding(
    written: str, text: str | None, flags: tuple[str, ...]
) -> None:
    if text is None:
        with pytest.raises(MalformedCallback) as caught:
            message(reception(message=written), hex_dcs=True)
        assert [error.path for error in caught.value.errors] == ["notifySmsReception.message.message"]
        return
    event = message(reception(message=written), hex_dcs=True)
    assert (event.text, event.flags) == (text, flags)


def test_a_repeat_at_another_time_is_the_same_message() -> None:
    first, again = message(reception()), message(reception(dateTime="2026-11-21T15:31:00+07:00"))
    assert (first.native_id, first.digest) == (again.native_id, again.digest)


def test_the_subscription_is_never_the_message() -> None:
    nameless = reception({"traceUniqueID": None})
    with pytest.raises(MalformedCallback) as caught:
        message(nameless)
    assert [error.path for error in caught.value.errors] == ["Header.traceUniqueID"]
    first = message(nameless, without_ids=True)
    assert (first.native_id[:2], first.flags) == ("d:", ())
    assert message(replace(nameless, received_at=RECEIVED_AT + timedelta(minutes=1)), without_ids=True) == first
    for changes in ({"message": "VNN 6"}, {"dateTime": "2026-11-21T15:30:01.000+07:00"}):
        assert message(reception({"traceUniqueID": None}, **changes), without_ids=True).native_id != first.native_id
    timeless = reception({"traceUniqueID": None}, dateTime=None)
    weak = message(timeless, without_ids=True)
    assert weak.flags == ("weak_id",)
    assert message(replace(timeless, received_at=RECEIVED_AT + timedelta(minutes=1)), without_ids=True) != weak


@pytest.mark.parametrize(("hours", "flags"), [(0, ()), (23, ()), (25, ("old_header",)), (-25, ("old_header",))])
def test_a_header_older_than_a_day_is_flagged(hours: int, flags: tuple[str, ...]) -> None:
    at = RECEIVED_AT + timedelta(hours=hours)
    assert message(replace(reception(), received_at=at)).flags == flags


@pytest.mark.parametrize("written", ["", "soon", "0001-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_does_not_cost_the_gift(written: str) -> None:
    event = message(reception(dateTime=written))
    assert (event.text, event.message_at, event.operator_time) == ("VNN 5", None, None)
    assert event.flags == (("field_left_out",) if written else ())


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("<notifySmsReception/>", "notifySmsReception.message"),
        ("<notifySmsReception><message/><message/></notifySmsReception>", "notifySmsReception.message"),
        (
            "<notifySmsReception><message><senderAddress><x/></senderAddress></message></notifySmsReception>",
            "notifySmsReception.message.senderAddress",
        ),
        (
            "<notifySmsReception><message><message>1</message><message>2</message></message></notifySmsReception>",
            "notifySmsReception.message.message",
        ),
        ("<startSmsNotification/>", "body.Envelope.Body"),
        ("<notifySmsDeliveryReceipt/>", "notifySmsDeliveryReceipt"),
    ],
)
def test_a_malformed_notification_names_the_place(body: str, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(posted(body))
    assert [error.path for error in caught.value.errors] == [place]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("DeliveredToTerminal", ChargeStatus.SUCCEEDED),
        ("DeliveredToNetwork", ChargeStatus.PENDING),
        ("DeliveryUncertain", ChargeStatus.PENDING),
        ("MessageWaiting", ChargeStatus.PENDING),
        ("DeliveryNotificationNotSupported", ChargeStatus.PENDING),
        ("DeliveryImpossible", ChargeStatus.FAILED),
    ],
)
def test_a_receipt_is_a_notice_about_the_charged_sms(state: str, status: ChargeStatus) -> None:
    ours = gateway("parlayx_sms", SETTINGS | {"message_reference": "correlator"})
    (event,) = ours.open(receipt(state), KEY)
    assert isinstance(event, Charge)
    assert (event.native_id, event.charge_id, event.message_ref) == (f"T-1:{state}", "T-1", "T-1")
    assert (event.status, event.amount_vnd) == (status, None)
    answer = ours.respond(result(Outcome.ACCEPTED, (event,)))
    assert answer.body == OK.body.replace(b"notifySmsReceptionResponse", b"notifySmsDeliveryReceiptResponse")


@pytest.mark.parametrize("callback", [receipt("Lost"), receipt("DeliveredToTerminal", None), receipt("")])
def test_a_receipt_that_cannot_be_understood_is_malformed(callback: Callback) -> None:
    with pytest.raises(MalformedCallback):
        read(callback, message_reference="correlator")


@pytest.mark.parametrize(
    "settings",
    [
        {"password": "x"},
        {"password_form": "plain"},
        {"user": "sp01", "path_secret": "p"},
        {"path_secret": "p", "without_ids": True, "message_reference": "correlator"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"go together|keeps nobody out|needs ids"):
        gateway("parlayx_sms", settings)


@pytest.mark.parametrize("version", ["v2_1", "v3_1"])
def test_an_answer_is_in_the_account_s_namespace(version: str) -> None:
    answer = gateway("parlayx_sms", SETTINGS | {"version": version}).respond(result(Outcome.ACCEPTED))
    assert answer.body == OK.body.replace(b"v2_2", version.encode())


def test_only_the_operation_s_response_is_a_success() -> None:
    sender = SENDERS["parlayx_sms"]("acc", gateway("parlayx_sms", SETTINGS).settings)
    for status, body, verdict in (
        (200, b"<x/>", Verdict.REFUSED),
        (202, OK.body, Verdict.REFUSED),
        (500, b"proxy error", Verdict.REFUSED),
    ):
        assert sender.judge([sent_sms()], Reply(status, "text/xml", body)) is verdict


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("parlayx_sms")
    (event,) = page.open(callback, KEY)
    assert isinstance(event, Message)
    assert (event.native_id, event.text, event.carrier) == ("T-900000001", "VNN 5", "mobifone")
