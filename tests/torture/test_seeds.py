"""A few short seeds of the torture. `make torture` plays fifty."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.torture.rig import Cluster, make_template, prepared
from tests.torture.seed import Choice, play

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds its processes by /proc"),
]
SEEDS = (18, 21, 4, 17)
"""They begin with a lost power supply, a killed PostgreSQL, a silent network, resets in the middle of commits."""


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
    verdict = await play(seed, ground[0], Choice(seconds=4, rate=80), ground[1])
    assert not verdict.wrong, "\n".join([verdict.line(), *verdict.wrong])
    assert verdict.acknowledged > 0
