"""The lines of the book's history in Vietnamese: they are stored in English, and found again by their sentences."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from campaigns.book.sentences import Sentence, say

LINES = (
    "organisation {code}: added",
    "campaign {slug}: added, {window}",
    "campaign {slug}: withdrawn, {window}",
    "campaign {slug}: corrected, {old} -> {new}",
    "campaign {slug}: decision {number}, {old} -> {new}",
    "campaign {slug}: route {code} {keyword} added ({value})",
    "campaign {slug}: route {code} {keyword} withdrawn ({value})",
    "campaign {slug}: route {code} {keyword} corrected, {old} -> {new}",
    "organisation {code}: {change}",
    "campaign {slug}: {change}",
)
"""Whole lines, those that say more before those that would fit too."""
_WINDOW = ("{opens_at} to {closes_at} ({by})",)
_VALUE = ("{grammar} of {unit}, 1 to {max}", "{grammar} of {unit}")
PARTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "window": _WINDOW,
        "value": _VALUE,
        "old": (*_WINDOW, *_VALUE, "none"),
        "new": (*_WINDOW, *_VALUE, "none"),
        "change": ("{key} {old} -> {new}", "{key} changed"),
        "by": ("decision {number}", "no decision named"),
    }
)
"""What may stand in a place of a line; what is none of these is a name or a number, the same in both languages."""
SHAPES: Mapping[str, str] = MappingProxyType(
    {
        "slug": r"[a-z0-9-]+",
        "code": r"[a-z0-9-]+",
        "key": r"[a-z_]+",
        "number": r".+",
        "grammar": r"[a-z]+",
        "unit": r"[0-9,]+ VND",
        "max": r"[0-9]+",
        "opens_at": r"[0-9T:+-]+",
        "closes_at": r"[0-9T:+-]+",
    }
)
"""Of the letters of some places; elsewhere whatever the sentence leaves."""


def again(line: str) -> str:
    """A stored line with its Vietnamese form; as it is where no sentence of ours says it."""
    return _read(line, LINES)


def _read(text: str, templates: Sequence[str]) -> str:
    for template in templates:
        found = _pattern(template).fullmatch(text)
        if found is not None:
            return say(template, **{name: _part(name, value) for name, value in found.groupdict().items()})
    return text


def _part(name: str, value: str) -> str:
    if name == "unit":
        return Sentence(value, value.replace(",", ".").replace("VND", "đồng"))
    return _read(value, PARTS[name]) if name in PARTS else value


@cache
def _pattern(template: str) -> re.Pattern[str]:
    pieces = re.split(r"{(\w+)}", template)
    shaped = [
        f"(?P<{piece}>{SHAPES.get(piece, '.+?')})" if place % 2 else re.escape(piece)
        for place, piece in enumerate(pieces)
    ]
    return re.compile("".join(shaped), re.DOTALL)
