"""`python -m tests.bench.viewers`: what a crowd of viewers costs a worker, and what it costs the carriers.

One service process with its own PostgreSQL takes signed callbacks at a fixed rate: first alone, then with the crowd,
then while half of the crowd has stopped reading.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from typing import Any

from service.postgres.embedded.handle import connect_embedded
from tests.bench.__main__ import INTAKE_PATH, INTERNAL_PORT, PORTS, cpu_seconds, process, wait_for
from tests.bench.load import Tally, messages, open_loop, signed_requests
from tests.support.portal import SIGNING_SECRET, book_file
from tests.support.processes import SERVICE, environ_for

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STREAM_PATH = "/api/v1/stream?campaign=vnn"
SETTLE_SECONDS = 3.0
CALLBACK_STRIDE = 7
"""Of each sampled viewer, every so many callbacks are looked at."""


def resident_bytes(pid: int) -> int:
    """Resident memory of a process (proc(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def metric(name: str) -> float:
    """A sample without labels from the service's internal listener."""
    with urllib.request.urlopen(f"http://127.0.0.1:{INTERNAL_PORT}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
    raise KeyError(name)


def visible(seen: list[list[tuple[float, int]]], answers: list[float], before: int) -> list[float]:
    """From each answer to the first total a viewer saw that holds as many messages; seconds, sorted."""
    delays = []
    for each in seen:
        counts = [count for _, count in each]
        for index in range(0, len(answers), CALLBACK_STRIDE):
            place = bisect_left(counts, before + index + 1)
            if place == len(each):
                raise RuntimeError("a viewer never saw every message")
            delays.append(max(0.0, each[place][0] - answers[index]))
    return sorted(delays)


def at(ordered: list[float], share: float) -> float:
    """The value below which a share lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def load(run: str, rate: float, seconds: float) -> Tally:
    """Callbacks at a fixed rate."""
    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(run))
    tally, _ = await open_loop(PORTS["intake"], requests, rate=rate, seconds=seconds)
    return tally


def described(tally: Tally, cpu: float) -> dict[str, Any]:
    """An intake run's figures."""
    return {
        "statuses": dict(tally.statuses),
        "p50_ms": 1000 * tally.percentile(0.5),
        "p99_ms": 1000 * tally.percentile(0.99),
        "cpu_share": cpu / tally.seconds,
    }


async def measure(pid: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The three runs."""
    figures: dict[str, Any] = {"viewers": chosen.viewers, "rate": chosen.rate}
    await load("warm", chosen.rate, 3)

    async def run(name: str, seconds: float) -> Tally:
        before = cpu_seconds(pid)
        tally = await load(name, chosen.rate, seconds)
        figures[name] = described(tally, cpu_seconds(pid) - before)
        print(f"  {name}: {figures[name]}", file=sys.stderr)
        return tally

    await run("alone", chosen.seconds)
    await asyncio.sleep(SETTLE_SECONDS)
    resident = resident_bytes(pid)
    started = time.perf_counter()
    arguments = [str(PORTS["intake"]), STREAM_PATH, "--viewers", str(chosen.viewers)]
    crowd = subprocess.Popen(  # noqa: ASYNC220 -- once, while nothing is being measured
        [sys.executable, "-m", "tests.bench.crowd", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert crowd.stdout is not None
        assert crowd.stdin is not None
        if not await asyncio.to_thread(crowd.stdout.readline):
            raise RuntimeError("the crowd was not seated: its own lines above say why")
        figures["seated_seconds"] = time.perf_counter() - started
        figures["kib_per_viewer_idle"] = (resident_bytes(pid) - resident) / chosen.viewers / 1024
        await asyncio.sleep(SETTLE_SECONDS)
        before = int(await asyncio.to_thread(messages_shown))
        tally = await run("with_viewers", chosen.seconds)
        figures["kib_per_viewer_loaded"] = (resident_bytes(pid) - resident) / chosen.viewers / 1024
        await asyncio.sleep(SETTLE_SECONDS)
        print("deaf", file=crowd.stdin, flush=True)
        await run("half_deaf", chosen.deaf_seconds)
        figures["kib_per_viewer_half_deaf"] = (resident_bytes(pid) - resident) / chosen.viewers / 1024
        await asyncio.sleep(SETTLE_SECONDS)
        figures["dropped"] = await asyncio.to_thread(metric, "portal1400_stream_viewers_dropped_total")
        figures["viewers_left"] = await asyncio.to_thread(metric, "portal1400_stream_viewers")
        told, _ = await asyncio.to_thread(crowd.communicate, "stop\n", 60)
    finally:
        crowd.kill()
        crowd.wait()
    ending = json.loads(told.splitlines()[-1])
    seen = [[(moment, count) for moment, count in each] for each in ending["seen"]]
    delays = visible(seen, tally.answers, before)
    span = tally.answers[-1] - tally.answers[0]
    updates = [sum(tally.answers[0] <= moment <= tally.answers[-1] for moment, _ in each) for each in seen]
    figures["visible"] = {
        "p50_ms": 1000 * at(delays, 0.5),
        "p99_ms": 1000 * at(delays, 0.99),
        "sampled_viewers": len(seen),
        "updates_per_second": sum(updates) / len(updates) / span,
    }
    figures["refused_for_now"] = ending["refused"]
    figures["streams_ended"] = ending["ended"]
    figures["sampled_backwards"] = sum(one[1] > two[1] for each in seen for one, two in pairwise(each))
    return figures


def messages_shown() -> int:
    """How many messages the campaign's published total holds."""
    address = f"http://127.0.0.1:{PORTS['intake']}/api/v1/campaigns/vnn/totals"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return int(json.load(answer)["messages"])


async def bench(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure, stop everything."""
    data = folder / "data"
    environ = environ_for(data, PORTS["intake"], INTERNAL_PORT, stream_viewers_max=str(chosen.viewers + 10))
    book = book_file(folder)
    server = await connect_embedded(data, "auto")
    try:
        subprocess.run([*SERVICE, "apply", "--yes", str(book)], env=environ, check=True, stdout=subprocess.DEVNULL)
        with process([*SERVICE, "serve"], environ, folder / "intake.log") as service:
            wait_for(INTERNAL_PORT, "/startupz")
            figures = await measure(service.pid, chosen)
        verified = subprocess.run([*SERVICE, "verify"], env=environ, check=False, capture_output=True, text=True)
        figures["verify"] = "clean" if verified.returncode == 0 else "BROKEN\n" + verified.stdout
        if chosen.keep_log is not None:
            chosen.keep_log.write_bytes((folder / "intake.log").read_bytes())
    finally:
        await server.close()
    return figures


def main() -> int:
    """Print the figures as JSON; 1 when something was refused or does not add up."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.viewers")
    parser.add_argument("--viewers", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--deaf-seconds", type=float, default=40.0)
    parser.add_argument("--keep-log", type=Path, help="where to copy the service's log")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p1400-viewers-") as folder:
        Path(folder).chmod(0o755)
        figures = asyncio.run(bench(Path(folder), chosen))
    print(json.dumps(figures, indent=1))
    is_whole = all(set(figures[run]["statuses"]) == {200} for run in ("alone", "with_viewers", "half_deaf"))
    return 0 if is_whole and figures["verify"] == "clean" else 1


if __name__ == "__main__":
    sys.exit(main())
