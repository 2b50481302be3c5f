"""`jasmin`: a Jasmin gateway whose throwers hand over messages and delivery receipts.

Settings: `path_secret` (Jasmin carries no credentials of its own: with the network list it makes the two factors),
`carriers` (the SMPP connector's id to carrier). Callback: POST of a form, or GET, up to 64 KiB. Its route is an
HTTP client connector with the account's address as `url`.

Delivery receipts come to `.../dlr?msg=<id of the message>`: a receipt names only the outgoing SMS, so whoever sends
that one writes the donor's message into its `dlr-url`. A receipt that names no message is malformed: it could never
be joined with a gift. `level` 1 says that the SMSC took the SMS, 2 and 3 that it reached the telephone or did not.

Limits: Jasmin takes only 200 with the body `ACK/Jasmin`; it tries again `max_retries` times (default 3, `retry_delay`
30 s apart), whatever the answer, and then the message is lost. It sends no time of a message. It joins long messages
by a reference that leaves out the sender, so one that was longer than a single SMS is flagged `joined_parts`.

Source: Jasmin 0.11.1, `routing/throwers.py` and "HTTP API"; requests seen of its deliverSmThrower.
"""

from typing import ClassVar, Self

from pydantic import model_validator

from gateways.account import AccountSettings
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import Gateway
from gateways.outcome import Answer, Outcome, Result
from gateways.replier import RoutedReplySettings
from gateways.wire import encodings, fields
from gateways.wire.digest import keyed_digest
from gateways.wire.form import Form

JOINED_PARTS = "joined_parts"
"""The flag of a text that came in several SMS, which Jasmin may have joined with a part of another donor's."""


# data_coding of SMPP 3.4, section 5.2.19. Of the default alphabet of an SMSC, and of any other, nothing is known.
_CODECS = {3: "latin-1", 8: encodings.UTF16_BE}
_ONE_SMS_CHARACTERS = {8: 70}
_ONE_SMS_CHARACTERS_ELSE = 160

# States of an SMS by its receipt (SMPP 3.4, section 5.2.28); an SMSC's own answer is an `ESME_...`.
_STATES: dict[str, tuple[ChargeStatus, str | None]] = {
    "DELIVRD": (ChargeStatus.SUCCEEDED, None),
    "ACCEPTD": (ChargeStatus.PENDING, "accepted on behalf of the subscriber"),
    "ENROUTE": (ChargeStatus.PENDING, "on its way"),
    "UNKNOWN": (ChargeStatus.PENDING, "state unknown"),
    "UNDELIV": (ChargeStatus.FAILED, "undeliverable"),
    "REJECTD": (ChargeStatus.FAILED, "rejected"),
    "EXPIRED": (ChargeStatus.FAILED, "expired"),
    "DELETED": (ChargeStatus.FAILED, "deleted"),
    "ESME_ROK": (ChargeStatus.PENDING, "accepted by the SMSC"),
}
_ESME_ERROR = (ChargeStatus.FAILED, "refused by the SMSC")
_LEVELS = frozenset("123")
REPLY_PARAMETERS = frozenset({"tags", "priority"})
"""Of an SMS that we send: what Jasmin may tell a free one from a charged one by."""

_ACKNOWLEDGED = b"ACK/Jasmin"
_ANSWERS: dict[Outcome, tuple[int, bytes]] = {
    Outcome.ACCEPTED: (200, _ACKNOWLEDGED),
    Outcome.DUPLICATE: (200, _ACKNOWLEDGED),
    Outcome.CONFLICT: (200, _ACKNOWLEDGED),
    Outcome.UNALLOCATED: (200, _ACKNOWLEDGED),
    Outcome.REJECTED_POLICY: (200, _ACKNOWLEDGED),
    # It would come three times more and then be purged: our quarantined copy can be replayed.
    Outcome.MALFORMED: (200, _ACKNOWLEDGED),
    Outcome.UNAUTHENTICATED: (403, b""),
    Outcome.STALE: (403, b""),
    Outcome.TOO_LARGE: (413, b""),
    Outcome.OVERLOADED: (503, b""),
    Outcome.UNAVAILABLE: (503, b""),
}


class JasminSettings(RoutedReplySettings):
    """The keys of a `jasmin` account. `reply_free` and `reply_charged`: what goes with a reply to `/send`."""

    @model_validator(mode="after")
    def _adds_what_jasmin_knows(self) -> Self:
        if self.reply_parameters - REPLY_PARAMETERS:
            raise ValueError("reply_free and reply_charged may hold tags and priority")
        return self


class Jasmin(Gateway[JasminSettings]):
    """One Jasmin with our address in an HTTP client connector."""

    name: ClassVar[str] = "jasmin"
    settings_model: ClassVar[type[AccountSettings]] = JasminSettings
    methods: ClassVar[frozenset[str]] = frozenset({"POST", "GET"})
    tells_carrier: ClassVar[bool] = True
    reports_charges: ClassVar[bool] = True

    def handover(self, address: str) -> tuple[str, ...]:
        """The HTTP client connector for jcli, and what jasmin.cfg needs so that no message is dropped."""
        return (
            "httpccm -a", "cid portal1400", f"url {address}", "method POST", "ok", "",
            "# and in jasmin.cfg:", "[deliversm-thrower]", "http_timeout = 30", "retry_delay = 30",
            "max_retries = 120",
        )  # fmt: skip

    def verify(self, callback: Callback) -> None:
        """Nothing: the protocol's factors are the path and the source, which `open` checks."""

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One message, or one receipt about a charged SMS."""
        fields.require_plain_body(callback.headers)
        query = Form.of_query(callback.query)
        form = query if callback.method == "GET" else Form.of_body(callback.body)
        if callback.is_delivery_report:
            return (_receipt(form, query, digest_key),)
        return (self._message(form, digest_key),)

    def respond(self, result: Result) -> Answer:
        """The one body that Jasmin takes for a yes, or nothing."""
        status, body = _ANSWERS[result.outcome]
        headers = (("retry-after", str(result.retry_after_seconds)),) if status == 503 else ()
        return Answer(status, body, "text/plain", headers)

    def _message(self, form: Form, digest_key: bytes) -> Message:
        flags: list[str] = []
        native_id = form.required("id")
        msisdn = form.msisdn("from")
        short_code = form.short_code("to")
        connector = form.optional("origin-connector", flags)
        coding = _coding(form, flags)
        text = _text(form, coding, flags)
        if len(text) > _ONE_SMS_CHARACTERS.get(coding or 0, _ONE_SMS_CHARACTERS_ELSE):
            flags.append(JOINED_PARTS)
        kept, kept_flags = fields.storable_text(text)
        return Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", msisdn, short_code, text, connector),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(connector),
            flags=tuple(dict.fromkeys((*kept_flags, *flags))),
        )


def _coding(form: Form, flags: list[str]) -> int | None:
    """The data_coding of the PDU: as one raw byte, which is what Jasmin writes, or in digits, as it documents."""
    raw = form.raw("coding")
    if "coding" in form.repeated:
        flags.append(fields.FIELD_LEFT_OUT)
        return None
    if len(raw) <= 3 and raw.isdigit():
        return int(raw)
    if len(raw) > 1:
        flags.append(fields.FIELD_LEFT_OUT)
    return raw[0] if len(raw) == 1 else None


def _text(form: Form, coding: int | None, flags: list[str]) -> str:
    """What the donor wrote: `binary`, the bytes in hexadecimal digits, before `content`, the same as they are."""
    if "binary" in form.values and "content" not in form.values:
        raw = _unhex(form, flags)
        if raw is None:
            fields.malformed(f"{form.place}.binary", "is not hexadecimal")
    else:
        raw = form.text("content")
        if form.raw("binary"):
            raw = _unhex(form, flags) or raw
    codec = _CODECS.get(coding or 0)
    if codec is None:
        return encodings.decode_unnamed(raw)
    return encodings.decode_utf16(raw, codec) if codec == encodings.UTF16_BE else raw.decode(codec)


def _unhex(form: Form, flags: list[str]) -> bytes | None:
    try:
        if "binary" not in form.repeated:
            return bytes.fromhex(form.raw("binary").decode("ascii"))
    except ValueError:
        pass
    flags.append(fields.FIELD_LEFT_OUT)
    return None


def _receipt(form: Form, query: Form, digest_key: bytes) -> Charge:
    charge_id = form.required("id")
    level = form.required("level")
    said = form.required("message_status").upper()
    if level not in _LEVELS:
        fields.malformed(f"{form.place}.level", "is not 1, 2 or 3")
    known = _STATES.get(said) or (_ESME_ERROR if said.startswith("ESME_") else None)
    if known is None:
        fields.malformed(f"{form.place}.message_status", "is not a state of an SMS")
    message_ref = query.required("msg")
    status, reason = known
    native_id = f"{charge_id}:{level}:{said}"
    return Charge(
        native_id=fields.require_short_field(f"{form.place}.id", native_id),
        digest=keyed_digest(digest_key, "charge", said, message_ref),
        charge_id=charge_id,
        status=status,
        amount_vnd=None,
        message_ref=message_ref,
        reason=reason,
    )
