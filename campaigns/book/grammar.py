"""How a donor's text is read: folded, matched against the book, judged. Pure; total over every str.

The rules are the project's contract, "How a text is read". A change of any of them is a new GRAMMAR_VERSION:
a stored message must read the same for ever under the version it was read with.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from campaigns.book.book import Book, Campaign, Grammar, Met, Route

GRAMMAR_VERSION = 1

NO_TIME = timedelta(0)


class ReadingOutcome(StrEnum):
    """What became of a text, in the words of totals and metrics."""

    COUNTED = "counted"
    WRONG_SYNTAX = "wrong_syntax"
    BEFORE_OPEN = "before_open"
    AFTER_CLOSE = "after_close"
    UNKNOWN_KEYWORD = "unknown_keyword"
    UNKNOWN_SHORT_CODE = "unknown_short_code"
    EMPTY_TEXT = "empty_text"


class Reading(NamedTuple):
    """What the grammar made of a text.

    `campaign` is the slug, `keyword` the folded keyword; both and `campaign_id` are None where no keyword was
    met. `units` and `amount_vnd` (integer VND) are None unless counted. `folded` is `fold(text)`, before a
    copied advertisement is dropped.
    """

    outcome: ReadingOutcome
    campaign_id: int | None
    campaign: str | None
    keyword: str | None
    units: int | None
    amount_vnd: int | None
    folded: str
    grammar_version: int


@dataclass(frozen=True, slots=True)
class AmountRule:
    """How the rest after the keyword says a number of units.

    `pattern` has the number as its first group; `units_when_empty` is None where a rest is required.
    `example` is a rest with its units, for the documentation and for the test of the row.
    """

    pattern: re.Pattern[str]
    units_when_empty: int | None
    example: tuple[str, int]


AMOUNT_RULES: dict[Grammar, AmountRule] = {
    Grammar.FIXED: AmountRule(re.compile(r"(?!)"), 1, ("", 1)),
    Grammar.UNITS: AmountRule(re.compile(r"([0-9]{1,4})"), 1, ("5", 5)),
    Grammar.THOUSANDS: AmountRule(re.compile(r"([0-9]{1,5}) ?K"), None, ("50K", 50)),
}


def read(book: Book, short_code: str, text: str, at: datetime) -> Reading:
    """Read `text`, sent to `short_code` at `at` (aware), by `book`. Never raises on any text.

    The verdicts are taken in this order: unknown_short_code, empty_text, unknown_keyword, wrong_syntax,
    before_open or after_close, counted.
    """
    folded = fold(text)
    table = book.keywords_by_code.get(short_code)
    if table is None:
        return _unallocated(ReadingOutcome.UNKNOWN_SHORT_CODE, folded)
    if not folded:
        return _unallocated(ReadingOutcome.EMPTY_TEXT, folded)
    found, rest = table.longest(_without_advertisement(folded, short_code))
    if not found:
        return _unallocated(ReadingOutcome.UNKNOWN_KEYWORD, folded)
    met = found[0] if len(found) == 1 else _meant(found, at)
    campaign = met.campaign
    window = campaign.decisions[-1]
    units = _units(rest, met.route)
    amount_vnd = None
    if units is None:
        outcome = ReadingOutcome.WRONG_SYNTAX
    elif at < window.opens_at:
        outcome, units = ReadingOutcome.BEFORE_OPEN, None
    elif at >= window.closes_at:
        outcome, units = ReadingOutcome.AFTER_CLOSE, None
    else:
        outcome, amount_vnd = ReadingOutcome.COUNTED, units * met.route.unit_vnd
    return Reading(outcome, campaign.id, campaign.slug, met.keyword, units, amount_vnd, folded, GRAMMAR_VERSION)


def fold(text: str) -> str:
    """`text` without what donors' phones add: case, marks, white space, control characters, outer punctuation.

    Folding twice changes nothing more. Lone surrogates and private characters are kept, as the rule names
    neither: they are damage, and damage is not guessed at.
    """
    folded = " ".join(text.translate(FOLDED).split())
    return folded.strip(ASCII_TRIMMED) if folded.isascii() else _trimmed(folded)


def _is_dropped(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "M" or category in ("Cc", "Cf")


def _is_trimmed(character: str) -> bool:
    # Cn too: an emoji newer than Python's tables must read as it will when the tables know it.
    category = unicodedata.category(character)
    return category[0] == "P" or category in ("So", "Sk", "Cn") or character in " <>"


def _folded_character(character: str) -> str:
    if character.isspace():
        return " "
    kept = "".join(each for each in unicodedata.normalize("NFKD", character) if not _is_dropped(each))
    return kept.upper().replace("Đ", "D")


class _FoldedCharacters(dict[int, str]):
    """What each character becomes, ends aside: only marks look at their neighbours, and they go.

    Worked out when met. What Vietnamese is written with is kept, the rest is not, so that no sender can make the
    table grow.
    """

    def __missing__(self, point: int) -> str:
        folded = _folded_character(chr(point))
        if point < KEPT_POINTS:
            self[point] = folded
        return folded


KEPT_POINTS = 0x2000
FOLDED = _FoldedCharacters()
ASCII_TRIMMED = "".join(chr(point) for point in range(128) if _is_trimmed(chr(point)))


def _trimmed(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _is_trimmed(text[start]):
        start += 1
    while start < end and _is_trimmed(text[end - 1]):
        end -= 1
    return text[start:end]


def _without_advertisement(folded: str, short_code: str) -> str:
    """Drop one trailing `GUI <short code>`: donors copy it from the poster."""
    advertisement = f"GUI {short_code}"
    return _trimmed(folded.removesuffix(advertisement)) if folded.endswith(advertisement) else folded


def _meant(found: list[Met], at: datetime) -> Met:
    """The route whose window holds `at`, else the nearest; equally near: the earlier, then file order."""
    return min(found, key=lambda met: (*_remoteness(met.campaign, at), met.campaign.opens_at))


def _remoteness(campaign: Campaign, at: datetime) -> tuple[bool, timedelta]:
    # At the instant of closing a window no longer holds the moment although its distance is nothing: hence two.
    if at < campaign.opens_at:
        return True, campaign.opens_at - at
    if at >= campaign.closes_at:
        return True, at - campaign.closes_at
    return False, NO_TIME


def _units(rest: str, route: Route) -> int | None:
    rule = AMOUNT_RULES[route.grammar]
    if not rest:
        return rule.units_when_empty
    number = rule.pattern.fullmatch(rest)
    if number is None:
        return None
    units = int(number[1])
    return units if 1 <= units <= route.max_units else None


def _unallocated(outcome: ReadingOutcome, folded: str) -> Reading:
    return Reading(outcome, None, None, None, None, None, folded, GRAMMAR_VERSION)
