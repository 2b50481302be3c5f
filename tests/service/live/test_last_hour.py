"""The hour of a page's chart: read once for a crowd, seldom, and never waited for long."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from campaigns.totals.rollups import Point, Question, Series
from service.live import last_hour
from service.live.last_hour import LastHour

NOW = datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC)


async def test_a_crowd_reads_it_once_and_again_when_the_minute_is_over() -> None:
    asked: list[Question] = []

    async def read(question: Question) -> AsyncGenerator[Series, None]:
        asked.append(question)
        for minute in (1, 2):
            yield Series(7, (Point(question.since + timedelta(minutes=minute), 1, 1, 20_000, ()),))

    hours = LastHour(read)
    found = await asyncio.gather(*(hours.get(1, NOW) for _ in range(20)))
    until = NOW.replace(minute=31, second=0)
    assert asked == [Question(1, "minute", until - timedelta(hours=1), until)]
    assert {id(each) for each in found} == {id(await hours.get(1, NOW))}
    assert found[0] is not None
    assert (found[0].version, len(found[0].points)) == (7, 2)
    await hours.get(1, NOW + timedelta(minutes=1))
    await hours.get(2, NOW)
    assert len(asked) == 3


async def test_a_page_does_without_when_it_takes_long_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_hour, "WAIT_SECONDS", 0.01)
    may_answer = asyncio.Event()

    async def read(question: Question) -> AsyncGenerator[Series, None]:
        if question.campaign_id == 2:
            raise ConnectionError
        await may_answer.wait()
        yield Series(7, ())

    hours = LastHour(read)
    assert await hours.get(2, NOW) is None
    assert await hours.get(1, NOW) is None
    may_answer.set()
    await asyncio.sleep(0.01)
    assert await hours.get(1, NOW) == Series(7, ())
