"""Day partitions of raw_callback: made ahead, made on demand, dropped when their time is over."""

from datetime import UTC, date, datetime, time, timedelta

import asyncpg

from campaigns.schema.ids import least_id
from campaigns.schema.locks import DROP_LOCK, PARTITION_LOCK, if_free

DAYS_AHEAD = 14
DROPPED_MAX = 2
"""At most so many partitions are dropped in one go: a mistake about the time is noticed while nearly all is there."""
_PREFIX = "raw_callback_"

# DDL takes no parameters: format() quotes the name and the dates inside the server.
CREATE_PARTITION = """
SELECT format(
    'CREATE TABLE IF NOT EXISTS %I PARTITION OF raw_callback FOR VALUES FROM (%L) TO (%L)',
    'raw_callback_' || to_char($1::date, 'YYYYMMDD'), $1::date, $1::date + 1
)
"""
DROP_PARTITION = "SELECT format('DROP TABLE IF EXISTS %I', $1::text)"
SELECT_PARTITIONS = """
SELECT c.relname::text AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'raw_callback'::regclass ORDER BY c.relname
"""
HAS_NEWER = "SELECT EXISTS (SELECT FROM raw_callback WHERE received_on = $1 AND id >= $2)"
SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
LOCK_PARTITIONS = "SELECT pg_advisory_xact_lock($1)"


async def make_partitions(connection: asyncpg.Connection, first: date, days: int = DAYS_AHEAD + 1) -> list[str]:
    """Make the partitions of `days` days from `first` that are not there; returns their names."""
    wanted = [first + timedelta(days=offset) for offset in range(days)]
    present = await list_partitions(connection)
    missing = [day for day in wanted if day not in present]
    made = []
    for day in missing:
        async with connection.transaction():
            await connection.execute(LOCK_PARTITIONS, PARTITION_LOCK)
            await connection.execute(await connection.fetchval(CREATE_PARTITION, day))
        made.append(f"{_PREFIX}{day:%Y%m%d}")
    return made


async def list_partitions(connection: asyncpg.Connection) -> dict[date, str]:
    """The day partitions that exist, by day."""
    found = {}
    for row in await connection.fetch(SELECT_PARTITIONS):
        digits = row["name"].removeprefix(_PREFIX)
        found[date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))] = row["name"]
    return found


async def drop_partitions(connection: asyncpg.Connection, before: date) -> list[str]:
    """Drop the partitions of days before `before`, the oldest first and at most DROPPED_MAX of them.

    One that is busy is left for the next time, and one that holds a callback received on `before` or later is kept,
    whatever day it is called by. While a drop waits for its lock intake waits behind it, so that only one process of
    the cluster tries at a time.
    """
    dropped: list[str] = []
    newest = least_id(datetime.combine(before, time.min, UTC))
    async with if_free(connection, DROP_LOCK) as is_ours:
        if not is_ours:
            return dropped
        for day, name in (await list_partitions(connection)).items():
            if day >= before or len(dropped) == DROPPED_MAX:
                break
            if await connection.fetchval(HAS_NEWER, day, newest):
                continue
            try:
                async with connection.transaction():
                    await connection.execute(SET_LOCK_TIMEOUT)
                    await connection.execute(await connection.fetchval(DROP_PARTITION, name))
            except asyncpg.LockNotAvailableError:
                continue
            dropped.append(name)
    return dropped
