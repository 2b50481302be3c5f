"""A TCP proxy that does to connections what networks do: delay, reset, refuse, close, or go silent.

The service connects to the proxy, the proxy to PostgreSQL's unix socket. The mode changes while it runs.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

CHUNK_BYTES = 64 * 1024


class Mode(StrEnum):
    """What happens to bytes and to new connections from now on."""

    PASS = "pass"
    LATENCY = "latency"
    """Every chunk waits `latency_seconds` in each direction; order is kept."""
    REFUSE = "refuse"
    """New connections are reset at once; those that exist go on."""
    SILENT_UP = "silent_up"
    """What the service sends never arrives; nobody is told."""
    SILENT_DOWN = "silent_down"
    """What the server answers never arrives; nobody is told."""
    SILENT = "silent"
    """Neither direction arrives."""


SWALLOWED_UP = frozenset({Mode.SILENT_UP, Mode.SILENT})
SWALLOWED_DOWN = frozenset({Mode.SILENT_DOWN, Mode.SILENT})


@dataclass(eq=False)
class _Link:
    """One connection through the proxy. `is_lost`: bytes of it were swallowed, so it never comes back."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_lost: bool = False
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


class FaultProxy:
    """Use as `async with`; `port` is where the service connects."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.mode = Mode.PASS
        self.latency_seconds = 0.0
        self.port = 0

    async def __aenter__(self) -> "FaultProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many connections are open on at least one side."""
        return len(self._links)

    def heal(self) -> None:
        """Everything passes again. Connections that lost bytes stay dead, as after a network's fault."""
        self.mode, self.latency_seconds = Mode.PASS, 0.0

    def reset_all(self) -> None:
        """Reset every connection on both sides (RST), the silent ones too."""
        for link in list(self._links):
            for writer in (link.client, link.server):
                _reset(writer)

    def drop_all(self) -> None:
        """Close every connection on both sides in an orderly way (FIN)."""
        for link in list(self._links):
            link.client.close()
            link.server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.REFUSE:
            _reset(writer)
            return
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also of a task that was cancelled before it began.
        task.add_done_callback(lambda _: writer.close())

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(self._upstream))
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        try:
            up = asyncio.create_task(self._pump(link, reader, server_writer, SWALLOWED_UP))
            down = asyncio.create_task(self._pump(link, server_reader, writer, SWALLOWED_DOWN))
            link.pumps = [up, down]
            await asyncio.wait(link.pumps, return_when=asyncio.FIRST_COMPLETED)
            if link.is_lost:
                # The other side never hears of the end either: it keeps what it holds until its own limits act.
                await asyncio.wait(link.pumps)
        finally:
            self._links.discard(link)
            for pump in link.pumps:
                pump.cancel()
            # Before the wait: whoever is cancelled in it would leave them open.
            for end in (writer, server_writer):
                end.close()
            await asyncio.gather(*link.pumps, return_exceptions=True)

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallowed: frozenset[Mode]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self.mode is Mode.LATENCY:
                    await asyncio.sleep(self.latency_seconds)
                if link.is_lost or self.mode in swallowed:
                    link.is_lost = True
                    continue
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
