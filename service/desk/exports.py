"""Exports as CSV or XLSX, by page, API and command: each of one instant, each entered in the audit log."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
from aiohttp import web

from campaigns.audit.entries import Who, record
from campaigns.book.book import VIETNAM, Book
from campaigns.gifts.exported import EXPORTS, FACTS, Choice, rows_in_pieces
from campaigns.totals.totals import UNALLOCATED_REASONS, UNCOUNTED_REASONS
from service.desk.api import About, query
from service.desk.bodies import unusable
from service.desk.desk import HEADERS, Desk
from service.desk.door import Handler, Row, Visit
from service.desk.downloads import headers_of, send
from service.desk.lists import AskedWrongly, span_of
from service.desk.report import is_closed
from service.desk.roles import Act, Role
from service.desk.spreadsheets import Csv, Explanation, Sheet, Xlsx
from service.listeners.problems import problem
from service.web.words import Language, Words

FORMATS = ("csv", "xlsx")
HEADINGS = ("keys", *Language)
"""What stands above the columns: their names as the API has them, or sentences of a language."""
STAGES = ("pledged", "confirmed", "received", "disbursed")
FILES = tuple(each.media_type.partition(";")[0] for each in (Csv, Xlsx))
QUERY = (
    query("format", "what kind of file", type="string", enum=list(FORMATS)),
    query("headings", "the columns' names as the API has them, or a language's", type="string", enum=list(HEADINGS)),
    query("campaign", "a campaign's slug", type="string", maxLength=80),
    query("since", "a time (RFC 3339) or a day of Vietnam, inclusive", type="string", maxLength=80),
    query("until", "exclusive; of a day its end", type="string", maxLength=80),
)
WHOLE = frozenset({"carriers"})
"""Totals of now: of a span there are none, and whoever asks for one would take all there is for it."""
OF_ALL = tuple(each for each in QUERY if each["name"] not in ("since", "until"))
REST_SHARE = 0.5
"""After each piece the making rests for so long a part of what the piece took: callbacks come first."""
BUSY_SECONDS = 60
SLUG = re.compile(r"[a-z0-9-]{1,80}", re.ASCII)


class Asked(NamedTuple):
    """An export as somebody asks for it. `headings` is one of HEADINGS."""

    name: str
    format: str
    headings: str
    choice: Choice

    @property
    def told(self) -> dict[str, Any]:
        """Of the audit log."""
        choice = self.choice
        return {
            "format": self.format,
            "campaign": choice.campaign,
            "since": choice.since and choice.since.isoformat(),
            "until": choice.until and choice.until.isoformat(),
        }

    def file_name(self, at: datetime) -> str:
        """As it is called where it is kept."""
        parts = ["portal1400", self.name, self.choice.campaign, f"{at.astimezone(VIETNAM):%Y%m%d-%H%M%S}"]
        return "-".join(part for part in parts if part) + f".{self.format}"


class Exports:
    """Handlers of exports, one after the other in a worker."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._turn = asyncio.Lock()

    def rows(self) -> list[Row]:
        """The page, and an address for each table."""
        return [Row("GET", "/exports", Act.EXPORT_TOTALS, self.page), *self._files(self._by_page)]

    def api_rows(self) -> list[Row]:
        """The same for programs."""
        return [
            row._replace(
                about=About(
                    f"export{name.title().replace('-', '')}",
                    f"The table {name}, as a file",
                    FILES,
                    OF_ALL if name in WHOLE else QUERY,
                )
            )
            for name, row in zip(EXPORTS, self._files(self._by_api), strict=True)
        ]

    async def page(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/exports`."""
        return await self._page(request, visit)

    def _files(self, made: Any) -> list[Row]:
        return [Row("GET", f"/exports/{name}", act_of(name), made(name)) for name in EXPORTS]

    def _by_page(self, name: str) -> Handler:
        async def answer(request: web.Request, visit: Visit) -> web.StreamResponse:
            try:
                asked = asked_of(name, request.query, visit, str(visit.words.language), self._desk.book())
            except AskedWrongly as wrong:
                is_of_days = name in WHOLE and wrong.name in ("since", "until")
                return await self._page(request, visit, 400, "exports_no_days" if is_of_days else "exports_wrong")
            if self._turn.locked():
                busy = await self._page(request, visit, 503, "exports_busy")
                busy.headers["Retry-After"] = str(BUSY_SECONDS)
                return busy
            return await self._send(request, visit, asked)

        return answer

    def _by_api(self, name: str) -> Handler:
        async def answer(request: web.Request, visit: Visit) -> web.StreamResponse:
            try:
                asked = asked_of(name, request.query, visit, "keys", self._desk.book())
            except AskedWrongly as wrong:
                return problem(400, "bad-parameter", "Bad parameter", unusable(wrong.name), parameter=wrong.name)
            if self._turn.locked():
                busy = problem(503, "busy", "Busy", "another export is being made; try again in a minute")
                busy.headers["Retry-After"] = str(BUSY_SECONDS)
                return busy
            return await self._send(request, visit, asked)

        return answer

    async def _send(self, request: web.Request, visit: Visit, asked: Asked) -> web.StreamResponse:
        now = self._desk.clock()
        words = self._desk.words[_language(asked, visit)]
        sheet = await asyncio.to_thread(sheet_of, asked, words, visit.person.login, now)
        headers = headers_of(sheet.media_type, asked.file_name(now))
        if request.method == "HEAD":
            return web.Response(headers={**HEADERS, **headers})
        async with self._turn:
            connection = await self._desk.connect("portal1400 export")
            try:
                await record(connection, visit.who, "export", asked.name, after=asked.told)
                async with aclosing(pieces_of(connection, asked, sheet)) as pieces:
                    return await send(request, headers, pieces)
            finally:
                connection.terminate()

    async def _page(
        self, request: web.Request, visit: Visit, status: int = 200, problem: str | None = None
    ) -> web.StreamResponse:
        campaigns = [each for each in self._desk.book().campaigns if visit.sees(each.organiser)]
        return await self._desk.page(
            "desk_exports.html", visit, status, names=[name for name in EXPORTS if visit.may(act_of(name))],
            campaigns=campaigns, query=request.query, problem=problem,
            closed=[each for each in campaigns if is_closed(each, self._desk.clock())],
        )  # fmt: skip


def act_of(name: str) -> Act:
    """What taking this table along stands for."""
    return Act.EXPORT_FACTS if name in FACTS else Act.EXPORT_TOTALS


def asked_of(name: str, query: Mapping[str, str], visit: Visit, headings: str, book: Book) -> Asked:
    """An export as a query asks for it, within what the person may see. Raises AskedWrongly."""
    given = {each: query.get(each, "").strip() for each in ("format", "headings", "campaign", "since", "until")}
    chosen, above = given["format"] or "csv", given["headings"] or headings
    if chosen not in FORMATS:
        raise AskedWrongly("format")
    if above not in HEADINGS:
        raise AskedWrongly("headings")
    campaign = book.by_slug.get(given["campaign"])
    if given["campaign"] and (campaign is None or not visit.sees(campaign.organiser)):
        # An empty file would say that nothing was given.
        raise AskedWrongly("campaign")
    since, until = span_of({each: given[each] or None for each in ("since", "until")})
    if name in WHOLE and (since or until):
        raise AskedWrongly("since" if since else "until")
    organisations = visit.person.organisations if visit.person.role is Role.MANAGER else None
    return Asked(name, chosen, above, Choice(given["campaign"] or None, since, until, organisations))


def sheet_of(asked: Asked, words: Words, who: str, at: datetime) -> Sheet:
    """The file in the making, with headings and explanations in the language of `words`."""
    columns = EXPORTS[asked.name].columns
    headings = list(columns) if asked.headings == "keys" else [words(f"column_{each}") for each in columns]
    kinds = list(columns.values())
    if asked.format == "csv":
        return Csv(headings, kinds)
    title = f"export_{asked.name}".replace("-", "_")
    choice = asked.choice
    lines = [
        f"{words(title)}: {words(f'{title}_more')}",
        words("explained_taken", at=words.moment(at), who=who),
        words(
            "explained_choice", campaign=choice.campaign or words("explained_all"),
            since=_bound(words, choice.since), until=_bound(words, choice.until),
        ),
        words("explained_money"), words("explained_pledged"), words("explained_persons"),
    ]  # fmt: skip
    meanings = [words(f"column_{each}_more") for each in columns]
    return Xlsx(
        words(title), headings, kinds, Explanation(words("explained"), lines, meanings, _values(words, columns))
    )


def _values(words: Words, columns: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, str]]:
    values = []
    if "reading" in columns:
        every = ("counted", *UNCOUNTED_REASONS, *UNALLOCATED_REASONS)
        values += [(each, words(f"reading_{each}")) for each in every]
    if "stage" in columns:
        values += [(each, f"{words(f'stage_{each}')}: {words(f'stage_{each}_note')}") for each in STAGES]
    return values


def _bound(words: Words, at: datetime | None) -> str:
    return words("explained_none") if at is None else words.moment(at)


def _language(asked: Asked, visit: Visit) -> Language:
    return visit.words.language if asked.headings == "keys" else Language(asked.headings)


async def pieces_of(
    connection: asyncpg.Connection, asked: Asked, sheet: Sheet, rest_share: float = REST_SHARE
) -> AsyncGenerator[bytes, None]:
    """The file in pieces, made in a thread with rests. Raises what the database raises."""
    yield await asyncio.to_thread(sheet.begin)
    async with aclosing(rows_in_pieces(connection, asked.name, asked.choice)) as found:
        async for rows in found:
            began = time.perf_counter()
            piece = await asyncio.to_thread(sheet.take, rows)
            if piece:
                yield piece
            await asyncio.sleep((time.perf_counter() - began) * rest_share)
    yield await asyncio.to_thread(sheet.end)


async def written(
    connection: asyncpg.Connection, who: Who, asked: Asked, words: Words, at: datetime
) -> AsyncIterator[bytes]:
    """The same for a command, entered in the audit log by `who`. Raises what the database raises."""
    await record(connection, who, "export", asked.name, after=asked.told)
    sheet = sheet_of(asked, words, who.login, at)
    async with aclosing(pieces_of(connection, asked, sheet, rest_share=0.0)) as pieces:
        async for piece in pieces:
            yield piece
