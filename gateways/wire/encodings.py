"""Bytes into characters, where senders name an encoding wrongly, cut a character in two, or name none.

Nothing is lost silently and nothing is guessed in an id: a byte that is no character becomes a lone surrogate
(Python's `surrogateescape`). `fields.storable_text` makes U+FFFD of it in a text, and `require_short_field`
refuses it anywhere else.
"""

import base64
import re

UTF8 = "utf-8"
UTF16_BE = "utf-16-be"
UTF16_LE = "utf-16-le"
WINDOWS_1258 = "cp1258"

_MARKS = ((b"\xfe\xff", UTF16_BE), (b"\xff\xfe", UTF16_LE))

# A lead byte with a byte that continues it, whole or cut: what UTF-8 is made of, and hardly a pair of Latin-1.
_MULTIBYTE = re.compile(rb"[\xc0-\xf7][\x80-\xbf]")

# As `surrogateescape` leaves them: the two halves of a character encoded apart (CESU-8), one such half, and the
# NUL of Java's modified UTF-8.
_HALVES = re.compile(
    "\udced[\udca0-\udcaf][\udc80-\udcbf]\udced[\udcb0-\udcbf][\udc80-\udcbf]"
    "|\udced[\udca0-\udcbf][\udc80-\udcbf]"
    "|\udcc0\udc80"
)

_USUAL_HIGH_BYTES = frozenset((0x00, 0x01, 0x03, 0x1E, 0x20, 0xFE, *range(0xD8, 0xE0)))
"""The high bytes of UTF-16 in a Vietnamese text: Latin, marks, punctuation, variation selectors, emoji."""


def is_utf8(raw: bytes) -> bool:
    """Whether `raw` is UTF-8 from its first byte to its last."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode_utf8(raw: bytes) -> str:
    """UTF-8, damaged or not: each byte that belongs to no character is a lone surrogate, halves are joined."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    try:
        # Halves and nothing else that is broken: a megabyte of them in 150 ms, and in 800 one by one.
        return joined(raw.decode(UTF8, "surrogatepass"))
    except UnicodeDecodeError:
        return _HALVES.sub(_whole, raw.decode(UTF8, "surrogateescape"))


def decode_or_latin(raw: bytes) -> str:
    """UTF-8, damaged or not, else Latin-1: for senders that do not say in what they write, or say it wrongly.

    Latin-1 only where no two bytes stand as UTF-8 would have them: `VNN \\xe9` is `VNN é`, but one broken byte
    does not turn a text of whole UTF-8 characters into another.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return decode_utf8(raw) if _MULTIBYTE.search(raw) else raw.decode("latin-1")


def decode_or_vietnamese(raw: bytes) -> str:
    """The same for senders of Vietnam: UTF-8, damaged or not, else Windows-1258, else Latin-1."""
    if _MULTIBYTE.search(raw):
        return decode_utf8(raw)
    try:
        return raw.decode() if raw.isascii() else raw.decode(WINDOWS_1258)
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def decode_unnamed(raw: bytes) -> str:
    """A text of which nobody said in what it is written: UTF-16 where it can be nothing else, UTF-8, Latin-1."""
    order = utf16_order(raw)
    return decode_utf16(raw, order) if order else decode_or_latin(raw)


def decode_utf16(raw: bytes, codec: str) -> str:
    """UTF-16 in the order that its mark says, else in `codec`; what is broken becomes U+FFFD.

    An odd byte too many stands at the end, where a text was cut, or at the beginning, where an SMSC put its own
    there: the end that leaves more of the high bytes NUL is kept.
    """
    for mark, order in _MARKS:
        if raw.startswith(mark):
            raw, codec = raw.removeprefix(mark), order
            break
    if len(raw) % 2:
        low, high = (raw[1::2], raw[::2]) if codec == UTF16_BE else (raw[::2], raw[1::2])
        if low.count(0) > high.count(0):
            return "\N{REPLACEMENT CHARACTER}" + raw[1:].decode(codec, "replace")
    return raw.decode(codec, "replace")


def from_base64(written: str) -> bytes:
    """The bytes of a text in Base64. Raises ValueError.

    Encoders break lines every 76 characters. A blank inside is none of their doing: `VNN 5` that was never encoded
    would else decode to three bytes of nothing.
    """
    return base64.b64decode(written.strip().replace("\r", "").replace("\n", ""), validate=True)


def utf16_order(raw: bytes) -> str | None:
    """The codec of a text that can only be UTF-16 although nobody said so; None where that is not plain.

    Plain: a mark and whole characters behind it; or more than half of the high bytes NUL, the others such as
    Vietnamese texts have, and no low byte NUL.
    """
    if len(raw) < 2 or len(raw) % 2:
        return None
    for mark, order in _MARKS:
        if raw.startswith(mark):
            return order
    for high, low, order in ((raw[::2], raw[1::2], UTF16_BE), (raw[1::2], raw[::2], UTF16_LE)):
        if 2 * high.count(0) > len(high) and 0 not in low and _USUAL_HIGH_BYTES.issuperset(high):
            return order
    return None


def joined(text: str) -> str:
    """`text` with every surrogate pair as the one character it means; lone halves stay."""
    return text.encode(UTF16_LE, "surrogatepass").decode(UTF16_LE, "surrogatepass")


def _whole(halves: re.Match[str]) -> str:
    raw = halves[0].encode(UTF8, "surrogateescape")
    return "\0" if raw == b"\xc0\x80" else joined(raw.decode(UTF8, "surrogatepass"))
