"""The tables of the cases: texts with how they must be read, numbers, and ways to write a request."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from service.simulator.conformance.carrier import Texts
from service.simulator.conformance.wire import Way

EMOJI = "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}"
LARGE_EMOJI = "\N{PERSON WITH FOLDED HANDS}"
HALF_AN_EMOJI = "\ud83c"
WISHES = " chúc bà con miền Trung sớm vượt qua bão lũ, mong mọi người bình an"
_ACCENTS = str.maketrans("AEIOUDaeioud", "ÁÊÍÔỦĐáêíôủđ")
_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


@dataclass(frozen=True, slots=True)
class Texted:
    """A text, as it is made of one that counts, and how it must be read."""

    name: str
    text: Callable[[Texts], str]
    reading: str = "counted"


TEXTS = (
    Texted("as advertised", lambda t: t.counted),
    Texted("small letters", lambda t: t.counted.lower()),
    Texted("blanks and lines around", lambda t: f"  {t.counted} \n"),
    Texted("with Vietnamese letters", lambda t: t.counted.translate(_ACCENTS)),
    Texted("with combining marks (NFD)", lambda t: unicodedata.normalize("NFD", t.counted.translate(_ACCENTS))),
    Texted("full-width digits", lambda t: t.counted.translate(_WIDE)),
    Texted("an emoji behind", lambda t: f"{t.counted} {EMOJI}"),
    Texted("an emoji beyond 16 bits", lambda t: f"{t.counted} {LARGE_EMOJI}"),
    Texted("an emoji cut in half", lambda t: f"{t.counted} {HALF_AN_EMOJI}"),
    Texted("a no-break space", lambda t: t.counted.replace(" ", "\N{NO-BREAK SPACE}")),
    Texted("in quotes", lambda t: f'"{t.counted}"'),
    Texted("in angle brackets", lambda t: f"<{t.counted}>"),
    Texted("the advertisement copied", lambda t: f"{t.counted} gửi {t.short_code}"),
    Texted("a control character", lambda t: f"{t.counted}\x07"),
    Texted("wishes behind, with diacritics", lambda t: t.counted + WISHES, "wrong_syntax"),
    Texted("signs of XML, URL and JSON", lambda t: t.keyword + ' & <b> "x" \\ % + = ? #', "wrong_syntax"),
    Texted("several parts", lambda t: t.counted + WISHES * 4, "wrong_syntax"),
    Texted("longer than is kept", lambda t: f"{t.keyword} {'a' * 1_200}", "wrong_syntax"),
    Texted("a keyword nobody has", lambda _: "KHONGCOTUKHOANAY 1", "unknown_keyword"),
    Texted("digits alone", lambda _: "5", "unknown_keyword"),
    Texted("nothing that can be read", lambda _: "...", "empty_text"),
)
NUMBERS = (("84 and nine digits", "84"), ("+84", "+84"), ("0", "0"), ("0084", "0084"))
WAYS = (
    ("HTTP/1.0", Way(version="1.0")),
    ("header names in small letters", Way(header_case="lower")),
    ("header names in capitals", Way(header_case="upper")),
    ("the whole address in the request line", Way(has_whole_address=True)),
    ("slowly, in eight pieces", Way(pieces=8)),
    ("a header nobody knows", Way(more={"X-Forwarded-Proto": "https", "X-Carrier-Trace": "a-b-c"})),
)
BODY_WAYS = (
    ("in chunks", Way(is_chunked=True)),
    ("waiting for 100 Continue", Way(waits_to_go_on=True)),
)
