"""Fixtures: one real PostgreSQL a session, a database cloned from a migrated template for each test."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from campaigns.migrate import migrate
from tests.postgres import TestServer, start_server

TEMPLATE = "portal_template"
PEER_MARKERS = ("browser", "prometheus", "kannel")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With PORTAL_REQUIRE_PEERS set (CI), a test skipped because its peer is absent is a failure."""
    report = yield
    if report.skipped and os.environ.get("PORTAL_REQUIRE_PEERS") and any(map(item.get_closest_marker, PEER_MARKERS)):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but PORTAL_REQUIRE_PEERS demands its peer: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """A PostgreSQL of our own for this session; PORTAL_TEST_POSTGRES chooses wheel or system."""
    with tempfile.TemporaryDirectory(prefix="p1400-") as folder:
        started = start_server(Path(folder), os.environ.get("PORTAL_TEST_POSTGRES", "auto"))
        try:
            asyncio.run(_make_template(started))
            yield started
        finally:
            started.stop()


async def _make_template(server: TestServer) -> None:
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    await admin.close()
    connection = await asyncpg.connect(server.dsn(TEMPLATE))
    await migrate(connection)
    await connection.close()


@asynccontextmanager
async def cloned_database(server: TestServer) -> AsyncIterator[str]:
    """A fresh migrated database; yields its DSN and drops it afterwards."""
    name = server.next_name()
    admin = await asyncpg.connect(server.dsn("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY wal_log")
        yield server.dsn(name)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


@pytest.fixture
async def database_dsn(server: TestServer) -> AsyncIterator[str]:
    """The DSN of a fresh migrated database."""
    async with cloned_database(server) as dsn:
        yield dsn


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a fresh migrated database."""
    opened = await asyncpg.connect(database_dsn)
    try:
        yield opened
    finally:
        await opened.close()
