"""Series at hand: thousands of viewers ask for the same last hour, and the database should hear of it once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime

from campaigns.totals.rollups import Series

SERIES_KEPT_MAX = 256
POINTS_KEPT_MAX = 2_000
"""A longer series is not kept: few ask for it, and it is large."""

Question = tuple[int, str, datetime, datetime]
"""Campaign id, bucket, from, to."""


class SeriesCache:
    """Answers a question again without the database while the campaign's published version is not newer."""

    def __init__(
        self,
        select: Callable[[int, str, datetime, datetime], Awaitable[Series]],
        published_version: Callable[[int], int],
    ) -> None:
        self._select = select
        self._published_version = published_version
        self._kept: OrderedDict[Question, Series] = OrderedDict()
        self._asking: dict[Question, asyncio.Task[Series]] = {}

    async def get(self, campaign_id: int, bucket: str, since: datetime, until: datetime) -> Series:
        """The series, as new as what is published. Raises what the question to the database raises."""
        question = (campaign_id, bucket, since, until)
        wanted = self._published_version(campaign_id)
        kept = self._kept.get(question)
        if kept is not None and kept.version >= wanted:
            self._kept.move_to_end(question)
            return kept
        asking = self._asking.get(question)
        if asking is not None:
            # One viewer that goes away must not take the answer from the others.
            found = await asyncio.shield(asking)
            if found.version >= wanted:
                return found
        asking = asyncio.create_task(self._ask(question))
        self._asking[question] = asking
        asking.add_done_callback(lambda done: self._forget(question, done))
        return await asyncio.shield(asking)

    def _forget(self, question: Question, done: asyncio.Task[Series]) -> None:
        if self._asking.get(question) is done:
            del self._asking[question]
        if not done.cancelled():
            done.exception()  # looked at, in case every viewer has left

    async def _ask(self, question: Question) -> Series:
        series = await self._select(*question)
        if len(series.points) <= POINTS_KEPT_MAX:
            self._kept[question] = series
            self._kept.move_to_end(question)
            while len(self._kept) > SERIES_KEPT_MAX:
                self._kept.popitem(last=False)
        return series
