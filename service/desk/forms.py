"""Wrong forms by their shape and never by their text: what donors typed, with words and digits masked.

A shape keeps the campaign's keyword, the words of money that advertisements use, and punctuation. Every other word
is one box, every digit a 9; a keyword that was missed by one letter is told as near. Shapes of few messages are not
told apart: one of a kind could be read back to a person.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from campaigns.book.book import Book
from campaigns.book.grammar import fold

WORD = "□"
NEAR = "≈"
DIGITS_SHOWN_MAX = 4
PIECES_MAX = 8
SAFE_WORDS = frozenset({"SUAT", "K", "NGHIN", "NGAN", "TRIEU", "TR", "DONG", "D", "VND", "GUI", "UNG", "HO", "SMS"})
"""Words of the amount or the advertisement, folded: they say what is misunderstood, and of nobody who wrote it."""
COUNT_MIN = 3
WINDOW = timedelta(minutes=60)
SHAPES_PER_MINUTE_MAX = 1_000
SHOWN_MAX = 12
_PIECES = re.compile(r"[0-9]+|[^\W\d_]+|[^\w\s]|_")


class Shape(NamedTuple):
    """A shape, on which code, and how many messages of the last hour had it."""

    short_code: str
    shape: str
    near: str | None
    """The keyword that was missed by a letter."""
    campaign: str | None
    """Whose keyword it has or is near to."""
    messages: int


class FormKey(NamedTuple):
    """What is counted together."""

    short_code: str
    shape: str
    near: str | None
    campaign: str | None


def shape_of(short_code: str, text: str, book: Book) -> FormKey:
    """The shape of a text that did not count, and the campaign it was meant for as far as its keyword tells."""
    folded = fold(text)
    table = book.keywords_by_code.get(short_code)
    met, rest = table.longest(folded) if table is not None else ([], folded)
    if met:
        return FormKey(short_code, _joined(met[0].keyword, _masked(rest)), None, met[0].campaign.slug)
    first, _, others = folded.partition(" ")
    near = _nearest(first, short_code, book)
    if near is None:
        return FormKey(short_code, _masked(folded) or "∅", None, None)
    keyword, slug, behind = near
    return FormKey(short_code, _joined(NEAR + keyword, _masked(f"{behind} {others}")), keyword, slug)


def _joined(keyword: str, rest: str) -> str:
    return f"{keyword} {rest}" if rest else keyword


def _masked(text: str) -> str:
    pieces = _PIECES.findall(text)
    shown = [_mask(piece) for piece in pieces[:PIECES_MAX]]
    return " ".join([*shown, "…"] if len(pieces) > PIECES_MAX else shown)


def _mask(piece: str) -> str:
    if piece[0].isdecimal():
        return "9" * len(piece) if len(piece) <= DIGITS_SHOWN_MAX else "9…9"
    return WORD if piece[0].isalpha() and piece not in SAFE_WORDS else piece


def _nearest(word: str, short_code: str, book: Book) -> tuple[str, str, str] | None:
    """The keyword of this code from which the letters of `word` differ by one, its campaign, and what is behind."""
    letters = re.match(r"[^\W\d_]*", word)
    stem = letters[0] if letters else ""
    for campaign in book.campaigns:
        for route in campaign.routes:
            for keyword in route.keywords if route.short_code == short_code else ():
                plain = keyword.replace(" ", "")
                if len(plain) > 1 and is_one_off(stem, plain):
                    return keyword, campaign.slug, word[len(stem) :]
    return None


def is_one_off(one: str, other: str) -> bool:
    """Whether one letter more, less, other, or two neighbours the other way round make them the same."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    if len(one) == len(other):
        is_swap = one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
        return one[start + 1 :] == other[start + 1 :] or is_swap
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer[start + 1 :] == shorter[start:]


class FormCounts:
    """How many messages of the last hour had each shape; counted by the minute in which they were received."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[datetime, Counter[FormKey]]] = deque()

    def add(self, at: datetime, keys: Iterable[FormKey]) -> None:
        """Count messages received at `at`."""
        minute = at.replace(second=0, microsecond=0)
        known = next((counts for since, counts in reversed(self._minutes) if since == minute), None)
        if known is None:
            known = Counter()
            self._minutes.append((minute, known))
        for key in keys:
            if key in known or len(known) < SHAPES_PER_MINUTE_MAX:
                known[key] += 1
            else:
                known[FormKey(key.short_code, "…", None, key.campaign)] += 1

    def forget_before(self, at: datetime) -> None:
        """Let go what was received before."""
        self._minutes = deque((minute, counts) for minute, counts in self._minutes if minute >= at)

    def most(self, campaigns: Mapping[str, object] | None = None) -> tuple[Sequence[Shape], int]:
        """The most frequent shapes, and how many messages had one that is not told apart.

        `campaigns`: only what was meant for one of these.
        """
        whole: Counter[FormKey] = Counter()
        for _, counts in self._minutes:
            whole.update(
                {key: count for key, count in counts.items() if campaigns is None or key.campaign in campaigns}
            )
        told = [Shape(*key, count) for key, count in whole.most_common(SHOWN_MAX) if count >= COUNT_MIN]
        return told, whole.total() - sum(each.messages for each in told)
