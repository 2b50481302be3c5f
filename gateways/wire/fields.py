"""Fields that every protocol has, read the same way whoever sends them.

What leaves here can be stored and summed: the database takes no control character in an id, no NUL and no lone
surrogate anywhere, and no money beyond AMOUNT_VND_MAX is claimed. Every `require_...` raises MalformedCallback with
the place and the reason, never with the value.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import NoReturn, TypeVar

from gateways.gateway import MalformedCallback
from gateways.outcome import FieldError

SHORT_FIELD_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 1000
NESTING_MAX = 16
AMOUNT_VND_MAX = 10**12
"""The most VND that an event may claim: far above any gift by text message, and so far below 64 bits that no sum
over one batch, or one gift, leaves them."""
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
NOT_AN_AMOUNT = "is not a whole number of VND within the limit"
WRONG_LENGTH = f"must have 1 to {SHORT_FIELD_CHARACTERS_MAX} characters"
UNSTORABLE = "holds a control character or half of a character"

_MSISDN = re.compile(MSISDN_PATTERN)
_SHORT_CODE = re.compile(SHORT_CODE_PATTERN)
_UNCONTROLLED = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
_TIME = re.compile(TIME_PATTERN)
_COMPACT_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})")
_AMOUNT = re.compile(r"[0-9]{1,13}")
# Of ten digits, as it has been since 2001: the time is kept as it was written, and nine may be a phone number.
_EPOCH = re.compile(r"[1-9][0-9]{9}")
_UNSTORABLE_IN_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_HALF_A_PAIR = re.compile(r"[\ud800-\udfff]")

FIELD_LEFT_OUT = "field_left_out"
"""The flag of an event of which an optional field could not be read."""

Said = TypeVar("Said")
Meant = TypeVar("Meant")


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


def require_vnd(path: str, amount: str) -> int:
    """Whole VND in decimal digits, up to AMOUNT_VND_MAX."""
    if not _AMOUNT.fullmatch(amount) or int(amount) > AMOUNT_VND_MAX:
        malformed(path, NOT_AN_AMOUNT)
    return int(amount)


def require_short_field(path: str, value: str) -> str:
    """An id or another short field as it is, if it can be stored."""
    if not 1 <= len(value) <= SHORT_FIELD_CHARACTERS_MAX:
        malformed(path, WRONG_LENGTH)
    if not _UNCONTROLLED.fullmatch(value):
        malformed(path, UNSTORABLE)
    return value


def storable_text(text: str) -> tuple[str, tuple[str, ...]]:
    """What of a donor's text is kept and read, and the flags that say what was done to it.

    The database can hold neither NUL nor half a surrogate pair, and a gift is not refused for a broken
    character: NUL is dropped, as reading a text drops every control character; half a pair becomes U+FFFD
    (both `text_repaired`). What is beyond 1,000 characters then is cut (`text_cut`).
    """
    flags: tuple[str, ...] = ()
    is_repaired = _UNSTORABLE_IN_TEXT.search(text) is not None
    if is_repaired:
        text = _HALF_A_PAIR.sub("\N{REPLACEMENT CHARACTER}", text.replace("\0", ""))
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[:TEXT_CHARACTERS_MAX]
        flags = ("text_cut",)
    return text, (*flags, "text_repaired") if is_repaired else flags


def optional(require: Callable[[str, Said], Meant], path: str, said: Said | None, flags: list[str]) -> Meant | None:
    """What `require` reads in an optional field; None where it is absent, or cannot be read.

    That is flagged (`field_left_out`) and costs the fact, not the gift.
    """
    if said is None:
        return None
    try:
        return require(path, said)
    except MalformedCallback:
        flags.append(FIELD_LEFT_OUT)
        return None


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


def require_compact_time(path: str, text: str) -> datetime:
    """An aware time from `yyyyMMddHHmmss`, 24 hours, Vietnam's."""
    parts = _COMPACT_TIME.fullmatch(text)
    if parts is None:
        malformed(path, "is not a time (yyyyMMddHHmmss)")
    year, month, day, hour, minute, second = parts.groups()
    return time_of(path, f"{year}-{month}-{day}T{hour}:{minute}:{second}")


def require_epoch(path: str, text: str) -> datetime:
    """An aware time from whole seconds since 1970, after 9 September 2001."""
    if not _EPOCH.fullmatch(text):
        malformed(path, "is not a time in whole seconds since 1970, of ten digits")
    return _require_within_years(path, datetime.fromtimestamp(int(text), UTC))


def require_epoch_milliseconds(path: str, text: str) -> datetime:
    """The same from whole milliseconds, to the second."""
    return require_epoch(path, text[:-3])


def _require_within_years(path: str, at: datetime) -> datetime:
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        malformed(path, "is not within years 2000 to 2100")
    return at
