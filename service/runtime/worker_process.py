"""One worker process as its supervisor sees it: started, followed over its pipe, watched, ended.

Over the pipe a worker reports that it is ready or why it refuses, and every HEARTBEAT_SECONDS that its event loop
turns. Its end closes the pipe.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import structlog

log = structlog.get_logger("supervisor")

HEARTBEAT_SECONDS = 0.5
IDLE_SECONDS_MAX = 5.0
"""A worker that serves and is silent so long, without having run at all, hangs: carriers hang up after 5 to 17 s."""
BUSY_SECONDS_MAX = 60.0
"""A silent one that still computes, or waits for a core or a disk, may be loaded only; after so long it hangs too."""
STARTING_SECONDS_MAX = 60.0
"""One that is not ready yet keeps nobody waiting."""
RUNNABLE = ("R", "D")
"""States of /proc/PID/stat in which a process is silent because of the machine: it waits for a core or for a disk."""


class Silence:
    """How long a worker's event loop has been silent, in time during which the supervisor itself was awake.

    Not by a clock: after the machine, or the supervisor, was suspended, everybody would seem to have been silent.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._idle_seconds = 0.0
        self._cpu_ticks = -1

    def broken(self) -> None:
        """A heartbeat came."""
        self.seconds = self._idle_seconds = 0.0

    def lasts(self, seconds: float, state: str, cpu_ticks: int) -> None:
        """`seconds` more have passed; `state` and `cpu_ticks` (used so far) are the process's now."""
        has_run = cpu_ticks != self._cpu_ticks or state in RUNNABLE
        self._cpu_ticks = cpu_ticks
        self.seconds += seconds
        self._idle_seconds = 0.0 if has_run else self._idle_seconds + seconds

    def is_too_long(self, *, is_ready: bool) -> bool:
        """Whether the worker hangs."""
        if not is_ready:
            return self.seconds > STARTING_SECONDS_MAX
        return self._idle_seconds > IDLE_SECONDS_MAX or self.seconds > BUSY_SECONDS_MAX


class Worker:
    """One worker process. `settled` is set when it is ready or over."""

    def __init__(self, index: int, process: subprocess.Popen[bytes]) -> None:
        self.index = index
        self.process = process
        self.started_at = time.monotonic()
        self.is_ready = False
        self.is_ending = False
        """It was told to drain, and its end is waited for."""
        self.is_hung = False
        """It was ended because it hung."""
        self.refused: list[str] = []
        self.settled = asyncio.Event()
        self.over = asyncio.Event()
        self._silence: Silence | None = None

    @classmethod
    def start(
        cls, index: int, options: Sequence[str], given: Mapping[str, int], descriptors: Sequence[int], report: int
    ) -> "Worker":
        """A new process; `given` are its options with numbers, `descriptors` what it inherits beside `report`."""
        command = [str(python_now()), "-P", "-m", "service", "worker", *options]
        command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
        process = subprocess.Popen(
            [*command, "--report", str(report)], stdin=subprocess.DEVNULL, pass_fds=[*descriptors, report]
        )
        return cls(index, process)

    @property
    def is_alive(self) -> bool:
        """Whether it runs and, as far as one can tell, does not hang."""
        return not self.over.is_set() and not self.is_hung

    async def follow(self, report: int) -> None:
        """Take in what it reports, until its end closes the pipe."""
        reader = asyncio.StreamReader()
        with os.fdopen(report, "rb") as pipe:
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
            async for line in reader:
                if self._silence is None:
                    self._silence = Silence()
                self._silence.broken()
                said = orjson.loads(line)
                self.refused += said.get("refused", [])
                self.is_ready = self.is_ready or said.get("ready", False)
                if self.is_ready:
                    self.settled.set()
        await asyncio.to_thread(self.process.wait)
        self.is_ready = False
        self.over.set()
        self.settled.set()

    def watch(self, seconds: float) -> None:
        """`seconds` more have passed: end it when it hangs. One that is ending has a limit of its own."""
        if self._silence is None or self.is_ending or self.is_hung:
            return
        self._silence.lasts(seconds, *_state_of(self.process.pid))
        if self._silence.is_too_long(is_ready=self.is_ready):
            log.error(
                "worker_hangs",
                worker=self.index,
                pid=self.process.pid,
                silent_seconds=round(self._silence.seconds, 1),
            )
            self.is_hung = True
            self.process.kill()

    def terminate(self) -> None:
        """Order it to drain."""
        self.is_ending = True
        self._signal(signal.SIGTERM)

    def reread(self) -> None:
        """Order it to read its accounts' secrets again. One that is not ready may not listen yet; it reads anyway."""
        if self.is_ready:
            self._signal(signal.SIGHUP)

    async def end_within(self, seconds: float) -> None:
        """Wait for its end; kill it when it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            log.error("worker_killed", worker=self.index, seconds=seconds)
            self.process.kill()
            await self.over.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


def python_now(executable: Path | None = None) -> Path:
    """The Python that a worker is started with: of the release that `current` names now, where we are a release.

    `make install` makes PREFIX/releases/NAME and PREFIX/current. A supervisor outlives its release in an upgrade:
    its next workers are of the one that the link names by then. `executable`: of the supervisor, by default its own.
    """
    own = Path(sys.executable) if executable is None else executable
    name = own.parent.parent
    current = name.parent.parent / "current"
    if name.parent.name != "releases" or not current.is_symlink():
        return own
    # Resolved now, so that what the worker loads later is of the same release.
    chosen = current.resolve() / "bin" / own.name
    return chosen if chosen.exists() else own


def _state_of(pid: int) -> tuple[str, int]:
    """State and used CPU time, in the kernel's ticks; where there is no /proc, a state in which nobody is idle.

    Source: proc(5), /proc/PID/stat, fields 3, 14 and 15.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return RUNNABLE[0], 0
    return fields[0], int(fields[11]) + int(fields[12])
