"""The feed: a figure that cannot be read stops neither the others nor the start."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from metrics.board import Board
from metrics.instruments import Instruments
from service.live.feed import Feed
from tests.support.portal import Portal, eventually, message, running
from tests.support.reports import charge

POISON_SIDE = "UPDATE unallocated_total SET orphan_charges = 9223372036854775807"
POISON_ORPHANS = "UPDATE unallocated_total SET orphan_vnd = 1e30"
POISON_TOTALS = """
INSERT INTO campaign_total (campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd, wrong_syntax,
                            before_open, after_close, as_of)
SELECT 1, 'viettel', slot, 1, 1, 1, 1, 9223372036854775807, 0, 0, 0, now() FROM generate_series(62, 63) AS slot
"""

WAITING_READERS = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'campaign_total'::regclass AND mode = 'AccessShareLock'
"""


async def poisoned(dsn: str, sql: str) -> None:
    """A stored figure becomes one that no sum can hold."""
    connection = await asyncpg.connect(dsn)
    assert await connection.execute(sql) not in ("UPDATE 0", "INSERT 0 0")
    await connection.close()


async def counted(portal: Portal, messages: int) -> None:
    """Wait until the published total holds so many."""

    async def is_shown() -> bool:
        async with portal.http.get(f"{portal.base}/api/v1/campaigns/vnn/totals") as answer:
            return answer.status == 200 and (await answer.json())["messages"] == messages

    await eventually(is_shown)


async def degraded(portal: Portal, words: str) -> None:
    """Wait until readiness says so; callbacks are taken all the while."""

    async def is_told() -> bool:
        async with portal.http.get(portal.internal + "/readyz") as answer:
            assert answer.status == 200
            return words in await answer.text()

    await eventually(is_told)


SIDE = {
    "a count beyond every number": (POISON_SIDE, "what belongs to no campaign cannot be read"),
    "a sum beyond what is shown": (POISON_ORPHANS, "the charges without a message sum up to more"),
}


@pytest.mark.parametrize("label", SIDE)
async def test_a_side_figure_that_cannot_be_read_stops_no_total_and_is_told(
    database_dsn: str, tmp_path: Path, label: str
) -> None:
    poison, words = SIDE[label]
    async with running(database_dsn, tmp_path) as portal:
        await portal.post(charge("succeeded", "c-0", "m-that-never-comes"))
        await poisoned(database_dsn, poison)
        await portal.post(message("m-1"))
        await counted(portal, 1)
        await degraded(portal, words)
    async with running(database_dsn, tmp_path) as portal:
        await portal.post(message("m-2"))
        await counted(portal, 2)
        await degraded(portal, words)
        beside = (await portal.get("/api/v1/totals"))["unallocated"]
        assert beside is None or beside["orphan_charges"]["vnd"] is None


async def test_a_start_that_cannot_read_the_totals_takes_gifts_and_says_so(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await portal.post(message("m-1"))
        await counted(portal, 1)
    await poisoned(database_dsn, POISON_TOTALS)
    async with running(database_dsn, tmp_path) as portal:
        await degraded(portal, "totals are not being read")
        answer = await portal.post(message("m-2"))
        assert (answer.status, answer.outcome) == (200, "accepted")
        await poisoned(database_dsn, "UPDATE campaign_total SET pledged_vnd = 0 WHERE slot >= 62")
        await counted(portal, 4)
        async with portal.http.get(portal.internal + "/readyz") as ready:
            assert "totals are not being read" not in await ready.text()


async def test_a_read_under_way_is_not_called_unread(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal:
        connection = await asyncpg.connect(database_dsn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE campaign_total IN ACCESS EXCLUSIVE MODE")

            async def feed_waits() -> bool:
                return bool(await connection.fetchval(WAITING_READERS))

            await eventually(feed_waits)
            async with portal.http.get(portal.internal + "/readyz") as answer:
                assert "totals are not being read" not in await answer.text()
        await connection.close()


async def test_a_refused_password_is_told_as_a_lost_database_and_not_as_a_bug() -> None:
    is_tried = asyncio.Event()

    async def refused() -> asyncpg.Connection:
        is_tried.set()
        raise asyncpg.InvalidPasswordError('password authentication failed for user "portal"')

    async def nothing() -> None: ...

    async def no_book(_connection: asyncpg.Connection) -> int:
        return 0

    feed = Feed(
        connect=refused,
        ensure=nothing,
        board=Board(),
        instruments=Instruments(CollectorRegistry(), version="0", adapters=(), outcomes=[]),
        reload=no_book,
        inspect=lambda totals, _: list(totals),
        clock=lambda: datetime.now(UTC),
    )
    with capture_logs() as lines:
        feed.start()
        await is_tried.wait()
        await asyncio.sleep(0)  # what was raised is told in the same turn
        await feed.stop()
    assert [(line["event"], line["reason"]) for line in lines[:1]] == [
        ("feed_lost_the_database", "InvalidPasswordError")
    ]
