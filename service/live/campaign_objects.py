"""Campaigns as the API describes them: encoded once for each book and state, however many ask."""

from datetime import datetime

import orjson

from campaigns.book.book import Book, Campaign, CampaignState
from service.listeners.entity import Entity
from service.live.series import rfc3339
from service.runtime.slices import Slices


class CampaignObjects:
    """Those of the newest book that was asked for."""

    def __init__(self) -> None:
        self._version = -1
        self._encoded: dict[tuple[str, CampaignState], Entity] = {}
        self._every: tuple[list[CampaignState], Entity] | None = None

    def one(self, book: Book, campaign: Campaign, now: datetime) -> Entity:
        """The JSON object of a campaign of `book`."""
        return self._encode(book, campaign, campaign.state_at(now))

    async def every(self, book: Book, now: datetime) -> Entity:
        """The JSON object of all campaigns of `book`, in the order they were applied."""
        states = [campaign.state_at(now) for campaign in book.campaigns]
        if book.version == self._version and self._every is not None and self._every[0] == states:
            return self._every[1]
        bodies: list[bytes] = []
        slices = Slices()
        for campaign, state in zip(book.campaigns, states, strict=True):
            bodies += self._encode(book, campaign, state).pieces
            await slices.pause()
        entity = Entity((b'{"campaigns":[', b",".join(bodies), b"]}"), "application/json")
        if book.version == self._version:
            self._every = states, entity
        return entity

    def _encode(self, book: Book, campaign: Campaign, state: CampaignState) -> Entity:
        if book.version > self._version:
            self._version = book.version
            self._encoded.clear()
            self._every = None
        elif book.version < self._version:
            # It was replaced while this one was being encoded.
            return _encoded(campaign, state)
        known = self._encoded.get((campaign.slug, state))
        if known is None:
            known = self._encoded[campaign.slug, state] = _encoded(campaign, state)
        return known


def _encoded(campaign: Campaign, state: CampaignState) -> Entity:
    return Entity((orjson.dumps(describe(campaign, state)),), "application/json")


def describe(campaign: Campaign, state: CampaignState) -> dict[str, object]:
    """A campaign as the contract's JSON object."""
    return {
        "slug": campaign.slug,
        "name_vi": campaign.name_vi,
        "name_en": campaign.name_en or campaign.name_vi,
        "category": campaign.category,
        "organiser": campaign.organiser,
        "state": state.value,
        "opens_at": rfc3339(campaign.opens_at),
        "closes_at": rfc3339(campaign.closes_at),
        "decisions": [
            {"decision": each.number, "opens_at": rfc3339(each.opens_at), "closes_at": rfc3339(each.closes_at)}
            for each in campaign.decisions
        ],
        "routes": [
            {
                "short_code": route.short_code,
                "keywords": list(route.keywords),
                "grammar": route.grammar.value,
                "unit_vnd": route.unit_vnd,
                "max_units": route.max_units,
            }
            for route in campaign.routes
        ],
        "goal_vnd": campaign.goal_vnd,
    }
