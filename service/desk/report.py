"""The closing report of a campaign: one page with what every surface publishes, once the campaign has closed."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
from aiohttp import web

from campaigns.audit.entries import record
from campaigns.book.book import VIETNAM, Book, Campaign, CampaignState, Organisation
from campaigns.gifts.corrections import Correction, select_corrections
from campaigns.totals.rollups import Point, Question, select_totals, series_in_pieces
from campaigns.totals.totals import UNCOUNTED_REASONS, CampaignTotals
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.downloads import headers_of
from service.desk.limits import Room
from service.desk.roles import Act
from service.web.words import Language, Words

if TYPE_CHECKING:
    from service.desk.report_sheet import ReportSheet

BUCKETS: Mapping[str, str] = MappingProxyType({"day": "%d/%m/%Y", "month": "%m/%Y", "year": "%Y"})
"""How a day is called of each, the finest first."""
COLUMNS = 3
SMALL_LINES = 45
"""From so many on they are written smaller."""
DECISIONS_MAX = 4
ROUTES_MAX = 4
MOVED_MAX = 6
"""The newest decisions, the first routes, the newest moves: so much has room beside the days."""
POINTS_MAX = 50_000
WAITING_MAX = 8
"""So many reports are waited for in a worker."""


class Closed(NamedTuple):
    """What a report is made of, of one snapshot of the database."""

    campaign: Campaign
    totals: CampaignTotals
    days: Sequence[Point]
    corrections: Sequence[Correction]


def rows(desk: Desk) -> list[Row]:
    """The address."""
    return [Row("GET", "/campaigns/{slug}/report.pdf", Act.EXPORT_TOTALS, Reports(desk).report)]


class Reports:
    """The handler of closing reports."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._room = Room(WAITING_MAX)
        # The fonts are shared, and read by one place that moves: made at once, sheets get letters of one another.
        self._turn = asyncio.Lock()

    async def report(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/campaigns/{slug}/report.pdf`; 404 as long as the campaign has not closed."""
        now = self._desk.clock()
        campaign = self._desk.book().by_slug.get(request.match_info["slug"])
        if campaign is None or not visit.sees(campaign.organiser) or not is_closed(campaign, now):
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        with self._room.entered():
            content = await self._made(campaign, visit, now)
        return web.Response(body=content, headers=headers_of("application/pdf", f"portal1400-{campaign.slug}.pdf"))

    async def _made(self, campaign: Campaign, visit: Visit, now: datetime) -> bytes:
        async with self._desk.borrow() as connection:
            closed = await select_closed(connection, campaign, now)
            await record(connection, visit.who, "report", campaign.slug, after={"version": closed.totals.version})
        address = f"{self._desk.origin}/c/{campaign.slug}" if self._desk.origin else f"/c/{campaign.slug}"
        async with self._turn:
            return await asyncio.to_thread(report_of, closed, self._desk.book(), visit.words, address)


def is_closed(campaign: Campaign, now: datetime) -> bool:
    """Whether there is a report."""
    return campaign.state_at(now) is CampaignState.CLOSED


async def select_closed(connection: asyncpg.Connection, campaign: Campaign, now: datetime) -> Closed:
    """A campaign's totals, days and corrections. Raises what the database raises."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        (totals,) = [each for each in await select_totals(connection) if each.campaign_id == campaign.id]
        corrections = [each for each in await select_corrections(connection) if each.campaign_id == campaign.id]
        days: list[Point] = []
        # What was given back or moved lies in its own minute: before the opening, long after the closing, or ahead of
        # our clock by a carrier's. The days add up to the totals of the same snapshot.
        question = Question(
            campaign.id, "day", _whole(campaign.opens_at), _whole(now), reaches_back=True, reaches_ahead=True
        )
        async for piece in series_in_pieces(connection, question, POINTS_MAX):
            days += piece.points
    return Closed(campaign, totals, days, corrections)


def report_of(closed: Closed, book: Book, words: Words, address: str) -> bytes:
    """The report as PDF of one page: by day, or where there are too many days, by month or year."""
    # What draws it (ReportLab, Pillow) is loaded here, in a thread, when the first campaign has closed: no start of a
    # worker waits for it.
    from service.desk.report_sheet import ReportSheet, SheetFull

    *finer, last = BUCKETS
    for bucket in finer:
        try:
            return _written(ReportSheet, closed, book, words, address, bucket)
        except SheetFull:
            continue
    return _written(ReportSheet, closed, book, words, address, last)


def _written(make: "type[ReportSheet]", closed: Closed, book: Book, words: Words, address: str, bucket: str) -> bytes:
    """The sheet from head to foot, its days summed up by `bucket`. Raises SheetFull."""
    totals = closed.totals
    sheet = make(f"{words('report_title')}: {_name(closed.campaign, words)}", str(words.language))
    _write_head(sheet, closed.campaign, book, words)
    _write_sum(sheet, totals, words)
    _write_stages(sheet, totals, words)
    _write_carriers(sheet, totals, words)
    _write_corrections(sheet, closed, book, words)
    _write_parts(sheet, closed, words, bucket)
    sheet.foot(
        [
            words("report_foot", as_of=words.as_of(totals.as_of), version=totals.version),
            words("report_address", address=address),
        ]
    )
    return sheet.finished()


def _write_head(sheet: "ReportSheet", campaign: Campaign, book: Book, words: Words) -> None:
    sheet.text(words("report_title"), 9, grey=True)
    sheet.text(_name(campaign, words), 16, bold=True)
    organiser = book.organisations.get(campaign.organiser)
    sheet.text(words("organiser", name=_name(organiser, words) if organiser else campaign.organiser))
    if len(campaign.decisions) > DECISIONS_MAX:
        sheet.text(words("report_decisions_more", count=words.number(len(campaign.decisions) - DECISIONS_MAX)))
    for decision in campaign.decisions[-DECISIONS_MAX:]:
        window = words("window", opens=words.moment(decision.opens_at), closes=words.closing(decision.closes_at))
        sheet.text(f"{words('decisions')} {decision.number or words('decision_unnumbered')}. {window}")
    for route in campaign.routes[:ROUTES_MAX]:
        keywords = ", ".join(route.keywords)
        sheet.text(words("report_route", keywords=keywords, code=route.short_code, unit=words.money(route.unit_vnd)))
    if len(campaign.routes) > ROUTES_MAX:
        sheet.text(words("report_routes_more", count=words.number(len(campaign.routes) - ROUTES_MAX)))


def _write_sum(sheet: "ReportSheet", totals: CampaignTotals, words: Words) -> None:
    sheet.space(5)
    sheet.text(words.money(totals.pledged_vnd), 20, bold=True)
    counted = f"{words.messages(totals.messages)}, {words('report_units', count=words.number(totals.units))}"
    if totals.goal_vnd:
        share = words.percent(totals.pledged_vnd, totals.goal_vnd)
        counted += f"; {words('report_goal', goal=words.money(totals.goal_vnd), percent=share)}"
    sheet.text(counted)
    sheet.text(words("report_pledged"), 8, grey=True)


def _write_stages(sheet: "ReportSheet", totals: CampaignTotals, words: Words) -> None:
    sheet.heading(words("stages"))
    stages = {"confirmed": totals.confirmed_vnd, "received": totals.received_vnd, "disbursed": totals.disbursed_vnd}
    sheet.table(
        [
            [words("stage_pledged"), *(words(f"stage_{each}") for each in stages)],
            [words.money(totals.pledged_vnd), *(words.stage(value) for value in stages.values())],
        ],
        [1, 1, 1, 1],
    )


def _write_carriers(sheet: "ReportSheet", totals: CampaignTotals, words: Words) -> None:
    sheet.heading(words("report_carriers"))
    head = [words("column_carrier"), words("column_messages"), words("column_units"), words("column_pledged_vnd")]
    shares = [
        [words(each.carrier), *map(words.number, (each.messages, each.units, each.pledged_vnd))]
        for each in totals.by_carrier
    ]
    whole = [words("report_sum"), *map(words.number, (totals.messages, totals.units, totals.pledged_vnd))]
    sheet.table([head, *shares, whole], [2, 1, 1, 1.4])


def _write_corrections(sheet: "ReportSheet", closed: Closed, book: Book, words: Words) -> None:
    """What was not counted, given back or moved."""
    sheet.heading(words("report_corrections"))
    messages, vnd = closed.totals.reversed
    reasons = zip(UNCOUNTED_REASONS, closed.totals.uncounted, strict=True)
    sheet.text("; ".join(f"{words(f'reading_{reason}')}: {words.number(count)}" for reason, count in reasons) + ".")
    sheet.text(words("report_reversed", messages=words.messages(messages), amount=words.money(vnd)))
    for each in closed.corrections[-MOVED_MAX:]:
        other = book.by_slug.get(each.other)
        sheet.text(
            words(
                "report_moved", number=each.number, date=words.date(each.at), messages=words.number(each.messages),
                amount=words.money(each.vnd), other=_name(other, words) if other else each.other,
            )
        )  # fmt: skip
    if len(closed.corrections) > MOVED_MAX:
        sheet.text(words("report_moved_more", count=words.number(len(closed.corrections) - MOVED_MAX)))


def _write_parts(sheet: "ReportSheet", closed: Closed, words: Words, bucket: str) -> None:
    days, opened = closed.days, closed.campaign.opens_at.astimezone(VIETNAM).date()
    sheet.heading(words(f"report_by_{bucket}"))
    if any(each.at.astimezone(VIETNAM).date() < opened for each in days):
        sheet.text(words("report_before_opening"), 7, grey=True)
    head = [words("column_at"), words("column_messages"), words("report_vnd")]
    parts = _parts(days, BUCKETS[bucket])
    lines = [[each.label, words.number(each.messages), words.number(each.vnd)] for each in parts]
    sheet.columns(head, lines, COLUMNS, 7.0 if len(lines) > SMALL_LINES else 8.0)


class Part(NamedTuple):
    """A day or a month of the report."""

    label: str
    messages: int
    vnd: int


def _parts(days: Sequence[Point], form: str) -> list[Part]:
    """Days summed up by what `form` (of strftime) leaves of them: the same sum, in fewer lines."""
    parts: dict[str, Part] = {}
    for each in days:
        label = each.at.astimezone(VIETNAM).strftime(form)
        before = parts.get(label, Part(label, 0, 0))
        parts[label] = Part(label, before.messages + each.messages, before.vnd + each.pledged_vnd)
    return list(parts.values())


def _name(named: Campaign | Organisation, words: Words) -> str:
    return (named.name_en if words.language is Language.EN else None) or named.name_vi


def _whole(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
