"""The desk's first page and its stream: every campaign that somebody may see, with what goes on there right now.

Totals are the board's, as every surface publishes them. What changes is sent as the server's own piece of the
page, so that there is one place where it is written; it is made once for all who see the same.
"""

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from aiohttp import web

from campaigns.book.book import Book, Campaign, CampaignState, Grammar
from campaigns.lifecycle.waiting import WAITING_MAX, Waiting
from campaigns.totals.totals import CARRIERS, CampaignTotals
from service.desk.desk import HEADERS, Desk
from service.desk.door import Row, Visit
from service.desk.forms import Shape
from service.desk.pulse import HERE_MAX, CampaignPace, CarrierPace, Pulse, Spread
from service.desk.roles import Act, Role
from service.web.words import Language, Words

WATCHING_MAX = 200
"""Open streams of the desk on one worker."""
BEAT_SECONDS = 10.0
BEAT = b"event: beat\ndata: {}\n\n"
CLOSED_SHOWN = timedelta(days=31)
CARDS_MAX = 60
SILENT_MIN = 10
"""Messages that a carrier would have brought in five minutes by its usual share: with none of them it is told."""
ORDER = {CampaignState.OPEN: 0, CampaignState.UPCOMING: 1, CampaignState.CLOSED: 2}
NO_PACE = CampaignPace()
STALE_SECONDS = 3.0
PROJECTED_MINUTES_MAX = 100 * 366 * 1440
"""No campaign is open for longer, and no calendar ends before."""


def rows(desk: Desk, pulse: Pulse) -> list[Row]:
    """The addresses of the figures."""
    figures = Figures(desk, pulse)
    return [
        *(Row("GET", path, Act.SEE_FIGURES, figures.front) for path in ("", "/")),
        Row("GET", "/stream", Act.SEE_FIGURES, figures.stream),
    ]


@dataclass(frozen=True, slots=True)
class CarrierLine:
    """A carrier of a campaign: its share of all messages and of the last five minutes, in percent as words."""

    carrier: str
    messages: int
    share: str
    five: int
    share_now: str
    last_minute: datetime | None
    is_silent: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A campaign on the first page; `totals` is None until this worker has seen the database."""

    campaign: Campaign
    name: str
    state: CampaignState
    turns: str
    """When it opens, closes or closed."""
    turns_at: datetime | None
    """What is counted down to; None once it has closed."""
    left: str
    beside: Campaign | None
    """An earlier campaign with one of its keywords, to lay beside it."""
    units: str
    """Mean and spread of units; empty where there is nothing to say."""
    totals: CampaignTotals | None
    pace: CampaignPace
    carriers: tuple[CarrierLine, ...]
    projection: str | None


class Figures:
    """Handlers of the first page and its stream."""

    def __init__(self, desk: Desk, pulse: Pulse) -> None:
        self._desk = desk
        self._pulse = pulse
        self._frames: dict[tuple[Language, tuple[str, ...] | None, bool], tuple[Hashable, bytes]] = {}

    async def front(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk`."""
        del request
        await self._pulse.fresh()
        async with self._desk.borrow() as connection:
            await self._pulse.read_waiting(connection)
        shapes, others = self._shapes(visit)
        return await self._desk.page(
            "desk_front.html", visit, cards=cards_of(self._desk, self._pulse, visit), stale=self._stale(),
            others_of=campaigns_of(self._desk, visit)[CARDS_MAX:], shapes=shapes, others=others,
            has_forms=self._pulse.has_forms, here=self._pulse.here, here_max=HERE_MAX, now=self._desk.clock(),
            waiting=self._waiting(visit), waits_more=self._waits_more(visit),
        )  # fmt: skip

    async def stream(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/stream`: server-sent events `desk`, a JSON object of pieces of the page by their names.

        `event: beat` says at least every BEAT_SECONDS that nothing has changed: a script hears no comments, and whose
        network was lost hears neither. `event: gone` ends it where the session has ended.
        """
        pulse, session = self._pulse, visit.session
        assert session is not None  # noqa: S101 -- the door's
        if pulse.is_ending or len(pulse.watching) >= WATCHING_MAX:
            return web.Response(status=503, headers={**HEADERS, "Retry-After": "5"})
        response = web.StreamResponse(
            headers={**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        key = object()
        pulse.watch(key, session.token_sha256)
        try:
            await response.prepare(request)
            await response.write(b"retry: 2000\n\n")
            await self._follow(response, visit, session.token_sha256)
        except ConnectionError:
            pass  # whoever watched has gone
        finally:
            pulse.unwatch(key)
        return response

    async def _follow(self, response: web.StreamResponse, visit: Visit, token_sha256: bytes) -> None:
        shown: bytes = b""
        while not self._pulse.is_ending:
            if token_sha256 in self._pulse.gone:
                await response.write(b"event: gone\ndata: {}\n\n")
                return
            changed = self._pulse.changed
            frame = await self._frame(visit)
            await response.write(frame if frame != shown else BEAT)
            shown = frame
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await changed.wait()

    async def _frame(self, visit: Visit) -> bytes:
        """The event of this moment, made once for all who see the same in one language."""
        desk, pulse = self._desk, self._pulse
        key = (visit.words.language, visit.organisations, visit.may(Act.SEE_PROPOSALS))
        minute = desk.clock().replace(second=0, microsecond=0)
        state = (desk.board.generation, pulse.generation, desk.book().version, minute, self._stale())
        known = self._frames.get(key)
        if known is None or known[0] != state:
            cards = cards_of(desk, pulse, visit)
            pieces = {
                f"card-{card.campaign.slug}": await desk.fill("desk_card.html", visit, card=card) for card in cards
            }
            shapes, others = self._shapes(visit)
            pieces["forms"] = await desk.fill(
                "desk_forms.html", visit, shapes=shapes, others=others, has_forms=pulse.has_forms
            )
            pieces["here"] = await desk.fill("desk_here.html", visit, here=pulse.here, here_max=HERE_MAX)
            if pulse.waiting is not None:
                pieces["waiting"] = await desk.fill(
                    "desk_waiting.html", visit, waiting=self._waiting(visit), waits_more=self._waits_more(visit)
                )
            pieces["stale"] = visit.words("desk_stale") if self._stale() else ""
            known = self._frames[key] = state, b"event: desk\ndata: %b\n\n" % orjson.dumps(pieces)
        return known[1]

    def _stale(self) -> bool:
        age = self._desk.board.age_seconds
        return age is None or age > STALE_SECONDS

    def _waiting(self, visit: Visit) -> list[Waiting]:
        """What waits and is this person's to see: an emergency is in force, and is told to whoever it is about."""
        sees_all = visit.may(Act.SEE_PROPOSALS)
        return [
            each
            for each in self._pulse.waiting or ()
            if each.is_of(visit.organisations) and (sees_all or each.kind == "emergency")
        ]

    def _waits_more(self, visit: Visit) -> bool:
        """Whether what waits may be more than what was read of it; whoever sees no proposals is told emergencies."""
        return len(self._pulse.waiting or ()) == WAITING_MAX and visit.may(Act.SEE_PROPOSALS)

    def _shapes(self, visit: Visit) -> tuple[list[Shape], int]:
        return shapes_of(self._desk, self._pulse, visit)


def shapes_of(desk: Desk, pulse: Pulse, visit: Visit) -> tuple[list[Shape], int]:
    """The wrong forms that `visit` may see, and how many messages had one that is not told apart."""
    is_manager = visit.person.role is Role.MANAGER
    mine = {each.slug: None for each in desk.book().campaigns if visit.sees(each.organiser)}
    told, others = pulse.forms.most(mine if is_manager else None)
    return list(told), others


def campaigns_of(desk: Desk, visit: Visit) -> list[Campaign]:
    """What `visit` may see: open campaigns first, the one that opened last before the others; closed ones a month."""
    now = desk.clock()
    mine = [
        each for each in desk.book().campaigns if visit.sees(each.organiser) and each.closes_at > now - CLOSED_SHOWN
    ]
    mine.sort(key=lambda each: (ORDER[each.state_at(now)], -each.opens_at.timestamp()))
    return mine


def cards_of(desk: Desk, pulse: Pulse, visit: Visit) -> list[Card]:
    """The cards of `campaigns_of`."""
    return [
        _card(desk, each, pulse.pace.get(each.id, NO_PACE), pulse.spread.get(each.id), visit)
        for each in campaigns_of(desk, visit)[:CARDS_MAX]
    ]


def _card(desk: Desk, campaign: Campaign, pace: CampaignPace, spread: Spread | None, visit: Visit) -> Card:
    now, words = desk.clock(), visit.words
    state = campaign.state_at(now)
    at = words.moment(campaign.opens_at) if state is CampaignState.UPCOMING else words.closing(campaign.closes_at)
    snapshot = desk.board.get(campaign.slug)
    totals = snapshot.totals if snapshot else None
    name = campaign.name_en if words.language is Language.EN and campaign.name_en else campaign.name_vi
    turns_at = {CampaignState.UPCOMING: campaign.opens_at, CampaignState.OPEN: campaign.closes_at}.get(state)
    left = words.left((turns_at - now).total_seconds()) if turns_at else ""
    beside = forerunner(desk.book(), campaign)
    return Card(
        campaign, name, state, words(f"turns_{state}", at=at), turns_at, left,
        beside if beside is not None and visit.sees(beside.organiser) else None,
        _units(campaign, totals, spread, words), totals, pace,
        tuple(lines_of(totals, pace, words)) if totals else (), _projection(campaign, totals, pace, now, words),
    )  # fmt: skip


def forerunner(book: Book, campaign: Campaign) -> Campaign | None:
    """The last campaign that had closed when this one opened, and had one of its keywords on the same code."""
    mine = {(route.short_code, keyword) for route in campaign.routes for keyword in route.keywords}
    earlier = [
        each
        for each in book.campaigns
        if each.closes_at <= campaign.opens_at
        and any((route.short_code, keyword) in mine for route in each.routes for keyword in route.keywords)
    ]
    return max(earlier, key=lambda each: each.closes_at, default=None)


def _units(campaign: Campaign, totals: CampaignTotals | None, spread: Spread | None, words: Words) -> str:
    """Mean and spread; nothing where each message is one unit, or a unit is a thousand dong and no word of donors."""
    if totals is None or totals.messages <= 0 or any(each.grammar is not Grammar.UNITS for each in campaign.routes):
        return ""
    mean = words.tenths(totals.units * 10 // totals.messages)
    if spread is None:
        return words("units_mean", mean=mean)
    return words(
        "units_spread", mean=mean, middle=spread.middle, low=spread.low, high=spread.high,
        messages=words.messages(spread.messages),
    )  # fmt: skip


def lines_of(totals: CampaignTotals, pace: CampaignPace, words: Words) -> list[CarrierLine]:
    """Each carrier that has brought anything: its usual share beside what it brings now."""
    by_carrier = {share.carrier: share.messages for share in totals.by_carrier}
    known = [*CARRIERS, *sorted({*by_carrier, *pace.carriers} - set(CARRIERS))]
    lines = list[CarrierLine]()
    for carrier in (each for each in known if each in by_carrier or each in pace.carriers):
        messages = by_carrier.get(carrier, 0)
        now: CarrierPace | None = pace.carriers.get(carrier)
        five = now.five if now else 0
        usual = pace.five * messages // totals.messages if totals.messages > 0 else 0
        share = words.percent(messages, totals.messages) if totals.messages > 0 else "–"
        share_now = words.percent(five, pace.five) if pace.five > 0 else "–"
        last_minute, is_silent = now.last_minute if now else None, five == 0 and usual >= SILENT_MIN
        lines.append(CarrierLine(carrier, messages, share, five, share_now, last_minute, is_silent))
    return lines


def _projection(
    campaign: Campaign, totals: CampaignTotals | None, pace: CampaignPace, now: datetime, words: Words
) -> str | None:
    at = goal_at(totals, pace, now)
    if at is None:
        return None
    return words("projection_not") if at > campaign.closes_at else words("projection_at", at=words.moment(at))


def goal_at(totals: CampaignTotals | None, pace: CampaignPace, now: datetime) -> datetime | None:
    """When the goal is reached at the pace of the last hour, to the minute; None where that says nothing."""
    if totals is None or not totals.goal_vnd or pace.hour_vnd <= 0 or totals.pledged_vnd >= totals.goal_vnd:
        return None
    minutes = min((totals.goal_vnd - totals.pledged_vnd) * 60 // pace.hour_vnd, PROJECTED_MINUTES_MAX)
    return (now + timedelta(minutes=minutes)).replace(second=0, microsecond=0)
