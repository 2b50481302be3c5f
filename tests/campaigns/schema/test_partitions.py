"""Day partitions: made ahead and once, whoever makes them; dropped in time, but never while in use."""

import asyncio
from datetime import date, timedelta

import asyncpg
import pytest

from campaigns.schema.partitions import DAYS_AHEAD, drop_partitions, list_partitions, make_partitions

TODAY = date(2026, 2, 25)
INSERT = "INSERT INTO raw_callback (id, received_on, account_id, sealed) VALUES (gen_random_uuid(), $1, 1, '')"


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
