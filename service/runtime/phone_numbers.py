"""What is shaped like a phone number of Vietnam, in ids of senders and in sentences of people: it is left out.

Two looks, for two kinds of text. In ids and words of programs a number has its 0 or its country code: nine digits
alone may be somebody's own count. In sentences that people type and that stay for ever it is whatever may be one:
nobody has to write one there. Days, times, addresses of the internet, amounts in VND and ids of ours are none.

Libraries that look for numbers in texts take days (07-08-2026 12) and amounts (912.345.678), and leave 0912_345_678.
"""

import re
import unicodedata

REDACTED = "[redacted]"
CHARACTERS_MIN = 9
"""Nothing shorter can be a number."""

# What the time has been glued to, yyyyMM and more or seconds since 1970, is a number: senders make ids of both.
_BEGINS = r"(?:(?<!\d)|(?<=20\d{6})|(?<=20\d{10})|(?<=20\d{12})|(?<=(?<!\d)1[5-9]\d{8})|(?<=(?<!\d)1[5-9]\d{11}))"
_ENDS = r"(?:(?!\d)|(?=20[2-9]\d(?:0[1-9]|1[0-2]))|(?=1[5-9]\d{8}(?:\d{3})?(?!\d)))"
_OURS = r"(?<![0-9a-f])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,})(?![0-9a-f])"
"""Ids of ours and digests: their digits are none of a number's."""

_NO_DAY = (
    r"(?!0\d[ ./-](?:\d\d[ ./-])?(?:19|20)\d\d(?!\d))(?!0\d{1,3}/(?:19|20)\d\d(?!\d))"
    r"(?!0[1-9](?P<day>[./-])(?:0[1-9]|1[0-2])(?P=day)[23]\d(?!(?P=day)|\d))"
)
_IN_IDS = re.compile(
    rf"(?P<ours>{_OURS})|{_BEGINS}(?:(?:\+|00)?840?|0)[235789]\d{{8}}{_ENDS}"
    rf"|(?<![a-fA-F])(?<!\d)(?<!\d[./-])(?<!20\d\d_){_NO_DAY}(?:"
    # In groups. With 84 alone no points: an address may look like that.
    r"\(?(?:(?:\+|00)84|0)\)?[ .-]?\(?[235789](?:\)?[ .-]?\d){8}"
    r"|\(?84\)?[ -]?\(?[235789](?:\)?[ -]?\d){8}"
    # In groups between signs of one kind.
    r"|0(?=[235789]?\d{0,3}(?P<sign>[/_,]))(?P=sign)?[235789](?:(?P=sign)?\d){8}"
    r")(?!\d)",
    re.IGNORECASE,
)
_MAY_BEGIN = re.compile(r"[0+(8][^A-Za-z]{8}")
"""What each of them has, found in a fraction of the time: a line of the log is looked through for every callback."""

_YEAR = r"(?:19|20)\d\d"
_UNIT = r"(?:VN[DĐÐ]|USD|đ|₫|(?:Việt Nam )?đồng(?!\s*chí)|dong|triệu|trieu|tỷ|tỉ|nghìn|nghin|ngàn|ngan)(?![\w/])"
"""Not k nor tr, which are words as well (không, trả), and make no amount of nine digits."""
# Behind a day (03 25.000.000 đ) by its points alone; otherwise it may be the end of a number.
_POINTED = (
    r"(?<!\d)(?<!\d[.,])(?<!0\d\d\d[\W_])(?<!0\d\d[\W_])(?<!84[\W_])"
    r"[1-9]\d{0,2}(?P<PLACE>[.,])\d{3}(?:(?P=PLACE)\d{3})*"
)
_BLANK = r"(?<!\d)(?<!\d[\W_])(?<!\d[\W_][\W_])(?<!\d[\W_][\W_][\W_])[1-9]\d{0,2}(?:(?: \d{3})+|\d{1,7})"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_DAY = (
    r"(?<!\d)(?<!\d[./-])(?:0?[1-9]|[12]\d|3[01])(?P<day>[./-])(?:0?[1-9]|1[0-2])"
    rf"(?:(?P=day)(?:{_YEAR}|\d\d))?(?!\d)(?!(?P=day)\d)"
)
_NO_NUMBERS = re.compile(
    "|".join(
        (
            _OURS,
            # Addresses of the internet, decimals, times, days and months, files of a year: 027/2026.
            rf"(?<![\d.])(?<!\d[\W_])(?<!\d[\W_][\W_])(?:{_OCTET}\.){{3}}{_OCTET}(?::\d{{1,5}})?(?!\.?\d)",
            r"(?<![0-9a-f:])(?:[0-9a-f]{1,4}:){4,}[0-9a-f:]+",
            r"(?<!\d)(?<!\d[.,])(?:\d[.,](?!(?:0|84)[35789]\d{8}(?!\d))\d{5,}|\d{1,3}[.,]\d{5,}(?=\s?%))",
            r"(?<!\d)(?:[01]?\d|2[0-3])[:h][0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?!:?\d)",
            r"(?<!\d)(?<!\d\.)(?:[01]?\d|2[0-3])\.[0-5]\d(?:\.[0-5]\d)?(?!\.?\d)",
            rf"(?<!\d){_YEAR}[./-](?:0[1-9]|1[0-2])[./-](?:0[1-9]|[12]\d|3[01])(?!\d)",
            _DAY,
            rf"(?<!\d)(?:0?[1-9]|1[0-2])[./-]{_YEAR}(?!\d)(?![./]\d)",
            rf"(?<!\d)\d\d {_YEAR} \d\d \d\d(?!\d)",
            rf"(?<!\d)0\d{{1,3}}/{_YEAR}(?! ?\d)",
            # Amounts, by their unit.
            rf"{_POINTED.replace('PLACE', 'point')}\s?\(?{_UNIT}",
            rf"{_BLANK}\s?\(?{_UNIT}",
            rf"(?<!\w)(?:VN[DĐÐ]|đ|₫)[:\s]{{0,2}}(?:{_POINTED.replace('PLACE', 'behind')}|{_BLANK})(?!\d)",
        )
    ),
    re.IGNORECASE,
)
_GAP = r"[\W_]{0,5}"
_MOBILE = rf"(?:3{_GAP}[2-9]|5{_GAP}[25689]|7{_GAP}[06-9]|8{_GAP}[1-9]|9{_GAP}\d)(?:{_GAP}\d){{7}}"
_IN_SENTENCES = re.compile(
    rf"{_BEGINS}(?:(?P<begins>[\[(<{{]?(?:(?:(?:00|\+){_GAP})?84{_GAP}0?|0){_GAP})|(?<!\d[.,])){_MOBILE}{_ENDS}"
)
_LIST = re.compile(r"[,;]\s")
_SHORT_GROUP = re.compile(r"(?<!\d)\d{1,2}(?!\d)")
_ROUND = re.compile(r"[1-9]\d{0,2}(?P<between>[., ]?)\d{3}(?:(?P=between)\d{3})*(?P=between)000")
"""An amount without its unit: thousands of VND, as gifts are."""
_DECIMALS = re.compile(r"[.,]\d")
_GROUPS = re.compile(r"\d+(?:[ .,\-\u00b7]\d+){2,8}")
"""How nine digits alone are written: in three groups or more. Two are counts: 98765 - 4321, 52678/9123."""
_LETTERS_FOR_DIGITS = (
    (re.compile(r"o(?=\d)|(?<=\d)o", re.IGNORECASE), "0"),
    (re.compile(r"(?<=\d)[lI](?![^\W\d_])"), "1"),
)


def without_numbers(text: str) -> str:
    """An id or a word of a program, with whatever is shaped like a phone number left out, in digits of any script.

    A sender may make ids of numbers.
    """
    if len(text) < CHARACTERS_MIN:
        return text
    plain = _plain(text)
    if not _MAY_BEGIN.search(plain):
        return text
    return _without([each.span() for each in _IN_IDS.finditer(plain) if each["ours"] is None], text)


def without_numbers_of_people(sentence: str) -> str:
    """What a person typed, with whatever may be a mobile number left out, however it is written.

    Nine digits alone are one too, and letters may stand for digits (o, l). An amount is kept by its unit
    (912345678 VND) or by the noughts at its end, a day or a time by its form.
    """
    if len(sentence) < CHARACTERS_MIN:
        return sentence
    plain = _plain(sentence)
    for letter, digit in _LETTERS_FOR_DIGITS:
        plain = letter.sub(digit, plain)
    plain = _NO_NUMBERS.sub(lambda found: "x" * len(found[0]), plain)
    spans, place = [], 0
    while found := _IN_SENTENCES.search(plain, place):
        if _is_number(found, plain):
            # A count before a number (35 0912 345 678) is none of it.
            behind = _IN_SENTENCES.search(plain, found.start() + 1) if found["begins"] is None else None
            if behind and behind.start() < found.end() and behind["begins"] and _is_number(behind, plain):
                found = behind
            spans.append(found.span())
            place = found.end()
        else:
            place = found.start() + 1
    return _without(spans, sentence)


def digits_of(text: str) -> str:
    """The decimal digits in it, of any script, as 0 to 9."""
    return "".join(sign for sign in _plain(text) if "0" <= sign <= "9")


def _is_number(found: re.Match[str], plain: str) -> bool:
    """Whether what looks like a mobile number is no list of days, and no amount."""
    if _LIST.search(found[0]) and _SHORT_GROUP.search(found[0]):
        return False
    if found["begins"] is None and not _is_bare_number(found[0], plain, found.end()):
        return False
    is_round = _ROUND.fullmatch(found[0])
    return is_round is None or (found["begins"] is not None and is_round["between"] not in (".", ","))


def _is_bare_number(said: str, plain: str, end: int) -> bool:
    if _DECIMALS.match(plain, end):
        return False
    between = {sign for sign in said if not sign.isdigit()}
    return len(between) <= 1 and (said.isdigit() or _GROUPS.fullmatch(said) is not None)


def _without(spans: list[tuple[int, int]], text: str) -> str:
    pieces, end = [], 0
    for begins, ends in spans:
        pieces += [text[end:begins], REDACTED]
        end = ends
    return "".join([*pieces, text[end:]])


def _plain(text: str) -> str:
    return text if text.isascii() else "".join(map(_plain_sign, text))


def _plain_sign(sign: str) -> str:
    """One sign for one: a digit of any script, a blank, a dash or a sign of full width as ASCII has it."""
    digit = unicodedata.digit(sign, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(sign)
    if category in ("Zs", "Cf", "Cc"):
        return " "
    if category == "Pd":
        return "-"
    same = unicodedata.normalize("NFKC", sign)
    return same if len(same) == 1 else sign
