"""Fields that every protocol has, read the same way whoever sends them.

What leaves here can be stored: the database takes no control character in an id, no NUL and no lone
surrogate anywhere, and integers of 64 bits. Every `require_...` raises MalformedCallback with the place and
the reason, never with the value.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import orjson

from gateways.gateway import MalformedCallback
from gateways.outcome import FieldError
from gateways.wire.mac import hmac_sha256

SHORT_FIELD_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 1000
NESTING_MAX = 16
AMOUNT_VND_MAX = 2**63 - 1
YEAR_MIN = 2000
YEAR_MAX = 2100
"""Years, in the zone a time is written in, that a carrier can mean."""
VIETNAM = timezone(timedelta(hours=7))

MSISDN_PATTERN = r"(?:\+?84|0084|0)[0-9]{9}"
SHORT_CODE_PATTERN = r"(?:[Tt][Ee][Ll]:)?\+?(?:84)?[0-9]{3,6}"
UNCONTROLLED_PATTERN = r"[^\x00-\x1f\x7f-\x9f]*"
TIME_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)

NOT_A_NUMBER = "is not a Vietnamese mobile number"
NOT_A_SHORT_CODE = "is not a short code of 3 to 6 digits"
NOT_A_TIME = "is not a time (RFC 3339, or the same without zone for +07:00)"
WRONG_LENGTH = f"must have 1 to {SHORT_FIELD_CHARACTERS_MAX} characters"
UNSTORABLE = "holds a control character or half of a character"

_MSISDN = re.compile(MSISDN_PATTERN)
_SHORT_CODE = re.compile(SHORT_CODE_PATTERN)
_UNCONTROLLED = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
_TIME = re.compile(TIME_PATTERN)
_EPOCH_AT = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = re.compile(r"[0-9]{1,12}")
_UNSTORABLE_IN_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def malformed(path: str, reason: str) -> NoReturn:
    """End a callback for the fault of one field."""
    raise MalformedCallback((FieldError(path, reason),))


def require_plain_body(headers: Mapping[str, str]) -> None:
    """Refuse a body that is said to be compressed: it is never unpacked, so that no small body becomes a huge one."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        malformed("headers.content-encoding", "is not understood: send the body as it is")


def msisdn_of(number: str) -> str:
    """84 and the nine digits of a number that matches MSISDN_PATTERN."""
    return "84" + number[-9:]


def short_code_of(code: str) -> str:
    """The digits of a code that matches SHORT_CODE_PATTERN.

    A country code is only taken off where at least three digits remain: 8408 is a short code.
    """
    digits = code[4:] if code[:4].lower() == "tel:" else code
    digits = digits.removeprefix("+")
    is_prefixed = digits.startswith("84") and len(digits) >= len("84") + 3
    return digits[2:] if is_prefixed else digits


def require_msisdn(path: str, number: str) -> str:
    """84 and nine digits, from `84...`, `+84...`, `0...` or `0084...`."""
    if not _MSISDN.fullmatch(number):
        malformed(path, NOT_A_NUMBER)
    return msisdn_of(number)


def require_short_code(path: str, code: str) -> str:
    """Three to six digits, without `tel:`, `+` and country code."""
    if not _SHORT_CODE.fullmatch(code):
        malformed(path, NOT_A_SHORT_CODE)
    return short_code_of(code)


def require_short_field(path: str, value: str) -> str:
    """An id or another short field as it is, if it can be stored."""
    if not 1 <= len(value) <= SHORT_FIELD_CHARACTERS_MAX:
        malformed(path, WRONG_LENGTH)
    if not _UNCONTROLLED.fullmatch(value):
        malformed(path, UNSTORABLE)
    return value


def storable_text(text: str) -> tuple[str, tuple[str, ...]]:
    """What of a donor's text is kept, and the flags that say what was done to it.

    The database can hold neither NUL nor half a surrogate pair: each becomes U+FFFD (`text_repaired`), for a
    gift is not refused for a broken character. Beyond 1,000 characters a text is cut (`text_cut`).
    """
    flags: tuple[str, ...] = ()
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[:TEXT_CHARACTERS_MAX]
        flags = ("text_cut",)
    if _UNSTORABLE_IN_TEXT.search(text):
        text = _UNSTORABLE_IN_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)
        flags = (*flags, "text_repaired")
    return text, flags


def decode_or_latin(raw: bytes) -> str:
    """UTF-8, else Latin-1: for senders that do not say, or do not know, in what their text is written."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def require_time(path: str, text: str) -> datetime:
    """An aware time; without a zone it is Vietnam's. RFC 3339, section 5.6, with a blank for `T` allowed."""
    if not _TIME.fullmatch(text):
        malformed(path, NOT_A_TIME)
    return time_of(path, text)


def time_of(path: str, text: str) -> datetime:
    """The time in a text that matches TIME_PATTERN. Raises MalformedCallback where the calendar has none such."""
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        malformed(path, NOT_A_TIME)
    return _require_within_years(path, at if at.tzinfo else at.replace(tzinfo=VIETNAM))


def require_epoch(path: str, text: str) -> datetime:
    """An aware time from whole seconds since 1970."""
    if not _EPOCH.fullmatch(text):
        malformed(path, "is not a time in whole seconds since 1970")
    try:
        at = datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        malformed(path, "is not within years 2000 to 2100")
    return _require_within_years(path, at)


def _require_within_years(path: str, at: datetime) -> datetime:
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        malformed(path, "is not within years 2000 to 2100")
    return at


def keyed_digest(key: bytes, kind: str, *fields: str | int | datetime | None) -> bytes:
    """HMAC-SHA256 over `kind` and the canonical fields in their fixed order.

    Each field goes in with its length before it, and an absent one unlike an empty one, so that no two lists
    of fields are the same bytes. A time counts as the instant it means, in whatever zone it was written.
    """
    # A hundred of these are made for one batch: hence one pass, and strings, the usual case, asked for first.
    canonical = [
        f"{len(field)}:{field}" if type(field) is str else "-" if field is None else _canonical(field)
        for field in (kind, *fields)
    ]
    return hmac_sha256(key, ",".join(canonical).encode("utf-8", "surrogatepass"))


def _canonical(field: str | int | datetime) -> str:
    if isinstance(field, datetime):
        since = field - _EPOCH_AT
        field = f"{since.days} {since.seconds} {since.microseconds}"
    text = str(field)
    return f"{len(text)}:{text}"


class _NotStrict(ValueError):
    """JSON that Python would take and we do not."""


def require_json(body: bytes) -> object:
    """The value `body` holds as RFC 8259 JSON, read without any leniency.

    Refused: invalid UTF-8 and half surrogate pairs, a key given twice (two readers would see two gifts), NaN
    and infinities, integers beyond 64 bits, nesting deeper than 16.
    """
    value = _plain_json(body)
    return _strict_json(body) if value is None else value


def _plain_json(body: bytes) -> object | None:
    """The value of a body that holds nothing unusual, in 3 microseconds instead of 5.5; None for all others.

    The fast reader keeps the last of two equal keys and makes large integers floats. So: each string that was
    found has two quotes in the body, and a pair that was dropped leaves quotes over; a float is looked at
    again, whatever it was. An escaped backslash before a quote would upset the count.
    """
    if rb"\\" in body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    strings = 0
    level: list[Any] = [value]
    for _ in range(NESTING_MAX):
        below: list[Any] = []
        for node in level:
            members = node
            if type(node) is dict:
                strings += len(node)
                members = node.values()
            elif type(node) is not list:
                return None
            for member in members:
                kind = type(member)
                if kind is str:
                    strings += 1
                elif kind is dict or kind is list:
                    below.append(member)
                elif kind is float or (kind is int and member >= 2**63):
                    return None
        if not below:
            is_whole = 2 * strings == body.count(b'"') - body.count(rb"\"")
            return value if is_whole else None
        level = below
    return None


def _strict_json(body: bytes) -> object:
    """The same, by a reader that meets every key and every number. Raises MalformedCallback."""
    try:
        value: object = _DECODER.decode(body.decode())
        _require_shallow(value)
        if _SURROGATE_ESCAPE.search(body):
            orjson.loads(body)
    except _NotStrict as fault:
        malformed("body", str(fault))
    except UnicodeDecodeError:
        malformed("body", "is not UTF-8")
    except RecursionError:
        malformed("body", f"is nested deeper than {NESTING_MAX}")
    except ValueError:
        malformed("body", "is not JSON")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotStrict("gives one key twice")
    return members


def _integer(digits: str) -> int:
    # The length first: turning a megabyte of digits into a number is work nobody asked for.
    if len(digits) > len("-9223372036854775808") or not -(2**63) <= int(digits) < 2**63:
        raise _NotStrict("holds an integer beyond 64 bits")
    return int(digits)


def _constant(_name: str) -> NoReturn:
    raise _NotStrict("holds NaN or an infinity")


# Made once: json.loads makes one for each call that has hooks.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)


def _require_shallow(value: object) -> None:
    level: list[object] = [value]
    for _ in range(NESTING_MAX):
        below: list[object] = []
        for node in level:
            if type(node) is dict:
                below.extend(node.values())
            elif type(node) is list:
                below.extend(node)
        level = [node for node in below if type(node) is dict or type(node) is list]
        if not level:
            return
    raise _NotStrict(f"is nested deeper than {NESTING_MAX}")
