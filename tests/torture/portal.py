"""The real service as an operator runs it: `portal1400 serve`, its processes, and what brings it back."""

import asyncio
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.support.ports import free_ports
from tests.support.processes import ROOT, SERVICE, Ended, command
from tests.torture.processes import children, send, with_environment

SECRET_KEY = "a key for the torture, long enough to be one, known to everybody"
GONE = (aiohttp.ClientError, OSError, TimeoutError)
WATCH_SECONDS = 0.1
RESTART_SECONDS = 0.3
READY_SECONDS = 120.0
SETTINGS = {
    "PORTAL1400_LOG_FORMAT": "json",
    "PORTAL1400_SECRET_KEY": SECRET_KEY,
    # Short limits: what waits ten seconds in a data centre must not decide how long a seed takes here.
    "PORTAL1400_STATEMENT_SECONDS": "3",
    "PORTAL1400_SHUTDOWN_SECONDS": "5",
    "PORTAL1400_INVARIANT_SECONDS": "5",
}


class PortalFailed(Exception):
    """The service could not be brought to where the torture needs it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a worker's metrics."""

    worker: int
    value: float


class Portal:
    """`portal1400 serve --workers N`, started again whenever it ends, as systemd would."""

    def __init__(self, folder: Path, data_dir: Path, database_url: str, workers: int) -> None:
        self._log = folder / "serve.log"
        self._workers = workers
        self.port = free_ports()
        self._internal = free_ports(workers)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL1400_")}
        self.environ |= SETTINGS | {
            "PORTAL1400_DATA_DIR": str(data_dir),
            "PORTAL1400_DATABASE_URL": database_url,
            "PORTAL1400_LISTEN": f"127.0.0.1:{self.port}",
            "PORTAL1400_INTERNAL_LISTEN": f"127.0.0.1:{self._internal}",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._expected_end = False
        self._is_wanted = False
        self._started = 0.0
        self.starts = 0
        self.complaints: list[str] = []

    @property
    def target(self) -> str:
        """The address of the public listener."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def supervisor(self) -> int:
        """The process that `serve` is; 0 when it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    @property
    def worker_pids(self) -> list[int]:
        """The processes that serve; with one worker it may be the process of `serve` itself."""
        supervisor = self.supervisor
        if not supervisor:
            return []
        return children(supervisor) or [supervisor]

    @property
    def all_pids(self) -> list[int]:
        """Every living process of it, also workers whose supervisor was killed."""
        return with_environment(f"PORTAL1400_DATA_DIR={self.environ['PORTAL1400_DATA_DIR']}")

    @property
    def is_draining(self) -> bool:
        """Whether a worker that was replaced still lives: it holds its spool and tells nobody what is in it."""
        return len(self.all_pids) > self._workers + 1

    def start(self) -> None:
        """Bring it up and keep it up."""
        self._is_wanted = True
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_up())

    async def hold_down(self) -> None:
        """Kill everything of it at once (SIGKILL) and keep it down until `start`."""
        self._is_wanted = False
        deadline = time.monotonic() + 15
        while pids := self.all_pids:
            # Again and again: a supervisor may have started one more in between.
            self.kill(pids)
            if time.monotonic() > deadline:
                raise PortalFailed("processes of the service outlive SIGKILL by 15 s")
            if self._process is not None:
                self._process.poll()
            await asyncio.sleep(0.02)

    def kill(self, pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal that may end the service without anybody being to blame."""
        if self.supervisor in pids and number is not signal.SIGHUP:
            self._expected_end = True
        send([pid for pid in pids if pid], number)

    async def stop(self) -> int | None:
        """End it in an orderly way; returns its exit code."""
        self._is_wanted = False
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        process = self._process
        if process is None:
            return None
        self._expected_end = True
        send([process.pid], signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 20)
        except subprocess.TimeoutExpired:
            self.complaints.append("serve did not end within 20 s of SIGTERM")
        send(self.all_pids, signal.SIGKILL)
        return await asyncio.to_thread(process.wait, 5)

    async def restart(self) -> None:
        """End it in an orderly way and bring it back."""
        await self.stop()
        self.start()
        await self.ready()

    async def ready(self) -> None:
        """Wait until every worker says that it can accept."""
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
            for worker in range(self._workers):
                while True:
                    with suppress(*GONE):
                        async with http.get(f"http://127.0.0.1:{self._internal + worker}/readyz") as answer:
                            if answer.status == 200:
                                break
                    if time.monotonic() > deadline:
                        raise PortalFailed(f"worker {worker} is not ready after {READY_SECONDS:g} s")
                    await asyncio.sleep(0.05)

    async def metric(self, name: str) -> list[Sample]:
        """A gauge or counter without labels, from every worker that has it. Raises PortalFailed when one is mute."""
        found: list[Sample] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            for worker in range(self._workers):
                try:
                    async with http.get(f"http://127.0.0.1:{self._internal + worker}/metrics") as answer:
                        text = await answer.text()
                except GONE as error:
                    raise PortalFailed(f"worker {worker} tells no metrics ({type(error).__name__})") from None
                match = re.search(rf"^{re.escape(name)} (\S+)", text, re.MULTILINE)
                if match:
                    found.append(Sample(worker, float(match[1])))
        return found

    def last_said(self, count: int = 12) -> list[str]:
        """The last lines of its log that are not about one callback: why something goes on and on."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"event":"callback"' not in line][-count:]

    async def run(self, *arguments: str, database_url: str) -> Ended:
        """One command of the portal beside the service, on the database itself."""
        return await command(self.environ | {"PORTAL1400_DATABASE_URL": database_url}, *arguments)

    async def _keep_up(self) -> None:
        while True:
            if self._is_wanted and not self.supervisor:
                if self._process is not None:
                    self._judge_end()
                    await asyncio.sleep(RESTART_SECONDS)
                self._launch()
            await asyncio.sleep(WATCH_SECONDS)

    def _launch(self) -> None:
        self.starts += 1
        self._expected_end = False
        self._started = time.monotonic()
        words = [*SERVICE, "serve", "--workers", str(self._workers)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(words, env=self.environ, cwd=ROOT, stdout=log, stderr=log)

    def _judge_end(self) -> None:
        """One that ends soon after its start found its port taken by workers of the last; any other has failed."""
        assert self._process is not None
        if not self._expected_end and time.monotonic() - self._started > 10:
            self.complaints.append(f"serve ended by itself with exit code {self._process.returncode}")
