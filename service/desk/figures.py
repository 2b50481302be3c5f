"""The desk's first page: the campaigns that somebody may see, with their figures as every surface publishes them."""

from dataclasses import dataclass

from aiohttp import web

from campaigns.book.book import Campaign, CampaignState
from campaigns.totals.totals import CampaignTotals
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.roles import Act
from service.web.words import Language, Words


def rows(desk: Desk) -> list[Row]:
    """The addresses of the figures."""
    figures = Figures(desk)
    return [Row("GET", path, Act.SEE_FIGURES, figures.front) for path in ("", "/")]


@dataclass(frozen=True, slots=True)
class Card:
    """A campaign on the first page; `totals` is None until this worker has seen the database."""

    campaign: Campaign
    name: str
    state: CampaignState
    turns: str
    """When it opens, closes or closed."""
    totals: CampaignTotals | None


class Figures:
    """Handlers of the first page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def front(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk`."""
        del request
        return await self._desk.page("desk_front.html", visit, cards=cards_of(self._desk, visit))


ORDER = {CampaignState.OPEN: 0, CampaignState.UPCOMING: 1, CampaignState.CLOSED: 2}


def cards_of(desk: Desk, visit: Visit) -> list[Card]:
    """What `visit` may see: open campaigns first, the one that opened last before the others."""
    now = desk.clock()
    mine = [each for each in desk.book().campaigns if visit.sees(each.organiser)]
    mine.sort(key=lambda each: (ORDER[each.state_at(now)], -each.opens_at.timestamp()))
    return [_card(desk, each, visit.words) for each in mine]


def _card(desk: Desk, campaign: Campaign, words: Words) -> Card:
    state = campaign.state_at(desk.clock())
    at = words.moment(campaign.opens_at) if state is CampaignState.UPCOMING else words.closing(campaign.closes_at)
    snapshot = desk.board.get(campaign.slug)
    name = campaign.name_en if words.language is Language.EN and campaign.name_en else campaign.name_vi
    return Card(campaign, name, state, words(f"turns_{state}", at=at), snapshot.totals if snapshot else None)
