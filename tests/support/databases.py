"""A fresh migrated database for each test, cloned from a template."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg

from campaigns.schema.migrate import migrate
from tests.support.postgres import TestServer

TEMPLATE = "portal_template"


async def make_template(server: TestServer) -> None:
    """The migrated database that every test's own is cloned from."""
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    await admin.close()
    connection = await asyncpg.connect(server.dsn(TEMPLATE))
    await migrate(connection)
    await connection.close()


def cloned_database(server: TestServer) -> AbstractAsyncContextManager[str]:
    """A fresh migrated database; yields its DSN and drops it afterwards."""
    return empty_database(server, f"TEMPLATE {TEMPLATE} STRATEGY file_copy")


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
