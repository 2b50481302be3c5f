"""`python -m tests.bench.conflicts`: what large batches of conflicts cost the database, and another carrier.

One service process with its own PostgreSQL. An honest carrier posts at a fixed rate; another one posts a large batch,
then, while the first goes on, the same ids again and again with other texts, as a carrier whose counter restarted.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from service.postgres.embedded.handle import connect_embedded
from tests.bench.__main__ import process, wait_for
from tests.bench.load import Tally, closed_loop, message_event, messages, open_loop, signed_requests
from tests.support.portal import BOOK, SIGNING_SECRET, book_file, signed_account
from tests.support.ports import free_ports
from tests.support.processes import SERVICE, environ_for

EVENTS = 100
FLOOD_BOOK = BOOK + signed_account("flood", carrier="mobifone")
SELECT_SIZE = "SELECT pg_database_size(current_database())"


def batch(number: int, padding_bytes: int) -> bytes:
    """A batch whose ids are always the same and whose texts never; a field that nobody reads makes it large."""
    events = b",".join(message_event(f"again-{place}", number * EVENTS + place) for place in range(EVENTS))
    padding = b"x" * padding_bytes
    return b'{"type":"batch","timestamp":"2026-11-21T08:30:00Z","note":"%b","data":[%b]}' % (padding, events)


def metrics(port: int) -> dict[str, float]:
    """The samples without labels of the internal listener."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines if "{" not in name}


def described(tally: Tally) -> dict[str, Any]:
    """What the honest carrier saw."""
    return {
        "statuses": dict(tally.statuses),
        "p50_ms": round(1000 * tally.percentile(0.5), 1),
        "p99_ms": round(1000 * tally.percentile(0.99), 1),
        "worst_ms": round(1000 * max(tally.latencies), 1),
    }


async def measure(port: int, internal_port: int, dsn: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """The honest carrier alone, then beside the flood, then what is left over."""
    connection = await asyncpg.connect(dsn)
    honest = ("/gw/standard/hub", SIGNING_SECRET)

    async def honestly(run: str, seconds: float) -> Tally:
        tally, _ = await open_loop(
            port, signed_requests(*honest, messages(run)), rate=chosen.rate, seconds=seconds, connections=32
        )
        return tally

    async def flood(bodies: Iterator[bytes], seconds: float) -> Tally:
        requests = signed_requests("/gw/standard/flood", SIGNING_SECRET, bodies)
        return await closed_loop(port, requests, seconds=seconds, connections=1)

    await honestly("warm", 2)
    figures: dict[str, Any] = {"alone": described(await honestly("alone", chosen.seconds))}
    await flood(iter([batch(0, chosen.padding)]), 5)
    before = await connection.fetchval(SELECT_SIZE)
    beside = asyncio.create_task(honestly("beside", chosen.seconds))
    numbers = range(1, chosen.batches + 1)
    flooded = await flood((batch(number, chosen.padding) for number in numbers), chosen.seconds)
    figures["beside"] = described(await beside)
    figures["flood"] = {"statuses": dict(flooded.statuses), "seconds": round(flooded.seconds, 1)}
    started = time.monotonic()
    while (waiting := metrics(internal_port)["portal1400_spool_records"]) and (
        time.monotonic() - started < chosen.patience
    ):
        await asyncio.sleep(1)
    figures["spool_records_left"] = waiting
    figures["seconds_to_empty"] = round(time.monotonic() - started, 1)
    figures["database_grew_mib"] = round((await connection.fetchval(SELECT_SIZE) - before) / 2**20, 1)
    figures["conflicts"] = await connection.fetchval("SELECT count(*) FROM conflict")
    await connection.close()
    return figures


async def bench(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure, stop everything."""
    port = free_ports(2)
    environ = environ_for(folder / "data", port, port + 1)
    book = book_file(folder, FLOOD_BOOK)
    server = await connect_embedded(folder / "data", "auto")
    try:
        subprocess.run([*SERVICE, "apply", "--yes", str(book)], env=environ, check=True, stdout=subprocess.DEVNULL)
        with process([*SERVICE, "serve"], environ, folder / "serve.log"):
            wait_for(port + 1, "/startupz")
            return await measure(port, port + 1, server.dsn, chosen)
    finally:
        await server.close()


def main() -> int:
    """Print the figures as JSON; 1 when something was refused or waits still."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.conflicts")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--padding", type=int, default=800 * 1024, help="bytes of each batch beside its events")
    parser.add_argument("--rate", type=float, default=50.0, help="honest callbacks per second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for the spool to be empty")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p1400-conflicts-") as folder:
        Path(folder).chmod(0o755)
        figures = asyncio.run(bench(Path(folder), chosen))
    print(json.dumps(figures, indent=1))
    return 0 if set(figures["beside"]["statuses"]) == {200} and not figures["spool_records_left"] else 1


if __name__ == "__main__":
    sys.exit(main())
