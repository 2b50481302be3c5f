"""The same question is asked of the database once, until something newer is published."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from campaigns.totals.rollups import Point, Series
from service.live.series import POINTS_KEPT_MAX, SERIES_KEPT_MAX, SeriesCache

SINCE = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=1)


class Ledger:
    """Counts what it is asked, and answers with its version."""

    def __init__(self) -> None:
        self.version = 1
        self.asked = 0
        self.points = 1
        self.fails = False

    async def select(self, _campaign_id: int, _bucket: str, since: datetime, _until: datetime) -> Series:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError
        return Series(self.version, (Point(since, 1, 1, 20_000, ()),) * self.points)


async def test_a_question_is_asked_again_only_when_something_newer_is_published() -> None:
    ledger = Ledger()
    cache = SeriesCache(ledger.select, lambda _campaign: ledger.version)
    first = await cache.get(1, "minute", SINCE, UNTIL)
    assert await cache.get(1, "minute", SINCE, UNTIL) is first
    assert (await cache.get(1, "hour", SINCE, UNTIL), ledger.asked) == (first, 2)
    ledger.version = 2
    assert (await cache.get(1, "minute", SINCE, UNTIL)).version == 2
    assert ledger.asked == 3


async def test_many_at_once_ask_once_and_one_that_leaves_takes_nothing_from_the_others() -> None:
    ledger = Ledger()
    cache = SeriesCache(ledger.select, lambda _campaign: ledger.version)
    viewers = [asyncio.create_task(cache.get(1, "minute", SINCE, UNTIL)) for _ in range(50)]
    await asyncio.sleep(0)
    viewers[0].cancel()
    answers = await asyncio.gather(*viewers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, Series) for answer in answers[1:])
    assert ledger.asked == 1


async def test_a_failure_is_not_kept() -> None:
    ledger = Ledger()
    cache = SeriesCache(ledger.select, lambda _campaign: ledger.version)
    ledger.fails = True
    with pytest.raises(ConnectionError):
        await cache.get(1, "minute", SINCE, UNTIL)
    ledger.fails = False
    assert (await cache.get(1, "minute", SINCE, UNTIL)).version == 1


async def test_it_keeps_a_bounded_number_of_short_series() -> None:
    ledger = Ledger()
    cache = SeriesCache(ledger.select, lambda _campaign: ledger.version)
    for campaign in range(SERIES_KEPT_MAX + 1):
        await cache.get(campaign, "minute", SINCE, UNTIL)
    await cache.get(SERIES_KEPT_MAX, "minute", SINCE, UNTIL)
    assert ledger.asked == SERIES_KEPT_MAX + 1
    await cache.get(0, "minute", SINCE, UNTIL)
    assert ledger.asked == SERIES_KEPT_MAX + 2
    ledger.points = POINTS_KEPT_MAX + 1
    for _ in range(2):
        await cache.get(1, "day", SINCE, UNTIL)
    assert ledger.asked == SERIES_KEPT_MAX + 4
