"""`kannel`: the sms-service of a Kannel gateway that fetches our address for each message.

Settings: `path_secret` (Kannel carries no credentials of its own: with the network list it makes the two
factors), `carriers` (Kannel's `smsc-id` to carrier; one that is named like a carrier need not be listed). Callback: GET, or POST up to 64 KiB. What its operator configures:

    get-url = "https://HOST/gw/kannel/ACCOUNT/SECRET?id=%I&from=%p&to=%P&smsc=%i&ts=%T&coding=%c&charset=%C&text=%b&udh=%u&bill=%B&meta=%D"
    or post-url = "https://HOST/gw/kannel/ACCOUNT/SECRET?id=%I&ts=%T", send-sender = yes
    omit-empty = true, catch-all = yes, max-messages = 0, concatenation = true; in group smsbox: http-request-retry = 360

With `post-url` the text is the body, its charset stands in Content-Type, and what the query leaves out is read from
the `X-Kannel-` headers; only the id has none, and the sender's number is there with `send-sender`.

Delivery reports of charged messages come to `.../dlr?ref=<charge reference>&msg=<id of the message>&d=%d&ts=%T`; one
that names no message is malformed, for it could never be joined with a gift.

Limits: Kannel sends the body of an answer to the donor as an SMS, so every answer is an empty text/plain; it tries
again only where `http-request-retry` says so.

Source: Kannel user guide 1.4.5, "SMS services" and "Delivery reports"; behaviour seen with Kannel 1.4.5.
"""  # noqa: E501 -- the address is to be copied as one line

import re
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Self
from urllib.parse import unquote_to_bytes

from pydantic import model_validator

from gateways.account import AccountSettings
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import Gateway
from gateways.outcome import Answer, Outcome, Result
from gateways.replier import RoutedReplySettings
from gateways.wire import encodings, fields
from gateways.wire.digest import keyed_digest
from gateways.wire.form import query_bytes

_MESSAGE_FIELDS = {b"id": True, b"from": True, b"to": True, b"text": True} | dict.fromkeys(
    (b"smsc", b"ts", b"coding", b"charset"), False
)
_POSTED_FIELDS = {name: is_required for name, is_required in _MESSAGE_FIELDS.items() if name != b"text"}
_REPORT_FIELDS = {b"ref": True, b"d": True, b"msg": True, b"ts": False}
"""Which parameters are read, and whether a callback is nothing without them."""

_HEADERS = {
    "from": "x-kannel-from",
    "to": "x-kannel-to",
    "smsc": "x-kannel-smsc",
    "coding": "x-kannel-coding",
}
"""Where a POST says what its query does not; the time and the charset are written otherwise there."""
_TIME_HEADER = "x-kannel-time"
_CHARSET_PARAMETER = re.compile(r""";\s*charset\s*=\s*"?([A-Za-z0-9._:-]{1,60})""", re.IGNORECASE)

# Names of one encoding differ by hyphens and case over Kannel's versions.
_CHARSETS = {
    "utf8": encodings.UTF8,
    "utf16be": encodings.UTF16_BE,
    "utf16": encodings.UTF16_BE,
    "ucs2": encodings.UTF16_BE,
    "ucs2be": encodings.UTF16_BE,
    "iso10646ucs2": encodings.UTF16_BE,
    "utf16le": encodings.UTF16_LE,
    "ucs2le": encodings.UTF16_LE,
    "windows1258": encodings.WINDOWS_1258,
    "cp1258": encodings.WINDOWS_1258,
}
_DECODERS = {encodings.UTF8: encodings.decode_or_latin, encodings.WINDOWS_1258: encodings.decode_or_vietnamese}
# These are given to texts of any encoding, so they say nothing: as without a name. Any other cannot be read.
_SAY_NOTHING = frozenset({"", "8bit", "binary", "ascii", "usascii", "iso88591", "latin1", "windows1252"})
_CODING_UCS2 = "2"

# Bits of `%d`, the first that is set decides: a report of the end says more than one of the way.
_REPORTS = (
    (1, ChargeStatus.SUCCEEDED, None),
    (2, ChargeStatus.FAILED, "delivery failed"),
    (16, ChargeStatus.FAILED, "rejected by the SMSC"),
    (8, ChargeStatus.PENDING, "accepted by the SMSC"),
    (4, ChargeStatus.PENDING, "buffered"),
)
_REPORT_BITS = 31
REPLY_PARAMETERS = frozenset({"smsc", "account", "binfo", "meta-data"})
"""Of an SMS that we send: what an operator may tell a free one from a charged one by."""

_STATUSES: dict[Outcome, int] = {
    Outcome.ACCEPTED: 200,
    Outcome.DUPLICATE: 200,
    Outcome.CONFLICT: 200,
    Outcome.UNALLOCATED: 200,
    Outcome.REJECTED_POLICY: 200,
    # The donor was charged and would read an error's text: our quarantined copy can be replayed.
    Outcome.MALFORMED: 200,
    Outcome.UNAUTHENTICATED: 403,
    Outcome.STALE: 403,
    Outcome.TOO_LARGE: 413,
    Outcome.OVERLOADED: 503,
    Outcome.UNAVAILABLE: 503,
}


class KannelSettings(RoutedReplySettings):
    """The keys of a `kannel` account. `reply_free` and `reply_charged`: what goes with a reply to sendsms."""

    @model_validator(mode="after")
    def _adds_what_kannel_knows(self) -> Self:
        if self.reply_parameters - REPLY_PARAMETERS:
            raise ValueError("reply_free and reply_charged may hold smsc, account, binfo and meta-data")
        return self


class Kannel(Gateway[KannelSettings]):
    """One Kannel whose smsbox fetches our address."""

    name: ClassVar[str] = "kannel"
    settings_model: ClassVar[type[AccountSettings]] = KannelSettings
    methods: ClassVar[frozenset[str]] = frozenset({"GET", "POST"})
    kept_headers: ClassVar[tuple[str, ...]] = (*Gateway.kept_headers, *_HEADERS.values(), _TIME_HEADER)
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True
    tells_carrier: ClassVar[bool] = True

    def handover(self, address: str) -> tuple[str, ...]:
        """The sms-service, and what the smsbox's own group needs so that no message is lost while we are away."""
        query = "id=%I&from=%p&to=%P&smsc=%i&ts=%T&coding=%c&charset=%C&text=%b&udh=%u&bill=%B&meta=%D"
        return (
            "group = sms-service", "keyword = default", "catch-all = yes", "max-messages = 0", "omit-empty = true",
            "concatenation = true", f'get-url = "{address}?{query}"', "",
            "# in the group of the smsbox that is there already:", "# group = smsbox", "http-request-retry = 360",
            "http-queue-delay = 10",
        )  # fmt: skip

    def verify(self, callback: Callback) -> None:
        """Nothing: the protocol's factors are the path and the source, which `open` checks."""

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One message, or one report about a charge."""
        if callback.is_delivery_report:
            return (_report(*_values(callback.query, _REPORT_FIELDS), digest_key),)
        if callback.method == "POST":
            return (self._message(*_posted(callback), digest_key),)
        return (self._message(*_values(callback.query, _MESSAGE_FIELDS), digest_key),)

    def respond(self, result: Result) -> Answer:
        """Always an empty text/plain; the status alone speaks."""
        status = _STATUSES[result.outcome]
        headers = (("retry-after", str(result.retry_after_seconds)),) if status == 503 else ()
        return Answer(status, b"", "text/plain", headers)

    def _message(self, values: Mapping[str, bytes], flags: list[str], digest_key: bytes) -> Message:
        native_id = fields.require_short_field("query.id", _required(values, "id"))
        msisdn = fields.require_msisdn("query.from", _required(values, "from"))
        short_code = fields.require_short_code("query.to", _required(values, "to"))
        smsc = _optional(values, "smsc", flags)
        message_at, sent_at = _time(values, flags)
        if "text" not in values:
            fields.malformed("query.text", "is missing")
        codec = _codec(_optional(values, "charset", flags), _optional(values, "coding", flags), flags)
        text, is_mended = _decoded(values["text"], codec)
        kept, kept_flags = fields.storable_text(text)
        mended = ("text_repaired",) if is_mended else ()
        return Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", msisdn, short_code, text, smsc, message_at),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(smsc),
            message_at=message_at,
            operator_time=sent_at,
            flags=tuple(dict.fromkeys((*kept_flags, *mended, *flags))),
        )


def _report(values: Mapping[str, bytes], flags: list[str], digest_key: bytes) -> Charge:
    charge_id = fields.require_short_field("query.ref", _required(values, "ref"))
    message_ref = _required(values, "msg")
    level = _required(values, "d")
    # int() takes digits of every script; only 0-9 are meant.
    bits = int(level) if level.isascii() and level.isdigit() and len(level) <= 2 else 0
    known = [row for row in _REPORTS if bits & row[0]]
    if not known or bits > _REPORT_BITS:
        fields.malformed("query.d", "is not a delivery report value of Kannel")
    _, status, reason = known[0]
    occurred_at, _ = _time(values, flags)
    return Charge(
        native_id=f"{charge_id}:{bits}",
        digest=keyed_digest(digest_key, "charge", bits, message_ref),
        charge_id=charge_id,
        status=status,
        amount_vnd=None,
        message_ref=message_ref,
        occurred_at=occurred_at,
        reason=reason,
        flags=tuple(dict.fromkeys(flags)),
    )


def _codec(charset: str | None, coding: str | None, flags: list[str]) -> str | None:
    """What the text is written in, as far as the callback says so."""
    name = (charset or "").lower().replace("-", "").replace("_", "")
    codec = _CHARSETS.get(name)
    if codec is None and name not in _SAY_NOTHING:
        flags.append(fields.FIELD_LEFT_OUT)
    return encodings.UTF16_BE if not name and coding == _CODING_UCS2 else codec


def _decoded(raw: bytes, codec: str | None) -> tuple[str, bool]:
    """The text in `%b`, and whether its bytes are not what its charset says."""
    if codec is None:
        return encodings.decode_unnamed(raw), False
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        is_broken = True
    else:
        is_broken = False
    decode = _DECODERS.get(codec)
    return encodings.decode_utf16(raw, codec) if decode is None else decode(raw), is_broken


def _values(query: str, known: Mapping[bytes, bool]) -> tuple[dict[str, bytes], list[str]]:
    """The bytes of each known parameter, and a flag where one that may be absent is given twice.

    A `+` is a blank, and only `%2B` a plus, before anything is decoded. Raises MalformedCallback.
    """
    values: dict[str, bytes] = {}
    twice: set[str] = set()
    for pair in query_bytes(query).split(b"&"):
        name, _, value = pair.partition(b"=")
        if name not in known:
            continue
        field = name.decode()
        if field in values:
            if known[name]:
                fields.malformed(f"query.{field}", "is given twice")
            twice.add(field)
        values[field] = unquote_to_bytes(value.replace(b"+", b" "))
    for field in twice:
        del values[field]
    return values, [fields.FIELD_LEFT_OUT] if twice else []


def _posted(callback: Callback) -> tuple[dict[str, bytes], list[str]]:
    """The same of a POST: what its query leaves out is taken from its headers, and the text is its body."""
    fields.require_plain_body(callback.headers)
    values, flags = _values(callback.query, _POSTED_FIELDS)
    for name, header in _HEADERS.items():
        if not values.get(name) and header in callback.headers:
            values[name] = callback.headers[header].encode("utf-8", "surrogateescape")
    if not values.get("ts") and _TIME_HEADER in callback.headers:
        # "2026-11-29 01:46:39", in UTC.
        at = fields.optional(
            fields.require_time, f"headers.{_TIME_HEADER}", f"{callback.headers[_TIME_HEADER]}Z", flags
        )
        if at is not None:
            values["ts"] = str(int(at.timestamp())).encode()
    charset = _CHARSET_PARAMETER.search(callback.headers.get("content-type", ""))
    if not values.get("charset") and charset:
        values["charset"] = charset[1].encode()
    values["text"] = callback.body
    return values, flags


def _required(values: Mapping[str, bytes], field: str) -> str:
    value = _short(f"query.{field}", values.get(field, b""))
    if value is None:
        fields.malformed(f"query.{field}", "is missing")
    return value


def _optional(values: Mapping[str, bytes], field: str, flags: list[str]) -> str | None:
    return fields.optional(_short, f"query.{field}", values.get(field), flags)


def _time(values: Mapping[str, bytes], flags: list[str]) -> tuple[datetime | None, str | None]:
    """The time in `ts`, and how it was written; both None where there is none that can be read."""
    written = _optional(values, "ts", flags)
    at = fields.optional(fields.require_epoch, "query.ts", written, flags)
    return at, written if at else None


def _short(path: str, raw: bytes) -> str | None:
    """A short field without blanks around it; None where it is empty, as Kannel writes what it has not."""
    try:
        value = raw.decode().strip()
    except UnicodeDecodeError:
        fields.malformed(path, "is not UTF-8")
    return fields.require_short_field(path, value) if value else None
