"""The keeper of the embedded PostgreSQL: a small process that starts, watches and stops one server.

Started only by `handle`, which hands over `keeper.lock` already locked. The lock ends with the keeper, so
"does a keeper live?" is a question to the kernel, never to a recorded pid. `users.lock` is held shared by every
user; the keeper takes it exclusively to learn that nobody is left, and keeps it until PostgreSQL has stopped, so a
newcomer can never meet a server that is about to go. `server.json` tells users how far the start is, where the
socket is, or why there is none. Only light modules of the standard library are imported: a start waits for them.
"""

import argparse
import contextlib
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from service.postgres.embedded.account import (
    Account,
    binaries_for,
    choose_account,
    data_argument,
    make_socket_folder,
    run_as,
)
from service.postgres.embedded.data_folder import (
    PORT,
    SUPERUSER,
    DataFolder,
    EmbeddedServerFailed,
    State,
    open_lock,
    try_lock,
    unlock,
    write_state,
)
from service.postgres.embedded.leftovers import clear_former_server, is_ready, read_pid_file
from service.runtime.files import sync
from service.runtime.processes import die_with_parent

LINGER_SECONDS = 2.0  # after the last user has gone
TERMINATED_LINGER_SECONDS = 8.0  # asked by SIGTERM to end: as long as a service may need to drain
INIT_SECONDS_MAX = 120.0
START_SECONDS_MAX = 300.0  # recovery after a crash replays at most max_wal_size
STOP_SECONDS_MAX = 60.0  # then SIGQUIT: the next start recovers
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


class Keeper:
    """Keeps one server running as long as it has users. `run` is its whole life."""

    def __init__(self, places: DataFolder, binaries: Path, version: str, description: str, lock: int) -> None:
        """`binaries` is the folder with `postgres` and `initdb`; version and description are passed on to users.

        `lock`: the descriptor of the keeper's lock, which is held.
        """
        self.places, self.binaries = places, binaries
        self.lock = lock
        self.version, self.description = version, description
        self.users = open_lock(places.users_lock)
        self.account: Account | None = None
        self.socket_folder = places.root
        self.server: subprocess.Popen[bytes] | None = None
        self.is_new = False
        self.idle_since: float | None = None
        self.terminated_at: float | None = None

    def run(self) -> int:
        """Keep the server until nobody uses it; leave a sentence in the state file when that cannot be done."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._terminate)
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
            self._tell(State("failed", failure))
            return 1
        if self._is_ours():
            self.places.state.unlink(missing_ok=True)
        if self.socket_folder.parent != self.places.root:
            with contextlib.suppress(OSError):  # whatever still lies in it
                self.socket_folder.rmdir()
        return 0

    def _terminate(self, number: int, frame: object) -> None:
        del number, frame
        self.terminated_at = self.terminated_at or time.monotonic()

    def _say(self, text: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        sys.stderr.write(f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03} UTC [{os.getpid()}] keeper: {text}\n")
        sys.stderr.flush()

    def _note(self, text: str) -> None:
        self._say(text)
        self._tell(State("starting", text, keeper_pid=os.getpid()))

    def _tell(self, state: State) -> None:
        with contextlib.suppress(OSError):  # a full disk, a removed folder: no reason to leave a server behind
            if self._is_ours():
                write_state(self.places, state)

    def _is_ours(self) -> bool:
        """Whether the folder is still the one that was given: in one made anew another keeper speaks."""
        try:
            named, held = self.places.keeper_lock.stat(), os.fstat(self.lock)
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def _prepare(self) -> None:
        self._note("preparing PostgreSQL")
        self.account = choose_account(self.places)
        self.binaries = binaries_for(self.account, self.binaries)
        self.socket_folder = make_socket_folder(self.places, self.account)
        self._make_data()

    def _make_data(self) -> None:
        """Make the data folder beside its place and rename it when complete: an interrupted start begins again."""
        root, data = self.places.root, self.places.data
        for leftover in root.glob("postgres.new-*"):
            shutil.rmtree(leftover)
        if (data / "PG_VERSION").exists():
            return
        if data.exists() and any(data.iterdir()):
            raise EmbeddedServerFailed(
                f"{data} is not empty and is not a PostgreSQL data folder: move it away, or choose another "
                "PORTAL1400_DATA_DIR"
            )
        self._note("creating the database files (only the first time)")
        self.is_new = True
        password = os.urandom(24).hex()
        given = self.socket_folder / "password"  # the one place that the account can surely read
        self._write_for_account(given, password)
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=root))
        self._give_to_account(new)
        try:
            self._init(new, given)
        finally:
            given.unlink()
        self._write_for_account(new / self.places.password.name, password)
        sync(new)
        new.rename(data)
        sync(root)

    def _write_for_account(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="ascii")
        sync(path)
        self._give_to_account(path)

    def _give_to_account(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

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
        # In quotes: blanks at an end, and quotes, mean something else in a list.
        quoted = str(self.socket_folder).replace('"', '""')
        settings = SETTINGS | {"unix_socket_directories": f'"{quoted}"'}
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
        while (lines := read_pid_file(self.places.data))[:1] != [str(self.server.pid)] or not is_ready(lines):
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
            is_new=self.is_new,
        )
        write_state(self.places, state)
        self._say("PostgreSQL is ready")

    def _last_words(self) -> str:
        """The end of the server's log for a refusal: only its own grave lines, which hold no statement."""
        with self.places.log.open("rb") as file:
            file.seek(max(0, self.places.log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
        grave = [match[1] for line in lines if (match := re.search(r"(?:FATAL|PANIC|postgres):\s+(.*)", line))]
        return f": {'; '.join(grave[-3:])}" if grave else ""

    def _watch(self) -> bool:
        """Wait until nobody uses the server (True) or until it dies (False)."""
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
        unlock(self.users)
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
        self._tell(State("stopping", "the previous PostgreSQL is stopping", keeper_pid=os.getpid()))
        for number, seconds in ((signal.SIGINT, STOP_SECONDS_MAX), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            self.server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(timeout=seconds)
                return


def main() -> int:
    """Detach from the one who started us, then keep the server. Exit 0 when it was no longer used."""
    parser = argparse.ArgumentParser(
        prog="keeper", description="keeps the embedded PostgreSQL; started by portal1400"
    )
    for name in ("--data", "--binaries", "--version", "--description"):
        parser.add_argument(name, required=True)
    parser.add_argument("--lock", required=True, type=int)
    words = parser.parse_args()
    os.set_inheritable(words.lock, False)
    os.umask(0o077)
    places = DataFolder(Path(words.data))
    log = os.open(places.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if os.fork():
        os._exit(0)  # the starter need not wait for us later: we are nobody's child
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    return Keeper(places, Path(words.binaries), words.version, words.description, words.lock).run()


if __name__ == "__main__":
    sys.exit(main())
