"""Life and death of the embedded PostgreSQL, with real servers and real kills. Every test leaves nothing running."""

# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs in the loop of a test that looks at a file

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.postgres.embedded.account import choose_account
from service.postgres.embedded.data_folder import PORT, DataFolder, open_lock, read_state, try_lock
from service.postgres.embedded.handle import EmbeddedHandle, EmbeddedServerFailed, choose_binaries, connect_embedded
from service.postgres.embedded.leftovers import is_ready, read_pid_file
from tests.support.embedded import (
    Users,
    eventually,
    living,
    on_linux,
    query,
    rest,
    state_of,
)

# What asyncpg raises when the server dies under it; the internal error, when that happens within an exchange.
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@on_linux
async def test_who_comes_first_starts_who_comes_second_joins_and_the_last_to_leave_stops(
    new_dir: Path, users: Users
) -> None:
    apply = users.enter(new_dir)
    first = await apply.hear()
    assert any("creating the database files" in step for step in first["told"])
    serve = users.enter(new_dir)
    second = await serve.hear()
    assert second["dsn"] == first["dsn"]
    assert not any("starting" in step for step in second["told"])
    await apply.ask("query CREATE TABLE kept AS SELECT 7 AS n")
    await apply.leave()
    await asyncio.sleep(2.5)
    assert await serve.ask("query SELECT n FROM kept") == {"rows": [[7]]}
    left = time.monotonic()
    await serve.leave()
    await eventually(lambda: not living(new_dir), 5)
    assert time.monotonic() - left > 1.5, "a command that follows at once should find the server"
    assert sorted(path.name.split("-")[0] for path in new_dir.iterdir()) == [
        "keeper.lock", "postgres", "postgres.log", "socket", "users.lock",
    ]  # fmt: skip


@on_linux
async def test_four_users_who_come_at_the_same_instant_share_one_server(new_dir: Path, users: Users) -> None:
    heard = [await user.hear() for user in [users.enter(new_dir) for _ in range(4)]]
    assert len({each.get("dsn") for each in heard}) == 1
    assert sum("service.postgres.embedded.keeper" in words for words in living(new_dir).values()) == 1
    assert sum("/postgres -D" in words for words in living(new_dir).values()) == 1
    for user in users:
        await user.leave()


@on_linux
@pytest.mark.slow
async def test_users_killed_as_a_group_leave_nothing_running(data_dir: Path, users: Users) -> None:
    for user in [users.enter(data_dir) for _ in range(2)]:
        await user.hear()
    for user in users:
        user.kill()
    await eventually(lambda: not living(data_dir), 10)
    assert not (data_dir / "server.json").exists()
    assert not (data_dir / "postgres" / "postmaster.pid").exists(), "it was shut down, not killed"


@on_linux
async def test_a_newcomer_is_safe_at_every_moment_of_a_stop(data_dir: Path) -> None:
    user = await connect_embedded(data_dir, timeout_seconds=60)
    for delay in range(0, 180, 15):  # milliseconds after the keeper was asked to end
        await user.close()
        os.kill(state_of(data_dir).keeper_pid, signal.SIGTERM)
        await asyncio.sleep(delay / 1000)
        user, other = await asyncio.gather(*(connect_embedded(data_dir, timeout_seconds=30) for _ in range(2)))
        await other.close()
        await asyncio.sleep(0.15)  # a keeper that meant to stop would have done so by now
        assert await query(user, "SELECT 1") == 1
    await user.close()


@on_linux
async def test_while_a_server_stops_newcomers_wait_with_a_word_and_a_limit(data_dir: Path) -> None:
    user = await connect_embedded(data_dir, timeout_seconds=60)
    old = state_of(data_dir)
    os.kill(old.server_pid, signal.SIGSTOP)  # a stop that takes its time
    await user.close()
    os.kill(old.keeper_pid, signal.SIGTERM)
    await eventually(lambda: (state := read_state(DataFolder(data_dir))) and state.stage == "stopping")
    try:
        lock = open_lock(DataFolder(data_dir).users_lock)
        assert not try_lock(lock, shared=True), "nobody may become a user of a server that goes"
        os.close(lock)
        with pytest.raises(EmbeddedServerFailed, match="has been stopping for"):
            await connect_embedded(data_dir, timeout_seconds=0.2)
        told: list[str] = []
        waiting = asyncio.ensure_future(connect_embedded(data_dir, progress=told.append, timeout_seconds=30))
        await eventually(lambda: told == ["waiting for the previous PostgreSQL to stop"])
    finally:
        os.kill(old.server_pid, signal.SIGCONT)
    newcomer = await waiting
    assert state_of(data_dir).server_pid != old.server_pid
    assert await query(newcomer, "SELECT 1") == 1
    await newcomer.close()


@on_linux
async def test_a_killed_server_comes_back_with_every_acknowledged_row(handle: EmbeddedHandle, data_dir: Path) -> None:
    await query(handle, "CREATE TABLE row (n integer PRIMARY KEY)")
    acknowledged: list[int] = []
    numbers = iter(range(1_000_000))
    for kill in range(4):
        await handle.ensure()
        connection = await asyncpg.connect(handle.dsn)
        for done in range(10_000):
            if done == 150 and kill == 3:
                break
            if done == 150:
                os.kill(state_of(data_dir).server_pid, signal.SIGKILL)
            number = next(numbers)  # one that was sent and not answered is not tried again: it may be stored
            try:
                await connection.execute("INSERT INTO row VALUES ($1)", number)
            except LOST:
                break
            acknowledged.append(number)
        connection.terminate()
    stored = await query(handle, "SELECT array_agg(n ORDER BY n) FROM row")
    assert len(acknowledged) >= 600
    assert set(acknowledged) <= set(stored)


@on_linux
async def test_a_pool_finds_the_restarted_server_at_its_old_address(handle: EmbeddedHandle, data_dir: Path) -> None:
    async with asyncpg.create_pool(handle.dsn, min_size=1, max_size=2) as pool:
        before = state_of(data_dir).server_pid
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: (state := state_of(data_dir)) and state.server_pid != before)
        with contextlib.suppress(*LOST):
            await pool.fetchval("SELECT 1")  # the broken connection
        assert await pool.fetchval("SELECT 1") == 1


@on_linux
async def test_when_the_keeper_is_killed_the_server_ends_and_any_user_starts_both_again(
    handle: EmbeddedHandle, data_dir: Path
) -> None:
    await query(handle, "CREATE TABLE kept AS SELECT 7 AS n")
    before = state_of(data_dir)
    os.kill(before.keeper_pid, signal.SIGKILL)
    await eventually(lambda: before.server_pid not in living(data_dir))
    others = await asyncio.gather(*(connect_embedded(data_dir, timeout_seconds=30) for _ in range(2)))
    await handle.ensure()
    assert state_of(data_dir).keeper_pid != before.keeper_pid
    assert {other.dsn for other in others} == {handle.dsn}
    assert await query(handle, "SELECT n FROM kept") == 7
    for other in others:
        await other.close()


@on_linux
async def test_keeper_and_server_killed_together_start_again_at_once(handle: EmbeddedHandle, data_dir: Path) -> None:
    await query(handle, "CREATE TABLE kept AS SELECT 7 AS n")
    before = state_of(data_dir)
    os.kill(before.keeper_pid, signal.SIGKILL)
    os.kill(before.server_pid, signal.SIGKILL)
    await handle.ensure()
    assert await query(handle, "SELECT n FROM kept") == 7


@on_linux
async def test_lock_files_of_a_dead_server_do_not_stop_a_start_even_when_their_pid_lives(data_dir: Path) -> None:
    first = await connect_embedded(data_dir, timeout_seconds=60)
    state = state_of(data_dir)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    socket_lock = Path(state.socket_folder) / f".s.PGSQL.{PORT}.lock"
    lines = pid_file.read_text(encoding="ascii").splitlines()
    await first.close()
    await rest(data_dir)
    owner = (data_dir / "postgres").stat()
    run_as: Any = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    stranger = subprocess.Popen(["sleep", "60"], cwd="/", **run_as)
    try:
        for path in (pid_file, socket_lock):
            path.write_text("\n".join([str(stranger.pid), *lines[1:], ""]), encoding="ascii")
            os.chown(path, owner.st_uid, owner.st_gid)
        second = await connect_embedded(data_dir, timeout_seconds=30)
        assert await query(second, "SELECT 1") == 1
        assert stranger.poll() is None, "a stranger is nobody's business"
        await second.close()
    finally:
        stranger.kill()
        stranger.wait()


@on_linux
async def test_a_server_that_somebody_else_started_in_the_folder_is_left_alone(
    handle: EmbeddedHandle, data_dir: Path, users: Users
) -> None:
    await handle.close()
    await rest(data_dir)
    account, binaries = choose_account(DataFolder(data_dir)), choose_binaries("auto", data_dir)
    run_as: Any = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    data_dir.parent.chmod(0o777)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data_dir.parent}"]
    theirs = subprocess.Popen(
        [str(binaries.folder / "postgres"), "-D", str(data_dir / "postgres"), *options],
        cwd="/",
        stderr=subprocess.DEVNULL,
        **run_as,
    )
    try:
        await eventually(lambda: is_ready(read_pid_file(data_dir / "postgres")))
        refused = await users.enter(data_dir).hear()
        assert f"pid {theirs.pid}" in refused["failed"]
        assert theirs.poll() is None
    finally:
        theirs.send_signal(signal.SIGINT)
        theirs.wait(10)


@on_linux
async def test_an_interrupted_initdb_begins_again(new_dir: Path, users: Users) -> None:
    user = users.enter(new_dir)
    await eventually(lambda: list(new_dir.glob("postgres.new-*/base/1/*")) if new_dir.exists() else None)
    state = read_state(DataFolder(new_dir))
    assert state is not None
    os.kill(state.keeper_pid, signal.SIGKILL)
    user.kill()
    assert not (new_dir / "postgres").exists()
    second = await connect_embedded(new_dir, timeout_seconds=60)
    assert await query(second, "SELECT 1") == 1
    assert not list(new_dir.glob("postgres.new-*"))
    await second.close()


@on_linux
@pytest.mark.slow
async def test_a_folder_removed_and_made_anew_is_not_disturbed_by_the_old_server(data_dir: Path) -> None:
    old = await connect_embedded(data_dir, timeout_seconds=60)
    await old.close()
    shutil.rmtree(data_dir)
    new = await connect_embedded(data_dir, timeout_seconds=60)
    await asyncio.sleep(3)  # the old keeper has ended by now
    assert await query(new, "SELECT 1") == 1
    await new.close()


async def test_a_keeper_whose_folder_was_made_anew_says_nothing_in_it(data_dir: Path) -> None:
    old = await connect_embedded(data_dir, timeout_seconds=60)
    server = state_of(data_dir).server_pid
    shutil.rmtree(data_dir)
    data_dir.mkdir(mode=0o755)
    anew = DataFolder(data_dir)
    anew.keeper_lock.touch()
    anew.state.write_text("another's", encoding="utf-8")
    await old.close()
    keeper = int(Path(f"/proc/{server}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
    await eventually(lambda: not Path(f"/proc/{keeper}").exists(), 30)
    assert anew.state.read_text(encoding="utf-8") == "another's"
