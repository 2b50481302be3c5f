"""What people write that is no TOML: the common slips, each told by its name instead of "not valid"."""

import re
from collections.abc import Callable
from datetime import date

from campaigns.book.sentences import Sentence, say


def _is_no_day(line: str) -> bool:
    """Whether the line holds a date that no calendar has."""
    for year, month, day in re.findall(r"\b(\d{4})-(\d{2})-(\d{2})", line):
        try:
            date(int(year), int(month), int(day))
        except ValueError:
            return True
    return False


def _holds(pattern: str) -> Callable[[str], bool]:
    found = re.compile(pattern)
    return lambda line: found.search(line) is not None


VALUE = r"^[^#\"']*=\s*"
"""A line up to where its value begins."""
DAY = r"=\s*\d{4}-\d{2}-\d{2}[Tt ]"
"""A value up to where its day ends and its time begins."""
SLIPS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (
        _holds("[“”„‟‘’«»]"),
        'holds the curly quotation marks of a word processor; write straight ones, as in "VNN"',
    ),
    (
        _holds(VALUE + r"\d{1,2}[/.-]\d{1,2}[/.-]\d{4}"),
        "holds a date in the order day, month, year; write it as in 2026-11-28T20:07:00+07:00",
    ),
    (
        _holds(VALUE + r"\d{1,3}(?:\.\d{3}){2,}"),
        "holds a number with points; write it with _ or with nothing between, as in 1_500_000_000",
    ),
    (
        _holds(VALUE + r"\d{1,3}(?:,\d{3})+"),
        "holds a number with commas; write it with _ or with nothing between, as in 1_500_000_000",
    ),
    (
        _holds(DAY + "24:"),
        "holds the time 24:00; write 00:00 of the next day, which is the first instant that no longer counts",
    ),
    (
        # Without its seconds; with a blank before the zone; with a zone that has no colon, or no minutes.
        _holds(DAY + r"(?=\d)(?!\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)?\s*(?:[,}\]#]|$))"),
        "holds a time of another form; write it whole, as in 2026-11-28T20:07:00+07:00",
    ),
    (_is_no_day, "holds a day that its month does not have; correct it"),
    (
        _holds(VALUE + r"\[\s*[^\W\d]"),
        'holds text without quotes; put each in quotes, as in keywords = ["UH", "UNG HO"]',
    ),
    (
        _holds(r"^\s*\[\s*(?:organisation|campaign|campaign\s*\.\s*route|gateway)\s*\]"),
        "has single brackets; a header is written in double ones, as in [[campaign]]",
    ),
)
"""Whether a line has the slip, and what to do. The first that fits is told. No sentence quotes the file."""


def slip_of(line: str) -> Sentence | None:
    """Which of the common slips `line` has, in a sentence."""
    return next((say(sentence) for is_made, sentence in SLIPS if is_made(line)), None)
