"""Nobody reads the log, or its disk is full: callbacks are taken, a lost database comes back, the end is clean."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.support.fleet import Carriers, Fleet

COUNT = 60
"""Callbacks: their lines are more than a pipe of one page holds."""


@contextmanager
def reader_gone() -> Iterator[int]:
    """A pipe whose reader went away."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def reader_stalled() -> Iterator[int]:
    """A pipe whose reader does not read."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield writing
    for end in (reading, writing):
        os.close(end)


@contextmanager
def disk_full() -> Iterator[int]:
    """A disk without room."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        yield full.fileno()


SINKS = {"reader gone": reader_gone, "reader stalled": reader_stalled, "disk full": disk_full}


@pytest.mark.parametrize("sink", SINKS)
async def test_the_log_decides_nothing(database_dsn: str, tmp_path: Path, sink: str) -> None:
    site = Fleet(database_dsn, tmp_path, 1, arguments=("serve",))
    await site.apply()
    carriers = Carriers(site.port, "lost-log", pause_seconds=0)
    with SINKS[sink]() as log_to:
        site.start(log_to)
        try:
            await site.ready()
            async with carriers.playing():
                await carriers.more(COUNT)
                await cut_connections(database_dsn)
                await carriers.more(COUNT)
            assert set(carriers.answers) == {200}
            assert carriers.broken == carriers.not_taken == []
            await until_connected(site)
            # Every try costs the lines of its own; a stalled reader is told after some seconds only.
            if sink != "reader stalled":
                assert await lines_lost(site) > 0
                assert "log lines are being lost" in await readiness(site)
            assert site.process is not None
            site.process.terminate()
            assert await site.ended(10) == 0
        finally:
            await site.end()
    assert set(await site.stored()) >= carriers.acknowledged


async def cut_connections(dsn: str) -> None:
    """The database ends every session of the service: what is logged then stands in the way of coming back."""
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name ~ '^portal1400' AND datname = current_database()"
        )
    finally:
        await admin.close()


async def readiness(site: Fleet) -> str:
    url = f"http://127.0.0.1:{site.internal_port}/readyz"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


async def lines_lost(site: Fleet) -> float:
    for line in (await site.metrics(0)).splitlines():
        if line.startswith("portal1400_log_lines_lost_total "):
            return float(line.split()[1])
    raise AssertionError("the counter is not exported")


async def until_connected(site: Fleet) -> None:
    """Writer and feed are back, and what went into the spool meanwhile is in the database."""
    async with asyncio.timeout(20):
        while "database" in await readiness(site) or "\nportal1400_spool_records 0.0\n" not in await site.metrics(0):
            with suppress(TimeoutError):
                await asyncio.sleep(0.25)
