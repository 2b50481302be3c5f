"""Two short seeds of the torture. `make torture` plays fifty."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.torture.plan import Name, plan
from tests.torture.rig import Cluster, make_template, prepared
from tests.torture.seed import Choice, play

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds its processes by /proc"),
]
SEEDS = (1203, 1249)
"""One kills PostgreSQL, resets connections in the middle of commits and kills the supervisor; in the other the
network is silent, then everything is killed, then the power is lost in an outage, and a worker is killed."""
CHOICE = Choice(seconds=8, rate=50)
WORST = frozenset({
    Name.SILENT_DOWN, Name.OUTAGE, Name.LATENCY, Name.RESET, Name.KILL_POSTGRES, Name.POWER_CUT, Name.KILL_WORKER,
    Name.KILL_SUPERVISOR, Name.KILL_EVERYTHING,
})  # fmt: skip


def test_they_leave_out_nothing_that_loses_gifts_elsewhere() -> None:
    assert {fault.name for seed in SEEDS for fault in plan(seed, CHOICE.seconds)} >= WORST


@pytest.fixture(scope="module")
async def ground() -> AsyncIterator[tuple[Cluster, Path]]:
    """A PostgreSQL that may be killed, and a folder for the seeds."""
    with tempfile.TemporaryDirectory(prefix="torture-") as written:
        place = Path(written)
        _, cluster = await asyncio.to_thread(prepared, place)
        try:
            await make_template(cluster, place)
            yield cluster, place
        finally:
            cluster.stop()


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_acknowledged_is_counted_once_whatever_happened(
    ground: tuple[Cluster, Path], seed: int
) -> None:
    verdict = await play(seed, ground[0], CHOICE, ground[1])
    assert not verdict.wrong, "\n".join([verdict.line(), *verdict.wrong])
    assert verdict.acknowledged > 0
