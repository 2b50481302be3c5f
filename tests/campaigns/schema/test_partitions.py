"""Day partitions: made ahead and once, whoever makes them; dropped in time, but never while in use."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from campaigns.schema.ids import least_id
from campaigns.schema.partitions import DAYS_AHEAD, DROPPED_MAX, drop_partitions, list_partitions, make_partitions
from tests.support.databases import MIGRATED, cloned_database
from tests.support.postgres import TestServer

TODAY = date(2026, 2, 25)
INSERT = "INSERT INTO raw_callback (id, received_on, account_id, sealed) VALUES (gen_random_uuid(), $1, 1, '')"


@pytest.fixture
async def database_dsn(server: TestServer) -> AsyncIterator[str]:
    """A database on which nobody has made a day yet."""
    async with cloned_database(server, MIGRATED) as dsn:
        yield dsn


async def test_today_and_two_weeks_ahead_are_made_once(connection: asyncpg.Connection) -> None:
    made = await make_partitions(connection, TODAY)
    assert (made[0], made[-1], len(made)) == ("raw_callback_20260225", "raw_callback_20260311", DAYS_AHEAD + 1)
    assert await make_partitions(connection, TODAY) == []
    assert await make_partitions(connection, TODAY + timedelta(days=1)) == ["raw_callback_20260312"]
    assert list(await list_partitions(connection)) == [TODAY + timedelta(days=n) for n in range(DAYS_AHEAD + 2)]


async def test_several_at_once_make_the_same_days(database_dsn: str) -> None:
    connections = [await asyncpg.connect(database_dsn) for _ in range(4)]
    made = await asyncio.gather(*(make_partitions(each, TODAY) for each in connections))
    assert len({name for names in made for name in names}) == DAYS_AHEAD + 1
    assert len(await list_partitions(connections[0])) == DAYS_AHEAD + 1
    for each in connections:
        await each.close()


async def test_each_day_has_its_own_partition_and_there_is_none_for_the_rest(connection: asyncpg.Connection) -> None:
    await make_partitions(connection, TODAY, days=2)
    for day in (TODAY, TODAY + timedelta(days=1)):
        await connection.execute(INSERT, day)
    rows = await connection.fetch("SELECT tableoid::regclass::text AS place FROM raw_callback ORDER BY 1")
    assert [row["place"] for row in rows] == ["raw_callback_20260225", "raw_callback_20260226"]
    with pytest.raises(asyncpg.CheckViolationError, match="no partition"):
        await connection.execute(INSERT, TODAY + timedelta(days=2))


async def test_old_days_are_dropped_and_a_busy_one_is_left_for_the_next_time(
    connection: asyncpg.Connection, database_dsn: str
) -> None:
    await make_partitions(connection, TODAY, days=4)
    reader = await asyncpg.connect(database_dsn)
    busy = reader.transaction()
    await busy.start()
    await reader.execute("LOCK TABLE raw_callback_20260225 IN ACCESS SHARE MODE")
    dropped = await drop_partitions(connection, TODAY + timedelta(days=2))
    assert dropped == ["raw_callback_20260226"]
    await busy.rollback()
    await reader.close()
    assert await drop_partitions(connection, TODAY + timedelta(days=2)) == ["raw_callback_20260225"]
    assert list(await list_partitions(connection)) == [TODAY + timedelta(days=n) for n in (2, 3)]


async def test_no_more_than_a_few_days_are_dropped_at_once_the_oldest_first(connection: asyncpg.Connection) -> None:
    await make_partitions(connection, TODAY, days=7)
    before = TODAY + timedelta(days=5)
    counts = [len(await drop_partitions(connection, before)) for _ in range(4)]
    assert counts == [DROPPED_MAX, DROPPED_MAX, 1, 0]
    assert list(await list_partitions(connection)) == [TODAY + timedelta(days=n) for n in (5, 6)]


async def test_a_day_with_a_callback_that_is_newer_than_its_name_is_kept(connection: asyncpg.Connection) -> None:
    await make_partitions(connection, TODAY, days=3)
    at = datetime(2026, 3, 20, tzinfo=UTC)
    for day, received_at in ((TODAY, at - timedelta(days=30)), (TODAY + timedelta(days=1), at)):
        await connection.execute(
            "INSERT INTO raw_callback (id, received_on, account_id, sealed) VALUES ($1, $2, 1, '')",
            least_id(received_at),
            day,
        )
    assert await drop_partitions(connection, at.date()) == ["raw_callback_20260225", "raw_callback_20260227"]
    assert await drop_partitions(connection, at.date()) == []
    assert await drop_partitions(connection, at.date() + timedelta(days=1)) == ["raw_callback_20260226"]
