"""One seed from beginning to end: load and faults together, then healing, then judgement."""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from campaigns.book.apply_file import book_from_file, load
from service.simulator.links import links_of
from tests.torture import faults, judge
from tests.torture.carriers import Carriers
from tests.torture.clock import SeedClock, StoodStill
from tests.torture.ledger import Ledger
from tests.torture.plan import Fault, plan, possible
from tests.torture.portal import PortalFailed
from tests.torture.rig import Cluster, Rig, book_text, rigged
from tests.torture.stream import Delivery, Stream
from tests.torture.viewers import Viewers

STREAMS, POLLERS = 4, 3
SETTLE_SECONDS = 120.0
ADOPT_SECONDS = 6.0
"""So long a spool file without a worker may wait here; then the service is restarted, which adopts at once."""
LOOK_SECONDS = 1.0
"""Each look has every worker write all of its metrics, which costs it as much as some dozen callbacks."""
SPOOLED = "portal1400_spool_records"


@dataclass(frozen=True, slots=True)
class Choice:
    """How seeds are played."""

    seconds: float = 10.0
    rate: float = 120.0
    workers: int = 2
    keep: Path | None = None
    keep_all: bool = False


@dataclass(slots=True)
class Verdict:
    """What became of one seed. Empty `wrong`: it passed."""

    seed: int
    faults: Sequence[Fault]
    sent: int = 0
    acknowledged: int = 0
    spooled: int = 0
    stored: int = 0
    frames: int = 0
    starts: int = 0
    healed_seconds: float = 0.0
    """From the last fault until everything was answered and the spool was empty."""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    kept: Path | None = None

    def line(self) -> str:
        """One row of the campaign's table; faults by their number."""
        counts = Counter(each.name.value for each in self.faults)
        done = " ".join(f"{name}{f'x{count}' if count > 1 else ''}" for name, count in sorted(counts.items()))
        figures = (self.seed, self.sent, self.acknowledged, self.spooled, self.stored, self.frames, self.starts)
        seconds = f"{self.healed_seconds:8.1f} {self.seconds:8.1f}"
        return _columns(figures) + f" {seconds}  {'FAILED' if self.wrong else 'ok    '}  {done}"


def _columns(values: Sequence[object]) -> str:
    return " ".join(f"{value!s:>8}" for value in values)


HEADER = (
    _columns(("seed", "sent", "acked", "spooled", "stored", "frames", "starts", "healed s", "took s")) + "  verdict"
)


def planned(seed: int, choice: Choice, *, with_disk: bool) -> list[Fault]:
    """The faults this machine can play of a seed."""
    return possible(plan(seed, choice.seconds), with_disk=with_disk, with_supervisor=choice.workers > 1)


def deliveries(seed: int, choice: Choice) -> tuple[Stream, list[Delivery]]:
    """The callbacks of a seed."""
    file = load(book_text().encode())
    # To a sender an account is an account; when its gifts count is the portal's affair.
    gateways = [{**entry.raw, "charging": "on_message"} for entry in file.gateways]
    links, _ = links_of(gateways, (), {}, ())
    stream = Stream(seed, book_from_file(file), [*links], rate=choice.rate, seconds=choice.seconds)
    return stream, stream.deliveries()


async def play(seed: int, cluster: Cluster, choice: Choice, place: Path) -> Verdict:
    """Play one seed. What goes wrong stands in the verdict; only faults of the torture itself are raised."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"seed{seed}-", dir=place))
    verdict = Verdict(seed, ())
    try:
        async with rigged(folder, cluster, f"torture_{seed}", choice.workers) as rig:
            verdict.faults = planned(seed, choice, with_disk=rig.disk.is_real)
            await _under_fire(rig, seed, choice, verdict)
            if choice.keep and (verdict.wrong or choice.keep_all):
                await asyncio.to_thread(rig.disk.copy_to, choice.keep / f"seed{seed}" / "disk")
    except (PortalFailed, StoodStill) as failed:
        verdict.wrong.append(str(failed))
    finally:
        if choice.keep and (verdict.wrong or choice.keep_all):
            verdict.kept = choice.keep / f"seed{seed}"
            verdict.kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "serve.log", verdict.kept)
        shutil.rmtree(folder, ignore_errors=True)
    verdict.seconds = time.monotonic() - began
    return verdict


async def _under_fire(rig: Rig, seed: int, choice: Choice, verdict: Verdict) -> None:
    stream, planned_deliveries = deliveries(seed, choice)
    ledger, slugs = Ledger(), [campaign.slug for campaign in load_slugs()]
    clock = SeedClock()
    viewers = Viewers(rig.portal.target, slugs, clock, streams=STREAMS, pollers=POLLERS)
    async with Carriers(rig.portal.target, stream.clerk, ledger, seed, clock) as carriers:
        viewers.start()
        beside = [asyncio.create_task(clock.run()), asyncio.create_task(_watch_spool(rig, verdict))]
        try:
            under_way, _ = await asyncio.gather(
                carriers.play(planned_deliveries), faults.play(rig, verdict.faults, clock)
            )
            carriers.finishing, healing = True, time.monotonic()
            await rig.heal()
            await _finished(under_way, verdict)
            await _spool_emptied(rig, verdict)
            verdict.healed_seconds = time.monotonic() - healing
            await asyncio.sleep(1.2)
        finally:
            for task in beside:
                task.cancel()
            await viewers.stop()
    held = await judge.facts(rig.dsn)
    verdict.sent, verdict.acknowledged = len(ledger.ids), ledger.acknowledged
    verdict.stored, verdict.frames, verdict.starts = len(held.rows), viewers.frames, rig.portal.starts
    verdict.wrong += judge.judged(held, ledger)
    verdict.wrong += viewers.complaints
    verdict.wrong += judge.compared(await _published(rig, slugs), held.shown)
    verified = await rig.portal.run("verify", "--deep", database_url=rig.dsn)
    if verified.code:
        verdict.wrong.append(f"verify --deep:\n{verified.out}{verified.err}".rstrip())
    code = await rig.portal.stop()
    if code:
        verdict.wrong.append(f"serve ended with exit code {code} after SIGTERM")
    left = judge.in_spool(rig.data_dir)
    if left:
        verdict.wrong.append(f"records left in the spool: {left}")
    verdict.wrong += rig.portal.complaints


def load_slugs() -> Sequence[Any]:
    """The campaigns of the torture's book."""
    return book_from_file(load(book_text().encode())).campaigns


async def _finished(under_way: Sequence[asyncio.Task[None]], verdict: Verdict) -> None:
    """Every sender that repeats has had its answer by then, or the portal does not come back."""
    if not under_way:
        return
    _, late = await asyncio.wait(under_way, timeout=SETTLE_SECONDS)
    if late:
        verdict.wrong.append(f"{len(late)} callbacks get no answer for {SETTLE_SECONDS:g} s after the last fault")
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*under_way, return_exceptions=True):
        if isinstance(result, Exception):
            verdict.wrong.append(f"a sender met {type(result).__name__}: {result}")


async def _watch_spool(rig: Rig, verdict: Verdict) -> None:
    """How many records were seen in the spool at once, over all workers."""
    while True:
        with suppress(PortalFailed):
            records = sum(sample.value for sample in await rig.portal.metric(SPOOLED))
            verdict.spooled = max(verdict.spooled, int(records))
        await asyncio.sleep(LOOK_SECONDS)


async def _spool_emptied(rig: Rig, verdict: Verdict) -> None:
    """Wait until no worker has a record; a file nobody has adopted yet is found after the restart."""
    deadline = time.monotonic() + SETTLE_SECONDS
    restart_at: float | None = time.monotonic() + ADOPT_SECONDS
    while True:
        try:
            left = sum(sample.value for sample in await rig.portal.metric(SPOOLED))
        except PortalFailed:
            left = -1
        if left == 0 and not rig.portal.is_draining and not _unclaimed(rig):
            return
        if time.monotonic() > deadline:
            verdict.wrong.append(
                f"{int(left)} records are still in the spool {SETTLE_SECONDS:g} s after the last fault; "
                + "\n".join(["the log ends:", *rig.portal.last_said()])
            )
            return
        if restart_at is not None and time.monotonic() > restart_at and left == 0 and not rig.portal.is_draining:
            restart_at = None
            await rig.portal.restart()
        await asyncio.sleep(LOOK_SECONDS)


def _unclaimed(rig: Rig) -> bool:
    return judge.has_unclaimed(rig.data_dir)


SHED_PAUSE_SECONDS = 0.2
"""A client is told to come back in some seconds; the judge is no crowd."""


async def _published(rig: Rig, slugs: Sequence[str]) -> Mapping[str, Any]:
    """What is published of each campaign now, over a fresh connection."""
    published: dict[str, Any] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        for slug in slugs:
            published[slug] = await _totals(http, f"{rig.portal.target}/api/v1/campaigns/{slug}/totals")
    return published


async def _totals(http: aiohttp.ClientSession, url: str) -> Any:
    """One campaign's, asked for again while the portal sheds load."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            async with http.get(url) as answer:
                if answer.status != 503:
                    answer.raise_for_status()
                    return orjson.loads(await answer.read())
            await asyncio.sleep(SHED_PAUSE_SECONDS)
