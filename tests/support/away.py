"""Ways to take the database, or the spool's disk, away from a running service, and to see that all came back."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from metrics.invariant import check
from metrics.invariants import INVARIANTS
from tests.support.portal import Portal, eventually
from tests.support.postgres import TestServer

SELECT_IDS = """
SELECT a.code || ' ' || m.native_id AS id FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id
"""


async def readiness(portal: Portal) -> int:
    """The status of its `/readyz`."""
    async with portal.http.get(portal.internal + "/readyz") as answer:
        return answer.status


def processes(server: TestServer) -> list[int]:
    """The postmaster and its children."""
    pid = server.process.pid
    with contextlib.suppress(FileNotFoundError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]
    return []


def signalled(server: TestServer, number: signal.Signals) -> None:
    """Signal every process of the server."""
    for pid in processes(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@asynccontextmanager
async def locked(dsn: str, application: str = "%") -> AsyncIterator[None]:
    """Nobody can connect to the database `dsn` names, and nobody is connected, or of `application` nobody."""
    name = dsn.partition("/app@/")[2] or dsn.rpartition("@/")[2]
    name = name.partition("?")[0]
    admin = await asyncpg.connect(dsn.replace(f"/{name}?", "/postgres?"))
    try:
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE $2",
            name, application,
        )  # fmt: skip
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        await admin.close()


@asynccontextmanager
async def database_away(portal: Portal) -> AsyncIterator[None]:
    """The database refuses connections, and the service has noticed."""

    async def is_noticed() -> bool:
        return portal.service.intake.writer.connected == 0

    async with locked(portal.dsn):
        await eventually(is_noticed)
        yield


def fill_disk(portal: Portal) -> None:
    """From now on SQLite itself says that the spool's disk is full."""
    portal.service.intake.replay.own._file._database.execute("PRAGMA max_page_count = 1")


def free_disk(portal: Portal) -> None:
    """The spool's disk has room again."""
    portal.service.intake.replay.own._file._database.execute("PRAGMA max_page_count = 1000000")


async def replayed(portal: Portal, seconds: float = 20.0) -> None:
    """Wait until the spool is empty."""

    async def is_empty() -> bool:
        return portal.service.intake.replay.records == 0

    await eventually(is_empty, seconds)


async def stored_ids(portal: Portal) -> list[str]:
    """Account and id of every stored message."""
    return sorted(row["id"] for row in await portal.fetch(SELECT_IDS))


async def require_invariants(dsn: str) -> None:
    """Every invariant holds."""
    connection = await asyncpg.connect(dsn)
    try:
        for invariant in INVARIANTS:
            assert await check(connection, invariant) == [], invariant.name
    finally:
        await connection.close()
