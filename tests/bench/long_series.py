"""`python -m tests.bench.long_series`: what crowds that ask for a very long series cost the carriers.

One worker with its own PostgreSQL and a campaign of 40,000 minutes and six carriers takes callbacks at a fixed rate:
alone, while so many clients ask for all of it at once, and while as many ask for spans of which no two are the same.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg

from campaigns.totals.totals import CARRIERS
from service.postgres.embedded.handle import connect_embedded
from tests.bench.__main__ import INTAKE_PATH, INTERNAL_PORT, PORTS, process, wait_for
from tests.bench.load import Tally, messages, open_loop, signed_requests
from tests.bench.viewers import metric
from tests.support.portal import SIGNING_SECRET, book_file
from tests.support.processes import SERVICE, environ_for

MINUTES = 40_000
FILL = """
INSERT INTO campaign_minute (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
SELECT campaign.id, '2026-01-01T00:00:00Z'::timestamptz + make_interval(mins => n), carrier, 0, n, 3 * n,
       60000::bigint * n
FROM campaign, generate_series(1, $1::int) AS n, unnest($2::text[]) AS carrier WHERE slug = 'vnn'
"""
SERIES = "/api/v1/campaigns/vnn/series?bucket=minute&to=2027-01-01T00:00:00Z&from="
SETTLE_SECONDS = 2.0


def paths(clients: int, *, distinct: bool) -> list[str]:
    """What the clients ask for."""
    return [f"{SERIES}2026-01-01T00:{number % 60 if distinct else 0:02}:00Z" for number in range(clients)]


def peak_bytes(pid: int, *, begin: bool = False) -> int:
    """The highest resident memory since the last `begin` (proc(5))."""
    if begin:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def stall_milliseconds() -> float | None:
    """The longest stall of the event loop within the last half to whole minute."""
    try:
        return 1000 * metric("portal1400_event_loop_stall_seconds")
    except KeyError:
        return None


async def load(run: str, chosen: argparse.Namespace) -> Tally:
    """Callbacks at a fixed rate."""
    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(run))
    tally, _ = await open_loop(PORTS["intake"], requests, rate=chosen.rate, seconds=chosen.seconds)
    return tally


async def measure(pid: int, name: str, asked: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """Callbacks, and from their second second on the clients."""
    peak_bytes(pid, begin=True)
    carriers = asyncio.create_task(load(name, chosen))
    await asyncio.sleep(1)
    crowd = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.askers", str(PORTS["intake"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    told, _ = await crowd.communicate("\n".join(asked).encode())
    tally = await carriers
    stall = await asyncio.to_thread(stall_milliseconds)
    return {
        "callbacks": dict(tally.statuses),
        "p50_ms": round(1000 * tally.percentile(0.5), 1),
        "p99_ms": round(1000 * tally.percentile(0.99), 1),
        "worst_ms": round(1000 * max(tally.latencies)),
        "peak_mib": peak_bytes(pid) // 2**20,
        "stall_ms": stall and round(stall),
        "series": json.loads(told),
    }


async def bench(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure, stop everything."""
    data = folder / "data"
    environ = environ_for(data, PORTS["intake"], INTERNAL_PORT, invariant_seconds="86400")
    # The minutes have no gifts behind them, which the watch over the figures will say in the log.
    figures: dict[str, Any] = {}
    server = await connect_embedded(data, "auto")
    try:
        book = book_file(folder)
        subprocess.run([*SERVICE, "apply", "--yes", str(book)], env=environ, check=True, stdout=subprocess.DEVNULL)
        admin = await asyncpg.connect(server.dsn)
        await admin.execute(FILL, MINUTES, list(CARRIERS[:6]))
        await admin.execute("VACUUM ANALYZE campaign_minute")
        await admin.close()
        runs = {"alone": paths(0, distinct=False)}
        runs |= {f"{clients} the same": paths(clients, distinct=False) for clients in chosen.clients}
        runs |= {f"{clients} spans": paths(clients, distinct=True) for clients in chosen.spans}
        for name, asked in runs.items():
            with process([*SERVICE, "serve"], environ, folder / "intake.log") as service:
                wait_for(INTERNAL_PORT, "/startupz")
                await load(f"warm {name}", argparse.Namespace(rate=chosen.rate, seconds=2))
                figures[name] = await measure(service.pid, name, asked, chosen)
                print(f"{name:14}{figures[name]}", file=sys.stderr, flush=True)
                await asyncio.sleep(SETTLE_SECONDS)
    finally:
        if chosen.keep_log is not None:
            chosen.keep_log.write_bytes((folder / "intake.log").read_bytes())
        await server.close()
    return figures


def main() -> int:
    """Print the figures as JSON; 1 when a callback was not answered 200."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.long_series")
    parser.add_argument("--clients", type=int, nargs="*", default=[10, 60, 150])
    parser.add_argument("--spans", type=int, nargs="*", default=[60])
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--keep-log", type=Path, help="where to copy the service's log of the last run")
    parser.add_argument("--seconds", type=float, default=15.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p1400-series-") as folder:
        Path(folder).chmod(0o755)
        figures = asyncio.run(bench(Path(folder), chosen))
    print(json.dumps(figures, indent=1))
    return 0 if all(set(each["callbacks"]) == {200} for each in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
