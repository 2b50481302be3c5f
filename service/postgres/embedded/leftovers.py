"""What an earlier server left behind in the data folder when it or its keeper was killed.

PostgreSQL refuses to start when the pid in its lock files is alive, even as another program's (pids come round again
after a reboot and in containers) or as a zombie. The keeper knows better: it holds the lock on the folder, and asks
the kernel which processes work there.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from service.postgres.embedded.data_folder import PORT, EmbeddedServerFailed

FORMER_SERVER_SECONDS_MAX = 60.0
NUDGE_SECONDS = 5.0


def read_pid_file(data: Path) -> list[str]:
    """The lines of `postmaster.pid` (pid, folder, start, port, socket folder, ..., state), or none.

    Only at line feeds: a folder's name may hold what Python otherwise takes for the end of a line.
    """
    try:
        return (data / "postmaster.pid").read_bytes().decode("utf-8", "replace").split("\n")
    except OSError:
        return []


def is_ready(pid_file: list[str]) -> bool:
    """Whether the server of this `postmaster.pid` accepts connections (its eighth line says so)."""
    return len(pid_file) > 7 and pid_file[7].strip() == "ready"


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
                f"another PostgreSQL (pid {master}), which portal1400 did not start, works in {data}: stop it, "
                "then try again"
            )
        waited = time.monotonic() - began
        if waited > FORMER_SERVER_SECONDS_MAX:
            raise EmbeddedServerFailed(
                f"an earlier PostgreSQL in {data} does not end (pids {processes}): stop these processes, try again"
            )
        if waited >= NUDGE_SECONDS * nudges:
            note("waiting for an earlier PostgreSQL to end")
            # Its server processes end by themselves when it is gone; only one that is stuck needs to be told.
            for pid in [master] if master in processes else processes if nudges else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT if pid == master else signal.SIGQUIT)
            nudges += 1
        time.sleep(0.02)
    if processes is None and not _former_server_ended(data, socket_folder):
        return  # PostgreSQL itself will say what stands in its way
    for path in (data / "postmaster.pid", *(socket_folder / f".s.PGSQL.{PORT}{end}" for end in ("", ".lock"))):
        path.unlink(missing_ok=True)


def _former_server_ended(data: Path, socket_folder: Path) -> bool:
    """Where there is no /proc (macOS): a recorded pid is believed, and signalled, only if our socket answers."""
    for _ in range(500):
        lines = read_pid_file(data)
        if not _is_alive(lines):
            return True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(socket_folder / f".s.PGSQL.{PORT}"))
            os.kill(int(lines[0]), signal.SIGINT)
        time.sleep(0.02)
    return False


def _is_alive(pid_file: list[str]) -> bool:
    try:
        os.kill(int(pid_file[0]), 0)
    except (IndexError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
