"""The book: every route of every campaign, immutable and numbered. A reading is repeated against its version."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from types import MappingProxyType

VIETNAM = timezone(timedelta(hours=7))
"""Asia/Ho_Chi_Minh, which knows no summer time: windows are written, and days begin, in it."""

NO_BLANKS: frozenset[int] = frozenset()


class Grammar(StrEnum):
    """How the amount is written after the keyword; grammar.py has the table."""

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
class Replies:
    """The SMS by which a campaign answers its donors, as templates (replies.py); None: with nothing.

    `hotline` is the number that donors may ring, which fills {hotline}.
    """

    hotline: str | None = None
    reply_thank_you: str | None = None
    reply_wrong_form: str | None = None
    reply_closed: str | None = None


NO_REPLIES = Replies()


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
    replies: Replies = NO_REPLIES

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


@dataclass(frozen=True, slots=True)
class Met:
    """A keyword that a text begins with, and what it belongs to."""

    campaign: Campaign
    route: Route
    keyword: str


class KeywordTable:
    """The keywords of one short code, arranged so that the longest a text begins with is found by look-ups.

    Length counts a keyword without its blanks. A blank of the keyword is optional in the text, a blank that
    it has not is not allowed; so keywords that are equal without their blanks are met by the same text, and
    stand in one group, in file order.
    """

    def __init__(self, routes: Iterable[tuple[Campaign, Route]]) -> None:
        groups: dict[str, list[tuple[frozenset[int], Met]]] = {}
        for campaign, route in routes:
            for keyword in route.keywords:
                entry = (_blank_places(keyword, len(keyword)), Met(campaign, route, keyword))
                groups.setdefault(keyword.replace(" ", ""), []).append(entry)
        self._groups = {compact: tuple(entries) for compact, entries in groups.items()}
        self._lengths = tuple(sorted({len(compact) for compact in groups}, reverse=True))
        # In a folded text no two blanks are neighbours, so this head holds every letter that is looked at.
        self._head_length = 2 * self._lengths[0] if self._lengths else 0

    def longest(self, text: str) -> tuple[list[Met], str]:
        """Every keyword of the greatest length that `text` (folded) begins with, and the rest of the text.

        A keyword that runs on in letters is not met. Empty list: none is met.
        """
        compact = text[: self._head_length].replace(" ", "")
        for length in self._lengths:
            group = self._groups.get(compact[:length])
            if group is None or length > len(compact):
                continue
            # Most texts have no blank this early, and then the places need not be worked out.
            blanks = NO_BLANKS if text.find(" ", 0, length) < 0 else _blank_places(text, length)
            end = length + len(blanks)
            # str.isalpha is true for exactly the Unicode categories L*.
            if text[end : end + 1].isalpha():
                continue
            met = [entry for places, entry in group if blanks <= places]
            if met:
                return met, text[end:].strip(" ")
        return [], text


def _blank_places(text: str, length: int) -> frozenset[int]:
    """After how many letters each blank stands, among the first `length` letters (blanks not counted)."""
    places: list[int] = []
    at = text.find(" ")
    while 0 <= at < length + len(places):
        places.append(at - len(places))
        at = text.find(" ", at + 1)
    return frozenset(places)


class Book:
    """All campaigns of one version. Never changed; a new version is a new book. Version 0 is the empty book."""

    def __init__(
        self,
        version: int,
        campaigns: Iterable[Campaign],
        organisations: Iterable[Organisation] = (),
        withdrawn: Iterable[str] = (),
    ) -> None:
        """`withdrawn`: the slugs of campaigns that an earlier version had and this one has not."""
        self.version = version
        self.withdrawn = frozenset(withdrawn)
        self.campaigns = tuple(campaigns)
        self.organisations = MappingProxyType({each.code: each for each in organisations})
        self.by_slug = MappingProxyType({campaign.slug: campaign for campaign in self.campaigns})
        self.by_id = MappingProxyType({campaign.id: campaign for campaign in self.campaigns})
        routes: dict[str, list[tuple[Campaign, Route]]] = {}
        for campaign in self.campaigns:
            for route in campaign.routes:
                routes.setdefault(route.short_code, []).append((campaign, route))
        self.keywords_by_code = MappingProxyType({code: KeywordTable(found) for code, found in routes.items()})
