"""Restores: only what is whole, only into an empty database, and only where every figure is proved."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from service.live.high_water_file import HighWaterFile, Versions
from service.operations.backup.manifest import FORMAT, beside, measure, read_manifest
from service.operations.backup.times import last
from service.postgres.embedded.data_folder import DataFolder, open_lock, try_lock
from service.runtime.files import write_durably
from tests.support.backups import COUNT_TABLES, KEYRING, ROOT, as_a_process, ask, command, environ, give, short_folder
from tests.support.portal import running
from tests.support.processes import SERVICE
from tests.support.reports import taken_back


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
    document["manifest"] |= {"format": FORMAT + 1, "what_only_a_later_release_knows": True}
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
    "a manifest of a later format": (
        of_a_later_format,
        f"another format than this release reads (up to {FORMAT}): install",
    ),
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


async def test_a_backup_of_a_release_with_other_rules_is_brought_to_those_of_this_one(
    database_dsn: str, target: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await give(portal, "a")
        for native_id in ("r-1", "r-2"):
            assert (await portal.post(taken_back(native_id, 100_000, "a"))).status == 200
        (listed,) = await portal.fetch("SELECT event_id FROM review")
        # A release before asked nobody of what came twice, and knew no figure of what was given back.
        await portal.fetch("DELETE FROM review")
        await portal.fetch("DELETE FROM refolding")
        await portal.fetch("UPDATE campaign_total SET reversed_messages = 0, reversed_vnd = 0")
        assert (await command(database_dsn, tmp_path, "backup", tmp_path / "former.dump")).code == 0
    ended = await command(target, tmp_path, "restore", tmp_path / "former.dump")
    assert (ended.code, ended.err) == (0, "")
    assert await ask(target, "SELECT event_id FROM review") == listed["event_id"]
    assert await ask(target, "SELECT sum(reversed_vnd)::int FROM campaign_total") == 100_000


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
            restored = await as_a_process(None, first, "restore", made)
            assert restored.code == 0, restored.err
            again = await command(None, first, "backup", folder / "again.dump")
            assert again.code == 0, again.err
            moved = await as_a_process(None, second, "restore", folder / "again.dump")
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
