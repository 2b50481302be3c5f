"""Backups: one snapshot beside live intake, whole or not there."""

# ruff: noqa: ASYNC240 - nothing else runs in the loop of a test that looks at a file

import asyncio
import json
import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest

from campaigns.schema.migrate import Migration, shipped_migrations
from service.live.high_water import select_identity
from service.operations.backup.manifest import beside, read_manifest
from service.operations.day_seals import DaySeals
from service.postgres.embedded.data_folder import open_lock, try_lock
from tests.support.backups import COUNT_TABLES, KEYRING, as_a_process, ask, command, environ, give, start
from tests.support.databases import empty_database
from tests.support.fleet import Fleet
from tests.support.portal import book_file, eventually, message, running, signed
from tests.support.postgres import TestServer
from tests.support.processes import SERVICE
from tests.support.releases import release_before
from tests.support.tampering import tamper

OLDEST = next(each for each in shipped_migrations() if each.number == 3)
"""Of the first whose release before it could make a backup."""


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
                await asyncio.sleep(0.02)
            return number

        giving = [asyncio.create_task(donors(f"donor{number}")) for number in range(4)]
        ended = await as_a_process(database_dsn, tmp_path, "backup", tmp_path)
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
