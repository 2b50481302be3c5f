"""Fixtures: one real PostgreSQL a session, a database cloned from a migrated template for each test."""

import os

# No test speaks to a host outside, and aiohttp reads the system's certificates twice whenever it is imported.
# Whoever speaks TLS here says whom it trusts.
os.environ.setdefault("SSL_CERT_FILE", os.devnull)

import asyncio
import gc
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import asyncpg
import hypothesis
import pytest

from service.runtime.garbage import MIDDLE_ROUNDS, OLD_ROUNDS, YOUNG_OBJECTS
from tests.support.browser import browser
from tests.support.databases import cloned_database, make_template
from tests.support.portal import hasty_portal, lasting_portal, portal
from tests.support.postgres import TestServer, start_server

__all__ = ["browser", "hasty_portal", "lasting_portal", "portal"]

# A busy machine makes examples slow, not wrong.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

PEER_MARKERS = ("browser", "prometheus", "kannel", "jasmin", "pgbouncer", "proxy")


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


LONGEST_FIRST = (
    "test_seeds", "test_backup", "test_workers", "test_pages_browser", "test_simulate_portal", "test_failover",
    "test_embedded", "test_invariant_rounds", "test_killing", "test_spool", "test_rotation", "test_migrations",
    "test_starting", "test_story_browser", "test_every_page_browser", "test_upgrade",
    "test_high_water", "test_bodies", "test_broadcast", "test_prometheus", "test_fair_queue", "test_intake",
    "test_demo", "test_hanging", "test_overload",
)  # fmt: skip
"""Files that wait for processes: begun last, they would be the tail that everybody else waits for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; side by side a file is handed out as a whole (see `make test`)."""
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while a million objects are made that stay; afterwards never among them, and seldom."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        # As the service that is tested in this process sets it for itself when it is served.
        gc.set_threshold(YOUNG_OBJECTS, MIDDLE_ROUNDS, OLD_ROUNDS)


MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES = 6 * 2**30


def in_memory() -> Path | None:
    """Where files lie in memory, if there is room; None: wherever temporary files lie.

    A database of its own for each test is some hundred files: on a disk, most of what a test waits for.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < MEMORY_FREE_BYTES:
        return None
    return MEMORY


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """A PostgreSQL of our own for this session; PORTAL_TEST_POSTGRES chooses wheel or system."""
    with tempfile.TemporaryDirectory(prefix="p1400-", dir=in_memory()) as folder:
        started = start_server(Path(folder), os.environ.get("PORTAL_TEST_POSTGRES", "auto"))
        try:
            asyncio.run(make_template(started))
            yield started
        finally:
            started.stop()


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
