"""The keeper of the embedded PostgreSQL: a small process that starts, watches and stops one server.

Started only by `service.embedded`, as a plain file (`python -I -S keeper.py ...`), so it imports the standard
library alone and is up in a fraction of a second. The one who starts it hands over `keeper.lock` already locked;
the lock dies with the keeper, so "does a keeper live?" is a question to the kernel, never to a recorded pid.

Under the data folder (`Places`): `users.lock` is held shared by every user; the keeper takes it exclusively to
learn that nobody is left, and keeps it until PostgreSQL has stopped, so a newcomer can never meet a server that is
about to go. `server.json` tells users how far the start is, where the socket is, or why it failed.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if sys.platform != "win32":  # there the module must still import, so that the refusal can be a sentence
    import fcntl
    import pwd

PORT = 5432  # only part of the socket's file name: the server has no TCP port
SUPERUSER = "app"
SOCKET_BYTES_MAX = 100  # a socket's address holds 107 bytes on Linux, 103 on macOS
LINGER_SECONDS = 2.0  # after the last user has gone
TERMINATED_LINGER_SECONDS = 8.0  # asked by SIGTERM to end: as long as a service may need to drain
INIT_SECONDS_MAX = 120.0
START_SECONDS_MAX = 300.0  # recovery after a crash replays at most max_wal_size
STOP_SECONDS_MAX = 60.0  # then SIGQUIT: the next start recovers
FORMER_SERVER_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.1
RESTARTS_MAX = 10  # in a row, none of which lived for STABLE_SECONDS
STABLE_SECONDS = 60.0
LOG_BYTES_MAX = 4 * 1024 * 1024  # and as much again in the previous file

# On the command line, where no ALTER SYSTEM can weaken them. A server log line must never show what a donor wrote:
# messages of level ERROR quote values ("invalid input syntax: ..."), so they stay with the client that caused them.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "password_encryption": "scram-sha-256",
    "jit": "off",
    "timezone": "UTC",
    "lc_messages": "C",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "cluster_name": "portal1400",
}


class EmbeddedServerFailed(Exception):
    """The embedded PostgreSQL cannot be had. The text is a sentence for people: what, where, what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
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
    """One message of the keeper. `stage` is starting, ready, stopping or failed; `note` is for people."""

    stage: str
    note: str = ""
    keeper_pid: int = 0
    server_pid: int = 0
    socket_folder: str = ""
    port: int = PORT
    version: str = ""
    description: str = ""
    started_at: str = ""


def read_state(places: Places) -> State | None:
    """What the keeper last said, or None when it said nothing that can be understood."""
    try:
        return State(**json.loads(places.state.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_state(places: Places, state: State) -> None:
    """Replace the state in one step: a reader sees the old text or the new one."""
    new = places.state.with_suffix(".new")
    new.write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
    new.replace(places.state)


def open_lock(path: Path) -> int:
    """A descriptor on a lock file, made if absent. Lock files are never removed: a lock on a lost name binds nobody."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free now."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clean_environment() -> dict[str, str]:
    """The few variables that tools need: our secrets must not live on in a process that outlives us."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"} | kept


# ---- the account that PostgreSQL runs as -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """A user of the system that PostgreSQL runs as when we are root, whom it refuses."""

    name: str
    uid: int
    gid: int


def run_as(account: Account | None) -> dict[str, Any]:
    """Arguments of `subprocess` that run a tool as `account`, or as ourselves, from a folder everyone can enter."""
    options: dict[str, Any] = {"cwd": "/", "env": clean_environment(), "stdin": subprocess.DEVNULL}
    return options if account is None else options | {"user": account.uid, "group": account.gid, "extra_groups": []}


def choose_account(places: Places) -> Account | None:
    """None unless we are root. The owner of existing data comes first, then `postgres`, then `nobody`."""
    if os.geteuid() != 0:
        return None
    entries = {entry.pw_name: entry for entry in reversed(pwd.getpwall())}
    by_uid = {entry.pw_uid: entry for entry in entries.values()}
    owner = places.data.stat().st_uid if places.data.exists() else 0
    entry = by_uid.get(owner) if owner else entries.get("postgres") or entries.get("nobody")
    if owner and entry is None:
        account = Account(str(owner), owner, places.data.stat().st_gid)
    elif entry is None:
        raise EmbeddedServerFailed(
            "PostgreSQL does not run as root, and this system has neither a user postgres nor a user nobody: "
            "run portal1400 as an ordinary user, or set PORTAL1400_DATABASE_URL"
        )
    else:
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        subprocess.run(["/bin/sh", "-c", ":"], check=True, timeout=10, **run_as(account))
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedServerFailed(
            f"PostgreSQL does not run as root, and this process may not become user {account.name} ({error}): "
            "run portal1400 as an ordinary user, or set PORTAL1400_DATABASE_URL"
        ) from error
    return account


def is_open_to(account: Account | None, question: str, path: Path) -> bool:
    """Ask the kernel, as that account, `test question path` (-x, -w): mode bits alone do not tell all."""
    command = ["/bin/sh", "-c", 'test "$1" "$2"', "sh", question, str(path)]
    return subprocess.run(command, check=False, timeout=10, **run_as(account)).returncode == 0


def runs_for(account: Account | None, binaries: Path) -> bool:
    """Whether that account can start the programs in this folder."""
    try:
        command = [str(binaries / "postgres"), "--version"]
        done = subprocess.run(command, check=False, timeout=30, capture_output=True, **run_as(account))
    except OSError:
        return False
    return done.returncode == 0


def binaries_for(account: Account | None, binaries: Path) -> Path:
    """The folder itself, or a copy where the account can read it (an environment under a private home).

    A wheel's libraries lie beside its package, found by a relative path, so the copy keeps both names.
    """
    if account is None or runs_for(account, binaries):
        return binaries
    install = binaries.parent
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    made = (binaries / "postgres").stat()
    mark = hashlib.sha256(f"{binaries}\0{made.st_size}\0{made.st_mtime_ns}".encode()).hexdigest()[:12]
    for place in (Path("/var/cache"), Path("/var/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - made private below
        home = place / f"portal1400-postgresql-{mark}"
        copied = home / install.parent.name / install.name / binaries.name
        with contextlib.suppress(OSError):
            if not home.exists():
                new = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=place))
                shutil.copytree(install, new / install.parent.name / install.name, symlinks=True)
                if libraries.is_dir():
                    shutil.copytree(libraries, new / libraries.name, symlinks=True)
                _open_for_reading(new)
                new.rename(home)
            if home.lstat().st_uid == os.geteuid() and not home.is_symlink() and runs_for(account, copied):
                return copied
    raise EmbeddedServerFailed(
        f"PostgreSQL's programs in {binaries} cannot be run by user {account.name}, and no place for a copy was "
        "found (tried /var/cache, /var/tmp and the temporary folder): install PostgreSQL of the system, or run "
        "portal1400 as an ordinary user"
    )


def _open_for_reading(tree: Path) -> None:
    """Give everyone what the owner may read and run, and nobody else a right to write."""
    for folder, _, files in os.walk(tree):
        for path in [Path(folder), *(Path(folder, name) for name in files)]:
            if not path.is_symlink():
                mine = path.stat().st_mode & 0o500
                path.chmod(0o200 | mine | mine >> 3 | mine >> 6)


def make_socket_folder(places: Places, account: Account | None) -> Path:
    """A private folder, short enough for a socket's address: in the data folder, or in the temporary one.

    The name in the temporary folder follows from the data folder, so that a killed keeper leaves one, not many.
    """
    uid = os.geteuid() if account is None else account.uid
    name = f"portal1400-{uid}-{hashlib.sha256(os.fsencode(places.root)).hexdigest()[:12]}"
    temporary = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - owner checked below
    for folder in (places.root / "socket", *(place / name for place in temporary)):
        if len(os.fsencode(folder)) + len(f"/.s.PGSQL.{PORT}") > SOCKET_BYTES_MAX:
            continue
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            # Through one descriptor: between a look and a change the name could come to mean something else.
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                owner = os.fstat(descriptor).st_uid
                if owner in {os.geteuid(), uid}:
                    os.fchmod(descriptor, 0o700)
                    if account is not None:
                        os.fchown(descriptor, account.uid, account.gid)
                    if is_open_to(account, "-w", folder):
                        return folder
            finally:
                os.close(descriptor)
    raise EmbeddedServerFailed(
        f"no place for PostgreSQL's socket: neither {places.root}/socket nor a folder in {tempfile.gettempdir()} "
        f"is private, writable and at most {SOCKET_BYTES_MAX} bytes long; choose another PORTAL1400_DATA_DIR"
    )


@contextlib.contextmanager
def data_argument(account: Account | None, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """How to name the data folder to a tool that runs as `account`: the text, and the descriptors to hand on.

    A parent that only root may enter (a home with mode 0700) hides the folder from the account that owns it. Parents
    are not ours to open; instead root opens the folder itself and the tool gets in through `/proc/self/fd`.
    """
    if account is None or is_open_to(account, "-x", folder):
        yield str(folder), ()
        return
    if not Path("/proc/self/fd").is_dir():
        raise EmbeddedServerFailed(
            f"user {account.name}, as whom PostgreSQL runs because we are root, cannot enter a parent of {folder}: "
            "choose a PORTAL1400_DATA_DIR that everyone can reach, or run portal1400 as an ordinary user"
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


# ---- what a crash left behind ----------------------------------------------------------------------------------


def read_pid_file(data: Path) -> list[str]:
    """The lines of `postmaster.pid` (pid, folder, start, port, socket folder, ..., state), or none."""
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def server_processes(data: Path) -> list[int] | None:
    """Pids of living `postgres` processes that work in `data`; None where there is no /proc to tell.

    A recorded pid proves nothing: after a reboot it may be anyone's, and a zombie still answers to it.
    """
    if not Path("/proc/self/cwd").exists():
        return None
    wanted, found = data.stat(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked, is a zombie, or is another user's
                works_in = (entry / "cwd").stat()
                same = (works_in.st_dev, works_in.st_ino) == (wanted.st_dev, wanted.st_ino)
                if same and (entry / "comm").read_bytes().strip() == b"postgres":
                    found.append(int(entry.name))
    return found


def clear_former_server(data: Path, socket_folder: Path, note: Callable[[str], None]) -> None:
    """Wait for a server whose keeper was killed, then remove the files by which PostgreSQL would refuse to start.

    Raises EmbeddedServerFailed when a server that is not ours works in the folder, or when ours does not end.
    """
    began, nudges = time.monotonic(), 0
    while processes := server_processes(data):
        lines = read_pid_file(data)
        master = int(lines[0]) if lines and lines[0].isdigit() else 0
        if master in processes and len(lines) > 4 and lines[4] and lines[4] != str(socket_folder):
            raise EmbeddedServerFailed(
                f"another PostgreSQL (pid {master}), not started by portal1400, works in {data}: stop it, try again"
            )
        waited = time.monotonic() - began
        if waited > FORMER_SERVER_SECONDS_MAX:
            raise EmbeddedServerFailed(
                f"an earlier PostgreSQL in {data} does not end (pids {processes}): stop these processes, try again"
            )
        if waited >= 5 * nudges:
            note("waiting for an earlier PostgreSQL to end")
            # Its server processes end by themselves when it is gone; only one that is stuck needs to be told.
            for pid in [master] if master in processes else processes if nudges else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT if pid == master else signal.SIGQUIT)
            nudges += 1
        time.sleep(0.02)
    leftover = [data / "postmaster.pid", *(socket_folder / f".s.PGSQL.{PORT}{end}" for end in ("", ".lock"))]
    if processes is None and _is_alive(read_pid_file(data)):
        return  # no /proc: PostgreSQL is more careful than we could be
    for path in leftover:
        path.unlink(missing_ok=True)


def _is_alive(pid_file: list[str]) -> bool:
    try:
        os.kill(int(pid_file[0]), 0)
    except (IndexError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


# ---- the keeper ------------------------------------------------------------------------------------------------


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """For `preexec_fn`: on Linux the kernel sends this signal to the child when the keeper is gone.

    Set after the change of user, which clears it. It follows the *thread* that forked: the keeper has only one.
    """
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        library.prctl(1, int(number))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return ask


class Keeper:
    """Keeps one server running as long as it has users. `run` is its whole life."""

    def __init__(self, places: Places, binaries: Path, version: str, description: str) -> None:
        """`binaries` is the folder with `postgres` and `initdb`; version and description are passed on to users."""
        self.places, self.binaries = places, binaries
        self.version, self.description = version, description
        self.users = open_lock(places.users_lock)
        self.account: Account | None = None
        self.socket_folder = places.root
        self.server: subprocess.Popen[bytes] | None = None
        self.idle_since: float | None = None
        self.terminated_at: float | None = None

    def run(self) -> int:
        """Keep the server until nobody uses it; leave a sentence in the state file when that cannot be done."""
        signal.signal(signal.SIGTERM, self._terminate)
        failure = ""
        try:
            self._prepare()
            self._keep()
        except EmbeddedServerFailed as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - users wait for a sentence, whatever happened
            traceback.print_exc()
            failure = f"PostgreSQL could not be started ({type(error).__name__}: {error}); see {self.places.log}"
        finally:
            self._stop()
        if failure:
            self._say(failure)
            write_state(self.places, State("failed", failure))
            return 1
        self.places.state.unlink(missing_ok=True)
        return 0

    def _terminate(self, number: int, frame: object) -> None:
        del number, frame
        self.terminated_at = self.terminated_at or time.monotonic()

    def _say(self, text: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(" ", "milliseconds")
        sys.stderr.write(f"{now} [{os.getpid()}] keeper: {text}\n")
        sys.stderr.flush()

    def _note(self, text: str) -> None:
        self._say(text)
        write_state(self.places, State("starting", text, keeper_pid=os.getpid()))

    def _prepare(self) -> None:
        self._note("preparing PostgreSQL")
        self.account = choose_account(self.places)
        self.binaries = binaries_for(self.account, self.binaries)
        self.socket_folder = make_socket_folder(self.places, self.account)
        self._make_data()

    def _make_data(self) -> None:
        """Make the data folder beside its place and rename it when complete: an interrupted start begins again."""
        for leftover in self.places.root.glob("postgres.new-*"):
            shutil.rmtree(leftover)
        data = self.places.data
        if (data / "PG_VERSION").exists():
            return
        if data.exists() and any(data.iterdir()):
            raise EmbeddedServerFailed(
                f"{data} is not empty and is not a PostgreSQL data folder: move it away, or choose another "
                "PORTAL1400_DATA_DIR"
            )
        self._note("creating the database files (only the first time)")
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.places.root))
        password = os.urandom(24).hex()
        given = self.socket_folder / "password"  # the one place that the account can surely read
        given.write_text(password, encoding="ascii")
        if self.account is not None:
            os.chown(new, self.account.uid, self.account.gid)
            os.chown(given, self.account.uid, self.account.gid)
        try:
            self._init(new, given)
        finally:
            given.unlink()
        kept = new / self.places.password.name
        with kept.open("w", encoding="ascii") as file:
            file.write(password)
            file.flush()
            os.fsync(file.fileno())
        if self.account is not None:
            os.chown(kept, self.account.uid, self.account.gid)
        for folder, act in ((new, lambda: new.rename(data)), (self.places.root, lambda: None)):
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            act()

    def _init(self, folder: Path, password: Path) -> None:
        if int(self.version.split(".")[0]) >= 17:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:  # before 17 only the system's own locale knows how to lower a Vietnamese letter
            locale = ["--locale=en_US.UTF-8" if sys.platform == "darwin" else "--locale=C.UTF-8"]
        with data_argument(self.account, folder) as (name, descriptors):
            command = [str(self.binaries / "initdb"), "-D", name, "-U", SUPERUSER, f"--pwfile={password}"]
            command += ["-A", "scram-sha-256", "-E", "UTF8", "--data-checksums", "--no-instructions", *locale]
            done = subprocess.run(
                command,
                check=False,
                timeout=INIT_SECONDS_MAX,
                capture_output=True,
                pass_fds=descriptors,
                # The next keeper clears this folder: nobody may still be writing into it.
                preexec_fn=die_with_parent(signal.SIGKILL),
                **run_as(self.account),
            )
        if done.returncode != 0:
            words = " ".join(done.stderr.decode("utf-8", "replace").split())[-400:]
            raise EmbeddedServerFailed(
                f"initdb could not create the database files in {self.places.root} ({words}): check space and rights "
                "there, or set PORTAL1400_DATABASE_URL"
            )

    def _keep(self) -> None:
        """Start the server again whenever it dies, until nobody uses it."""
        failures, was_ready = 0, False
        while True:
            began = time.monotonic()
            try:
                self._start()
                was_ready = True
                if self._watch():
                    return
                problem = f"PostgreSQL ended unexpectedly (status {self.server.poll() if self.server else None})"
            except EmbeddedServerFailed as error:
                if not was_ready:
                    raise
                problem = str(error)
            failures = 1 if time.monotonic() - began > STABLE_SECONDS else failures + 1
            if failures > RESTARTS_MAX:
                raise EmbeddedServerFailed(f"{problem}; gave up after {RESTARTS_MAX} starts, see {self.places.log}")
            self._note(f"{problem}; starting it again")
            time.sleep(min(0.1 * 2 ** (failures - 1), 5.0))

    def _start(self) -> None:
        """Start PostgreSQL as our direct child and wait until it accepts connections."""
        clear_former_server(self.places.data, self.socket_folder, self._note)
        self._note("starting PostgreSQL")
        settings = SETTINGS | {"unix_socket_directories": str(self.socket_folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with data_argument(self.account, self.places.data) as (name, descriptors):
            self.server = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", name, *options],
                stdout=2,
                stderr=2,
                start_new_session=True,
                pass_fds=descriptors,
                preexec_fn=die_with_parent(signal.SIGINT),
                **run_as(self.account),
            )
        began, noted = time.monotonic(), 0
        while (lines := read_pid_file(self.places.data))[:1] != [str(self.server.pid)] or lines[7:8] != ["ready   "]:
            waited = int(time.monotonic() - began)
            if self.server.poll() is not None or waited > START_SECONDS_MAX:
                raise EmbeddedServerFailed(
                    f"PostgreSQL did not start in {self.places.data} (status {self.server.poll()} after {waited} s)"
                    f"{self._last_words()}; see {self.places.log}"
                )
            if waited > noted:
                noted = waited
                self._note(f"PostgreSQL is recovering after an interruption ({waited} s so far)")
            time.sleep(0.005)
        who = f", as user {self.account.name}" if self.account is not None else ""
        state = State(
            stage="ready",
            keeper_pid=os.getpid(),
            server_pid=self.server.pid,
            socket_folder=str(self.socket_folder),
            version=self.version,
            description=f"{self.description}{who}",
            started_at=datetime.datetime.now(datetime.UTC).isoformat(),
        )
        write_state(self.places, state)

    def _last_words(self) -> str:
        """The end of the server's log for a refusal: only its own grave lines, which hold no statement."""
        with self.places.log.open("rb") as file:
            file.seek(max(0, self.places.log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
        grave = [match[1] for line in lines if (match := re.search(r"(?:FATAL|PANIC|postgres):\s+(.*)", line))]
        return f": {'; '.join(grave[-3:])}" if grave else ""

    def _watch(self) -> bool:
        """Wait until nobody uses the server (True, with users locked out) or until it dies (False)."""
        assert self.server is not None  # noqa: S101 - tells the type checker what _start has done
        while self.server.poll() is None:
            if self._is_over():
                return True
            self._limit_log()
            time.sleep(PAUSE_SECONDS)
        # A server that was told to end by whoever told us must not come back.
        return self.terminated_at is not None

    def _is_over(self) -> bool:
        now = time.monotonic()
        if not try_lock(self.users):
            self.idle_since = None
            return self.terminated_at is not None and now - self.terminated_at > TERMINATED_LINGER_SECONDS
        self.idle_since = self.idle_since or now
        if self.terminated_at is not None or now - self.idle_since >= LINGER_SECONDS:
            return True  # and the lock stays ours until the process ends
        fcntl.flock(self.users, fcntl.LOCK_UN)
        return False

    def _limit_log(self) -> None:
        """Start the log anew when it is full. Every writer appends, so the next line lands at the new beginning."""
        if os.fstat(2).st_size > LOG_BYTES_MAX:
            shutil.copyfile(self.places.log, self.places.log.with_suffix(".log.1"))
            os.ftruncate(2, 0)

    def _stop(self) -> None:
        """Fast shutdown; then the immediate one, after which the next start recovers; never leave a child behind."""
        if self.server is None or self.server.poll() is not None:
            return
        write_state(self.places, State("stopping", "PostgreSQL is stopping", keeper_pid=os.getpid()))
        for number, seconds in ((signal.SIGINT, STOP_SECONDS_MAX), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            self.server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(timeout=seconds)
                return


def main() -> int:
    """Detach from the one who started us, then keep the server. Exit 0 when it was no longer used."""
    parser = argparse.ArgumentParser(prog="keeper", description="keeps the embedded PostgreSQL; started by portal1400")
    for name in ("--data", "--binaries", "--version", "--description"):
        parser.add_argument(name, required=True)
    parser.add_argument("--lock", required=True, type=int)
    words = parser.parse_args()
    os.set_inheritable(words.lock, False)
    os.umask(0o077)
    places = Places(Path(words.data))
    log = os.open(places.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if os.fork():
        os._exit(0)  # the starter need not wait for us later: we are nobody's child
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    return Keeper(places, Path(words.binaries), words.version, words.description).run()


if __name__ == "__main__":
    sys.exit(main())
