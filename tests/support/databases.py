"""A fresh migrated database for each test, cloned from a template."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg

from campaigns.schema.migrate import migrate
from campaigns.schema.partitions import make_partitions
from tests.support.postgres import TestServer

MIGRATED = "migrated_template"
TEMPLATE = "portal_template"
"""The same with the days that a start would make first of all, on which no test waits."""


async def make_template(server: TestServer) -> None:
    """The migrated databases that every test's own is cloned from."""
    await _make(server, MIGRATED, "", migrate)
    await _make(server, TEMPLATE, f"TEMPLATE {MIGRATED}", _make_days)


async def _make_days(connection: asyncpg.Connection) -> None:
    await make_partitions(connection, datetime.now(UTC).date())


async def _make(
    server: TestServer, name: str, made_by: str, fill: Callable[[asyncpg.Connection], Awaitable[object]]
) -> None:
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {name} {made_by}")
    await admin.close()
    connection = await asyncpg.connect(server.dsn(name))
    await fill(connection)
    await connection.close()


def cloned_database(server: TestServer, template: str = TEMPLATE) -> AbstractAsyncContextManager[str]:
    """A fresh migrated database; yields its DSN and drops it afterwards. MIGRATED: nobody ever started on it."""
    return empty_database(server, f"TEMPLATE {template} STRATEGY file_copy")


def copied_database(server: TestServer, like: str) -> AbstractAsyncContextManager[str]:
    """A database with all that the one of the DSN `like` holds, to which nobody may be connected meanwhile."""
    return cloned_database(server, urlsplit(like).path.removeprefix("/"))


@asynccontextmanager
async def empty_database(server: TestServer, made_by: str = "") -> AsyncIterator[str]:
    """A database without a table, or as the words of CREATE DATABASE say; yields its DSN and drops it afterwards."""
    name = server.next_name()
    admin = await asyncpg.connect(server.dsn("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} {made_by}")
        yield server.dsn(name)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()
