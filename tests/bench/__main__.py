"""`make bench`: our intake beside an empty answer and beside a plain service, alternating, in one run."""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from service.postgres.embedded.handle import connect_embedded
from tests.bench.load import Tally, batches, closed_loop, messages, open_loop, signed_requests
from tests.bench.statement import statement_alone
from tests.support.portal import SIGNING_SECRET, book_file
from tests.support.processes import SERVICE, environ_for

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
INTAKE_PATH = "/gw/standard/hub"
PORTS = {"empty": 21401, "intake": 21402, "plain": 21403}
INTERNAL_PORT = 21490
SETTLE_SECONDS = 2.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


@contextmanager
def process(arguments: list[str], environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server for the length of a block, stopped with SIGTERM."""
    with log.open("wb") as output:
        started = subprocess.Popen(arguments, env=environ, stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_for(port: int, path: str = "/") -> None:
    """Wait until something answers HTTP on a port of this machine."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


async def sse_latency(rate: float, seconds: float, run: str) -> dict[str, float]:
    """From when a callback was due to when a viewer sees a total that holds as many messages."""
    seen: list[tuple[float, int]] = []

    async def follow() -> None:
        url = f"http://127.0.0.1:{PORTS['intake']}/api/v1/stream?campaign=vnn"
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, timeout=aiohttp.ClientTimeout(total=None)) as stream,
        ):
            async for line in stream.content:
                if not line.startswith(b"data: "):
                    continue
                seen.append((time.perf_counter(), json.loads(line[6:])["messages"]))

    viewer = asyncio.create_task(follow())
    while not seen:
        await asyncio.sleep(0.01)
    # What the run before sent must have been shown, or its messages would be taken for this run's.
    await asyncio.sleep(SETTLE_SECONDS)
    before = seen[-1][1]
    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(f"sse-{run}"))
    _, moments = await open_loop(PORTS["intake"], requests, rate=rate, seconds=seconds)
    deadline = time.perf_counter() + 10
    while seen[-1][1] < before + len(moments) and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    viewer.cancel()
    delays, at = [], 0
    for index, due in enumerate(moments):
        while at < len(seen) and seen[at][1] < before + index + 1:
            at += 1
        if at == len(seen):
            raise TimeoutError("the stream never showed every message")
        delays.append(max(0.0, seen[at][0] - due))
    delays.sort()
    return {"p50": delays[len(delays) // 2], "p99": delays[int(len(delays) * 0.99)], "rate": rate}


async def measure(pids: dict[str, int], rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Alternate the three services; medians over the rounds."""
    runs: dict[str, list[tuple[Tally, float]]] = {"empty": [], "intake": [], "plain": []}
    for each in range(rounds):
        for name in runs:
            requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(f"{name}-{each}"))
            before = cpu_seconds(pids[name])
            tally = await closed_loop(PORTS[name], requests, seconds=seconds)
            if set(tally.statuses) != {200}:
                raise RuntimeError(f"{name} answered {dict(tally.statuses)}")
            runs[name].append((tally, cpu_seconds(pids[name]) - before))
            print(f"  round {each + 1} {name:7} {tally.per_second:8.0f}/s", file=sys.stderr)
    return {
        name: {
            "per_second": statistics.median(tally.per_second for tally, _ in found),
            "p50_ms": 1000 * statistics.median(tally.percentile(0.50) for tally, _ in found),
            "p99_ms": 1000 * statistics.median(tally.percentile(0.99) for tally, _ in found),
            "cpu_us": 1e6 * statistics.median(cpu / max(1, tally.answered) for tally, cpu in found),
        }
        for name, found in runs.items()
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    services = figures["services"]
    titles = {
        "empty": "(a) aiohttp, constant answer",
        "intake": "(b) portal1400, full accounting",
        "plain": "(c) aiohttp + SQLAlchemy, plain",
    }
    lines = [f"{'':34}{'callbacks/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'of (a)':>8}{'to (c)':>8}"]
    for name, title in titles.items():
        row = services[name]
        share = row["per_second"] / services["empty"]["per_second"]
        ratio = row["per_second"] / services["plain"]["per_second"]
        lines.append(
            f"{title:34}{row['per_second']:12.0f}{row['p50_ms']:9.1f}{row['p99_ms']:9.1f}{row['cpu_us']:9.0f}"
            f"{share:8.0%}{ratio:7.1f}x"
        )
    lines.append(f"{'(d) the writing statement alone':34}{figures['statement_per_second']:12.0f}")
    half = figures["half_load"]
    lines.append(
        f"at half of (b)'s maximum, {half['rate']:.0f}/s: p50 {half['p50_ms']:.1f} ms, p99 {half['p99_ms']:.1f} ms"
    )
    stream = figures["stream"]
    lines.append(
        f"callback to total on a stream at {stream['rate']:.0f}/s: p50 {1000 * stream['p50']:.0f} ms, "
        f"p99 {1000 * stream['p99']:.0f} ms"
    )
    lines.append(f"batches of 100: {figures['batch_events_per_second']:.0f} events/s")
    lines.append(f"verify afterwards: {figures['verify']} ({figures['messages']} messages)")
    return "\n".join(lines)


async def bench(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Start everything, measure, verify."""
    data = folder / "data"
    environ = environ_for(data, PORTS["intake"], INTERNAL_PORT)
    book = book_file(folder)
    server = await connect_embedded(data, "auto")
    try:
        subprocess.run([*SERVICE, "apply", "--yes", str(book)], env=environ, check=True, stdout=subprocess.DEVNULL)
        admin = await asyncpg.connect(server.dsn)
        await admin.execute("CREATE DATABASE plain")
        plain_dsn = server.dsn.replace("/portal1400?", "/plain?").replace("postgresql://", "postgresql+asyncpg://")
        plain = [sys.executable, "-m", "tests.bench.plain"]
        with (
            process([*SERVICE, "serve"], environ, folder / "intake.log") as intake,
            process([*plain, "empty", str(PORTS["empty"])], environ, folder / "empty.log") as empty,
            process(
                [*plain, "plain", str(PORTS["plain"]), "--database", plain_dsn, "--secret", SIGNING_SECRET],
                environ,
                folder / "plain.log",
            ) as plain_process,
        ):
            wait_for(INTERNAL_PORT, "/startupz")
            for name in ("empty", "plain"):
                wait_for(PORTS[name])
            pids = {"empty": empty.pid, "intake": intake.pid, "plain": plain_process.pid}
            figures: dict[str, Any] = {"services": await measure(pids, rounds, seconds)}
            rate = figures["services"]["intake"]["per_second"] / 2
            paced = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages("half"))
            half, _ = await open_loop(PORTS["intake"], paced, rate=rate, seconds=seconds)
            figures["half_load"] = {
                "rate": rate,
                "p50_ms": 1000 * half.percentile(0.5),
                "p99_ms": 1000 * half.percentile(0.99),
            }
            figures["stream"] = await sse_latency(1000, seconds, "one")
            packed = signed_requests(INTAKE_PATH, SIGNING_SECRET, batches("batch"))
            many = await closed_loop(PORTS["intake"], packed, seconds=seconds, connections=8)
            figures["batch_events_per_second"] = many.per_second * 100
        figures["statement_per_second"] = await statement_alone(server.dsn, seconds)
        figures["messages"] = await admin.fetchval("SELECT count(*) FROM message")
        await admin.close()
        verified = subprocess.run([*SERVICE, "verify"], env=environ, check=False, capture_output=True, text=True)
        figures["verify"] = "clean" if verified.returncode == 0 else "BROKEN\n" + verified.stdout
    finally:
        await server.close()
    return figures


def main() -> int:
    """Print the table, write the JSON; 1 when verify found a difference."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path, default=Path(".bench/bench.json"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p1400-bench-") as folder:
        Path(folder).chmod(0o755)
        figures = asyncio.run(bench(Path(folder), chosen.rounds, chosen.seconds))
    print(table(figures))
    chosen.json.parent.mkdir(exist_ok=True)
    chosen.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"the same as JSON: {chosen.json}")
    return 0 if figures["verify"] == "clean" else 1


if __name__ == "__main__":
    sys.exit(main())
