"""What the users of the embedded PostgreSQL and its keeper share: names of files, locks, and one small message.

All locks are `flock`s, which the kernel frees however a process ends; no recorded pid is ever believed. Light to
import: the keeper starts with it.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

from service.runtime.refusals import Refused

if sys.platform != "win32":  # there the module must still import, so that the refusal can be a sentence
    import fcntl

PORT = 5432  # only part of the socket's file name: the server has no TCP port
SUPERUSER = "app"


class EmbeddedServerFailed(Refused):
    """The embedded PostgreSQL cannot be had. The text is a sentence for people: what, where, what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataFolder:
    """Where things lie under the data folder `root` (absolute, symbolic links resolved)."""

    root: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder; exists only when complete."""
        return self.root / "postgres"

    @property
    def password(self) -> Path:
        """The superuser's password, inside the data so that the two cannot part."""
        return self.data / "portal1400.password"

    @property
    def users_lock(self) -> Path:
        """Shared by users, exclusive for a keeper that stops."""
        return self.root / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Exclusive for the life of a keeper."""
        return self.root / "keeper.lock"

    @property
    def state(self) -> Path:
        """What the keeper tells the users, as JSON; replaced in one step."""
        return self.root / "server.json"

    @property
    def log(self) -> Path:
        """What PostgreSQL and the keeper say."""
        return self.root / "postgres.log"


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """One message of the keeper. `stage` is starting, ready, stopping or failed; `note` is for people.

    What follows `note` is known when ready. `is_new`: this keeper made the data, the database is still to be made.
    """

    stage: str
    note: str = ""
    keeper_pid: int = 0
    server_pid: int = 0
    socket_folder: str = ""
    port: int = PORT
    version: str = ""
    description: str = ""
    started_at: str = ""
    is_new: bool = False


def read_state(places: DataFolder) -> State | None:
    """What the keeper last said, or None when it said nothing that can be understood."""
    try:
        return State(**json.loads(places.state.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_state(places: DataFolder, state: State) -> None:
    """Replace the state in one step: a reader sees the old text or the new one."""
    new = places.state.with_suffix(".new")
    new.write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
    new.replace(places.state)


def open_lock(path: Path) -> int:
    """A descriptor on a lock file, made if absent. Lock files stay for ever: a lock on a lost name binds nobody."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free now."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Let go of the lock, keep the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
