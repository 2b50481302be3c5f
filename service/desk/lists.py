"""The lists that people work, as pages and by API: filters, pages that hold while rows arrive, numbers masked."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
from aiohttp import web
from pydantic import AwareDatetime

from campaigns.book.book import VIETNAM, Book
from campaigns.gifts.listed import ROWS_MAX, WORKLISTS, CursorRefused, Filter, ListedRow, select_page
from service.catalog.account_rows import load_account_rows
from service.desk.api import PAGED, About, Answered, Cursor, query
from service.desk.bodies import unusable
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.roles import Act, Role
from service.listeners.problems import problem
from service.runtime.keyring import Keyring, SealBroken, Sealer
from service.runtime.phone_numbers import without_numbers

PAGE_ROWS = 50
FILTERS = ("account", "reason", "campaign", "since", "until")
FILTER_LETTERS_MAX = 80
DIGITS_SHOWN = 3
"""Of a number, at its end: enough to tell two lines apart, and of no use to find a person."""


class ListedObject(Answered):
    """A row: what came, from where, and why it is here. The number is masked, and no text is told."""

    request: UUID
    received_at: AwareDatetime
    account: str | None
    carrier: str | None
    short_code: str | None
    campaign: str | None
    keyword: str | None
    reason: str
    amount_vnd: int | None
    native_id: str | None
    number: str | None


class ListPage(Answered):
    """Rows, the newest first."""

    rows: list[ListedObject]
    cursor: Cursor


DAY = {"type": "string", "maxLength": 80}
LIST_QUERY = (
    {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": list(WORKLISTS)}},
    query("account", "an account's code", type="string", maxLength=80),
    query("reason", "why it is in the list", type="string", maxLength=80),
    query("campaign", "a campaign's slug", type="string", maxLength=80),
    query("since", "a time (RFC 3339) or a day of Vietnam, inclusive", **DAY),
    query("until", "exclusive; of a day its end", **DAY),
    *PAGED,
)


SAID = {
    "names another message than other notices of its charge": "said_names_another",
    "failed, but another notice of its charge says succeeded": "said_failed_and_succeeded",
    "failed, but its message is counted": "said_failed_but_counted",
    "succeeded, but its message is not counted": "said_succeeded_uncounted",
    "succeeded, but another charge of its message did so too": "said_charged_twice",
    "its amount is not the book's; the book's counts": "said_other_amount",
    "reversals would exceed the gift": "said_too_much_back",
    "total, but it names less than was left": "said_total_of_less",
    "names another message than its charge": "said_charge_of_another",
    "message": "said_message", "charge": "said_charge", "reversal": "said_reversal",
}  # fmt: skip
"""What reviews and conflicts are stored with, by the sentence of the page; anything else is shown as stored."""


class AskedWrongly(Exception):
    """A filter that cannot be used; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def rows(desk: Desk) -> list[Row]:
    """The pages."""
    lists = Lists(desk)
    return [
        Row("GET", "/lists", Act.SEE_LISTS, lists.first),
        Row("GET", "/lists/{name}", Act.SEE_LISTS, lists.show),
    ]


def api_rows(desk: Desk) -> list[Row]:
    """The same as JSON."""
    about = About("getList", "A page of a list that people work", ListPage, LIST_QUERY, None, (404,))
    return [Row("GET", "/lists/{name}", Act.SEE_LISTS, Lists(desk).as_json, about)]


class Lists:
    """Handlers of the lists."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def first(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/lists`: the first list that there is."""
        return await self._show(request, visit, "wrong-syntax")

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/lists/{name}?account=&reason=&campaign=&since=&until=&cursor=`."""
        return await self._show(request, visit, request.match_info["name"])

    async def as_json(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/lists/{name}`: `{"rows": [...], "cursor": next page or null}`."""
        name = request.match_info["name"]
        if name not in names_for(visit):
            return problem(404, "unknown-list", "Unknown list", f"there are: {', '.join(names_for(visit))}")
        try:
            limit = _limit(request.query.get("limit"))
            found, cursor = await self._found(name, self._chosen(name, request, visit), limit, _cursor(request))
        except AskedWrongly as asked:
            return problem(400, "bad-parameter", "Bad parameter", unusable(asked.name), parameter=asked.name)
        return web.json_response({"rows": [_plain(row) for row in found], "cursor": cursor})

    async def _show(self, request: web.Request, visit: Visit, name: str) -> web.StreamResponse:
        if name not in names_for(visit):
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        wrong: str | None = None
        try:
            found, cursor = await self._found(name, self._chosen(name, request, visit), PAGE_ROWS, _cursor(request))
        except AskedWrongly as asked:
            found, cursor, wrong = [], None, asked.name
        query = {key: request.query[key] for key in FILTERS if request.query.get(key)}
        older = f"/desk/lists/{name}?{urlencode({**query, 'cursor': cursor})}" if cursor else None
        campaigns = [each.slug for each in self._desk.book().campaigns if visit.sees(each.organiser)]
        return await self._desk.page(
            "desk_list.html", visit, 400 if wrong else 200, name=name, names=names_for(visit), rows=found,
            older=older, query=query, wrong=wrong, campaigns=campaigns if WORKLISTS[name].is_of_campaigns else (),
            readings=WORKLISTS[name].readings, said=SAID,
        )  # fmt: skip

    def _chosen(self, name: str, request: web.Request, visit: Visit) -> Filter:
        return filter_of(name, request.query, visit, self._desk.book())

    async def _found(
        self, name: str, chosen: Filter, limit: int, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        async with self._desk.borrow() as connection:
            try:
                page = await select_page(connection, name, chosen, limit, cursor)
            except CursorRefused:
                raise AskedWrongly("cursor") from None
            # A mistyped account is not to look like one of which nothing waits.
            if not page.rows and chosen.account is not None:
                known = [each.code for each in await load_account_rows(connection)]
                if chosen.account not in known:
                    raise AskedWrongly("account")
            return await shown(connection, self._desk.keyring, page.rows), page.cursor


def names_for(visit: Visit) -> list[str]:
    """The lists that somebody may see: a manager those of campaigns."""
    is_manager = visit.person.role is Role.MANAGER
    return [name for name, each in WORKLISTS.items() if each.is_of_campaigns or not is_manager]


def filter_of(name_of_list: str, query: Mapping[str, str], visit: Visit, book: Book) -> Filter:
    """The filter that a query names, within what the person may see.

    Raises AskedWrongly, also for a campaign and a reason that no row can have: no rows would say that nobody waits.
    """
    given = {name: query.get(name, "").strip() or None for name in FILTERS}
    for name, value in given.items():
        if value is not None and (len(value) > FILTER_LETTERS_MAX or not value.isprintable()):
            raise AskedWrongly(name)
    campaign = book.by_slug.get(given["campaign"] or "")
    if given["campaign"] and (campaign is None or not visit.sees(campaign.organiser)):
        raise AskedWrongly("campaign")
    readings = WORKLISTS[name_of_list].readings
    if given["reason"] and readings and given["reason"] not in readings:
        raise AskedWrongly("reason")
    since, until = span_of(given)
    organisations = visit.person.organisations if visit.person.role is Role.MANAGER else None
    return Filter(given["account"], given["reason"], given["campaign"], since, until, organisations)


async def shown(
    connection: asyncpg.Connection, keyring: Keyring, listed: Sequence[ListedRow]
) -> list[dict[str, Any]]:
    """Rows as people and programs see them: numbers masked, ids of senders without what is shaped like a number."""
    days: dict[date, Sealer | None] = {}
    for row in listed:
        if row.day is not None and row.day not in days:
            days[row.day] = await keyring.find_day(connection, row.day)
    return [
        {
            "request": row.id, "received_at": row.received_at.astimezone(VIETNAM), "account": row.account,
            "carrier": row.carrier, "short_code": row.short_code, "campaign": row.campaign, "keyword": row.keyword,
            "reason": row.reason, "amount_vnd": row.amount_vnd,
            "native_id": None if row.native_id is None else without_numbers(row.native_id),
            "number": _masked(row, days.get(row.day) if row.day else None),
        }
        for row in listed
    ]  # fmt: skip


def _masked(row: ListedRow, sealer: Sealer | None) -> str | None:
    if sealer is None or row.number_sealed is None:
        return None
    try:
        number = sealer.unseal(bytes(row.number_sealed), b"message_person.msisdn:" + row.id.bytes).decode()
    except SealBroken:
        return None
    return "•" * (len(number) - DIGITS_SHOWN) + number[-DIGITS_SHOWN:]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    at: datetime = row["received_at"]
    return {**row, "request": str(row["request"]), "received_at": at.isoformat()}


def _cursor(request: web.Request) -> str | None:
    return request.query.get("cursor") or None


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_ROWS
    if not re.fullmatch(r"[0-9]{1,3}", given, re.ASCII) or not 1 <= int(given) <= ROWS_MAX:
        raise AskedWrongly("limit")
    return int(given)


def span_of(given: Mapping[str, str | None]) -> tuple[datetime | None, datetime | None]:
    """`since` and `until` of a query. Raises AskedWrongly, also for a span in which nothing can lie.

    An empty answer would say that nothing came.
    """
    since, until = moment_of("since", given["since"]), moment_of("until", given["until"])
    if since is not None and until is not None and since >= until:
        raise AskedWrongly("until")
    return since, until


def moment_of(name: str, given: str | None) -> datetime | None:
    """A time, or a day of Vietnam: of `until` its end. Raises AskedWrongly."""
    if given is None:
        return None
    try:
        # An unescaped + of the zone arrives as a blank.
        at = datetime.fromisoformat(given.replace(" ", "+"))
    except ValueError:
        raise AskedWrongly(name) from None
    if not 2000 <= at.year <= 2100:
        raise AskedWrongly(name)
    at = at if at.tzinfo else at.replace(tzinfo=VIETNAM)
    return at + timedelta(days=1) if name == "until" and len(given) == len("2026-01-01") else at
