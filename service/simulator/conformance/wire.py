"""HTTP/1.1 as bytes on a connection: what an ordinary client cannot be made to send, and how it was answered."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateways.sender import Reply, Request

ANSWER_SECONDS = 20.0
"""How long an answer is waited for: more than any time limit of the service."""
ANSWER_BYTES_MAX = 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024


class NoAnswer(Exception):
    """The connection ended, or stayed silent, without an answer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer. `headers` have lower-case names."""

    reply: Reply
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Way:
    """How a request is written: what HTTP leaves to the sender."""

    version: str = "1.1"
    is_chunked: bool = False
    waits_to_go_on: bool = False
    has_whole_address: bool = False
    header_case: str = "as it is"
    pieces: int = 1
    more: Mapping[str, str] = field(default_factory=dict)


PLAIN = Way()
CASES: Mapping[str, Callable[[str], str]] = {"as it is": str, "lower": str.lower, "upper": str.upper}


class Wire:
    """One target. `pause_seconds` lie between pieces that are sent slowly."""

    def __init__(self, target: str, pause_seconds: float) -> None:
        self.address = urlsplit(target.rstrip("/"))
        self.pause_seconds = pause_seconds

    def written(self, request: Request, way: Way = PLAIN) -> tuple[bytes, bytes]:
        """Head and body as they go out."""
        path = self.address.path + request.address
        target = f"{self.address.scheme}://{self.address.netloc}{path}" if way.has_whole_address else path
        headers = {"Host": self.address.netloc, **request.headers, **way.more}
        body = request.body
        if way.is_chunked:
            headers["Transfer-Encoding"] = "chunked"
            half = len(body) // 2
            parts = [part for part in (body[:half], body[half:]) if part]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        elif request.method not in ("GET", "HEAD") or body:
            headers["Content-Length"] = str(len(body))
        if way.waits_to_go_on:
            headers["Expect"] = "100-continue"
        write = CASES[way.header_case]
        lines = [f"{request.method} {target} HTTP/{way.version}"]
        lines += [f"{write(name)}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n", body

    @asynccontextmanager
    async def connection(self) -> "AsyncIterator[Connection]":
        """One connection, ended at the latest with the block. Raises NoAnswer where there is none to be had."""
        port = self.address.port or (443 if self.address.scheme == "https" else 80)
        context = ssl.create_default_context() if self.address.scheme == "https" else None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection(
                    self.address.hostname, port, ssl=context, limit=HEAD_BYTES_MAX
                )
        except (OSError, TimeoutError):
            raise NoAnswer("no connection to the target") from None
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()

    async def exchange(self, request: Request, way: Way = PLAIN) -> Heard:
        """One request and its answer, on a connection of their own. Raises NoAnswer."""
        async with self.connection() as connection:
            head, body = self.written(request, way)
            if way.waits_to_go_on:
                await connection.send(head)
                await connection.go_on()
                await connection.send(body)
            else:
                await connection.send(head + body, way.pieces, self.pause_seconds)
            return await connection.hear()


class Connection:
    """An open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, raw: bytes, pieces: int = 1, pause_seconds: float = 0.0) -> None:
        """Write, in so many pieces. That nobody takes it shows in the answer."""
        size = max(1, -(-len(raw) // pieces))
        with suppress(OSError):
            for begin in range(0, len(raw), size):
                if begin:
                    await asyncio.sleep(pause_seconds)
                self._writer.write(raw[begin : begin + size])
                await self._writer.drain()

    async def go_on(self) -> None:
        """Wait for 100 Continue. Raises NoAnswer."""
        status, _ = await self._head()
        if status != 100:
            raise NoAnswer(f"{status} came where 100 Continue was waited for")

    async def hear(self) -> Heard:
        """The next answer, whole. Raises NoAnswer."""
        status, headers = await self._head()
        while status == 100:
            status, headers = await self._head()
        length = headers.get("content-length", "")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if length.isdecimal():
                    body = await self._reader.readexactly(min(int(length), ANSWER_BYTES_MAX))
                else:
                    body = b"" if status in (204, 304) else await self._reader.read(ANSWER_BYTES_MAX)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            raise NoAnswer("the answer broke off") from None
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        return Heard(Reply(status, content_type, body), headers)

    async def _head(self) -> tuple[int, dict[str, str]]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                raw = await self._reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            raise NoAnswer("the connection was closed without an answer") from None
        except (TimeoutError, asyncio.LimitOverrunError):
            raise NoAnswer(f"no answer in {ANSWER_SECONDS:g} s") from None
        first, *lines = raw.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[1].isdecimal():
            raise NoAnswer("what came is no HTTP")
        return int(words[1]), _headers(lines)


def _headers(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
