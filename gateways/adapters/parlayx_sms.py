"""`parlayx_sms`: operators' Parlay X web services, as they notify of messages, with Huawei's header or without.

Settings: `password` and `password_form` (what the header's `spRevpassword` is: `plain`, or the MD5 of id, password
and time, `md5_spId` or `md5_spRevId`: products differ, the operator says which), `user` (the header's `spRevId`;
another's is refused), `path_secret`, `hex_dcs` (the text is hexadecimal digits, their first byte the data coding),
`without_ids` (must be true for operators that send no `traceUniqueID`: an id is then derived from number, code, time
and text), `message_reference` (`correlator` where whoever sends a charged SMS writes the id of the donor's message
there; without it receipts are malformed, for they speak of no gift), `version` (of the namespace that is answered
in). Callback: POST of a SOAP 1.1 envelope up to 64 KiB; `SOAPAction` is not read.

Limits: the header's password covers nothing of the message, so the account needs another factor beside it. A header
older than a day is taken and flagged. In a reception `correlator` names a subscription, never a message. How often an
operator tries again is its own setting; a repeat may have another time, so time is no part of a message's content.

Source: ETSI ES 202 391-4 (Parlay X, Part 4: Short Messaging); Huawei SDP, NotifySOAPHeader.
"""

import re
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import ClassVar, Literal, Self
from xml.etree.ElementTree import Element

from pydantic import Field, model_validator

from gateways.account import AccountSettings, Passwords
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected, is_any_of
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import encodings, fields, soap
from gateways.wire.checksums import md5_hex, require_checksum
from gateways.wire.digest import id_without_one, keyed_digest
from gateways.wire.xml import local_name

OLD_HEADER = "old_header"
"""The flag of an event whose header was signed more than a day before or after our time of receipt."""
HEADER_AGE_MAX = timedelta(days=1)

_RECEPTION, _RECEIPT = "notifySmsReception", "notifySmsDeliveryReceipt"
_NAMESPACE = "http://www.csapi.org/schema/parlayx/sms/notification/{version}/local"

# The first byte of a text in hexadecimal digits. Of no other is it written what follows.
_CODINGS: dict[int, Callable[[bytes], str]] = {
    0x00: encodings.decode_or_latin,
    0x08: lambda raw: encodings.decode_utf16(raw, encodings.UTF16_BE),
}
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")

# ES 202 391-4, section 7.1.
_DELIVERIES: dict[str, tuple[ChargeStatus, str | None]] = {
    "DeliveredToTerminal": (ChargeStatus.SUCCEEDED, None),
    "DeliveredToNetwork": (ChargeStatus.PENDING, "delivered to the network"),
    "DeliveryUncertain": (ChargeStatus.PENDING, "delivery uncertain"),
    "MessageWaiting": (ChargeStatus.PENDING, "waiting"),
    "DeliveryNotificationNotSupported": (ChargeStatus.PENDING, "delivery is not told"),
    "DeliveryImpossible": (ChargeStatus.FAILED, "undeliverable"),
}

# One row for each outcome that is no success: status, fault code, sentence. The standard has no word for "later" but
# a fault of the server's.
_FAULTS: dict[Outcome, tuple[int, str, str]] = {
    Outcome.MALFORMED: (500, "Client", "malformed"),
    Outcome.UNAUTHENTICATED: (500, "Client", "unauthenticated"),
    Outcome.STALE: (500, "Client", "unauthenticated"),
    Outcome.TOO_LARGE: (413, "Client", "too large"),
    Outcome.OVERLOADED: (500, "Server", "try again later"),
    Outcome.UNAVAILABLE: (500, "Server", "try again later"),
}


class ParlayXSmsSettings(AccountSettings):
    """The keys of a `parlayx_sms` account."""

    user: str | None = Field(default=None, min_length=1, max_length=200)
    password: Passwords = ()
    password_form: Literal["plain", "md5_spId", "md5_spRevId"] | None = None
    hex_dcs: bool = False
    without_ids: bool = False
    message_reference: Literal["correlator"] | None = None
    version: Literal["v2_1", "v2_2", "v3_1"] = "v2_2"

    def factors(self) -> frozenset[str]:
        """The header's password, and the path secret, where there are such."""
        return super().factors() | ({"password"} if self.password else set())

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.password_form is None) == bool(self.password):
            raise ValueError("password and password_form go together: ask the operator how spRevpassword is made")
        if self.user is not None and not self.password:
            raise ValueError("user alone keeps nobody out: give password and password_form too")
        if self.without_ids and self.message_reference is not None:
            raise ValueError("message_reference needs ids: with without_ids nobody else knows the id of a message")
        return self


class ParlayXSms(Gateway[ParlayXSmsSettings]):
    """One operator that notifies us."""

    name: ClassVar[str] = "parlayx_sms"
    settings_model: ClassVar[type[AccountSettings]] = ParlayXSmsSettings
    kept_headers: ClassVar[tuple[str, ...]] = (*Gateway.kept_headers, "soapaction")
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A user, a password and a path secret."""
        word = secrets.token_urlsafe
        own = {"user": word(32), "password": word(32), "password_form": "md5_spId"}
        return {**super().decoy_settings(), **own}

    def verify(self, callback: Callback) -> None:
        """The password of Huawei's header, and whose it is."""
        try:
            header = _header(soap.require_call(callback.body))
        except MalformedCallback:
            # Who cannot be read cannot be known: unauthenticated, and kept if it came from a listed network.
            header = {}
        if not self.settings.password:
            # They were looked for all the same: an account that does not exist has a stand-in with a password.
            return
        form = self.settings.password_form or ""
        given, time = header.get("spRevpassword", ""), header.get("timeStamp", "")
        user = _raw(header.get("spRevId", ""))
        is_ours = self.settings.user is None or is_any_of(user, (self.settings.user,))
        if form == "plain":
            require_checksum(given, self.settings.password, lambda word: word.decode())
        else:
            first = _raw(header.get(form.removeprefix("md5_"), ""))
            # Digits of either case are the same number.
            require_checksum(given.lower(), self.settings.password, lambda word: md5_hex(first + word + _raw(time)))
        if not is_ours:
            raise SignatureRejected("another spRevId")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One message, or one receipt about a charged SMS."""
        fields.require_plain_body(callback.headers)
        call = soap.require_call(callback.body)
        operation = local_name(call.operation)
        header = _header(call)
        flags = ["repaired"] if call.is_repaired else []
        signed_at = fields.optional(
            fields.require_compact_time, "Header.timeStamp", header.get("timeStamp") or None, flags
        )
        if signed_at is not None and abs(callback.received_at - signed_at) > HEADER_AGE_MAX:
            flags.append(OLD_HEADER)
        if operation == _RECEIPT:
            return (self._receipt(call.operation, flags, digest_key),)
        if operation != _RECEPTION:
            fields.malformed("body.Envelope.Body", f"holds neither {_RECEPTION} nor {_RECEIPT}")
        return (self._message(call.operation, header, callback.received_at, flags, digest_key),)

    def respond(self, result: Result) -> Answer:
        """An empty response where a notification was taken, else a fault."""
        if result.outcome not in _FAULTS:
            is_receipt = any(isinstance(event, Charge) for event in result.events)
            name = f"{_RECEIPT if is_receipt else _RECEPTION}Response"
            namespace = _NAMESPACE.format(version=self.settings.version)
            return Answer(200, soap.acknowledgement(name, namespace), soap.CONTENT_TYPE)
        status, code, sentence = _FAULTS[result.outcome]
        headers = (("retry-after", str(result.retry_after_seconds)),) if code == "Server" else ()
        errors = result.errors if result.outcome is Outcome.MALFORMED else ()
        return Answer(status, soap.fault(code, sentence, errors), soap.CONTENT_TYPE, headers)

    def _message(
        self, operation: Element, header: dict[str, str], received_at: datetime, flags: list[str], digest_key: bytes
    ) -> Message:
        place = f"{_RECEPTION}.message"
        said = _elements(place, _only(_RECEPTION, operation, "message"))
        msisdn = _msisdn(f"{place}.senderAddress", _required(place, said, "senderAddress"))
        code = _required(place, said, "smsServiceActivationNumber")
        short_code = fields.require_short_code(f"{place}.smsServiceActivationNumber", code)
        if "message" not in said:
            fields.malformed(f"{place}.message", "is missing")
        text = self._text(f"{place}.message", said["message"], flags)
        written = said.get("dateTime", "").strip() or None
        message_at = fields.optional(fields.require_time, f"{place}.dateTime", written, flags)
        own_id = header.get("traceUniqueID", "")
        if own_id or not self.settings.without_ids:
            native_id = _required("Header", header, "traceUniqueID")
            fields.require_short_field("Header.traceUniqueID", native_id)
        else:
            at, told = written if message_at else None, (msisdn, short_code, text)
            native_id = id_without_one(digest_key, self.account.code, told, at, received_at, flags)
        kept, kept_flags = fields.storable_text(text)
        return Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", msisdn, short_code, text),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(None),
            message_at=message_at,
            operator_time=written if message_at else None,
            flags=tuple(dict.fromkeys((*kept_flags, *flags))),
        )

    def _text(self, place: str, written: str, flags: list[str]) -> str:
        """What the donor wrote; in hexadecimal digits where the account says so."""
        if not self.settings.hex_dcs:
            return written
        digits = written.strip()
        if not _HEX.fullmatch(digits):
            fields.malformed(place, "is not hexadecimal")
        raw = bytes.fromhex(digits)
        if not raw:
            return ""
        decode = _CODINGS.get(raw[0])
        if decode is None:
            flags.append(fields.FIELD_LEFT_OUT)
            return encodings.decode_unnamed(raw[1:])
        return decode(raw[1:])

    def _receipt(self, operation: Element, flags: list[str], digest_key: bytes) -> Charge:
        if self.settings.message_reference is None:
            fields.malformed(_RECEIPT, "names no message: the account has no message_reference")
        correlator = _only(_RECEIPT, operation, "correlator")
        reference = _required(_RECEIPT, {"correlator": correlator.text or ""}, "correlator")
        fields.require_short_field(f"{_RECEIPT}.correlator", reference)
        place = f"{_RECEIPT}.deliveryStatus"
        said = _required(place, _elements(place, _only(_RECEIPT, operation, "deliveryStatus")), "deliveryStatus")
        known = _DELIVERIES.get(said)
        if known is None:
            fields.malformed(f"{place}.deliveryStatus", "is not a state of a delivery")
        status, reason = known
        return Charge(
            native_id=f"{reference}:{said}",
            digest=keyed_digest(digest_key, "charge", said, reference),
            charge_id=reference,
            status=status,
            amount_vnd=None,
            message_ref=reference,
            reason=reason,
            flags=tuple(flags),
        )


def _header(call: soap.Call) -> dict[str, str]:
    """The elements of Huawei's header by their names, without blanks around them; one given twice is in doubt."""
    found: dict[str, str] = {}
    for element in call.header.iter() if call.header is not None else ():
        name = local_name(element)
        # What is there twice is neither a password nor an id.
        found[name] = "\0" if name in found else (element.text or "").strip(" \t\r\n")
    return found


def _only(place: str, parent: Element, name: str) -> Element:
    """The one child of that name. Raises MalformedCallback."""
    found = [child for child in parent if local_name(child) == name]
    if len(found) != 1:
        fields.malformed(f"{place}.{name}", "is given twice" if found else "is missing")
    return found[0]


def _elements(place: str, parent: Iterable[Element]) -> dict[str, str]:
    """The texts of an element's children."""
    said: dict[str, str] = {}
    for child in parent:
        name = local_name(child)
        if name in said:
            fields.malformed(f"{place}.{name}", "is given twice")
        if len(child):
            fields.malformed(f"{place}.{name}", "holds elements instead of text")
        said[name] = child.text or ""
    return said


def _required(place: str, said: dict[str, str], name: str) -> str:
    """A text without the blanks of a template around it."""
    value = said.get(name, "").strip(" \t\r\n")
    if not value:
        fields.malformed(f"{place}.{name}", "is missing")
    return value


def _msisdn(place: str, address: str) -> str:
    return fields.require_msisdn(place, address[4:] if address[:4].lower() == "tel:" else address)


def _raw(text: str) -> bytes:
    # surrogatepass, because a repaired envelope may hold half a character, and no caller may cause an error.
    return text.encode("utf-8", "surrogatepass")
