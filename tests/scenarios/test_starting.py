"""A start that waits ends when it is told to, and what is in its way is a sentence."""

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from campaigns.schema.locks import MIGRATION_LOCK
from service.commands.opening import opened
from service.commands.starting import start_serving
from service.listeners.listening_socket import bind
from service.operations.housekeeping import Housekeeping
from service.postgres.database import DatabaseAway
from service.runtime.refusals import Refused
from service.runtime.settings import Settings, read_settings
from service.runtime.tasks import cancel_and_wait
from tests.scenarios.test_failed_start import STEPS
from tests.support.fleet import Fleet
from tests.support.portal import SECRET_KEY, Portal, eventually, running
from tests.support.promptness import is_prompt

STOP_SECONDS = 2.0
BUSY_SECONDS = 30.0
"""More than a stop takes on the busiest machine; without it, a start would go on for minutes."""

ALONE, SUPERVISED = ("serve",), ("serve", "--workers", "1")
ASKS_FOR_THE_LOCK = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_try_advisory_lock%')
"""
"""By its question: a worker of the server's own (autovacuum) is a session of the database, too."""

pytestmark = pytest.mark.slow


class Proxy:
    """Between the service and a unix socket; once `frozen` it passes nothing more and closes nothing.

    Without a target it never answers at all.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        self.asked = asyncio.Event()
        self.frozen = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        self._writers.append(writer)
        if self._target is None or self.frozen.is_set():
            return
        there, back = await asyncio.open_unix_connection(self._target)
        self._writers.append(back)
        self._tasks += [asyncio.create_task(self._pass(*way)) for way in ((reader, back), (there, writer))]

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.frozen.is_set():
                return
            sink.write(data)
        sink.close()

    async def close(self) -> None:
        await cancel_and_wait(*self._tasks)
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def proxied(dsn: str | None) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the server of `dsn`, or to none, and the DSN that leads through it."""
    parts = urlsplit(dsn or "postgresql://app@/portal")
    query = parse_qs(parts.query)
    proxy = Proxy(f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}" if dsn else None)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    userinfo = parts.netloc.rpartition("@")[0]
    try:
        yield proxy, f"postgresql://{userinfo}@127.0.0.1:{port}{parts.path}"
    finally:
        server.close()
        await proxy.close()


async def stopped_within(site: Fleet, number: signal.Signals) -> None:
    """Tell it to stop, and see it end in time and well."""
    began = time.monotonic()
    os.kill(site.pid, number)
    try:
        assert await site.ended(BUSY_SECONDS) == 0, site.log_file.read_text()
    finally:
        await site.end()
    seconds = time.monotonic() - began
    said = site.log_file.read_text()
    assert is_prompt(seconds, STOP_SECONDS), (seconds, said)
    assert "Traceback" not in said
    assert "worker_killed" not in said


@pytest.mark.parametrize(("number", "arguments"), [(signal.SIGTERM, ALONE), (signal.SIGINT, SUPERVISED)])
async def test_a_start_whose_database_does_not_answer_ends_when_told(
    tmp_path: Path, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    async with proxied(None) as (proxy, dsn):
        site = Fleet(dsn, tmp_path, arguments=arguments)
        site.start()
        async with asyncio.timeout(60):
            await proxy.asked.wait()
        await stopped_within(site, number)


@pytest.mark.parametrize(("number", "arguments"), [(signal.SIGINT, ALONE), (signal.SIGTERM, SUPERVISED)])
async def test_a_start_that_waits_for_migrations_on_a_server_that_freezes_ends_when_told(
    database_dsn: str, tmp_path: Path, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    admin = await asyncpg.connect(database_dsn)
    await admin.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
    async with proxied(database_dsn) as (proxy, dsn):
        site = Fleet(dsn, tmp_path, arguments=arguments)
        site.start()

        async def is_waiting() -> bool:
            return bool(await admin.fetchval(ASKS_FOR_THE_LOCK))

        try:
            await eventually(is_waiting, 60)
            proxy.frozen.set()
            await stopped_within(site, number)
        finally:
            await site.end()
            await admin.close()


@pytest.mark.parametrize(("number", "arguments"), [(signal.SIGTERM, ALONE), (signal.SIGTERM, SUPERVISED)])
async def test_a_start_that_waits_for_the_embedded_server_ends_when_told(
    tmp_path: Path, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    # Somebody keeps the server, and says nothing of it: it recovers.
    with (data / "keeper.lock").open("w") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        (data / "server.json").write_text('{"stage": "starting", "note": "recovering"}')
        site = Fleet("", tmp_path, arguments=arguments)
        site.start()

        async def is_waiting() -> bool:
            return "recovering" in site.log_file.read_text()

        await eventually(is_waiting, 60)
        await stopped_within(site, number)


def settings_for(dsn: str, folder: Path) -> Settings:
    return read_settings(
        {
            "PORTAL1400_DATABASE_URL": dsn,
            "PORTAL1400_SECRET_KEY": SECRET_KEY,
            "PORTAL1400_DATA_DIR": str(folder),
            "PORTAL1400_SHED_UNDER_LOAD": "false",
        }
    )


CLASSES = {
    "high_water": "service.live.high_water.HighWaterMark",
    "catalog": "service.catalog.catalog.Catalog",
    "housekeeping": "service.operations.housekeeping.Housekeeping",
    "feed": "service.live.feed.Feed",
    "writer": "service.intake.writer.Writer",
}
"""Whose methods the steps of a start are."""
ERRORS: list[tuple[str, Exception, bool]] = [
    ("it shuts down", asyncpg.AdminShutdownError("terminating"), True),
    ("a bug of ours", asyncpg.UndefinedColumnError("column x"), False),
]


@pytest.mark.parametrize("step", [step for step in STEPS if step != "listener"])
@pytest.mark.parametrize(("error", "is_outage"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
async def test_a_database_that_is_lost_at_a_step_of_the_start_is_a_sentence_or_an_outage(
    database_dsn: str, tmp_path: Path, step: str, error: Exception, is_outage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, name = step.split(".")[-2:]

    async def fail(*_arguments: object, **_keywords: object) -> None:
        raise error

    settings = settings_for(database_dsn, tmp_path)
    monkeypatch.setattr(f"{CLASSES[part]}.{name}", fail)
    # From the moment on when this start itself has kept a copy, an outage is no reason to end.
    has_copy = STEPS.index(step) > STEPS.index("catalog.load")
    with bind("127.0.0.1", 0) as public, bind("127.0.0.1", 0) as inside:
        if is_outage and has_copy:
            async with opened(settings, may_be_away=True) as found:
                service = await start_serving(settings, found, public, inside)
                assert service.health().is_started
                await service.stop()
            return
        with pytest.raises(Refused) as refused:
            async with opened(settings, may_be_away=True) as found:
                await start_serving(settings, found, public, inside)
    assert type(error).__name__ in str(refused.value)
    assert isinstance(refused.value, DatabaseAway) is is_outage


async def test_with_a_last_good_copy_a_database_lost_at_the_start_is_an_outage(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_dsn, tmp_path) as before:
        assert (await before.post({"type": "x"})).status == 400
    settings = settings_for(database_dsn, tmp_path)
    failures = [asyncpg.AdminShutdownError("terminating"), ConnectionResetError()]
    prepare = "service.operations.housekeeping.Housekeeping.prepare"
    once = Housekeeping.prepare

    async def fail(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await once(*arguments)

    monkeypatch.setattr(prepare, fail)
    with bind("127.0.0.1", 0) as public, bind("127.0.0.1", 0) as inside:
        async with opened(settings, may_be_away=True) as found:
            service = await start_serving(settings, found, public, inside)
            try:
                assert service.catalog.resolve("standard", "hub").account is not None

                async def is_joined() -> bool:
                    return service.intake.writer.connected > 0

                await eventually(is_joined, 20)
                assert failures == []
            finally:
                await service.stop()


async def test_an_error_of_the_database_while_a_command_works_is_a_sentence(portal: Portal, tmp_path: Path) -> None:
    async def lose_the_database() -> None:
        async with opened(settings_for(portal.dsn, tmp_path)) as found, found.database.borrow() as connection:
            await portal.fetch("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.fetch("SELECT 1")

    async def lose_a_file() -> None:
        async with opened(settings_for(portal.dsn, tmp_path)):
            (tmp_path / "nowhere").read_text()

    with pytest.raises(DatabaseAway, match="the database answered with"):
        await lose_the_database()
    with pytest.raises(FileNotFoundError):
        await lose_a_file()
