"""`python -m tests.bench.replies`: how fast donors are answered by calls of ours, and what that costs the intake.

Two workers and two accounts of Kannel with replies, messages at a fixed rate, a hub that answers at once. Of each
reply the time from its message's arrival until the hub had it; then what a callback costs flat out, without replies
and with. Load generator, hub and database are on the same machine.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from service.postgres.embedded.handle import connect_embedded
from tests.bench.__main__ import cpu_seconds, process
from tests.bench.capacity import family, serving
from tests.bench.load import closed_loop, open_loop
from tests.support.portal import BOOK, book_file
from tests.support.processes import SERVICE, environ_for

PORT, HUB_PORT, INTERNAL_PORT = 21470, 21471, 21472
WORKERS = 2
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n\r\n0: Accepted for delivery"
DRAIN_SECONDS = 120
TEXTS = """hotline = "19001530"
reply_thank_you = "Cam on Quy vi da ung ho {amount} dong. Ma bien nhan {receipt}. Ho tro {hotline}"
"""
ACCOUNT = """
[[gateway]]
code = "{code}"
adapter = "kannel"
carrier = "viettel"
charging = "on_message"
path_secret = "a-path-secret-of-a-bench"
networks = ["127.0.0.0/8"]
"""
REPLYING = f'reply_url = "http://127.0.0.1:{HUB_PORT}/sendsms"\nreply_per_second = 5000\n'
CODES = ("one", "two")
SELECT_ENDED = """
SELECT extract(epoch FROM r.changed_at - m.received_at)::float8 AS seconds
FROM reply AS r JOIN message AS m ON m.id = r.message_id
WHERE r.state = 'sent' AND m.native_id LIKE $1 || '%' ORDER BY 1
"""
COUNT_STORED = "SELECT count(*) FROM message WHERE native_id LIKE $1 || '%'"
COUNT_OPEN = "SELECT count(*) FROM reply WHERE state IN ('due', 'sending', 'accepted')"


class _Hub(asyncio.Protocol):
    """Answers each POST with a yes. Requests of one connection come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(HEAD_END)) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(LENGTH)
            length = int(head[at + len(LENGTH) :].partition(b"\r\n")[0]) if at >= 0 else 0
            if len(self._buffer) < end + len(HEAD_END) + length:
                return
            self._buffer = self._buffer[end + len(HEAD_END) + length :]
            self._transport.write(ANSWER)


async def hub() -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(_Hub, "127.0.0.1", HUB_PORT)
    await server.serve_forever()


def callbacks(run: str, codes: tuple[str, ...] = CODES) -> Iterator[bytes]:
    """What the smsboxes of both accounts fetch, without end."""
    number = 0
    while True:
        number += 1
        yield (
            b"GET /gw/kannel/%b/a-path-secret-of-a-bench?id=%b-%d&from=8495%07d&to=1408&smsc=viettel&coding=0"
            b"&charset=UTF-8&text=VNN+%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        ) % (
            codes[number % len(codes)].encode(),
            run.replace(" ", "-").encode(),
            number,
            number % 10_000_000,
            number % 5 + 1,
        )


async def drained(admin: asyncpg.Connection, run: str = "", messages: int = 0) -> None:
    """Wait until the run's messages are stored, those of the spool too, and no reply is open."""
    for _ in range(DRAIN_SECONDS * 5):
        if await admin.fetchval(COUNT_STORED, f"{run}-") >= messages and not await admin.fetchval(COUNT_OPEN):
            return
        await asyncio.sleep(0.2)
    raise TimeoutError("replies are open still")


async def paced(admin: asyncpg.Connection, pid: int, run: str, rate: float, seconds: float) -> bool:
    """Messages at `rate`; prints the figures. Whether all that were owed a reply had it within ten seconds."""
    name = f"{run}-{rate:.0f}"
    before = sum(map(cpu_seconds, family(pid)))
    tally, moments = await open_loop(PORT, callbacks(name), rate=rate, seconds=seconds)
    await drained(admin, name, tally.answered)
    cpu = sum(map(cpu_seconds, family(pid))) - before
    took = [row["seconds"] for row in await admin.fetch(SELECT_ENDED, f"{name}-")]
    within = sum(1 for each in took if each <= 10)
    replies = ""
    if took:
        replies = (
            f"{len(took)} of {len(moments)} answered, {within} within 10 s (p50 {took[len(took) // 2]:.2f} s, "
            f"p99 {took[len(took) * 99 // 100]:.2f} s, longest {took[-1]:.2f} s); "
        )
    print(
        f"{run} replies, {rate:.0f} messages/s for {seconds:.0f} s: {replies}"
        f"callbacks p50 {1000 * tally.percentile(0.5):.1f} ms, p99 {1000 * tally.percentile(0.99):.1f} ms; "
        f"{1e6 * cpu / len(moments):.0f} us CPU of the workers for each message",
        flush=True,
    )
    return not took or within == len(moments)


async def flat_out(admin: asyncpg.Connection, pid: int, run: str, seconds: float) -> None:
    """What a callback costs, with whatever the accounts do beside."""
    tally = await closed_loop(PORT, callbacks(run), seconds=seconds)
    waiting = await admin.fetchval(COUNT_OPEN)
    print(
        f"flat out, {run}: {tally.per_second:.0f} callbacks/s, p50 {1000 * tally.percentile(0.5):.1f} ms, "
        f"p99 {1000 * tally.percentile(0.99):.1f} ms, {waiting} replies waiting at the end",
        flush=True,
    )


async def measure(folder: Path, chosen: argparse.Namespace) -> bool:
    """Without replies, then with them."""
    data = folder / "data"
    environ = environ_for(data, PORT, INTERNAL_PORT, log_callbacks_one_in="1000")
    head = BOOK[: BOOK.index("[[gateway]]")].replace("[[campaign.route]]", TEXTS + "[[campaign.route]]", 1)
    plain = head + "".join(ACCOUNT.format(code=code) for code in CODES)
    replying = head + "".join(ACCOUNT.format(code=code) + REPLYING for code in CODES)
    server = await connect_embedded(data, "auto")
    admin = await asyncpg.connect(server.dsn)

    def applied(text: str) -> None:
        path = book_file(folder, text)
        subprocess.run([*SERVICE, "apply", "--yes", str(path)], env=environ, check=True, stdout=subprocess.DEVNULL)

    try:
        applied(plain)
        with (
            process([sys.executable, "-m", "tests.bench.replies", "--hub"], environ, folder / "hub.log"),
            serving(environ, WORKERS, folder / "serve.log", INTERNAL_PORT) as pid,
        ):
            await flat_out(admin, pid, "warming", 3)
            await flat_out(admin, pid, "without replies", chosen.flat_seconds)
            for rate in chosen.rates:
                await paced(admin, pid, "without", rate, chosen.seconds)
            applied(replying)
            await asyncio.sleep(3)
            in_time = [await paced(admin, pid, "with", rate, chosen.seconds) for rate in chosen.rates]
            await flat_out(admin, pid, "with replies", chosen.flat_seconds)
            await drained(admin)
        return all(in_time)
    finally:
        await admin.close()
        await server.close()


def main() -> int:
    """Measure; 1 where a message was not answered within ten seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[1000.0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--flat-seconds", type=float, default=10)
    parser.add_argument("--hub", action="store_true", help="be the hub")
    chosen = parser.parse_args()
    if chosen.hub:
        asyncio.run(hub())
        return 0
    with tempfile.TemporaryDirectory(prefix="p1400-replies-") as folder:
        return 0 if asyncio.run(measure(Path(folder), chosen)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
