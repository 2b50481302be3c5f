"""The book: every route of every campaign, immutable and numbered. A reading is repeated against its version."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

CATEGORIES = (
    "poverty",
    "storm_flood",
    "drought_salinity",
    "epidemic",
    "fire",
    "incident",
    "agent_orange",
    "sea_islands",
    "children",
    "other",
)


class Grammar(StrEnum):
    """How the amount is written after the keyword; campaigns/grammar.py has the table."""

    FIXED = "fixed"
    UNITS = "units"
    THOUSANDS = "thousands"


class CampaignState(StrEnum):
    """Where a moment lies in a campaign's window."""

    UPCOMING = "upcoming"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Decision:
    """A written decision and the window it orders: `opens_at <= t < closes_at`. `number` may be unknown."""

    number: str | None
    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Route:
    """One way to text a campaign: short code, keywords (folded, in file order), grammar, value of a unit.

    `max_units` is 1 in the grammar `fixed`. `unit_vnd` is integer VND.
    """

    short_code: str
    keywords: tuple[str, ...]
    grammar: Grammar
    unit_vnd: int
    max_units: int


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as one book version knows it. `decisions` are in the order they were recorded, never empty."""

    id: int
    slug: str
    name_vi: str
    name_en: str | None
    category: str
    organiser: str
    goal_vnd: int | None
    decisions: tuple[Decision, ...]
    routes: tuple[Route, ...]

    @property
    def opens_at(self) -> datetime:
        """The first instant that counts, by the newest decision."""
        return self.decisions[-1].opens_at

    @property
    def closes_at(self) -> datetime:
        """The first instant that no longer counts, by the newest decision."""
        return self.decisions[-1].closes_at

    def state_at(self, at: datetime) -> CampaignState:
        """Whether the window is still to come, open or over at `at`."""
        if at < self.opens_at:
            return CampaignState.UPCOMING
        return CampaignState.OPEN if at < self.closes_at else CampaignState.CLOSED


@dataclass(frozen=True, slots=True)
class Organisation:
    """Who organises campaigns."""

    code: str
    name_vi: str
    name_en: str | None


class Book:
    """All campaigns of one version. Never changed; a new version is a new book. Version 0 is the empty book."""

    def __init__(
        self, version: int, campaigns: Iterable[Campaign], organisations: Iterable[Organisation] = ()
    ) -> None:
        self.version = version
        self.campaigns = tuple(campaigns)
        self.organisations = MappingProxyType({each.code: each for each in organisations})
        self.by_slug = MappingProxyType({campaign.slug: campaign for campaign in self.campaigns})
        self.by_id = MappingProxyType({campaign.id: campaign for campaign in self.campaigns})
        routes: dict[str, list[tuple[Campaign, Route]]] = {}
        for campaign in self.campaigns:
            for route in campaign.routes:
                routes.setdefault(route.short_code, []).append((campaign, route))
        self.routes_by_code = MappingProxyType({code: tuple(found) for code, found in routes.items()})
