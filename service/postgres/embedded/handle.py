"""Embedded PostgreSQL: a server of our own in the data folder, shared by every command that needs it.

    handle = await connect_embedded(settings.data_dir, "auto", progress=print)
    pool = await asyncpg.create_pool(handle.dsn)
    ...                      # lost the database? `await handle.ensure()`, then connect to `handle.dsn` again
    await handle.close()     # after the pool is closed; a killed process needs no close

The first user starts a keeper (`keeper.py`), which starts PostgreSQL and stops it two seconds after the last
user is gone. Being a user is holding a shared lock on `users.lock`, which the kernel frees however a process ends.
The server listens on a private unix socket only and asks for a password. `dsn` has the form
`postgresql://app:PASSWORD@/portal1400?host=FOLDER&port=5432`, which asyncpg and psql understand alike.

One operating-system account per data folder; Linux and macOS. Everyone else sets PORTAL1400_DATABASE_URL.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from service.postgres.connect_errors import known_cause
from service.postgres.embedded.binaries import Binaries, choose_binaries
from service.postgres.embedded.data_folder import (
    PORT,
    SUPERUSER,
    DataFolder,
    EmbeddedServerFailed,
    State,
    open_lock,
    read_state,
    try_lock,
)
from service.runtime.processes import clean_environment

__all__ = ["Binaries", "EmbeddedHandle", "EmbeddedServerFailed", "choose_binaries", "connect_embedded"]

DATABASE = "portal1400"
WAIT_SECONDS_MAX = 600.0  # longer than a keeper may take for all its steps; then the caller hears of it
SILENT_SECONDS_MAX = 30.0
"""A server that takes connections and says nothing: one that starts, stops or recovers says so at once."""
ANSWER_SECONDS_MAX = 10.0
POLL_SECONDS = 0.02
KEEPER_STARTS_MAX = 3

OWN_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"ssl": False, "direct_tls": False, "gsslib": "gssapi", "krbsrvname": "postgres"}
)
"""For every connection to a server of our own: else asyncpg asks PGSSLMODE and others of the environment, which speak
of another server. Host, port, user, password and database stand in the DSN. Source: asyncpg 0.31, `connect_utils`."""

# A server that starts, stops, or has just been killed.
NOT_NOW = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # when the server dies within an exchange
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectInUseError,
)

Progress = Callable[[str], None]


class EmbeddedHandle:
    """A user of the embedded server, from `connect_embedded` until `close` or the end of the process.

    A forked child shares the parent's use: the server lives until both are gone.
    """

    def __init__(self, places: DataFolder, users_lock: int, preference: str) -> None:
        """Made by `connect_embedded`, which holds the lock already."""
        self._places, self._users_lock, self._preference = places, users_lock, preference
        self._state: State | None = None

    @property
    def dsn(self) -> str:
        """Where the application's database is; holds the password, so keep it out of logs."""
        return self._dsn(DATABASE)

    @property
    def description(self) -> str:
        """Which server runs, where from, and as whom; for people."""
        return self._state.description if self._state else "PostgreSQL (not started)"

    async def ensure(self, progress: Progress | None = None, timeout_seconds: float = WAIT_SECONDS_MAX) -> None:
        """Return when the server accepts connections; start it again if its keeper was killed.

        Cheap when all is well: one connection. For whoever lost the database. Raises EmbeddedServerFailed, also for a
        server that has said nothing to anybody for SILENT_SECONDS_MAX.
        """
        if self._users_lock < 0:
            raise RuntimeError("this handle is closed")
        tell = _told_once(progress)
        deadline, starts, watched = time.monotonic() + timeout_seconds, 0, False
        silent_from: float | None = None
        while True:
            state = read_state(self._places)
            if watched and state is not None and state.stage == "failed":
                raise EmbeddedServerFailed(state.note)
            lock = open_lock(self._places.keeper_lock)
            if try_lock(lock):  # nobody keeps the server; whoever holds this lock is the one to start it
                starts += 1
                await asyncio.to_thread(self._start_keeper, lock)
            else:
                os.close(lock)
                asked_at = time.monotonic()
                try:
                    if state is not None and state.stage == "ready" and await self._accepts(state):
                        self._state = state
                        return
                    silent_from = None
                except TimeoutError:
                    silent_from = silent_from or asked_at
                    if time.monotonic() - silent_from >= SILENT_SECONDS_MAX:
                        raise EmbeddedServerFailed(
                            f"PostgreSQL in {self._places.root} takes connections and has said nothing for "
                            f"{SILENT_SECONDS_MAX:g} s: it or its disk stands still; look at its processes (state "
                            f"T or D in `ps`), at dmesg, and at {self._places.log}"
                        ) from None
                if state is not None and state.note:
                    tell(state.note)
            watched = True
            if time.monotonic() > deadline or starts > KEEPER_STARTS_MAX:
                raise EmbeddedServerFailed(
                    f"PostgreSQL in {self._places.root} did not become ready in {timeout_seconds:.0f} s (its keeper "
                    f"was started {starts} times): see {self._places.log}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Stop being a user. May be called twice."""
        if self._users_lock >= 0:
            os.close(self._users_lock)
            self._users_lock = -1

    def _dsn(self, database: str, state: State | None = None) -> str:
        known = state or self._state
        folder = quote(known.socket_folder if known else "", safe="/")
        try:
            password = self._places.password.read_text(encoding="ascii")
        except OSError as error:
            raise EmbeddedServerFailed(
                f"the password of PostgreSQL cannot be read ({error}): put the original file back, or move "
                f"{self._places.root} away to begin with an empty database"
            ) from error
        return f"postgresql://{SUPERUSER}:{password}@/{database}?host={folder}&port={PORT}"

    def _start_keeper(self, lock: int) -> None:
        """Start a keeper that inherits `lock`, and let go of our own hold on it."""
        try:
            self._places.state.unlink(missing_ok=True)
            binaries = choose_binaries(self._preference, self._places.root)
            # Without site-packages, which it does not need: it starts in a fraction of the time.
            command = [
                sys.executable,
                "-P",
                "-S",
                "-m",
                "service.postgres.embedded.keeper",
                "--data",
                str(self._places.root),
            ]
            command += ["--binaries", str(binaries.folder), "--version", binaries.version]
            command += ["--description", binaries.description, "--lock", str(lock)]
            done = subprocess.run(
                command,
                check=False,
                timeout=30,
                cwd="/",
                env=clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[3])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=[lock],
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedServerFailed(f"PostgreSQL's keeper cannot be started: {error}") from error
        finally:
            os.close(lock)
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise EmbeddedServerFailed(f"PostgreSQL's keeper cannot be started: {' '.join(words)}")

    async def _accepts(self, state: State) -> bool:
        """Whether the application's database accepts us now; makes the database when there is none.

        Raises TimeoutError where the server says neither yes nor no.
        """
        try:
            if state.is_new and self._state is None:  # spares the log a FATAL line
                await self._create_database(state)
            await self._visit(DATABASE, state, "SELECT 1")
        except asyncpg.InvalidCatalogNameError:
            await self._create_database(state)
            return False  # the next look finds it
        except asyncpg.TooManyConnectionsError:
            return True
        except asyncpg.ClientConfigurationError as error:
            raise EmbeddedServerFailed(
                "the connection to PostgreSQL is configured by the environment in a way that cannot be "
                f"({type(error).__name__}): remove the variables that begin with PG"
            ) from error
        except TimeoutError:
            raise
        except NOT_NOW:
            return False
        except asyncpg.InvalidPasswordError as error:
            raise EmbeddedServerFailed(
                f"PostgreSQL refuses the password in {self._places.password}: put the original file back, or move "
                f"{self._places.root} away to begin with an empty database"
            ) from error
        except asyncpg.PostgresError as error:
            raise EmbeddedServerFailed(
                f"PostgreSQL in {self._places.data} runs and takes no connection (SQLSTATE {error.sqlstate}): "
                f"{known_cause(error) or 'its manual tells what this code means'}; see {self._places.log}"
            ) from error
        return True

    async def _create_database(self, state: State) -> None:
        """Several users may do this at once: the server lets one of them."""
        with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError, *NOT_NOW):
            await self._visit("postgres", state, f"CREATE DATABASE {DATABASE}")

    async def _visit(self, database: str, state: State, statement: str) -> None:
        connection = await asyncpg.connect(
            self._dsn(database, state),
            timeout=ANSWER_SECONDS_MAX,
            target_session_attrs=SessionAttribute.any,
            **OWN_OPTIONS,
        )
        try:
            await connection.execute(statement, timeout=30)
        finally:
            connection.terminate()


def _told_once(progress: Progress | None) -> Progress:
    """The caller's `progress`, spared of repetitions."""
    last = ""

    def tell(text: str) -> None:
        nonlocal last
        if progress is not None and text != last:
            progress(text)
        last = text

    return tell


def _open_places(data_dir: Path) -> DataFolder:
    places = DataFolder(data_dir.expanduser().resolve())
    try:
        # Others may pass through, to what is theirs inside: the server's account, when we are root.
        places.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        os.close(open_lock(places.users_lock))
    except OSError as error:
        raise EmbeddedServerFailed(
            f"the data folder {places.root} cannot be used by this account ({error}): run as the account that made "
            "it, or choose another PORTAL1400_DATA_DIR"
        ) from error
    return places


async def connect_embedded(
    data_dir: Path,
    preference: str = "auto",
    *,
    progress: Progress | None = None,
    timeout_seconds: float = WAIT_SECONDS_MAX,
) -> EmbeddedHandle:
    """Become a user of the server in `data_dir`; start it, and create its data and database, as far as need be.

    `preference`: see `choose_binaries`; it has no say over a server that runs already. `progress` is told, in
    sentences, what takes time. Raises EmbeddedServerFailed when there is no server in `timeout_seconds`.
    """
    if sys.platform not in {"linux", "darwin"}:
        raise EmbeddedServerFailed(
            f"the embedded PostgreSQL runs on Linux and macOS, not on {sys.platform}: set PORTAL1400_DATABASE_URL"
        )
    tell = _told_once(progress)
    places = _open_places(data_dir)
    users_lock = open_lock(places.users_lock)
    handle = EmbeddedHandle(places, users_lock, preference)
    try:
        deadline = time.monotonic() + timeout_seconds
        while not try_lock(users_lock, shared=True):
            if time.monotonic() > deadline:
                raise EmbeddedServerFailed(
                    f"PostgreSQL in {places.root} has been stopping for {timeout_seconds:.0f} s: see {places.log}"
                )
            if (state := read_state(places)) is not None and state.stage == "stopping":
                tell("waiting for the previous PostgreSQL to stop")
            await asyncio.sleep(POLL_SECONDS)
        await handle.ensure(tell, max(1.0, deadline - time.monotonic()))
    except BaseException:
        await handle.close()
        raise
    tell(f"using {handle.description}")
    return handle
