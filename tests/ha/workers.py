"""Workers of the service under test, and what their metrics say."""

import asyncio
import contextlib
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.ha.nodes import ROOT, HaFailed, end_with_parent
from tests.support.portal import book_file
from tests.support.ports import free_ports
from tests.support.processes import SERVICE, environ_for

SPOOLED = re.compile(r"^portal1400_spool_records(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass
class Workers:
    """So many machines with a worker each, all on one database."""

    folder: Path
    database_url: str
    count: int
    bases: list[str] = field(default_factory=list)
    internal: list[str] = field(default_factory=list)
    spooled_most: float = 0.0
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environ(self, at: int, port: int = 0, internal: int = 0) -> dict[str, str]:
        """The environment of worker `at`."""
        ours = environ_for(self.folder / f"worker-{at}", port, internal, database_url=self.database_url)
        # The driver would take what the URL leaves open from these.
        return {name: value for name, value in ours.items() if not name.startswith("PG")}

    def command(self, *arguments: str) -> str:
        """Run one command of the service to its end; what it printed. Raises HaFailed when it refuses."""
        done = subprocess.run(
            [*SERVICE, *arguments],
            env=self.environ(0),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode != 0:
            raise HaFailed(f"portal1400 {arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    async def start(self) -> None:
        """Apply a small book, start the workers, wait until all are ready."""
        self.command("migrate")
        self.command("apply", "--yes", str(book_file(self.folder)))
        for at in range(self.count):
            port, internal = free_ports(), free_ports()
            self.bases.append(f"http://127.0.0.1:{port}")
            self.internal.append(f"http://127.0.0.1:{internal}")
            with (self.folder / f"worker-{at}.log").open("wb") as log:
                started = subprocess.Popen(
                    [*SERVICE, "serve"],
                    env=self.environ(at, port, internal),
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
            self._running.append(started)
        for address in self.internal:
            await self._ready(address)

    async def _ready(self, address: str) -> None:
        deadline = time.monotonic() + 60
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < deadline:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{address}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise HaFailed(f"a worker is not ready after 60 s: see {self.folder}")

    async def watch(self) -> None:
        """Until cancelled: note how many acknowledged callbacks wait on the workers' disks."""
        while True:
            self.spooled_most = max(self.spooled_most, await self.spooled())
            await asyncio.sleep(0.5)

    async def spooled(self) -> float:
        """How many wait now, over all workers."""
        total = 0.0
        async with aiohttp.ClientSession() as http:
            for address in self.internal:
                async with http.get(f"{address}/metrics") as answer:
                    total += sum(map(float, SPOOLED.findall(await answer.text())))
        return total

    async def settled(self, seconds: float) -> float:
        """Wait until nothing waits any more; how many seconds that took."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if await self.spooled() == 0:
                return time.monotonic() - started
            await asyncio.sleep(0.2)
        raise HaFailed(f"{await self.spooled():g} callbacks still wait in spools after {seconds:g} s")

    def stop(self) -> None:
        """End the workers: in order, else at once."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
