"""The audit log and the list of people, for those who may see them."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta

import asyncpg
from aiohttp import web

from campaigns.audit.entries import ACTS, AuditChoice, AuditEntry, each_entry, record, select_entries
from campaigns.book.book import VIETNAM
from campaigns.gifts.exported import Kind
from service.desk.bodies import BodyRefused
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.downloads import headers_of, send
from service.desk.limits import Room
from service.desk.people import PersonRefused, disable_person, select_people
from service.desk.roles import Act
from service.desk.spreadsheets import Csv
from service.web.words import Words

ROWS_MAX = 50
FILTER_LETTERS_MAX = 200
ENTRIES_AT_ONCE = 100
DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
FILTERS = ("who", "act", "subject", "since", "until")
COLUMNS = {
    "id": Kind.COUNT, "recorded_at": Kind.MOMENT, "who": Kind.TEXT, "role": Kind.TEXT, "address": Kind.TEXT,
    "act": Kind.TEXT, "subject": Kind.TEXT, "before": Kind.TEXT, "after": Kind.TEXT, "reason": Kind.TEXT,
}  # fmt: skip


def rows(desk: Desk) -> list[Row]:
    """The addresses of the log and of the people."""
    records = Records(desk)
    return [
        Row("GET", "/audit", Act.SEE_AUDIT, records.audit),
        Row("GET", "/audit.csv", Act.EXPORT_AUDIT, records.export),
        Row("GET", "/people", Act.SEE_PEOPLE, records.people),
        Row("POST", "/people/{login}/disable", Act.MANAGE_PEOPLE, records.disable),
    ]


class Records:
    """Handlers of the log and of the people."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._room = Room(1)

    async def audit(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/audit?who=&act=&subject=&since=&until=&before=`: the newest first, a page at a time."""
        problem, found = None, list[AuditEntry]()
        try:
            choice = choice_of(request.query)
        except BodyRefused:
            problem = "list_wrong"
        else:
            async with self._desk.borrow() as connection:
                found = await select_entries(connection, choice, ROWS_MAX + 1)
        query = {name: value for name, value in request.query.items() if name not in ("before", "lang") and value}
        older = (
            request.rel_url.with_query({**query, "before": str(found[ROWS_MAX - 1].id)})
            if len(found) > ROWS_MAX
            else None
        )
        return await self._desk.page(
            "desk_audit.html", visit, 400 if problem else 200, problem=problem, entries=found[:ROWS_MAX],
            older=older, query=query, acts=acts_in(visit.words),
            export=request.rel_url.with_path("/desk/audit.csv").with_query(query),
        )  # fmt: skip

    async def export(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/audit.csv`: as CSV in UTF-8 with its mark, in flat memory, one at a time. That it was
        taken is recorded."""
        choice = choice_of(request.query)
        headers = headers_of(Csv.media_type, "audit.csv")
        if request.method == "HEAD":
            return web.Response(headers=headers)
        with self._room.entered():
            connection = await self._desk.connect("portal1400 export")
            try:
                asked = {name: request.query[name] for name in (*FILTERS, "before") if request.query.get(name)}
                await record(connection, visit.who, "audit.export", after=asked)
                async with aclosing(_pieces(connection, choice)) as pieces:
                    return await send(request, headers, pieces)
            finally:
                connection.terminate()

    async def people(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/people`."""
        del request
        return await self._people(visit)

    async def disable(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/people/{login}/disable`: with a reason; nobody disables themselves."""
        login, reason = request.match_info["login"], visit.reason
        if not reason:
            return await self._people(visit, 422, "reason_wanted")
        if login == visit.person.login:
            return await self._people(visit, 422, "not_yourself")
        try:
            async with self._desk.borrow() as connection:
                await disable_person(connection, visit.who, login, reason)
        except PersonRefused:
            return await self._people(visit, 404, "nobody")
        return see_other("/desk/people")

    async def _people(self, visit: Visit, status: int = 200, problem: str | None = None) -> web.StreamResponse:
        async with self._desk.borrow() as connection:
            found = await select_people(connection)
        return await self._desk.page("desk_people.html", visit, status, people=found, problem=problem)


def acts_in(words: Words) -> dict[str, str]:
    """Every act of the log by what people call it, in the order in which the log names them."""
    return {act: words(f"audited_{act.replace('.', '_')}") for act in ACTS}


def choice_of(query: Mapping[str, str]) -> AuditChoice:
    """The entries that a query means. Raises BodyRefused: with a filter left out all there is would be shown."""
    asked = {name: value.strip() or None for name, value in query.items()}
    for value in asked.values():
        if value is not None and (len(value) > FILTER_LETTERS_MAX or "\x00" in value):
            raise BodyRefused
    since, until = _day(asked.get("since")), _day(asked.get("until"))
    before = asked.get("before")
    if before and not re.fullmatch(r"[0-9]{1,18}", before, re.ASCII):
        raise BodyRefused
    if since and until and since > until:
        raise BodyRefused
    return AuditChoice(
        asked.get("who"), asked.get("act"), asked.get("subject"), since,
        until + timedelta(days=1) if until else None, int(before) if before else None,
    )  # fmt: skip


def _day(given: str | None) -> datetime | None:
    """The beginning of a day in Vietnam; None where none is asked for. Raises BodyRefused."""
    if not given:
        return None
    # With an hour or another zone it would be another time than the one that was asked for.
    if not DAY.fullmatch(given):
        raise BodyRefused
    try:
        return datetime.fromisoformat(given).replace(tzinfo=VIETNAM)
    except ValueError:
        raise BodyRefused from None


async def _pieces(connection: asyncpg.Connection, choice: AuditChoice) -> AsyncGenerator[bytes, None]:
    sheet = Csv(list(COLUMNS), list(COLUMNS.values()))
    yield sheet.begin()
    entries = list[AuditEntry]()
    async with aclosing(each_entry(connection, choice)) as found:
        async for entry in found:
            entries.append(entry)
            if len(entries) == ENTRIES_AT_ONCE:
                yield sheet.take(entries)
                entries.clear()
    yield sheet.take(entries)
