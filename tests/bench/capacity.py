"""`python -m tests.bench.capacity`: how much two workers carry with millions of gifts stored, and how cost grows.

At each number of stored gifts: the highest rate of signed callbacks, and its CPU. At the last one also a long run, a
fixed rate, a burst of twice the sustained rate, and batches; then what further service processes add, and what the
check of the invariants costs. Ends with a row for the table in docs/operate.md. Load generator and database are on
the same machine.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from service.postgres.embedded.handle import connect_embedded
from tests.bench import machine
from tests.bench.__main__ import INTAKE_PATH, INTERNAL_PORT, PORTS, cpu_seconds, process, wait_for
from tests.bench.checking import checking
from tests.bench.load import Tally, batches, closed_loop, messages, open_loop, signed_requests
from tests.bench.stored import store
from tests.support.portal import SIGNING_SECRET, book_file
from tests.support.processes import SERVICE, environ_for

PORT = PORTS["intake"]
STALL = re.compile(r"^portal1400_event_loop_stall_seconds(?:{[^}]*})? (\S+)$", re.MULTILINE)
BURST_SECONDS = 10.0


def family(pid: int) -> list[int]:
    """A supervisor and its workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


@contextmanager
def serving(environ: dict[str, str], workers: int, log: Path, internal_port: int = INTERNAL_PORT) -> Iterator[int]:
    """The service with its workers, ready; yields the supervisor's pid."""
    with process([*SERVICE, "serve", "--workers", str(workers)], environ, log) as supervisor:
        for index in range(workers):
            wait_for(internal_port + index, "/startupz")
        yield supervisor.pid


async def flat_out(pid: int, run: str, seconds: float, connections: int = 64) -> dict[str, Any]:
    """As many single callbacks as are answered."""
    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(run))
    before = sum(map(cpu_seconds, family(pid)))
    tally = await closed_loop(PORT, requests, seconds=seconds, connections=connections)
    cpu = sum(map(cpu_seconds, family(pid))) - before
    return described(tally) | {"cpu_us": 1e6 * cpu / max(1, tally.answered)}


async def paced(run: str, rate: float, seconds: float) -> dict[str, Any]:
    """Callbacks at a fixed rate; latency counts from when each was due."""
    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(run))
    tally, _ = await open_loop(PORT, requests, rate=rate, seconds=seconds)
    return described(tally) | {"asked": rate}


def described(tally: Tally) -> dict[str, Any]:
    """A run's figures."""
    return {
        "per_second": tally.per_second,
        "p50_ms": 1000 * tally.percentile(0.5),
        "p99_ms": 1000 * tally.percentile(0.99),
        "statuses": dict(tally.statuses),
    }


def longest_stall(pid: int) -> float:
    """The longest stall of a worker's event loop within the last half to whole minute, milliseconds."""
    found = []
    for index in range(len(family(pid)) - 1):
        with urllib.request.urlopen(f"http://127.0.0.1:{INTERNAL_PORT + index}/metrics", timeout=10) as answer:
            found += STALL.findall(answer.read().decode())
    return 1000 * max(map(float, found), default=0.0)


def told(name: str, figures: dict[str, Any]) -> None:
    """One line for people."""
    stall = f", stall {figures['stall_ms']:.0f} ms" if "stall_ms" in figures else ""
    cpu = f", {figures['cpu_us']:.0f} us CPU each" if "cpu_us" in figures else ""
    asked = f" of {figures['asked']:.0f}/s asked" if "asked" in figures else ""
    half = f", p50 {figures['p50_ms']:.1f} ms" if "p50_ms" in figures else ""
    statuses = f", {figures['statuses']}" if "statuses" in figures else ""
    print(
        f"{name:44}{figures['per_second']:8.0f}/s{asked}{half}, p99 {figures['p99_ms']:.1f} ms{cpu}{stall}{statuses}",
        flush=True,
    )


async def capacity(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Fill, measure, fill, measure; verify at the end."""
    data = folder / "data"
    environ = environ_for(data, PORT, INTERNAL_PORT)
    book = book_file(folder)
    found: dict[str, Any] = {"growth": {}}
    server = await connect_embedded(data, "auto")
    try:
        subprocess.run([*SERVICE, "apply", "--yes", str(book)], env=environ, check=True, stdout=subprocess.DEVNULL)
        there = 0
        for stored in sorted({0, *chosen.stored}):
            if stored > there:
                await store(server.dsn, there + 1, stored, max(chosen.stored))
                there = stored
            is_last = stored == max(chosen.stored)
            for workers in (1, chosen.workers) if is_last else (chosen.workers,):
                with serving(environ, workers, folder / "serve.log") as pid:
                    run = f"{workers}w-{stored}"
                    await flat_out(pid, f"warm-{run}", 2)
                    figures = await flat_out(pid, run, chosen.seconds)
                    figures["stall_ms"] = longest_stall(pid)
                    found["growth"][run] = figures
                    told(f"{stored} gifts stored, {workers} worker(s), flat out", figures)
                    if is_last and workers == chosen.workers:
                        found["row"] = await measured_row(server.dsn, pid, chosen.seconds)
                        if chosen.sustained_seconds:
                            await long_runs(pid, chosen, found)
        found["row"]["viewer_bytes"] = await machine.viewer_bytes(folder, server.dsn)
        found["scaling"] = []
        for count in chosen.processes:
            found["scaling"].append(await machine.scaled(folder, server.dsn, count, chosen.seconds))
            told("{processes} service process(es), one database".format(**found["scaling"][-1]), found["scaling"][-1])
        if chosen.checking_seconds:
            found["checking"] = await checking(
                server.dsn,
                lambda changes: serving(environ | changes, chosen.workers, folder / "serve.log"),
                flat_out,
                range(INTERNAL_PORT, INTERNAL_PORT + chosen.workers),
                max(chosen.stored),
                chosen.checking_seconds,
            )
        admin = await asyncpg.connect(server.dsn)
        found["messages"] = await admin.fetchval("SELECT count(*) FROM message")
        await admin.close()
        started = time.monotonic()
        verified = subprocess.run([*SERVICE, "verify"], env=environ, check=False, capture_output=True, text=True)
        found["verify"] = "clean" if verified.returncode == 0 else "BROKEN\n" + verified.stdout
        found["verify_seconds"] = time.monotonic() - started
    finally:
        await server.close()
    print(f"verify: {found['verify']}, {found['messages']} messages, {found['verify_seconds']:.0f} s")
    print(machine.row(found["row"]))
    return found


async def measured_row(dsn: str, pid: int, seconds: float) -> dict[str, Any]:
    """What the table in docs/operate.md has of a machine."""
    bytes_before, messages_before = await machine.database_bytes(dsn)
    figures = await flat_out(pid, "row", seconds)
    bytes_after, messages_after = await machine.database_bytes(dsn)
    return {
        "per_second": figures["per_second"],
        "core_per_second": 1e6 / figures["cpu_us"],
        "gift_bytes": (bytes_after - bytes_before) / max(1, messages_after - messages_before),
    }


async def long_runs(pid: int, chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """What only the fullest database is asked."""
    found["sustained"] = await flat_out(pid, "sustained", chosen.sustained_seconds)
    found["sustained"]["stall_ms"] = longest_stall(pid)
    told(f"sustained for {chosen.sustained_seconds:.0f} s", found["sustained"])
    for rate in chosen.rates:
        found[f"at_{rate:.0f}"] = await paced(f"at-{rate:.0f}", rate, chosen.seconds)
        told(f"at {rate:.0f}/s", found[f"at_{rate:.0f}"])
    twice = 2 * found["sustained"]["per_second"]
    found["burst"] = await paced("burst", twice, BURST_SECONDS)
    told(f"a burst of twice that for {BURST_SECONDS:.0f} s", found["burst"])
    packed = signed_requests(INTAKE_PATH, SIGNING_SECRET, batches("batch"))
    found["batches"] = described(await closed_loop(PORT, packed, seconds=chosen.seconds, connections=8))
    found["batches"]["events_per_second"] = found["batches"]["per_second"] * 100
    told(f"batches of 100: {found['batches']['events_per_second']:.0f} events/s", found["batches"])


def main() -> int:
    """Print the figures, write the JSON; 1 when verify found a difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capacity")
    parser.add_argument("--stored", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4], help="services against one database")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--sustained-seconds", type=float, default=60.0, help="0: no long runs")
    parser.add_argument("--checking-seconds", type=float, default=60.0, help="0: leave the check out")
    parser.add_argument("--rates", type=float, nargs="+", default=[1_000, 2_000, 4_000])
    parser.add_argument("--json", type=Path, default=Path(".bench/capacity.json"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p1400-capacity-") as folder:
        Path(folder).chmod(0o755)
        found = asyncio.run(capacity(Path(folder), chosen))
    chosen.json.parent.mkdir(exist_ok=True)
    chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["verify"] == "clean" else 1


if __name__ == "__main__":
    sys.exit(main())
