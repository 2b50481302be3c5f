"""Series at hand: thousands of viewers ask for the same last hour, and the database should hear of it once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from campaigns.totals.rollups import Bucket, Series, select_series
from metrics.board import Board
from service.catalog.catalog import Catalog
from service.postgres.database import DATABASE_ERRORS, Database, DatabaseAway, is_away

POINTS_MAX = 50_000
SERIES_KEPT_MAX = 256
POINTS_KEPT_MAX = 2_000
"""A longer series is not kept: few ask for it, and it is large."""
HOUR = timedelta(hours=1)
HOUR_FRESH_SECONDS = 5.0
"""However much is published, the last hour of a page is not read more often than this."""
HOUR_WAIT_SECONDS = 1.5
"""A page waits no longer for its last hour than this; the next one finds it read."""

Question = tuple[int, Bucket, datetime, datetime]
"""Campaign id, bucket, from, to."""
SelectSeries = Callable[[int, Bucket, datetime, datetime], Awaitable[Series]]


def selecting(database: Database) -> SelectSeries:
    """Asks `database`. Raises TooManyPoints beyond POINTS_MAX, and DatabaseAway when the database is away."""

    async def select(campaign_id: int, bucket: Bucket, since: datetime, until: datetime) -> Series:
        try:
            async with database.borrow(2) as connection:
                return await select_series(connection, campaign_id, bucket, since, until, POINTS_MAX)
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            raise DatabaseAway("the database is away") from None

    return select


def published_versions(catalog: Catalog, board: Board) -> Callable[[int], int]:
    """The version of a campaign, by its id, that the board shows; 0 where it shows none."""

    def version(campaign_id: int) -> int:
        campaign = catalog.book.by_id.get(campaign_id)
        snapshot = board.get(campaign.slug) if campaign else None
        return snapshot.totals.version if snapshot else 0

    return version


class SeriesCache:
    """Answers a question again without the database while the campaign's published version is not newer."""

    def __init__(self, select: SelectSeries, published_version: Callable[[int], int]) -> None:
        self._select = select
        self._published_version = published_version
        self._kept: OrderedDict[Question, tuple[float, Series]] = OrderedDict()
        self._asking: dict[Question, asyncio.Task[Series]] = {}

    async def get(self, campaign_id: int, bucket: Bucket, since: datetime, until: datetime) -> Series:
        """The series, as new as what is published. Raises what the question to the database raises."""
        question = (campaign_id, bucket, since, until)
        wanted = self._published_version(campaign_id)
        kept = self._look_up(question)
        if kept is not None and kept[1].version >= wanted:
            return kept[1]
        asking = self._asking.get(question)
        if asking is not None:
            # One viewer that goes away must not take the answer from the others.
            found = await asyncio.shield(asking)
            if found.version >= wanted:
                return found
        return await asyncio.shield(self._ask(question))

    async def last_hour(self, campaign_id: int, now: datetime) -> Series | None:
        """The minutes of the hour that ends with the one `now` lies in, some seconds old; None when not had in time.

        A question that takes long is not cancelled: that would break its connection.
        """
        until = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        question: Question = (campaign_id, "minute", until - HOUR, until)
        kept = self._look_up(question)
        if kept is not None and time.monotonic() - kept[0] < HOUR_FRESH_SECONDS:
            return kept[1]
        asking = self._asking.get(question) or self._ask(question)
        await asyncio.wait({asking}, timeout=HOUR_WAIT_SECONDS)
        if not asking.done() or asking.cancelled() or asking.exception() is not None:
            return None
        return asking.result()

    def _look_up(self, question: Question) -> tuple[float, Series] | None:
        kept = self._kept.get(question)
        if kept is not None:
            self._kept.move_to_end(question)
        return kept

    def _ask(self, question: Question) -> "asyncio.Task[Series]":
        asking = asyncio.create_task(self._read(question))
        self._asking[question] = asking
        asking.add_done_callback(lambda done: self._forget(question, done))
        return asking

    def _forget(self, question: Question, done: "asyncio.Task[Series]") -> None:
        if self._asking.get(question) is done:
            del self._asking[question]
        if not done.cancelled():
            done.exception()  # looked at, in case every viewer has left

    async def _read(self, question: Question) -> Series:
        series = await self._select(*question)
        if len(series.points) <= POINTS_KEPT_MAX:
            self._kept[question] = time.monotonic(), series
            self._kept.move_to_end(question)
            while len(self._kept) > SERIES_KEPT_MAX:
                self._kept.popitem(last=False)
        return series
