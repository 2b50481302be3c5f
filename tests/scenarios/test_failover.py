"""A primary and its standby: the service follows the one that takes writes, and nothing is lost or counted twice."""

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from campaigns.schema.migrate import migrate
from metrics.invariant import check
from metrics.invariants import INVARIANTS
from service.commands import check as check_command
from service.postgres.database import Database
from service.runtime.refusals import Refused
from service.runtime.settings import read_settings
from tests.support.away import readiness, signalled
from tests.support.portal import SECRET_KEY, Portal, Reply, eventually, message, running
from tests.support.postgres import TestServer, start_copy, start_server
from tests.support.promptness import is_prompt
from tests.support.standby import promote, start_standby, wait_for_standby

pytestmark = pytest.mark.slow
CHOICE = os.environ.get("PORTAL_TEST_POSTGRES", "auto")


@dataclass
class Pair:
    """Two servers under two addresses; which of them leads changes."""

    folders: list[Path]
    primary: TestServer
    standby: TestServer

    def dsn(self, database: str) -> str:
        """Both addresses, always in the same order."""
        return f"postgresql://app@/{database}?host={quote(','.join(map(str, self.folders)))}"

    async def fail_over(self) -> None:
        """Kill the primary with all its processes, and promote the standby."""
        signalled(self.primary, signal.SIGKILL)
        self.primary.process.wait(timeout=10)
        await promote(self.standby)

    def bring_back(self) -> None:
        """What was the primary follows the new one, under its old address."""
        folder = self.primary.socket_folder
        self.primary, self.standby = self.standby, start_standby(self.standby, folder, CHOICE)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The data of a server with a migrated database, to be copied: sparing each test its own."""
    with tempfile.TemporaryDirectory(prefix="p1400-") as folder:
        server = start_server(Path(folder), CHOICE)
        try:
            asyncio.run(make_database(server))
        finally:
            server.stop(signal.SIGINT)
        yield Path(folder) / "data"


async def make_database(server: TestServer) -> None:
    """The database of the service."""
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute("CREATE DATABASE portal")
    await admin.close()
    connection = await asyncpg.connect(server.dsn("portal"))
    await migrate(connection)
    await connection.close()


@contextmanager
def paired(made: Path) -> Iterator[Pair]:
    """A primary that waits for its standby at every commit."""
    with (
        tempfile.TemporaryDirectory(prefix="p1400-") as first,
        tempfile.TemporaryDirectory(prefix="p1400-") as second,
    ):
        folders = [Path(first), Path(second)]
        started = [start_copy(made, folders[0], CHOICE)]
        try:
            started.append(start_standby(started[0], folders[1], CHOICE))
            asyncio.run(wait_for_standby(started[0], synchronous=True))
            both = Pair(folders, *started)
            yield both
            started += [both.primary, both.standby]
        finally:
            for server in started:
                signalled(server, signal.SIGCONT)
                server.stop()


@pytest.fixture
def pair(made: Path) -> Iterator[Pair]:
    """Two servers of which one is lost."""
    with paired(made) as both:
        yield both


@pytest.fixture(scope="module")
def whole_pair(made: Path) -> Iterator[Pair]:
    """Two servers for all tests that leave them as they were, each with a database of its own."""
    with paired(made) as both:
        yield both


@pytest.fixture
def dsn(pair: Pair) -> str:
    """A migrated database on both servers."""
    return pair.dsn("portal")


@pytest.fixture
async def whole_dsn(whole_pair: Pair) -> AsyncIterator[str]:
    """The same, new on the servers that stay."""
    name = whole_pair.primary.next_name()
    admin = await asyncpg.connect(whole_pair.primary.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE portal")
    yield whole_pair.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


def serving(dsn: str, folder: Path) -> AbstractAsyncContextManager[Portal]:
    """A service that knows both addresses, with short limits."""
    return running(dsn, folder, statement_seconds="1", queue_wait_seconds="1", shutdown_seconds="3")


@pytest.fixture
async def portal(dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """The service of a pair of which one server is lost."""
    async with serving(dsn, tmp_path) as started:
        started.dsn = dsn + "&target_session_attrs=read-write"
        yield started


@pytest.fixture
async def whole(whole_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """The service of the pair that stays."""
    async with serving(whole_dsn, tmp_path) as started:
        started.dsn = whole_dsn + "&target_session_attrs=read-write"
        yield started


async def send(portal: Portal, *native_ids: str) -> set[str]:
    """One message each; the ids that were acknowledged."""
    answers = await asyncio.gather(*(portal.post(message(each)) for each in native_ids))
    return {each for each, answer in zip(native_ids, answers, strict=True) if answer.status == 200}


async def send_until_taken(portal: Portal, *native_ids: str) -> None:
    """The same, again where they were sent away, as a carrier does, until each was acknowledged."""
    left = set(native_ids)

    async def are_taken() -> bool:
        left.difference_update(await send(portal, *left))
        return not left

    await eventually(are_taken)


async def is_taken(portal: Portal, native_id: str) -> bool:
    return bool(await send(portal, native_id))


async def is_replayed(portal: Portal) -> bool:
    """Whether nothing acknowledged waits outside the database."""
    return portal.service.intake.replay.records == 0


async def is_waiting_for_the_standby(pair: Pair) -> bool:
    """Whether a writer's commit does."""
    admin = await asyncpg.connect(pair.primary.dsn("postgres"))
    try:
        return bool(await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
    finally:
        await admin.close()


async def require_counted_once(portal: Portal, acknowledged: set[str], sent: set[str]) -> None:
    """By ids; what is shown is what is stored; every total can be recomputed."""
    await eventually(lambda: is_replayed(portal), 20)
    stored = [row["native_id"] for row in await portal.fetch("SELECT native_id FROM message")]
    assert len(stored) == len(set(stored))
    assert acknowledged <= set(stored) <= sent

    async def is_shown() -> bool:
        return bool((await portal.totals())["messages"] == len(stored))

    await eventually(is_shown)
    connection = await asyncpg.connect(portal.dsn)
    for invariant in INVARIANTS:
        assert await check(connection, invariant) == [], invariant.name
    await connection.close()


async def test_the_service_follows_the_primary_there_and_back(portal: Portal, pair: Pair) -> None:
    sent = {f"m-{at}" for at in range(20)}
    acknowledged = await send(portal, *sent)
    assert acknowledged == sent
    for turn in ("there", "back"):
        load = asyncio.create_task(send(portal, *(f"m-{turn}-{at}" for at in range(100))))
        sent |= {f"m-{turn}-{at}" for at in range(100)}
        # Some are in the middle of it when the primary dies.
        await asyncio.sleep(0.01)
        await pair.fail_over()
        acknowledged |= await load
        await eventually(lambda turn=turn: is_taken(portal, f"m-{turn}"), 15)  # type: ignore[misc]  # a lambda's default has no type
        sent |= {f"m-{turn}"}
        acknowledged |= {f"m-{turn}"}
        # Repeats of all that was sent before are no new gifts, whatever became of them.
        await send_until_taken(portal, *sent)
        await require_counted_once(portal, acknowledged | sent, sent)

        async def is_whole() -> bool:
            return await readiness(portal) == 200 and portal.service.live.feed.is_connected

        await eventually(is_whole)
        # The old primary is found under its address again, and takes nothing.
        pair.bring_back()
        await wait_for_standby(pair.primary, synchronous=True)
        series = await portal.get("/api/v1/campaigns/vnn/series")
        assert sum(point["messages"] for point in series["points"]) == len(sent)
        sent.add(f"m-{turn}-after")
        assert await is_taken(portal, f"m-{turn}-after")
        await require_counted_once(portal, sent, sent)


async def test_a_hanging_server_holds_nobody_up(whole_pair: Pair) -> None:
    pair = whole_pair
    backwards = Pair(pair.folders[::-1], pair.primary, pair.standby).dsn("postgres")
    settings = read_settings({"PORTAL1400_DATABASE_URL": backwards, "PORTAL1400_SECRET_KEY": SECRET_KEY})
    async with await Database.open(settings) as database:
        await database.open_pool()
        fresh = await Database.open(settings)
        signalled(pair.standby, signal.SIGSTOP)
        started = time.monotonic()
        await (await fresh.connect()).close()
        first = time.monotonic() - started
        await (await database.connect()).close()
        again = time.monotonic() - started - first
        signalled(pair.standby, signal.SIGCONT)
    assert first > 0.4
    assert is_prompt(first, 2)
    assert is_prompt(again, 0.4), "the primary of last time is asked first"


async def test_a_primary_that_hangs_is_left_behind_with_every_idle_connection(portal: Portal, pair: Pair) -> None:
    series = "/api/v1/campaigns/vnn/series"
    assert await is_taken(portal, "m-1")
    await asyncio.gather(*(portal.get(f"{series}?bucket={bucket}") for bucket in ("minute", "hour", "day")))
    signalled(pair.primary, signal.SIGSTOP)
    await promote(pair.standby)
    portal.dsn = pair.standby.dsn("portal")
    assert await is_taken(portal, "m-2"), "from the spool"
    await eventually(lambda: is_replayed(portal), 20)
    await require_counted_once(portal, {"m-1", "m-2"}, {"m-1", "m-2"})
    # Asked of the database, as the version is another one: no idle connection to the old primary is in the way.
    await asyncio.gather(*(portal.get(f"{series}?bucket={bucket}") for bucket in ("minute", "hour", "day")))
    signalled(pair.primary, signal.SIGKILL)


async def test_a_primary_that_answers_but_is_followed_by_nobody_is_left(portal: Portal, pair: Pair) -> None:
    """Its keeper is dead, so that nobody told it; its commits wait for a standby that leads by now."""
    assert await is_taken(portal, "m-1")
    await promote(pair.standby)
    portal.dsn = pair.standby.dsn("portal")
    assert await is_taken(portal, "m-2"), "from the spool"
    await eventually(lambda: is_replayed(portal), 20)

    async def is_moved() -> bool:
        rows = await portal.fetch(
            "SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE application_name ~ '^portal1400'"
        )
        return {"portal1400 writer", "portal1400 feed"} <= {row["name"] for row in rows}

    await eventually(is_moved)
    assert await is_taken(portal, "m-3")
    # The old one holds m-2 as well, and never hears of m-3: what is shown comes from the new one.
    await require_counted_once(portal, {"m-1", "m-2", "m-3"}, {"m-1", "m-2", "m-3"})


async def test_no_server_that_takes_writes_is_a_sentence(pair: Pair, dsn: str, tmp_path: Path) -> None:
    signalled(pair.primary, signal.SIGKILL)
    for address in (dsn, pair.standby.dsn("portal")):
        with pytest.raises(Refused, match=r"no server of .* takes writes.* name the primary"):
            async with running(address, tmp_path):
                pytest.fail("it serves")


async def test_a_server_set_to_read_only_is_away_and_its_callbacks_are_no_bad_data(
    whole: Portal, whole_pair: Pair
) -> None:
    admin = await asyncpg.connect(whole_pair.primary.dsn("postgres"))
    assert await is_taken(whole, "m-1")
    await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await admin.execute("SELECT pg_reload_conf()")

    async def is_noticed() -> bool:
        return await is_taken(whole, "m-2") and whole.service.intake.writer.connected == 0

    await eventually(is_noticed)
    assert not await is_replayed(whole)
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await admin.execute("SELECT pg_reload_conf()")
    await admin.close()
    await eventually(lambda: is_taken(whole, "m-2"), 10)
    await require_counted_once(whole, {"m-1", "m-2"}, {"m-1", "m-2"})
    assert await whole.fetch("SELECT id FROM quarantine") == []


async def test_a_repeat_is_acknowledged_no_sooner_than_its_standby_has_the_gift(
    whole: Portal, whole_pair: Pair
) -> None:
    """A commit whose wait for the standby was given up is visible, but a failover would lose it."""
    signalled(whole_pair.standby, signal.SIGSTOP)
    assert await is_taken(whole, "m-1"), "from the spool"

    async def is_visible() -> bool:
        return len(await whole.fetch("SELECT native_id FROM message")) == 1

    await eventually(is_visible)
    # The replay has found the row, and waits all the same.
    await eventually(lambda: is_waiting_for_the_standby(whole_pair), 10)
    assert not await is_replayed(whole)
    signalled(whole_pair.standby, signal.SIGCONT)
    await eventually(lambda: is_replayed(whole), 20)
    assert await is_taken(whole, "m-1")
    await require_counted_once(whole, {"m-1"}, {"m-1"})


async def test_a_commit_that_an_operator_cancels_while_it_waits_is_not_acknowledged(
    whole: Portal, whole_pair: Pair
) -> None:
    """PostgreSQL then reports success, with a warning: stored here, perhaps nowhere else."""
    admin = await asyncpg.connect(whole_pair.primary.dsn("postgres"))
    signalled(whole_pair.standby, signal.SIGSTOP)
    waiting: asyncio.Task[Reply] = asyncio.create_task(whole.post(message("m-1")))

    async def is_cancelled() -> bool:
        return bool(
            await admin.fetchval(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'portal1400 writer' AND wait_event = 'SyncRep'"
            )
        )

    await eventually(is_cancelled)
    assert (await waiting).status == 200
    assert not await is_replayed(whole), "acknowledged from the spool"
    signalled(whole_pair.standby, signal.SIGCONT)
    await admin.close()
    await eventually(lambda: is_taken(whole, "m-1"), 10)
    await require_counted_once(whole, {"m-1"}, {"m-1"})


async def test_check_warns_when_a_failover_could_lose_what_was_acknowledged(
    whole: Portal, whole_pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = await whole.fetch("SELECT current_database()")
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", whole_pair.dsn(database[0][0]))
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    capsys.readouterr()
    for synchronous, begins in ((True, "good: "), (False, "warning: database: DATABASE_URL names several")):
        await wait_for_standby(whole_pair.primary, synchronous=synchronous)
        assert await check_command.run(argparse.Namespace(workers=1, json=False)) == 0
        assert capsys.readouterr().out.startswith(begins)
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", whole_pair.primary.dsn(database[0][0]))
    assert await check_command.run(argparse.Namespace(workers=1, json=False)) == 0
    assert capsys.readouterr().out.startswith("good: "), "a server of one's own has nobody to fail over to"
    await wait_for_standby(whole_pair.primary, synchronous=True)
