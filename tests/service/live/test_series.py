"""A series is read and encoded once for all who ask, in slices, few at a time; who comes beyond that is refused."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from campaigns.totals.rollups import Point, Question, Series
from campaigns.totals.totals import CarrierTotals
from service.live import series as series_module
from service.live.series import KEPT_MAX, LONG, EncodedSeries, SeriesBusy, SeriesCache

SINCE = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=1)
HOUR = Question(1, "minute", SINCE, UNTIL)
SHARE = CarrierTotals("viettel", 1, 1, 20_000)


class Ledger:
    """Counts what it is asked, and answers with its version, in pieces of one point."""

    def __init__(self) -> None:
        self.version = 1
        self.asked = 0
        self.points = 1
        self.fails = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self, question: Question) -> AsyncGenerator[Series, None]:
        self.asked += 1
        version = self.version
        await self.may_answer.wait()
        if self.fails:
            raise ConnectionError
        for number in range(self.points):
            yield Series(version, (Point(question.since + timedelta(minutes=number), 1, 1, 20_000, (SHARE,)),))
        yield Series(version, ())


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def cache(ledger: Ledger) -> SeriesCache:
    return SeriesCache(ledger.read, lambda _campaign: ledger.version)


async def get(cache: SeriesCache, question: Question = HOUR) -> EncodedSeries:
    """An answer, as if it had been sent."""
    async with cache.answering("vnn", question) as encoded:
        return encoded


def span(days: int, start: int = 0) -> Question:
    """A question about so many days."""
    since = SINCE + timedelta(minutes=start)
    return Question(1, "minute", since, since + timedelta(days=days))


async def waited_for(ledger: Ledger, asked: int) -> None:
    """Let the tasks run until so many questions came."""
    async with asyncio.timeout(20):
        while ledger.asked < asked:  # noqa: ASYNC110 -- what is waited for is a count, which tells nobody
            await asyncio.sleep(0)


async def test_the_pieces_are_the_contracts_object(ledger: Ledger, cache: SeriesCache) -> None:
    for ledger.points in (0, 1, 3):
        encoded = await get(cache, span(1, ledger.points))
        whole = b"".join(encoded.entity.pieces)
        assert encoded.size == len(whole)
        found = orjson.loads(whole)
        assert list(found) == ["campaign", "version", "bucket", "from", "to", "points"]
        assert [point["at"][11:16] for point in found["points"]] == [f"15:{ledger.points + n:02}" for n in
                                                                     range(ledger.points)]  # fmt: skip
        assert all(point["by_carrier"][0]["carrier"] == "viettel" for point in found["points"])


async def test_a_question_is_asked_again_only_when_something_newer_is_published(
    ledger: Ledger, cache: SeriesCache
) -> None:
    first = await get(cache)
    assert await get(cache) is first
    assert (await get(cache, HOUR._replace(bucket="hour"))) is not first
    ledger.version = 2
    assert (await get(cache)).version == 2
    assert ledger.asked == 3


async def test_a_costly_series_is_given_again_for_a_while_whatever_was_published(
    ledger: Ledger, cache: SeriesCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "COSTLY_SECONDS", 0.0)
    monkeypatch.setattr(series_module, "COSTLY_FRESH_SHARE", 1e6)
    first = await get(cache)
    ledger.version = 2
    assert await get(cache) is first


async def test_many_at_once_ask_once_and_one_that_leaves_takes_nothing_from_the_others(
    ledger: Ledger, cache: SeriesCache
) -> None:
    viewers = [asyncio.create_task(get(cache)) for _ in range(50)]
    await asyncio.sleep(0)
    viewers[0].cancel()
    answers = await asyncio.gather(*viewers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {id(answer) for answer in answers[1:]} == {id(await get(cache))}
    assert ledger.asked == 1


async def test_those_who_wait_while_something_newer_is_published_ask_once_more_together(
    ledger: Ledger, cache: SeriesCache
) -> None:
    ledger.may_answer.clear()
    first = asyncio.create_task(get(cache))
    await waited_for(ledger, 1)
    ledger.version = 2
    later = [asyncio.create_task(get(cache)) for _ in range(10)]
    await asyncio.sleep(0)
    ledger.may_answer.set()
    assert (await first).version == 1
    assert {answer.version for answer in await asyncio.gather(*later)} == {2}
    assert ledger.asked == 2


async def test_a_failure_is_not_kept(ledger: Ledger, cache: SeriesCache) -> None:
    ledger.fails = True
    with pytest.raises(ConnectionError):
        await get(cache)
    ledger.fails = False
    assert (await get(cache)).version == 1


async def test_it_keeps_a_bounded_number(ledger: Ledger, cache: SeriesCache) -> None:
    for campaign in range(KEPT_MAX + 1):
        await get(cache, HOUR._replace(campaign_id=campaign))
    await get(cache, HOUR._replace(campaign_id=KEPT_MAX))
    assert ledger.asked == KEPT_MAX + 1
    await get(cache, HOUR._replace(campaign_id=0))
    assert ledger.asked == KEPT_MAX + 2


async def test_long_ones_are_read_one_at_a_time_and_too_many_are_refused_at_once(
    ledger: Ledger, cache: SeriesCache
) -> None:
    ledger.may_answer.clear()
    asked = [asyncio.create_task(get(cache, span(2, start))) for start in range(LONG.reads + LONG.waiting)]
    await waited_for(ledger, LONG.reads)
    await asyncio.sleep(0)
    assert ledger.asked == LONG.reads, "the others wait for their turn"
    with pytest.raises(SeriesBusy):
        await get(cache, span(2, 99))
    # A short one waits for no long one.
    short = asyncio.create_task(get(cache))
    await waited_for(ledger, LONG.reads + 1)
    ledger.may_answer.set()
    await asyncio.gather(short, *asked)
    assert (await get(cache, span(2, 99))).version == 1


async def test_a_bounded_number_waits_for_a_long_one_or_is_sent_it(ledger: Ledger, cache: SeriesCache) -> None:
    ledger.may_answer.clear()
    asked = [asyncio.create_task(get(cache, span(2))) for _ in range(LONG.answers)]
    await waited_for(ledger, 1)
    with pytest.raises(SeriesBusy):
        await get(cache, span(2))
    ledger.may_answer.set()
    await asyncio.gather(*asked)
    assert ledger.asked == 1
    assert (await get(cache, span(2))).version == 1


async def test_what_is_in_memory_is_bounded_kept_or_being_sent(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "LONG", LONG._replace(memory_bytes=2_000))
    cache = SeriesCache(ledger.read, lambda _campaign: 1)
    ledger.points = 10
    sent: list[EncodedSeries] = []
    while cache.memory_bytes < 2_000:
        sent.append(await get(cache, span(2, len(sent))))
    with pytest.raises(SeriesBusy):
        await get(cache, span(2, len(sent)))
    assert 2_000 <= cache.memory_bytes == sum(each.size for each in sent) < 4_000
    # What nobody holds any more makes room, and so does what is only kept.
    sent.clear()
    gc.collect()
    for start in range(10):
        await get(cache, span(2, 20 + start))
    assert cache.memory_bytes < 4_000
