"""A load generator as light as Python allows: prepared requests over kept-alive connections, nothing parsed twice."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


@dataclass
class Tally:
    """What a run measured. Latencies in seconds, from when a request was due to its whole answer.

    `answers` are the moments (perf_counter seconds) of the answers, in order.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests answered 200."""
        return self.statuses[200]

    @property
    def per_second(self) -> float:
        """Requests answered 200 per second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """A latency below which `share` of the requests lie."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: Callable[["_Connection"], None], tally: Tally) -> None:
        self._free = free
        self._tally = tally
        self._buffer = b""
        self._due = 0.0
        self.transport: asyncio.Transport | None = None
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at `due` (perf_counter seconds)."""
        assert self.transport is not None
        self._due = due
        self.is_busy = True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        place = head.find(LENGTH)
        length = int(head[place + len(LENGTH) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._tally.statuses[int(head[9:12])] += 1
        now = time.perf_counter()
        self._tally.latencies.append(now - self._due)
        self._tally.answers.append(now)
        self._buffer = b""
        self.is_busy = False
        self._free(self)


async def _connect(
    port: int, connections: int, free: Callable[[_Connection], None], tally: Tally
) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(lambda: _Connection(free, tally), "127.0.0.1", port)
        made.append(protocol)
    return made


async def closed_loop(port: int, requests: Iterator[bytes], *, seconds: float, connections: int = 64) -> Tally:
    """As fast as the server answers: each connection sends its next request when it has its answer."""
    tally = Tally()
    started = time.perf_counter()
    until = started + seconds
    finished = asyncio.Event()
    working = connections

    def free(connection: _Connection) -> None:
        nonlocal working
        now = time.perf_counter()
        request = next(requests, None) if now < until else None
        if request is None:
            working -= 1
            if working == 0:
                finished.set()
            return
        connection.send(request, now)

    opened = await _connect(port, connections, free, tally)
    for connection in opened:
        free(connection)
    await asyncio.wait_for(finished.wait(), seconds + 30)
    tally.seconds = time.perf_counter() - started
    for connection in opened:
        if connection.transport is not None:
            connection.transport.close()
    return tally


async def open_loop(
    port: int, requests: Iterator[bytes], *, rate: float, seconds: float, connections: int = 128
) -> tuple[Tally, list[float]]:
    """At a fixed rate whether or not answers come; latency counts from when a request was due.

    Also returns the moments (perf_counter) the requests were due, in order.
    """
    tally = Tally()
    idle: list[_Connection] = []
    waiting: deque[tuple[bytes, float]] = deque()

    def free(connection: _Connection) -> None:
        if waiting:
            connection.send(*waiting.popleft())
        else:
            idle.append(connection)

    opened = await _connect(port, connections, free, tally)
    idle.extend(opened)
    started = time.perf_counter()
    moments: list[float] = []
    total = int(rate * seconds)
    while len(moments) < total:
        due_now = min(total, int((time.perf_counter() - started) * rate) + 1)
        while len(moments) < due_now:
            due = started + len(moments) / rate
            moments.append(due)
            request = next(requests)
            if idle:
                idle.pop().send(request, due)
            else:
                waiting.append((request, due))
        await asyncio.sleep(0.001)
    deadline = time.perf_counter() + 30
    while waiting or any(connection.is_busy for connection in opened):
        if time.perf_counter() > deadline:
            raise TimeoutError("answers did not come in time")
        await asyncio.sleep(0.005)
    tally.seconds = time.perf_counter() - started
    for connection in opened:
        if connection.transport is not None:
            connection.transport.close()
    return tally, moments


def signed_requests(path: str, secret: str, bodies: Iterator[bytes]) -> Iterator[bytes]:
    """Whole HTTP requests with Standard Webhooks signatures, ready to be written to a socket."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    for number, body in enumerate(bodies):
        stamp = b"%d" % int(time.time())
        name = b"msg_%d" % number
        mac = base64.b64encode(hmac.digest(key, b"%b.%b.%b" % (name, stamp, body), hashlib.sha256))
        yield (
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: v1,%b\r\n\r\n%b"
        ) % (path.encode(), len(body), name, stamp, mac, body)


def message_event(native_id: str, number: int) -> bytes:
    """One `message.received` event of one to five units."""
    msisdn = b"8495%07d" % (number % 10_000_000)
    return (
        b'{"type":"message.received","timestamp":"2026-11-21T08:30:00Z","data":{"message_id":"%b","msisdn":"%b",'
        b'"short_code":"1408","text":"VNN %d","carrier":"viettel"}}'
    ) % (native_id.encode(), msisdn, number % 5 + 1)


def messages(prefix: str) -> Iterator[bytes]:
    """Events without end, each with an id of its own."""
    number = 0
    while True:
        number += 1
        yield message_event(f"{prefix}-{number}", number)


def batches(prefix: str, events: int = 100) -> Iterator[bytes]:
    """Batches without end."""
    number = 0
    while True:
        number += 1
        inner = b",".join(message_event(f"{prefix}-{number}-{each}", each) for each in range(events))
        yield b'{"type":"batch","timestamp":"2026-11-21T08:30:00Z","data":[%b]}' % inner
