"""`python -m tests.bench.flood`: what strangers who send large bodies cost a worker, and what they cost the carriers.

One service process with its own PostgreSQL takes signed callbacks at a fixed rate: first alone, then beside each
flood, which comes from a process of its own and knows no account. Memory is the highest seen, and what is left.
Each flood is played first against another portal of this machine: what it costs carriers there is what two portals
on one machine take from each other, and only what goes beyond that is the strangers' doing.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from service.postgres.embedded.handle import connect_embedded
from tests.bench.__main__ import INTAKE_PATH, process, wait_for
from tests.bench.load import Tally, messages, open_loop, signed_requests
from tests.bench.viewers import resident_bytes
from tests.support.portal import SIGNING_SECRET, book_file
from tests.support.ports import free_ports
from tests.support.processes import SERVICE, environ_for

MIB = 1 << 20
SETTLE_SECONDS = 5.0
LOOK_SECONDS = 0.05
BODY_BYTES = MIB
"""As much as the protocol takes."""
FORGED = "webhook-id: msg_1\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,AAAA\r\n"


class Flood(NamedTuple):
    """How strangers come."""

    connections: int
    names: int
    """How many accounts they invent."""
    is_held_back: bool = False
    """Whether the last byte of each body is kept back."""


FLOODS = {
    "one after another": Flood(20, 1),
    "many names": Flood(400, 10_000),
    "held back": Flood(500, 1, is_held_back=True),
}


async def strangers(flood: Flood, port: int, seconds: float) -> Counter[str]:
    """Post until the time is over; how the answers began."""
    body = bytes(BODY_BYTES)
    heard: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < until:
            name = f"nobody-{random.randrange(flood.names)}"
            head = f"POST /gw/standard/{name} HTTP/1.1\r\nHost: x\r\n{FORGED}Content-Length: {BODY_BYTES}\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            try:
                async with asyncio.timeout(max(0.1, until - time.monotonic())):
                    while True:
                        writer.write(head.encode())
                        writer.write(body[:-1] if flood.is_held_back else body)
                        status = (await reader.readuntil(b"\r\n\r\n"))[9:12].decode()
                        heard[status] += 1
                        if status != "401":
                            break
                        await reader.readexactly(len(b'{"error":"unauthenticated"}'))
            except (OSError, asyncio.IncompleteReadError) as error:
                heard[type(error).__name__] += 1
            finally:
                writer.close()

    await asyncio.gather(*(one() for _ in range(flood.connections)))
    return heard


async def carriers(port: int, run: str, rate: float, seconds: float) -> Tally:
    """Callbacks at a fixed rate."""
    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(run.replace(",", "").replace(" ", "-")))
    tally, _ = await open_loop(port, requests, rate=rate, seconds=seconds)
    return tally


async def measure(pid: int, port: int, other_port: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Alone, then beside each flood: of the portal at `other_port`, and of this one."""
    figures: dict[str, Any] = {}
    await carriers(port, "warm", chosen.rate, 3)
    plays = [("alone", "", port)]
    for flood_name in FLOODS:
        plays += [(f"{flood_name}, elsewhere", flood_name, other_port), (flood_name, flood_name, port)]
    for name, flood_name, flooded in plays:
        peak = resident_bytes(pid)
        flood = None
        if flood_name:
            arguments = ["--play", flood_name, "--port", str(flooded), "--seconds", str(chosen.seconds)]
            flood = subprocess.Popen(  # noqa: ASYNC220 -- once, while nothing is being measured
                [sys.executable, "-m", "tests.bench.flood", *arguments], stdout=subprocess.PIPE, text=True
            )
            await asyncio.sleep(1)
        running = asyncio.create_task(carriers(port, name, chosen.rate, chosen.seconds - 2))
        while not running.done():
            peak = max(peak, resident_bytes(pid))
            await asyncio.sleep(LOOK_SECONDS)
        tally = running.result()
        told = await asyncio.to_thread(flood.communicate) if flood is not None else ("{}", "")
        await asyncio.sleep(SETTLE_SECONDS)
        figures[name] = {
            "statuses": dict(tally.statuses),
            "p50_ms": round(1000 * tally.percentile(0.5), 1),
            "p99_ms": round(1000 * tally.percentile(0.99), 1),
            "peak_mib": peak // MIB,
            "left_mib": resident_bytes(pid) // MIB,
            "strangers": json.loads(told[0]),
        }
        print(f"  {name}: {figures[name]}", file=sys.stderr)
    return figures


@asynccontextmanager
async def portal(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """A portal with a PostgreSQL of its own below `folder`: its process and its port."""
    await asyncio.to_thread(folder.mkdir, mode=0o755)
    port, internal = free_ports(), free_ports()
    data = folder / "data"
    environ = environ_for(data, port, internal)
    server = await connect_embedded(data, "auto")
    try:
        arguments = [*SERVICE, "apply", "--yes", str(book_file(folder))]
        subprocess.run(arguments, env=environ, check=True, stdout=subprocess.DEVNULL)
        with process([*SERVICE, "serve"], environ, folder / "intake.log") as service:
            wait_for(internal, "/startupz")
            yield service.pid, port
    finally:
        await server.close()


async def bench(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure, stop everything."""
    async with portal(folder / "other") as (_, other_port), portal(folder / "own") as (pid, port):
        return await measure(pid, port, other_port, chosen)


def main() -> int:
    """Print the figures as JSON; 1 when a carrier was refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.flood")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--play", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.play is not None:
        # Strangers have machines of their own: they get the processor time that nobody else here wants.
        os.nice(19)
        print(json.dumps(asyncio.run(strangers(FLOODS[chosen.play], chosen.port, chosen.seconds))))
        return 0
    with tempfile.TemporaryDirectory(prefix="p1400-flood-") as folder:
        Path(folder).chmod(0o755)
        figures = asyncio.run(bench(Path(folder), chosen))
    print(json.dumps(figures, indent=1))
    return 0 if all(set(each["statuses"]) == {200} for each in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
