"""What the page of a campaign is filled with before the campaign, or a change of it, is public."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from campaigns.book.book import Book, Campaign
from campaigns.gifts.corrections import Correction
from campaigns.totals.rollups import Series
from campaigns.totals.totals import CampaignTotals
from metrics.board import Board
from service.live.corrections import CorrectionsOf
from service.pages.addresses import suffix_of
from service.pages.chart import draw
from service.pages.pages import LastHour
from service.pages.views import campaign_view
from service.web.words import Words


class PagePreview:
    """Fills campaign.html by a book that is not in force. A new campaign has noughts, any other its own figures."""

    def __init__(self, board: Board, last_hour: LastHour, corrections_of: CorrectionsOf) -> None:
        self._board = board
        self._last_hour = last_hour
        self._corrections_of = corrections_of

    async def values(
        self, campaign: Campaign, book: Book, words: Words, now: datetime, *, is_new: bool
    ) -> Mapping[str, Any]:
        """The values of the template at `now`; the page has no address, and so no search engine takes it.

        Raises DatabaseAway.
        """
        series: Series | None
        corrections: tuple[Correction, ...] = ()
        if is_new:
            totals: CampaignTotals | None = _noughts(campaign, now)
            series = Series(0, ())
        else:
            snapshot = self._board.get(campaign.slug)
            totals = replace(snapshot.totals, goal_vnd=campaign.goal_vnd) if snapshot else None
            series = await self._last_hour(campaign.id, now)
            corrections = tuple(await self._corrections_of(campaign.id))
        return {
            "view": campaign_view(campaign, book, totals, words, now, corrections),
            "chart": draw(series, now) if series else None,
            "stale": None, "path": None, "origin": "", "suffix": suffix_of(words.language),
            "book_version": book.version,
        }  # fmt: skip


def _noughts(campaign: Campaign, now: datetime) -> CampaignTotals:
    return CampaignTotals(
        campaign=campaign.slug, campaign_id=campaign.id, version=0, as_of=now, messages=0, units=0, pledged_vnd=0,
        confirmed_vnd=None, received_vnd=None, disbursed_vnd=None, goal_vnd=campaign.goal_vnd, reversed=(0, 0),
        by_carrier=(), uncounted=(0, 0, 0),
    )  # fmt: skip
