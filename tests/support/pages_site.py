"""A small public site over a real board, for the tests of the pages: campaigns, figures and a server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from campaigns.book.book import VIETNAM, Book, Campaign, Decision, Grammar, Organisation, Route
from campaigns.totals.rollups import Point, Series
from campaigns.totals.totals import CampaignTotals, CarrierTotals, UnallocatedTotals
from metrics.board import Board
from metrics.instruments import Instruments
from service.listeners.middleware import errors_as_problems
from service.live import openapi, stream
from service.live import totals_api as api
from service.live.last_hour import LastHour
from service.live.series import SeriesCache
from service.pages import pages

NOW = datetime(2026, 11, 20, 20, 30, 15, tzinfo=VIETNAM)
NOTHING_UNALLOCATED = UnallocatedTotals(1, NOW, (0, 0, 0), 0, 0)

ORGANISATIONS = (
    Organisation("mttq", "Ủy ban Trung ương Mặt trận Tổ quốc Việt Nam", "Vietnam Fatherland Front"),
    Organisation(
        "vava",
        "Hội Nạn nhân chất độc da cam/dioxin Việt Nam",
        "Vietnam Association of Victims of Agent Orange",
    ),
)


async def nothing_moved(_campaign_id: int) -> tuple[()]:
    """No gift was moved between campaigns."""
    return ()


def at(text: str) -> datetime:
    """A time in Vietnam."""
    return datetime.fromisoformat(text).replace(tzinfo=VIETNAM)


POOR = Campaign(
    id=1,
    slug="vi-nguoi-ngheo-2026",
    name_vi="Cả nước chung tay vì người nghèo 2026",
    name_en="Hands together for the poor 2026",
    category="poverty",
    organiser="mttq",
    goal_vnd=5_000_000_000,
    decisions=(
        Decision("3586/BTTTT-KHTC", at("2026-10-17T00:00"), at("2026-12-01T00:00")),
        Decision("4012/BTTTT-KHTC", at("2026-10-17T00:00"), at("2027-01-01T00:00")),
    ),
    routes=(Route("1408", ("VNN",), Grammar.UNITS, 20_000, 100),),
)
ORANGE = Campaign(
    id=2,
    slug="da-cam-2026",
    name_vi="Chung tay xoa dịu nỗi đau da cam năm 2026",
    name_en=None,
    category="agent_orange",
    organiser="vava",
    goal_vnd=None,
    decisions=(Decision(None, at("2026-08-01T00:00"), at("2026-11-15T12:00")),),
    routes=(Route("1409", ("DA CAM", "DACAM", "DC"), Grammar.FIXED, 18_000, 1),),
)
VACCINE = Campaign(
    id=3,
    slug="vac-xin-2027",
    name_vi="Quỹ vắc-xin 2027",
    name_en="Vaccine fund 2027",
    category="epidemic",
    organiser="mttq",
    goal_vnd=None,
    decisions=(Decision("12/QĐ", at("2027-02-01T08:30"), at("2027-03-01T00:00")),),
    routes=(Route("1407", ("COVID",), Grammar.THOUSANDS, 1_000, 2000),),
)
OLD = replace(
    ORANGE,
    id=4,
    slug="da-cam-2023",
    name_vi="Chung tay xoa dịu nỗi đau da cam năm 2023",
    decisions=(Decision(None, at("2023-07-20T00:00"), at("2023-09-20T00:00")),),
)
BOOK = Book(7, (POOR, ORANGE, VACCINE, OLD), ORGANISATIONS)


def totals(campaign: Campaign = POOR, version: int = 1234, scale: int = 1) -> CampaignTotals:
    """Figures whose carriers sum up to the whole, `scale` times 2,000 messages and 4,500 units."""
    shares = tuple(
        CarrierTotals(carrier, messages * scale, units * scale, units * scale * 20_000)
        for carrier, messages, units in (("viettel", 1_200, 3_000), ("mobifone", 799, 1_499), ("unknown", 1, 1))
    )
    return CampaignTotals(
        campaign=campaign.slug,
        campaign_id=campaign.id,
        version=version,
        as_of=NOW.replace(microsecond=987_654),
        messages=sum(share.messages for share in shares),
        units=sum(share.units for share in shares),
        pledged_vnd=sum(share.pledged_vnd for share in shares),
        confirmed_vnd=None,
        received_vnd=None,
        disbursed_vnd=None,
        goal_vnd=campaign.goal_vnd,
        reversed=(0, 0),
        by_carrier=shares,
        uncounted=(12, 0, 1),
    )


def hour(version: int = 1234) -> Series:
    """Forty busy minutes that rise and fall, with the highest at 20:05."""
    points = []
    for minute in range(40):
        start = at("2026-11-20T19:45") + timedelta(minutes=minute)
        messages = 400 - abs(minute - 20) * 19
        points.append(Point(start.astimezone(UTC), messages, messages * 2, messages * 40_000, ()))
    return Series(version, tuple(points))


@dataclass
class Site:
    """What the pages are given, to be changed while they are served."""

    board: Board = field(default_factory=Board)
    book: Book = BOOK
    series: Series | Exception = field(default_factory=hour)
    now: datetime = NOW
    series_reads: int = 0
    public_url: str | None = None
    stream: Handler | None = None
    """Stands in for the real stream where a test needs one that misbehaves."""

    def post(self, *figures: CampaignTotals, seconds_ago: float = 0.0) -> None:
        """Let the board see the database, `seconds_ago`."""
        self.board.post(figures, NOTHING_UNALLOCATED, monotonic() - seconds_ago)

    @asynccontextmanager
    async def being_read(self) -> AsyncIterator[None]:
        """Meanwhile the board sees the database twice a second: a slow browser finds it young when it looks."""

        async def read() -> None:
            while True:
                self.post()
                await asyncio.sleep(0.5)

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    def series_version(self, _campaign_id: int) -> int:
        """What is published: a series of another version is read anew, whoever asked before."""
        return self.series.version if isinstance(self.series, Series) else 0

    async def read_series(self, _question: object) -> AsyncGenerator[Series, None]:
        """The series in one piece, or the failure that stands in its place."""
        self.series_reads += 1
        if isinstance(self.series, Exception):
            raise self.series
        yield self.series

    def application(self) -> web.Application:
        """The public pages with the API and the stream they live on."""

        def book() -> Book:
            return self.book

        def clock() -> datetime:
            return self.now

        instruments = Instruments(CollectorRegistry(), version="0", adapters=(), outcomes=())
        streams = stream.Streams(self.board, book, instruments, clock=clock, viewers_max=50, write_seconds=5)
        people = pages.Pages(self.board, book, LastHour(self.read_series).get, nothing_moved, clock, self.public_url)
        app = web.Application(middlewares=[errors_as_problems, people.lead])
        series = SeriesCache(self.read_series, self.series_version)
        app.add_routes(api.routes(self.board, book, series, nothing_moved, clock, instruments.listeners.count_shed))
        app.add_routes([web.get("/api/v1/stream", self.stream)] if self.stream else stream.routes(streams))
        app.add_routes(openapi.routes(self.public_url))
        app.add_routes(pages.routes(people))

        async def seat(_app: web.Application) -> None:
            streams.start()

        async def let_go(_app: web.Application) -> None:
            streams.end()

        app.on_startup.append(seat)
        app.on_shutdown.append(let_go)
        return app


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[str]:
    """Serve the site on a port of its own; yields its address."""
    server = TestServer(site.application())
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
