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
    RouteEntry,
    SourcePosition,
    WithdrawnCampaign,
    WithdrawnRoute,
)
from campaigns.book.apply_tables import (
    AMOUNT_VND_MAX,
    THOUSANDS_UNIT_VND,
    UNITS_MAX,
    CampaignTable,
    OrganisationTable,
    RouteTable,
    WithdrawnCampaignTable,
    WithdrawnRouteTable,
)
from campaigns.book.book import Book, Campaign, Decision, Grammar, Organisation, Replies, Route
from campaigns.book.faults import faults
from campaigns.book.grammar import fold
from campaigns.book.overlap import claims_of, clashes
from campaigns.book.replies import reply_faults
from campaigns.book.sentences import say
from campaigns.book.slips import slip_of
from campaigns.book.toml_headers import Location, has_deep_key, line_of, toml_lines, toml_path

FILE_BYTES_MAX = 1024 * 1024
TABLES_MAX = {"organisation": 1000, "campaign": 1000, "gateway": 1000, "route": 50}


def load(source: Path | str | bytes, name: str | None = None) -> ApplyFile:
    """Read an apply file from a path or from its bytes. Raises ApplyRefused with every problem found."""
    name = name or ("apply file" if isinstance(source, bytes) else str(source))
    try:
        content = source if isinstance(source, bytes) else _content(Path(source))
        text = _decoded(content)
        if has_deep_key(text):
            raise RecursionError
        tables = tomllib.loads(text)
    except _Unreadable as unreadable:
        raise ApplyRefused(name, [ApplyProblem("", None, unreadable.reason)]) from None
    except tomllib.TOMLDecodeError as error:
        raise ApplyRefused(name, [_syntax_problem(str(error), text)]) from None
    except (ValueError, RecursionError):
        # Out of tomllib itself: an integer of thousands of digits, brackets nested without end. Before it: deep keys.
        reason = say("holds a number or a nesting beyond all measure; shorten it")
        raise ApplyRefused(name, [ApplyProblem("", None, reason)]) from None
    reader = _Reader(toml_lines(text))
    file = reader.file(name, hashlib.sha256(content).digest(), tables)
    if reader.problems:
        raise ApplyRefused(name, reader.problems)
    return file


def book_from_file(file: ApplyFile) -> Book:
    """The book `file` describes by itself, version 1, with campaign ids counted from 1 in file order.

    What it withdraws is not in it.
    """
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
            replies=entry.replies,
        )
        for number, entry in enumerate(file.campaigns, start=1)
    )
    return Book(1, campaigns, (entry.organisation for entry in file.organisations))


class _Unreadable(Exception):
    """The file is not text that could be TOML."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        reason = say("cannot be read ({cause}); check the path and its permissions", cause=error.strerror)
        raise _Unreadable(reason) from None


def _decoded(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        reason = say("is larger than {max} bytes; split it: what a file does not name stays", max=FILE_BYTES_MAX)
        raise _Unreadable(reason)
    try:
        # Editors on Windows put a byte order mark in front.
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _Unreadable(say("is not UTF-8 (byte {at}); save it as UTF-8", at=error.start)) from None


def _syntax_problem(message: str, text: str) -> ApplyProblem:
    """tomllib's own words may quote the file, a secret perhaps: only the place is taken from them."""
    place = re.search(r"\(at line (\d+), column (\d+)\)$", message)
    lines = text.split("\n")
    line = int(place[1]) if place else None
    # A header in single brackets is told where a later line contradicts it; the slip is the earlier one.
    at_fault = [*([line] if line else []), *range(1, (line or len(lines)) + 1)]
    for each in at_fault:
        slip = slip_of(lines[each - 1])
        if slip is not None:
            return ApplyProblem("", each, slip)
    if message.startswith("Cannot overwrite a value"):
        return ApplyProblem("", line, say("names a key that the table has already; leave one of the two"))
    if place is None:
        return ApplyProblem("", None, say("is not valid TOML: it ends too early; complete its last line"))
    reason = say("column {column}: is not valid TOML from here; correct the line", column=int(place[2]))
    return ApplyProblem("", line, reason)


Table = TypeVar("Table", bound=BaseModel)
Entry = TypeVar("Entry")


class _Reader:
    """Turns parsed tables into entries, and collects what is wrong with them."""

    def __init__(self, lines: dict[Location, int]) -> None:
        self._lines = lines
        self._keys: dict[Location, dict[str, int]] = {}
        for location, line in lines.items():
            if isinstance(location[-1], str):
                self._keys.setdefault(location[:-1], {})[location[-1]] = line
        self.problems: list[ApplyProblem] = []

    def file(self, name: str, sha256: bytes, tables: dict[str, Any]) -> ApplyFile:
        for key in sorted(tables.keys() - {"organisation", "campaign", "gateway"}):
            self._refuse((key,), say("is not a table of an apply file; use organisation, campaign or gateway"))
        organisations = self._each(("organisation",), tables, self._organisation)
        campaigns: tuple[CampaignEntry | WithdrawnCampaign, ...] = self._each(("campaign",), tables, self._campaign)
        file = ApplyFile(
            name,
            sha256,
            organisations,
            tuple(each for each in campaigns if isinstance(each, CampaignEntry)),
            tuple(each for each in campaigns if isinstance(each, WithdrawnCampaign)),
            self._each(("gateway",), tables, lambda at, raw: GatewayEntry(self._place(at), raw)),
            {key: tables[key] for key in ("organisation", "campaign") if key in tables},
        )
        self._require_once([(each.place, each.organisation.code) for each in file.organisations], "code")
        self._require_once([(each.place, each.slug) for each in campaigns], "slug")
        self.problems.extend(clashes(claims_of(file.campaigns)))
        return file

    def _each(
        self, at: Location, holder: dict[str, Any], read: Callable[[Location, dict[str, Any]], Entry | None]
    ) -> tuple[Entry, ...]:
        key = str(at[-1])
        tables = holder.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._refuse(at, say("must be a list of tables; write its header in double brackets"))
            return ()
        if len(tables) > TABLES_MAX[key]:
            self._refuse(at, say("stands more than {max} times; split the file", max=TABLES_MAX[key]))
            return ()
        entries = [read((*at, position), table) for position, table in enumerate(tables)]
        return tuple(entry for entry in entries if entry is not None)

    def _organisation(self, at: Location, raw: dict[str, Any]) -> OrganisationEntry | None:
        table = self._table(at, raw, OrganisationTable)
        if table is None:
            return None
        return OrganisationEntry(self._place(at), Organisation(table.code, table.name_vi, table.name_en))

    def _campaign(self, at: Location, raw: dict[str, Any]) -> CampaignEntry | WithdrawnCampaign | None:
        own = {key: value for key, value in raw.items() if key != "route"}
        if raw.get("withdrawn") is True:
            withdrawn = self._table(at, own, WithdrawnCampaignTable)
            return WithdrawnCampaign(self._place(at), withdrawn.slug) if withdrawn is not None else None
        table = self._table(at, own, CampaignTable)
        routes = self._each((*at, "route"), raw, self._route)
        if table is None:
            return None
        if table.opens_at >= table.closes_at:
            self._refuse((*at, "closes_at"), say("must be later than opens_at; it is the first instant not counted"))
            return None
        replies = Replies(table.hotline, table.reply_thank_you, table.reply_wrong_form, table.reply_closed)
        for key, reason in reply_faults(replies):
            self._refuse((*at, key), reason)
        return CampaignEntry(
            self._place(at),
            table.slug,
            table.name_vi,
            table.name_en,
            table.category,
            table.organiser,
            table.goal_vnd,
            Decision(table.decision, table.opens_at, table.closes_at),
            tuple(each for each in routes if isinstance(each, RouteEntry)),
            tuple(each for each in routes if isinstance(each, WithdrawnRoute)),
            replies,
        )

    def _route(self, at: Location, raw: dict[str, Any]) -> RouteEntry | WithdrawnRoute | None:
        if raw.get("withdrawn") is True:
            gone = self._table(at, raw, WithdrawnRouteTable)
            if gone is None:
                return None
            return WithdrawnRoute(self._place(at), gone.short_code, tuple(map(fold, gone.keywords)))
        table = self._table(at, raw, RouteTable)
        if table is None:
            return None
        grammar = Grammar(table.grammar)
        limit = UNITS_MAX[grammar]
        unit_vnd, max_units = table.unit_vnd, table.max_units
        if grammar is Grammar.THOUSANDS:
            unit_vnd = unit_vnd or THOUSANDS_UNIT_VND
        if grammar is Grammar.FIXED and (max_units is None or max_units <= limit):
            max_units = 1
        known = len(self.problems)
        if unit_vnd is None:
            self._refuse((*at, "unit_vnd"), say("is required in the grammar {grammar}; add it", grammar=grammar))
        elif grammar is Grammar.THOUSANDS and unit_vnd != THOUSANDS_UNIT_VND:
            reason = say("must be 1_000 in the grammar thousands; correct it or leave it out")
            self._refuse((*at, "unit_vnd"), reason)
        if max_units is None:
            reason = say("is required in the grammar {grammar}; add it, 1 to {max}", grammar=grammar, max=limit)
            self._refuse((*at, "max_units"), reason)
        elif max_units > limit:
            reason = say("must be 1 to {max} in the grammar {grammar}; correct it", grammar=grammar, max=limit)
            self._refuse((*at, "max_units"), reason)
        for position, keyword in enumerate(table.keywords):
            if fold(keyword).endswith(f"GUI {table.short_code}"):
                reason = say("ends in GUI and its own code, which is dropped from every text; name the keyword alone")
                self._refuse((*at, "keywords", position), reason)
        if len(self.problems) > known or unit_vnd is None or max_units is None:
            return None
        if unit_vnd * max_units > AMOUNT_VND_MAX:
            reason = say("times max_units is over {max} VND; lower one of them", max=AMOUNT_VND_MAX)
            self._refuse((*at, "unit_vnd"), reason)
            return None
        route = Route(table.short_code, tuple(map(fold, table.keywords)), grammar, unit_vnd, max_units)
        return RouteEntry(self._place(at), route, tuple(table.keywords))

    def _table(self, at: Location, raw: dict[str, Any], model: type[Table]) -> Table | None:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for place, reason in faults(error):
                self._refuse((*at, *place), reason)
            return None

    def _require_once(self, named: list[tuple[SourcePosition, str]], key: str) -> None:
        first: dict[str, SourcePosition] = {}
        for place, value in named:
            earlier = first.setdefault(value, place)
            if earlier is not place:
                reason = say(
                    "is the same as in {earlier}; give each its own, or join the two tables",
                    earlier=earlier.toml_path,
                )
                self.problems.append(ApplyProblem(f"{place.toml_path}.{key}", place.of(key), reason))

    def _place(self, at: Location) -> SourcePosition:
        keys = self._keys.get(at, {})
        return SourcePosition(toml_path(at), line_of(at, self._lines), keys)

    def _refuse(self, at: Location, reason: str) -> None:
        self.problems.append(ApplyProblem(toml_path(at), line_of(at, self._lines), reason))
