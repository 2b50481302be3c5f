"""The apply file: organisations, campaigns, routes and gateway accounts as a person writes them in TOML.

Here it is read and judged by itself; what it changes in a book is changes.py, and storing that is
store.py. `[[gateway]]` tables are kept as they are: what they may say is known to the service.
"""

import hashlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from campaigns.book.apply_entries import (
    ApplyFile,
    ApplyProblem,
    ApplyRefused,
    CampaignEntry,
    GatewayEntry,
    OrganisationEntry,
    PreparedGateway,
    RouteEntry,
    SourcePosition,
)
from campaigns.book.apply_tables import (
    AMOUNT_VND_MAX,
    THOUSANDS_UNIT_VND,
    UNITS_MAX,
    CampaignTable,
    OrganisationTable,
    RouteTable,
    sentence,
)
from campaigns.book.book import Book, Campaign, Decision, Grammar, Organisation, Route
from campaigns.book.overlap import claims_of, clashes
from campaigns.book.toml_headers import Location, header_lines, line_of, toml_path

FILE_BYTES_MAX = 1024 * 1024
TABLES_MAX = {"organisation": 1000, "campaign": 1000, "gateway": 1000, "route": 50}

__all__ = [
    "ApplyFile",
    "ApplyProblem",
    "ApplyRefused",
    "CampaignEntry",
    "GatewayEntry",
    "OrganisationEntry",
    "PreparedGateway",
    "RouteEntry",
    "SourcePosition",
    "book_from_file",
    "load",
]


def load(source: Path | str | bytes, name: str | None = None) -> ApplyFile:
    """Read an apply file from a path or from its bytes. Raises ApplyRefused with every problem found."""
    name = name or ("apply file" if isinstance(source, bytes) else str(source))
    try:
        content = source if isinstance(source, bytes) else _content(Path(source))
        text = _decoded(content)
        tables = tomllib.loads(text)
    except _Unreadable as unreadable:
        raise ApplyRefused(name, [ApplyProblem("", None, str(unreadable))]) from None
    except tomllib.TOMLDecodeError as error:
        raise ApplyRefused(name, [_syntax_problem(str(error))]) from None
    except (ValueError, RecursionError):
        # Out of tomllib itself: an integer of thousands of digits, brackets nested without end.
        reason = "holds a number or a nesting beyond all measure; shorten it"
        raise ApplyRefused(name, [ApplyProblem("", None, reason)]) from None
    reader = _Reader(header_lines(text))
    file = reader.file(name, hashlib.sha256(content).digest(), tables)
    if reader.problems:
        raise ApplyRefused(name, reader.problems)
    return file


def book_from_file(file: ApplyFile) -> Book:
    """The book `file` describes by itself, version 1, with campaign ids counted from 1 in file order."""
    campaigns = (
        Campaign(
            id=number,
            slug=entry.slug,
            name_vi=entry.name_vi,
            name_en=entry.name_en,
            category=entry.category,
            organiser=entry.organiser,
            goal_vnd=entry.goal_vnd,
            decisions=(entry.decision,),
            routes=tuple(each.route for each in entry.routes),
        )
        for number, entry in enumerate(file.campaigns, start=1)
    )
    return Book(1, campaigns, (entry.organisation for entry in file.organisations))


class _Unreadable(Exception):
    """The file is not text that could be TOML."""


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _Unreadable(f"cannot be read ({error.strerror}); check the path and its permissions") from None


def _decoded(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise _Unreadable(f"is larger than {FILE_BYTES_MAX} bytes; split it: what a file does not name stays")
    try:
        # Editors on Windows put a byte order mark in front.
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _Unreadable(f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _syntax_problem(message: str) -> ApplyProblem:
    """tomllib's own words may quote the file, a secret perhaps: only the place is taken from them."""
    place = re.search(r"\(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return ApplyProblem("", None, "is not valid TOML: it ends too early; complete its last line")
    return ApplyProblem("", int(place[1]), f"column {place[2]}: is not valid TOML from here; correct the line")


Table = TypeVar("Table", bound=BaseModel)
Entry = TypeVar("Entry")


class _Reader:
    """Turns parsed tables into entries, and collects what is wrong with them."""

    def __init__(self, lines: dict[Location, int]) -> None:
        self._lines = lines
        self.problems: list[ApplyProblem] = []

    def file(self, name: str, sha256: bytes, tables: dict[str, Any]) -> ApplyFile:
        for key in sorted(tables.keys() - {"organisation", "campaign", "gateway"}):
            self._refuse((key,), "is not a table of an apply file; use organisation, campaign or gateway")
        file = ApplyFile(
            name,
            sha256,
            self._each(("organisation",), tables, self._organisation),
            self._each(("campaign",), tables, self._campaign),
            self._each(("gateway",), tables, lambda at, raw: GatewayEntry(self._place(at), raw)),
        )
        self._require_once([(each.place, each.organisation.code) for each in file.organisations], "code")
        self._require_once([(each.place, each.slug) for each in file.campaigns], "slug")
        self.problems.extend(clashes(claims_of(file.campaigns)))
        return file

    def _each(
        self, at: Location, holder: dict[str, Any], read: Callable[[Location, dict[str, Any]], Entry | None]
    ) -> tuple[Entry, ...]:
        key = str(at[-1])
        tables = holder.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._refuse(at, "must be a list of tables; write its header in double brackets")
            return ()
        if len(tables) > TABLES_MAX[key]:
            self._refuse(at, f"stands more than {TABLES_MAX[key]} times; split the file")
            return ()
        entries = [read((*at, position), table) for position, table in enumerate(tables)]
        return tuple(entry for entry in entries if entry is not None)

    def _organisation(self, at: Location, raw: dict[str, Any]) -> OrganisationEntry | None:
        table = self._table(at, raw, OrganisationTable)
        if table is None:
            return None
        return OrganisationEntry(self._place(at), Organisation(table.code, table.name_vi, table.name_en))

    def _campaign(self, at: Location, raw: dict[str, Any]) -> CampaignEntry | None:
        own = {key: value for key, value in raw.items() if key != "route"}
        table = self._table(at, own, CampaignTable)
        routes = self._each((*at, "route"), raw, self._route)
        if table is None:
            return None
        if table.opens_at >= table.closes_at:
            self._refuse((*at, "closes_at"), "must be later than opens_at; it is the first instant not counted")
            return None
        return CampaignEntry(
            self._place(at),
            table.slug,
            table.name_vi,
            table.name_en,
            table.category,
            table.organiser,
            table.goal_vnd,
            Decision(table.decision, table.opens_at, table.closes_at),
            routes,
        )

    def _route(self, at: Location, raw: dict[str, Any]) -> RouteEntry | None:
        table = self._table(at, raw, RouteTable)
        if table is None:
            return None
        known = len(self.problems)
        grammar = Grammar(table.grammar)
        unit_vnd, max_units = table.unit_vnd, table.max_units
        if grammar is Grammar.THOUSANDS:
            unit_vnd = THOUSANDS_UNIT_VND if unit_vnd is None else unit_vnd
            if unit_vnd != THOUSANDS_UNIT_VND:
                self._refuse((*at, "unit_vnd"), "must be 1_000 in the grammar thousands; correct it or leave it out")
        elif unit_vnd is None:
            self._refuse((*at, "unit_vnd"), f"is required in the grammar {grammar}; add it")
        limit = UNITS_MAX[grammar]
        if max_units is None and grammar is not Grammar.FIXED:
            self._refuse((*at, "max_units"), f"is required in the grammar {grammar}; add it, 1 to {limit}")
        elif max_units is not None and max_units > limit:
            self._refuse((*at, "max_units"), f"must be 1 to {limit} in the grammar {grammar}; correct it")
        if grammar is Grammar.FIXED:
            max_units = 1
        if len(self.problems) > known or unit_vnd is None or max_units is None:
            return None
        if unit_vnd * max_units > AMOUNT_VND_MAX:
            self._refuse((*at, "unit_vnd"), f"times max_units is over {AMOUNT_VND_MAX} VND; lower one of them")
            return None
        route = Route(table.short_code, tuple(table.keywords), grammar, unit_vnd, max_units)
        return RouteEntry(self._place(at), route)

    def _table(self, at: Location, raw: dict[str, Any], model: type[Table]) -> Table | None:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for each in error.errors(include_url=False, include_input=False):
                self._refuse((*at, *each["loc"]), sentence(each))
            return None

    def _require_once(self, named: list[tuple[SourcePosition, str]], key: str) -> None:
        first: dict[str, SourcePosition] = {}
        for place, value in named:
            earlier = first.setdefault(value, place)
            if earlier is not place:
                reason = f"is the same as in {earlier.toml_path}; give each its own, or join the two tables"
                self.problems.append(ApplyProblem(f"{place.toml_path}.{key}", place.line, reason))

    def _place(self, at: Location) -> SourcePosition:
        return SourcePosition(toml_path(at), line_of(at, self._lines))

    def _refuse(self, at: Location, reason: str) -> None:
        self.problems.append(ApplyProblem(toml_path(at), line_of(at, self._lines), reason))
