"""The first page's figures by API: totals as every surface publishes them, and what goes on there right now."""

from typing import Annotated, Literal

import orjson
from aiohttp import web
from pydantic import AwareDatetime, Field

from campaigns.book.book import Campaign
from campaigns.totals.totals import CampaignTotals
from metrics.board import local
from service.desk.api import PAGED, About, Answered, Cursor, bad_parameter, json_answer, limit_of, reading
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.figures import NO_PACE, campaigns_of, goal_at, lines_of, shapes_of
from service.desk.pulse import CampaignPace, Pulse
from service.desk.roles import Act
from service.live.schemas import Totals


class LivePace(Answered):
    """Messages of the last whole minute, of five minutes and of the hour, by message time, and the hour's VND."""

    minute: int
    five_minutes: int
    hour: int
    hour_vnd: int


class LiveCarrier(Answered):
    """A carrier's messages in all and of the last five minutes."""

    carrier: str
    messages: int
    five_minutes: int
    last_minute: Annotated[AwareDatetime | None, Field(description="the last minute of the hour with a message")]
    is_silent: Annotated[bool, Field(description="by its usual share it would have brought ten, and brought none")]


class LiveUnits(Answered):
    """Units of a message among the newest of the last hour: the middle one, and between which 80 % lie."""

    messages: int
    middle: int
    low: int
    high: int


class LiveCampaign(Answered):
    """A campaign as the desk's first page shows it."""

    campaign: str
    state: Literal["upcoming", "open", "closed"]
    opens_at: AwareDatetime
    closes_at: AwareDatetime
    totals: Annotated[Totals | None, Field(description="null until this worker has seen the database")]
    pace: LivePace
    carriers: list[LiveCarrier]
    units: LiveUnits | None
    goal_at: Annotated[
        AwareDatetime | None,
        Field(description="when the goal is reached at the pace of the last hour; null where that says nothing"),
    ]


class LiveForm(Answered):
    """A wrong form of the last hour by its shape, never by its text."""

    short_code: str
    shape: str
    near: Annotated[str | None, Field(description="the keyword that was missed by a letter")]
    campaign: str | None
    messages: int


class LiveFigures(Answered):
    """What the desk's first page shows, its campaigns a page at a time."""

    age_seconds: Annotated[float | None, Field(description="since this worker last saw the database")]
    campaigns: list[LiveCampaign]
    cursor: Cursor
    forms: Annotated[list[LiveForm] | None, Field(description="null where they were not read yet")]
    other_forms: Annotated[int, Field(description="messages whose shape too few others had")]


def api_rows(desk: Desk, pulse: Pulse) -> list[Row]:
    """The address."""

    async def show(request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/figures?limit=&cursor=`: however many ask, the database is asked once a second."""
        campaigns, cursor = _page(request, campaigns_of(desk, visit))
        await pulse.fresh()
        shapes, others = shapes_of(desk, pulse, visit)
        return json_answer(
            {
                "age_seconds": desk.board.age_seconds,
                "campaigns": [_campaign(desk, pulse, each, visit) for each in campaigns],
                "cursor": cursor,
                "forms": [each._asdict() for each in shapes] if pulse.has_forms else None,
                "other_forms": others,
            }
        )

    sentence = "What the desk's first page shows: totals, pace, carriers and wrong forms"
    about = About("getFigures", sentence, LiveFigures, PAGED)
    return [Row("GET", "/figures", Act.SEE_FIGURES, reading(show), about)]


def _page(request: web.Request, campaigns: list[Campaign]) -> tuple[list[Campaign], str | None]:
    """Those behind the campaign that `cursor` names, and the cursor of the next. Raises ActRefused."""
    limit, cursor, start = limit_of(request), request.query.get("cursor"), 0
    if cursor is not None:
        place = next((number for number, each in enumerate(campaigns, 1) if each.slug == cursor), None)
        if place is None:
            # One that has gone from the list says nothing of where to go on.
            raise bad_parameter("cursor")
        start = place
    shown = campaigns[start : start + limit]
    return shown, shown[-1].slug if len(campaigns) > start + limit else None


def _campaign(desk: Desk, pulse: Pulse, campaign: Campaign, visit: Visit) -> dict[str, object]:
    now, snapshot = desk.clock(), desk.board.get(campaign.slug)
    pace, spread = pulse.pace.get(campaign.id, NO_PACE), pulse.spread.get(campaign.id)
    totals = snapshot.totals if snapshot else None
    reached_at = goal_at(totals, pace, now)
    return {
        "campaign": campaign.slug,
        "state": campaign.state_at(now),
        "opens_at": local(campaign.opens_at),
        "closes_at": local(campaign.closes_at),
        # The same bytes as everywhere: equal version, equal bytes.
        "totals": orjson.Fragment(snapshot.body) if snapshot else None,
        "pace": {"minute": pace.minute, "five_minutes": pace.five, "hour": pace.hour, "hour_vnd": pace.hour_vnd},
        "carriers": _carriers(totals, pace, visit) if totals else [],
        "units": spread._asdict() if spread else None,
        "goal_at": local(reached_at) if reached_at is not None and reached_at <= campaign.closes_at else None,
    }


def _carriers(totals: CampaignTotals, pace: CampaignPace, visit: Visit) -> list[dict[str, object]]:
    return [
        {
            "carrier": each.carrier, "messages": each.messages, "five_minutes": each.five,
            "last_minute": local(each.last_minute) if each.last_minute else None, "is_silent": each.is_silent,
        }
        for each in lines_of(totals, pace, visit.words)
    ]  # fmt: skip
