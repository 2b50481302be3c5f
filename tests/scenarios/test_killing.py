"""Killed at random instants: acknowledged ids are among the stored, stored among the sent, and each is there once."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest

from service.postgres.embedded.data_folder import DataFolder, read_state
from service.postgres.embedded.handle import connect_embedded
from tests.support.portal import book_file, message, signed
from tests.support.ports import free_ports
from tests.support.processes import ROOT, SERVICE, command, environ_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds its processes by /proc"),
]

SEED = 1400
CLIENTS = 12
METRICS_PAUSE_SECONDS = 0.25
"""They cost the service as much as some dozen callbacks."""
PAUSE_SECONDS = 0.2
"""Of a client between its callbacks: what is down comes up no sooner for being asked."""
GONE = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass
class Installation:
    """`portal1400 serve` with its embedded server in a folder of its own, and what carriers sent to it."""

    folder: Path
    port: int = field(default_factory=free_ports)
    internal_port: int = field(default_factory=free_ports)
    process: subprocess.Popen[bytes] | None = None
    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def environ(self) -> dict[str, str]:
        return environ_for(self.data_dir, self.port, self.internal_port)

    def apply(self) -> None:
        """Make the server's data, and apply the tests' book."""
        words = [*SERVICE, "apply", "--yes", str(book_file(self.folder))]
        subprocess.run(words, env=self.environ, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=120, check=True)

    def start(self) -> None:
        """Start the service; `ready` tells when it serves."""
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen([*SERVICE, "serve"], env=self.environ, cwd=ROOT, stdout=log, stderr=log)

    async def ready(self, http: aiohttp.ClientSession) -> None:
        """Wait until a callback can be taken."""
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(*GONE):
                async with http.get(f"http://127.0.0.1:{self.internal_port}/readyz") as answer:
                    if answer.status == 200:
                        return
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "serve.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "serve.log").read_text()[-2000:]
            await asyncio.sleep(0.05)

    async def replayed(self, http: aiohttp.ClientSession) -> None:
        """Wait until what was acknowledged from the spool meanwhile is in the database."""
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(*GONE):
                async with http.get(f"http://127.0.0.1:{self.internal_port}/metrics") as answer:
                    if "\nportal1400_spool_records 0.0\n" in await answer.text():
                        return
            assert time.monotonic() < deadline, "the spool does not empty"
            await asyncio.sleep(METRICS_PAUSE_SECONDS)

    def pids(self) -> dict[str, int]:
        """The processes a round may kill."""
        state = read_state(DataFolder(self.data_dir))
        assert state is not None
        assert self.process is not None
        return {"service": self.process.pid, "postgres": state.server_pid}

    def living(self) -> list[int]:
        """Every process that still works for this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().decode(errors="replace")
                    place = str((entry / "cwd").readlink())
                    if str(self.data_dir) in words or place.startswith(str(self.data_dir)):
                        found.append(int(entry.name))
        return found

    def end(self) -> None:
        """Stop what was started here, and see that nothing is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        state = read_state(DataFolder(self.data_dir))
        if state is not None and state.keeper_pid in self.living():
            os.kill(state.keeper_pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while self.living() and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """An installation with the tests' book, not serving yet."""
    folder = Path(tempfile.mkdtemp(prefix="p14-"))
    folder.chmod(0o755)
    made = Installation(folder)
    try:
        made.apply()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


async def play(site: Installation, http: aiohttp.ClientSession, label: str, stop: asyncio.Event) -> None:
    """Carriers post singles and batches, and send each again until it is acknowledged or the round is over."""

    async def client(number: int) -> None:
        count = 0
        while not stop.is_set():
            ids = [f"{label}-{number}-{count}-{at}" for at in range(1 if number % 3 else 5)]
            count += 1
            events = [message(each) for each in ids]
            body = orjson.dumps(
                events[0]
                if len(events) == 1
                else {"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": events}
            )
            site.sent.update(ids)
            while not stop.is_set():
                with contextlib.suppress(*GONE):
                    url = f"http://127.0.0.1:{site.port}/gw/standard/hub"
                    async with http.post(url, data=body, headers=signed(body)) as answer:
                        told = orjson.loads(await answer.read())
                        if answer.status == 200:
                            assert told == {"accepted": ids}
                            site.acknowledged.update(ids)
                            break
                await asyncio.sleep(PAUSE_SECONDS)

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))


async def compare(site: Installation) -> None:
    """Ids against ids, from the database itself, and the money they are."""
    handle = await connect_embedded(site.data_dir)
    try:
        connection = await asyncpg.connect(handle.dsn)
        stored = [row["native_id"] for row in await connection.fetch("SELECT native_id FROM message")]
        money = await connection.fetchrow("SELECT count(DISTINCT gift_id), sum(vnd)::bigint FROM money_line")
        persons = await connection.fetchval("SELECT count(*) FROM message_person")
        await connection.close()
    finally:
        await handle.close()
    assert len(stored) == len(set(stored))
    assert site.acknowledged <= set(stored), sorted(site.acknowledged - set(stored))[:5]
    assert set(stored) <= site.sent
    assert money is not None
    assert (money[0], money[1], persons) == (len(stored), 100_000 * len(stored), len(stored))


async def verify(site: Installation) -> None:
    """Every total against its facts."""
    verified = await command(site.environ, "verify")
    assert verified.code == 0, verified.out


KILLED: dict[str, tuple[str, ...]] = {
    "the service": ("service",),
    "PostgreSQL": ("postgres",),
    "both together": ("service", "postgres"),
}
Kill = Callable[[int, int], None]


@pytest.mark.parametrize("names", KILLED.values(), ids=KILLED.keys())
async def test_whatever_is_killed_what_was_acknowledged_is_stored_once(
    installation: Installation, names: tuple[str, ...]
) -> None:
    site, rng = installation, random.Random(f"{SEED} {names}")
    timeout = aiohttp.ClientTimeout(total=6)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        for turn in range(2):
            if site.process is None or site.process.poll() is not None:
                site.start()
            await site.ready(http)
            stop = asyncio.Event()
            before = len(site.acknowledged)
            playing = asyncio.create_task(play(site, http, f"{'+'.join(names)}-{turn}", stop))
            try:
                await asyncio.sleep(rng.uniform(0.3, 1.2))
                pids = site.pids()
                for name in names:
                    os.kill(pids[name], signal.SIGKILL)
                assert site.process is not None
                if "service" in names:
                    site.process.wait(5)
                    site.start()
                await site.ready(http)
                at_kill = len(site.acknowledged)
                deadline = time.monotonic() + 20
                while len(site.acknowledged) < at_kill + CLIENTS:
                    assert time.monotonic() < deadline, "nothing is taken after the kill"
                    await asyncio.sleep(0.05)
            finally:
                stop.set()
                await playing
            assert len(site.acknowledged) > before
            await site.replayed(http)
            await compare(site)
    await verify(site)


async def test_a_service_told_to_stop_answers_what_it_accepted(installation: Installation) -> None:
    site = installation
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        if site.process is None or site.process.poll() is not None:
            site.start()
        await site.ready(http)
        stop = asyncio.Event()
        playing = asyncio.create_task(play(site, http, "stopped", stop))
        await asyncio.sleep(0.5)
        assert site.process is not None
        site.process.terminate()
        code = await asyncio.to_thread(site.process.wait, 20)
        stop.set()
        await playing
    assert code == 0
    assert any(each.startswith("stopped") for each in site.acknowledged)
    await compare(site)
    await verify(site)
