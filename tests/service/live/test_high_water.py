"""What was published is remembered, and an older database is not served until somebody says that it is meant."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog
from structlog.testing import capture_logs

from metrics.invariant import check
from metrics.invariants import INVARIANTS
from service.cli import main
from service.live.high_water import MARGIN, OlderThanPublished
from service.live.high_water_file import HighWaterFile, HighWaterFileUnusable, Versions
from tests.support.away import locked
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, SECRET_KEY, eventually, message, running
from tests.support.postgres import TestServer

ROOT = Path(__file__).parents[3]
WRITERS, CHANGES = 4, 40
OTHER_BOOK = BOOK.replace('"vnn"', '"another"').replace('"old"', '"former"')


@asynccontextmanager
async def copied(server: TestServer, dsn: str) -> AsyncIterator[str]:
    """The database as it is now, under another name: what a backup would bring back."""
    name = server.next_name()
    source = urlsplit(dsn).path.removeprefix("/")
    admin = await asyncpg.connect(server.dsn("postgres"))
    try:
        await admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", source)
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        yield server.dsn(name)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


async def give(dsn: str, folder: Path, *ids: str) -> dict[str, int]:
    """Serve, count a gift per id and a message without a campaign; the versions published."""
    async with running(dsn, folder) as portal:
        for each in ids:
            assert (await portal.post(message(each))).outcome == "accepted"
            assert (await portal.post(message(f"{each}-lost", "NOBODY KNOWS"))).outcome == "unallocated"

        async def all_are_shown() -> bool:
            (row,) = await portal.fetch("SELECT count(*) AS gifts FROM message WHERE reading = 'counted'")
            (lost,) = await portal.fetch("SELECT coalesce(sum(version), 0) AS version FROM unallocated_total")
            shown = await portal.get("/api/v1/totals")
            return bool(
                shown["campaigns"][0]["messages"] == row["gifts"]
                and shown["unallocated"]["version"] == lost["version"]
            )

        await eventually(all_are_shown)
        shown = await portal.get("/api/v1/totals")
    versions = {each["campaign"]: each["version"] for each in shown["campaigns"]}
    return versions | {"": shown["unallocated"]["version"]}


def remembered(folder: Path) -> dict[str, int]:
    mark = HighWaterFile(folder).read()
    assert mark is not None
    return dict(mark.campaigns) | {"": mark.unallocated}


async def test_what_was_shown_is_remembered_over_a_restart_and_only_rises(database_dsn: str, tmp_path: Path) -> None:
    first = await give(database_dsn, tmp_path, "a", "b")
    assert first["vnn"] == 2
    assert remembered(tmp_path) == first
    assert (tmp_path / "published.json").stat().st_mode & 0o777 == 0o600
    async with running(database_dsn, tmp_path):
        assert remembered(tmp_path) == first
    second = await give(database_dsn, tmp_path, "c")
    assert remembered(tmp_path) == second
    assert second["vnn"] == 3


async def test_it_is_remembered_while_the_service_runs(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.live.high_water.SAVE_SECONDS", 0.05)
    async with running(database_dsn, tmp_path) as portal:
        await portal.post(message("a"))

        async def is_remembered() -> bool:
            return (tmp_path / "published.json").exists() and remembered(tmp_path)["vnn"] == 1

        await eventually(is_remembered)


async def test_an_older_database_is_refused_with_every_version(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    await give(database_dsn, tmp_path, "a", "b")
    async with copied(server, database_dsn) as older:
        await give(database_dsn, tmp_path, "c")
        before = (tmp_path / "published.json").read_bytes()
        with pytest.raises(OlderThanPublished) as refused:
            async with running(older, tmp_path):
                pytest.fail("it served figures that go backwards")
        said = "\n".join(refused.value.problems)
        assert "campaign vnn: version 3 was published, the database has version 2" in said
        assert "unallocated messages: version 3 was published, the database has version 2" in said
        assert "docs/backup.md" in said
        assert "`portal1400 serve --accept-older-database`" in said
        assert (tmp_path / "published.json").read_bytes() == before
    assert (await give(database_dsn, tmp_path, "d"))["vnn"] == 4, "the newest database is served as ever"


async def test_an_older_database_that_is_meant_is_served_above_what_was_shown(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    await give(database_dsn, tmp_path, "a")
    async with copied(server, database_dsn) as older:
        shown = await give(database_dsn, tmp_path, "b", "c")
        with capture_logs() as lines:
            async with running(older, tmp_path, accept_older_database=True) as portal:
                totals = await portal.totals()
                unallocated = (await portal.get("/api/v1/totals"))["unallocated"]
        assert [line["log_level"] for line in lines if line["event"] == "older_database_accepted"] == ["warning"]
        assert totals["messages"] == 1
        assert [share["carrier"] for share in totals["by_carrier"]] == ["viettel"]
        assert totals["version"] > shown["vnn"] + MARGIN
        assert unallocated["version"] > shown[""] + MARGIN
        assert unallocated["messages"] == 1
        connection = await asyncpg.connect(older)
        differences = {each.name: await check(connection, each) for each in INVARIANTS}
        await connection.close()
        assert {name: found for name, found in differences.items() if found} == {}
        again = await give(older, tmp_path, "d")
        assert again["vnn"] == totals["version"] + 1, "told once is enough, and nothing is raised twice"
        assert again["old"] == 0, "a campaign that never showed a figure is left alone"


async def test_several_workers_may_accept_at_once(server: TestServer, database_dsn: str, tmp_path: Path) -> None:
    await give(database_dsn, tmp_path, "a")
    async with copied(server, database_dsn) as older:
        shown = await give(database_dsn, tmp_path, "b")
        workers = [running(older, tmp_path, book="", accept_older_database=True) for _ in range(3)]
        portals = await asyncio.gather(*(worker.__aenter__() for worker in workers))
        try:
            versions = {(await portal.totals())["version"] for portal in portals}
        finally:
            for worker in workers:
                await worker.__aexit__(None, None, None)
        assert versions == {shown["vnn"] + MARGIN + 1}


async def test_another_database_is_refused(server: TestServer, database_dsn: str, tmp_path: Path) -> None:
    await give(database_dsn, tmp_path, "a")
    async with cloned_database(server) as empty:
        for book in ("", OTHER_BOOK):
            with pytest.raises(OlderThanPublished) as refused:
                async with running(empty, tmp_path, book=book):
                    pytest.fail("it served another database under figures that were shown")
            first, second, *_ = refused.value.problems
            assert first.startswith("this machine has published figures of another database (campaigns: vnn, old)")
            assert second == "campaign vnn: version 1 was published, the database has no such campaign"
        async with running(empty, tmp_path, book="", accept_older_database=True) as portal:
            assert await portal.metric("portal1400_published_ahead_of_database") == 0
        async with running(empty, tmp_path, book=""):
            pass
    assert set(remembered(tmp_path)) == {"another", "former", ""}


async def test_another_database_is_served_where_no_figure_was_ever_shown(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path):
        pass
    async with cloned_database(server) as other:
        assert (await give(other, tmp_path, "a"))["vnn"] == 1


async def test_a_database_swapped_under_a_running_service_is_seen(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await portal.post(message("a"))

        async def shown(ahead: float, version: int) -> bool:
            gauge = await portal.metric("portal1400_published_ahead_of_database")
            return gauge == ahead and (await portal.totals())["version"] == version

        await eventually(lambda: shown(0, 1))
        with capture_logs() as lines:
            await portal.fetch("UPDATE campaign_total SET version = 0")
            await eventually(lambda: shown(1, 1))
            await portal.fetch("DELETE FROM campaign_total")
            await portal.fetch("SELECT pg_notify('portal1400_totals', '')")
            await eventually(lambda: shown(1, 1))
        told = [line for line in lines if line["event"] == "database_older_than_published"]
        assert [(line["log_level"], line["campaigns"]) for line in told] == [("error", "vnn")]
        for number in range(2):
            await portal.post(message(f"b{number}"))
        await eventually(lambda: shown(0, 2))


async def test_a_worker_that_started_without_the_database_joins_no_older_one(
    server: TestServer, database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes gifts into its spool meanwhile, shows nothing old, and says so."""
    monkeypatch.setattr("service.operations.database_join.REJOIN_SECONDS", 0.05)
    await give(database_dsn, tmp_path, "a")
    async with copied(server, database_dsn) as older:
        await give(database_dsn, tmp_path, "b")
        async with AsyncExitStack() as stack:
            async with locked(older):
                portal = await stack.enter_async_context(running(older, tmp_path, book=""))

            async def is_seen() -> bool:
                return await portal.metric("portal1400_published_ahead_of_database") == 1

            await eventually(is_seen)
            assert (await portal.post(message("c"))).outcome == "accepted"
            assert await portal.metric("portal1400_spool_records") == 1
            assert await portal.fetch("SELECT native_id FROM message WHERE native_id = 'c'") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "installation": "", "campaigns": [], "unallocated": 0}'],
)
async def test_a_damaged_mark_is_refused(database_dsn: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "published.json").write_bytes(content)
    with pytest.raises(OlderThanPublished) as refused:
        async with running(database_dsn, tmp_path):
            pytest.fail("it served without knowing what was shown")
    assert "published.json, which remembers what this machine has published, cannot be read" in str(refused.value)
    assert (tmp_path / "published.json").read_bytes() == content


CHANGE = """
import sys
from pathlib import Path
from service.live.high_water import higher
from service.live.high_water_file import HighWaterFile, Versions
file, me = HighWaterFile(Path(sys.argv[1])), int(sys.argv[2])
for number in range(int(sys.argv[3])):
    mine = Versions("one", {f"own-{me}": number, "common": number * 10 + me}, me)
    assert file.change(lambda present: higher(present, mine)) is not None
"""


def test_processes_that_share_the_folder_never_lower_or_lose_a_version(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", CHANGE, str(tmp_path), str(number), str(CHANGES)], cwd=ROOT)
        for number in range(WRITERS)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0] * WRITERS
    mark = HighWaterFile(tmp_path).read()
    own = {f"own-{number}": CHANGES - 1 for number in range(WRITERS)}
    highest = (CHANGES - 1) * 10 + WRITERS - 1
    assert mark == Versions("one", own | {"common": highest}, WRITERS - 1)


async def test_a_folder_shared_by_services_of_two_databases_is_told(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    HighWaterFile(tmp_path).change(lambda _: None)
    async with cloned_database(server) as other, running(other, tmp_path):
        HighWaterFile(tmp_path).change(lambda _: Versions("another", {"vnn": 7}, 0))
        with capture_logs() as lines:
            async with running(database_dsn, tmp_path, accept_older_database=True) as portal:
                HighWaterFile(tmp_path).change(lambda _: Versions("another", {"vnn": 7}, 0))
                await portal.post(message("a"))

                async def is_shown() -> bool:
                    return bool((await portal.totals())["messages"] == 1)

                await eventually(is_shown)
    assert "data_dir_shared_with_another_database" in {line["event"] for line in lines}
    assert HighWaterFile(tmp_path).read() == Versions("another", {"vnn": 7}, 0)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / f"published.json.{threading.get_native_id()}.new").mkdir()
    with pytest.raises(HighWaterFileUnusable, match="cannot be written"):
        HighWaterFile(tmp_path).change(lambda _: Versions("one", {}, 0))


@pytest.fixture
def environ(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment of a command on a fresh database; its DSN."""
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", database_dsn)
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("PORTAL1400_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PORTAL1400_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("PORTAL1400_INTERNAL_LISTEN", "127.0.0.1:0")
    yield database_dsn
    structlog.reset_defaults()


def test_serve_says_why_it_does_not(environ: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    HighWaterFile(tmp_path).change(lambda _: Versions("another", {"vnn": 7}, 0))
    assert main(["serve"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "portal1400: campaign vnn: version 7 was published, the database has no such campaign" in said
