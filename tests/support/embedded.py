"""Embedded servers of tests: users that are processes, and folders that must be at rest when a test is over."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.postgres.embedded.data_folder import DataFolder, read_state
from service.postgres.embedded.handle import EmbeddedHandle

ROOT = Path(__file__).parents[2]
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


def copy_made(made: Path, folder: Path) -> None:
    """The data that a server has made and left."""
    folder.mkdir()
    subprocess.run(["cp", "-a", str(made / "postgres"), str(folder)], check=True)


async def rest(data_dir: Path) -> None:
    """Spare ourselves the keeper's patience with users that may yet come."""
    os.kill(state_of(data_dir).keeper_pid, signal.SIGTERM)
    await eventually(lambda: not living(data_dir))


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
