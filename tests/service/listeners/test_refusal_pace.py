"""Refused strangers wait for their answers, together, once they have had their share; carriers never do."""

import asyncio
import time
from pathlib import Path

import pytest

from service.listeners import refusal_pace
from service.listeners.refusal_pace import UNIT_BYTES, UNITS_AT_ONCE, UNITS_PER_SECOND, WAIT_SECONDS_MAX, RefusalPace
from tests.support.portal import eventually, message, running


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_refused_at_once_waits_for_nothing_and_what_comes_beyond_waits_its_turn() -> None:
    clock = Clock()
    pace = RefusalPace(clock)
    assert max(pace.wait_seconds(0) for _ in range(int(UNITS_AT_ONCE))) == pytest.approx(0.0, abs=1e-6)
    waits = [pace.wait_seconds(0) for _ in range(10)]
    assert waits == pytest.approx([(each + 1) / UNITS_PER_SECOND for each in range(10)])
    clock.now += UNITS_AT_ONCE / UNITS_PER_SECOND + 1
    assert pace.wait_seconds(0) == 0.0


def test_a_large_body_costs_as_many_as_it_has_units() -> None:
    clock = Clock()
    pace = RefusalPace(clock)
    bodies = 0
    while pace.wait_seconds(16 * UNIT_BYTES) == 0.0:
        bodies += 1
    assert bodies == int(UNITS_AT_ONCE) // 17


def test_no_answer_waits_longer_than_the_bound_and_a_flood_is_forgotten() -> None:
    clock = Clock()
    pace = RefusalPace(clock)
    for _ in range(100_000):
        assert pace.wait_seconds(UNIT_BYTES) <= WAIT_SECONDS_MAX
    assert pace.wait_seconds(0) == WAIT_SECONDS_MAX
    clock.now += WAIT_SECONDS_MAX + UNITS_AT_ONCE / UNITS_PER_SECOND
    assert pace.wait_seconds(0) == 0.0


async def test_a_flood_of_refusals_is_paced_and_a_carrier_is_not(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal_pace, "UNITS_AT_ONCE", 20.0)
    monkeypatch.setattr(refusal_pace, "UNITS_PER_SECOND", 50.0)
    statuses: list[int] = []

    async def stranger(port: int, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout_at(until):
                while True:
                    writer.write(b"POST /gw/standard/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
                    head = await reader.readuntil(b"\r\n\r\n")
                    statuses.append(int(head[9:12]))
                    await reader.readexactly(len(b'{"error":"unauthenticated"}'))
        except TimeoutError:
            pass
        finally:
            writer.close()

    async with running(database_dsn, tmp_path) as portal:
        port = int(portal.base.rpartition(":")[2])
        until = asyncio.get_running_loop().time() + 1.0
        flood = [asyncio.create_task(stranger(port, until)) for _ in range(20)]

        async def has_begun() -> bool:
            return len(statuses) >= 20

        await eventually(has_begun)
        # While the strangers wait, a carrier's first callback, on a connection of its own, does not.
        began = time.monotonic()
        answer = await portal.post(message("m-1"))
        assert (answer.status, answer.outcome) == (200, "accepted")
        carried = time.monotonic() - began
        refused_before = len(statuses)
        await asyncio.gather(*flood)
    assert set(statuses) == {401}
    assert refused_before < 20 + 50
    # Twenty at once, and fifty in the one second.
    assert len(statuses) <= 20 + 50 + 1
    assert carried < WAIT_SECONDS_MAX
