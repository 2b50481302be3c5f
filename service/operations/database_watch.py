"""What the database says of itself now and then: its size, its sessions, its standbys and how late they are."""

import asyncio

import asyncpg
import structlog

from metrics.families.database import DatabaseFamilies
from service.postgres.database import Database
from service.runtime.logs import describe_failure
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("database")

LOOK_SECONDS = 15.0
BORROW_SECONDS = 5.0
# What belongs to other roles is hidden from an owner without pg_read_all_stats, but not how many sessions there are.
SELECT_SIZE = """
SELECT pg_database_size(current_database()) AS bytes,
       (SELECT sum(numbackends)::bigint FROM pg_stat_database) AS connections,
       current_setting('max_connections')::bigint AS connections_max
"""
# A standby whose state is hidden is still one; who fetches a base backup is none. Who only collects the log for an
# archive may never tell what it has on its disk; of it there is no lag in bytes.
SELECT_STANDBYS = """
SELECT coalesce(sync_state, 'hidden') AS sync_state, count(*) AS standbys,
       extract(epoch FROM coalesce(max(replay_lag), interval '0'))::float8 AS seconds,
       max(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn))::float8 AS bytes
FROM pg_stat_replication
WHERE state IS DISTINCT FROM 'backup'
GROUP BY 1
"""


class DatabaseWatch:
    """One task. While the database cannot be asked there are no figures: old ones would look like new ones."""

    def __init__(self, database: Database, families: DatabaseFamilies) -> None:
        self._database = database
        self._families = families
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = repeat("database_watch", self._look, (LOOK_SECONDS,), self._failed)

    async def stop(self) -> None:
        """Look no more."""
        await cancel_and_wait(self._task)

    async def _look(self) -> None:
        async with self._database.borrow(BORROW_SECONDS) as connection:
            await self.look(connection)

    async def look(self, connection: asyncpg.Connection) -> None:
        """Ask once. Raises what the database says."""
        size = await connection.fetchrow(SELECT_SIZE)
        standbys = await connection.fetch(SELECT_STANDBYS)
        families = self._families
        assert size is not None  # noqa: S101 -- one row, whatever is in it
        families.bytes_now, families.connections_now, families.connections_max_now = size
        families.see_standbys(
            {row["sync_state"]: (row["standbys"], row["seconds"], row["bytes"]) for row in standbys}
        )

    def _failed(self, error: Exception, failures: int) -> None:
        self._families.forget()
        if not failures:
            log.warning("database_not_looked_at", **describe_failure(error))
