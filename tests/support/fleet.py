"""`portal1400 serve --workers N` as real processes, and carriers that notice every request without an answer."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import orjson

from service.commands.apply import apply_file
from service.commands.opening import opened
from service.runtime.settings import read_settings
from tests.support.portal import book_file, message, signed
from tests.support.ports import free_ports
from tests.support.processes import ROOT, SERVICE, environ_for

READY_SECONDS = 120.0
"""A start on a busy machine takes many times as long as on a quiet one."""


@dataclass
class Fleet:
    """A supervisor and its workers."""

    dsn: str
    """Empty: the embedded server."""
    folder: Path
    workers: int = 2
    root: Path = ROOT
    port: int = field(default_factory=lambda: free_ports(1 + 4))
    changes: dict[str, str] = field(default_factory=lambda: {"PORTAL1400_DRAIN_SECONDS": "2"})
    arguments: tuple[str, ...] | None = None
    """Of the command line, where they are not `serve --workers N`."""
    python: Path | None = None
    """That of a release, where it is not the tests' own."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def internal_port(self) -> int:
        return self.port + 1

    @property
    def environ(self) -> dict[str, str]:
        database = {"database_url": self.dsn} if self.dsn else {}
        ours = environ_for(self.folder / "data", self.port, self.internal_port, **database)
        return ours | {"PYTHONPATH": str(self.root), **self.changes}

    @property
    def log_file(self) -> Path:
        return self.folder / "serve.log"

    async def apply(self) -> None:
        """Apply the tests' book."""
        environ = {name: value for name, value in self.environ.items() if name.startswith("PORTAL1400_")}
        async with opened(read_settings(environ), may_migrate=False) as ready:
            await apply_file(ready, book_file(self.folder))

    def start(self, log_to: int | None = None) -> None:
        """Start it; `ready` tells when all workers serve. `log_to`: another descriptor for its log."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(self.python or SERVICE[0]),
                    *SERVICE[1:],
                    *(self.arguments or ("serve", "--workers", str(self.workers))),
                ],
                env=self.environ,
                cwd=self.root,
                stdout=log,
                stderr=log if log_to is None else log_to,
            )

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self.process is not None
        return self.process.pid

    def worker_pids(self) -> list[int]:
        """The workers' pids now, in the order of their start."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children if is_alive(int(pid))]

    def said(self, event: str) -> list[dict[str, object]]:
        """The log lines of one event."""
        lines = self.log_file.read_bytes().splitlines() if self.log_file.exists() else []
        # Most lines are of callbacks: those that cannot be meant are not read, as this is asked again and again.
        found = [orjson.loads(line) for line in lines if line.startswith(b"{") and event.encode() in line]
        return [line for line in found if line.get("event") == event]

    @asynccontextmanager
    async def made_by_a_later_release(self) -> AsyncIterator[None]:
        """The database holds a migration that this release does not know: who starts now refuses."""
        await self.fetch("INSERT INTO schema_migration VALUES (9999, '9999_later.sql', 'x')")
        try:
            yield
        finally:
            await self.fetch("DELETE FROM schema_migration WHERE number = 9999")

    async def until_said(self, event: str, count: int, seconds: float = READY_SECONDS) -> dict[str, object]:
        """Wait for the `count`th log line of an event."""
        deadline = time.monotonic() + seconds
        while len(lines := self.said(event)) < count:
            assert time.monotonic() < deadline, f"no {event}: {self.log_file.read_text()[-3000:]}"
            await asyncio.sleep(0.05)
        return lines[count - 1]

    async def ready(self) -> None:
        """Wait until every worker can take a callback."""
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            for index in range(self.workers):
                while True:
                    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                        async with http.get(f"http://127.0.0.1:{self.internal_port + index}/readyz") as answer:
                            if answer.status == 200:
                                break
                    assert self.process is not None
                    assert self.process.poll() is None, self.log_file.read_text()[-3000:]
                    assert time.monotonic() < deadline, self.log_file.read_text()[-3000:]
                    await asyncio.sleep(0.05)

    async def metrics(self, index: int) -> str:
        """What a worker exports."""
        url = f"http://127.0.0.1:{self.internal_port + index}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return await answer.text()

    async def ended(self, seconds: float = 40.0) -> int:
        """Wait for the supervisor's end; its exit code."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    async def fetch(self, sql: str) -> list[asyncpg.Record]:
        """Ask the database."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()

    async def stored(self) -> list[str]:
        """The ids of all stored messages; each must have its money exactly once."""
        (money,) = await self.fetch(
            "SELECT count(DISTINCT gift_id) AS gifts, sum(vnd)::bigint AS vnd FROM money_line"
        )
        ids = [row["native_id"] for row in await self.fetch("SELECT native_id FROM message")]
        assert len(ids) == len(set(ids))
        assert (money["gifts"], money["vnd"] or 0) == (len(ids), 100_000 * len(ids))
        return ids

    async def end(self) -> None:
        """Stop what was started here."""
        if self.process is not None and self.process.poll() is None:
            workers = self.worker_pids()
            self.process.terminate()
            try:
                await self.ended(30)
            except subprocess.TimeoutExpired:
                for pid in (self.pid, *workers):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.wait(5)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@asynccontextmanager
async def fleet(dsn: str, folder: Path, workers: int = 2, **changes: str) -> AsyncIterator[Fleet]:
    """A fleet with the tests' book, started and ready."""
    made = Fleet(dsn, folder, workers)
    made.changes |= {f"PORTAL1400_{name.upper()}": each for name, each in changes.items()}
    await made.apply()
    made.start()
    try:
        await made.ready()
        yield made
    finally:
        await made.end()


@dataclass
class Carriers:
    """Clients with kept-alive connections of their own. What broke without an answer is written down."""

    port: int
    label: str
    may_repeat: bool = False
    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    """Requests on a connection that had answered before, without an answer of their own."""
    not_taken: list[str] = field(default_factory=list)
    """Connections that never answered anything."""
    answers: list[int] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    pause_seconds: float = 0.1
    """Of a client between its callbacks: what is tried is whether each is answered, not how many there can be."""

    @asynccontextmanager
    async def playing(self, clients: int = 8) -> AsyncIterator["Carriers"]:
        """Send all the time; at the end every client finishes the callback it is at."""
        tasks = [asyncio.create_task(self._client(number)) for number in range(clients)]
        try:
            yield self
        finally:
            self.stopping.set()
            await asyncio.gather(*tasks)

    async def more(self, count: int, seconds: float = 30.0) -> None:
        """Wait until `count` more callbacks are acknowledged."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, "nothing is taken"
            await asyncio.sleep(0.02)

    async def _client(self, number: int) -> None:
        connection, count = Connection(self.port), 0
        native_id = ""
        try:
            while not (self.stopping.is_set() and not native_id):
                if not native_id:
                    native_id, count = f"{self.label}-{number}-{count}", count + 1
                    self.sent.add(native_id)
                was_used = connection.answered > 0
                try:
                    status = await connection.post(native_id)
                except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError) as error:
                    (self.broken if was_used else self.not_taken).append(f"{native_id} {type(error).__name__}")
                    connection.close()
                    if self.stopping.is_set() or not self.may_repeat:
                        native_id = ""
                    await asyncio.sleep(0.05)
                    continue
                self.answers.append(status)
                if status == 200:
                    self.acknowledged.add(native_id)
                    native_id = ""
                elif self.stopping.is_set():
                    native_id = ""
                await asyncio.sleep(self.pause_seconds)
        finally:
            connection.close()


class Connection:
    """One HTTP/1.1 connection that is opened again when an answer said it was the last."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.answered = 0
        self.was_told_to_close = 0

    async def post(self, native_id: str) -> int:
        """Post one signed callback; its status."""
        body = orjson.dumps(message(native_id))
        status, _ = await self.ask("POST", "/gw/standard/hub", body, signed(body))
        return status

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request and its whole answer. Raises what breaks."""
        async with asyncio.timeout(20):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                self.answered = 0
            reader, writer = self._streams
            lines = [f"{method} {path} HTTP/1.1", "Host: portal", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            answer = await reader.readexactly(int(fields["content-length"]))
        self.answered += 1
        if fields.get("connection") == "close":
            self.was_told_to_close += 1
            self.close()
        return int(head.split(" ", 2)[1]), answer

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
            self.answered = 0
