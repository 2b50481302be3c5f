"""What traces cost: a worker with one in a hundred callbacks traced beside one without, in turns, on one database."""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web

from gateways.outcome import Outcome
from service.intake.entry import Commit
from service.intake.traced import Story, TracedIntake, _story
from service.live.traced import Following
from service.postgres.embedded.handle import connect_embedded
from service.runtime.traces import Traces
from tests.bench.__main__ import INTAKE_PATH, process, wait_for
from tests.bench.load import closed_loop, messages, open_loop, signed_requests
from tests.support.portal import SIGNING_SECRET, book_file
from tests.support.processes import SERVICE, environ_for

COLLECTOR, PORTS = 21410, {"without": 21404, "traced": 21405}
CONTROL = "control"
INTERNAL = {"without": 21491, "traced": 21492}


def cpu_seconds(pid: int) -> float:
    """What the threads of a process ran so far: finer than the ticks of its stat, as turns are short (proc(5))."""
    told = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in told) / 1e9


async def collect(bodies: list[int]) -> web.AppRunner:
    """A collector that counts the bytes it is sent."""

    async def take(request: web.Request) -> web.Response:
        bodies.append(len(await request.read()))
        return web.Response(content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", COLLECTOR).start()
    return runner


class Part(NamedTuple):
    """What one callback costs by its trace alone: the share of callbacks that is kept, and how many are tried."""

    words: str
    share: float
    callbacks: int


PARTS = (Part("is not kept", 0.0, 100_000), Part("is kept and sent", 1.0, 4_000))


async def parts() -> None:
    """CPU of what tracing adds to a callback, by itself: says the same on a machine that others use."""
    runner = await collect([])
    try:
        for part in PARTS:
            traces = Traces(f"http://127.0.0.1:{COLLECTOR}", part.share)
            spent = await asyncio.to_thread(noted, traces, part.callbacks)
            await traces.stop()
            print(f"a callback whose trace {part.words}: {1e6 * spent / part.callbacks:.2f} us of CPU", flush=True)
    finally:
        await runner.cleanup()


def noted(traces: Traces, callbacks: int) -> float:
    """CPU seconds of this process for the stories of so many callbacks, the sending and the collector included."""
    intake: Any = TracedIntake.__new__(TracedIntake)
    intake._traces, intake._following = traces, Following(traces)
    answer = SimpleNamespace(status=200)
    ending: Any = SimpleNamespace(outcome=Outcome.ACCEPTED, answer=answer, events=1, aside=None)
    party: Any = SimpleNamespace(account=1, adapter="standard", label="hub")
    callback: Any = SimpleNamespace(method="POST", headers={"content-type": "application/json"}, request_id="id")
    moment = time.time_ns()
    before = time.process_time()
    for _ in range(callbacks):
        story = Story(callback)
        story.entry = SimpleNamespace(commit=Commit(moment, moment, 1))  # type: ignore[assignment]  # all that is read
        _story.set(story)
        intake._traced(party, ending, 0.01, callback)
    return time.process_time() - before


async def measure(folder: Path, rounds: int, seconds: float, share: str, rate: float) -> None:
    """Start both, alternate, print the medians of the pairs' ratios."""
    server = await connect_embedded(folder / "database", "auto")
    bodies: list[int] = []
    runner = await collect(bodies)
    try:
        environs = {}
        for name, port in PORTS.items():
            environs[name] = environ_for(folder / name, port, INTERNAL[name]) | {
                "PORTAL1400_DATABASE_URL": server.dsn
            }
        traced_with = {
            "PORTAL1400_TRACES_ENDPOINT": f"http://127.0.0.1:{COLLECTOR}",
            "PORTAL1400_TRACES_SHARE": share,
        }
        environs["traced"] |= {} if share == CONTROL else traced_with
        apply = [*SERVICE, "apply", "--yes", str(book_file(folder))]
        subprocess.run(apply, env=environs["without"], check=True, stdout=subprocess.DEVNULL)
        with (
            process([*SERVICE, "serve"], environs["without"], folder / "without.log") as without,
            process([*SERVICE, "serve"], environs["traced"], folder / "traced.log") as traced,
        ):
            for port in INTERNAL.values():
                wait_for(port, "/startupz")
            pids = {"without": without.pid, "traced": traced.pid}
            rates: list[float] = []
            costs: list[float] = []
            for turn in range(rounds):
                found: dict[str, tuple[float, float]] = {}
                for name in sorted(PORTS, reverse=bool(turn % 2)):
                    requests = signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(f"{name}-{turn}"))
                    before = cpu_seconds(pids[name])
                    if rate:
                        tally, _ = await open_loop(PORTS[name], requests, rate=rate, seconds=seconds)
                    else:
                        tally = await closed_loop(PORTS[name], requests, seconds=seconds)
                    if set(tally.statuses) != {200}:
                        raise RuntimeError(f"{name} answered {dict(tally.statuses)}")
                    found[name] = tally.per_second, (cpu_seconds(pids[name]) - before) / tally.answered
                rates.append(found["traced"][0] / found["without"][0])
                costs.append(found["traced"][1] / found["without"][1])
        print(
            f"traced at {share}: throughput x{statistics.median(rates):.3f}, CPU per callback "
            f"x{statistics.median(costs):.3f} (medians of {rounds} pairs); {sum(bodies)} bytes of spans"
        )
    finally:
        await runner.cleanup()
        await server.close()


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.traces")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--share", default="0.01")
    parser.add_argument("--rate", type=float, default=0, help="a second, for CPU at one load; 0: as fast as it goes")
    parser.add_argument("--control", action="store_true", help="trace neither: what the machine's noise looks like")
    parser.add_argument(
        "--parts", action="store_true", help="what a callback's trace costs by itself, without a service"
    )
    chosen = parser.parse_args()
    if chosen.parts:
        asyncio.run(parts())
        return
    with tempfile.TemporaryDirectory(prefix="p1400-bench-") as folder:
        Path(folder).chmod(0o755)
        asyncio.run(
            measure(
                Path(folder), chosen.rounds, chosen.seconds, CONTROL if chosen.control else chosen.share, chosen.rate
            )
        )


if __name__ == "__main__":
    main()
