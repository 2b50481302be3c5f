"""A seed is a schedule and a stream that can be had again, and the seeds together leave no fault out."""

import asyncio

import pytest

from tests.torture.clock import SeedClock
from tests.torture.faults import ACTS
from tests.torture.plan import ON_THE_DISK, SENTENCES, Name, plan, possible
from tests.torture.seed import Choice, deliveries


def test_the_same_seed_makes_the_same_faults_and_another_makes_others() -> None:
    assert plan(7, 10) == plan(7, 10)
    assert plan(7, 10) != plan(8, 10)


def test_the_same_seed_makes_the_same_callbacks() -> None:
    choice = Choice(seconds=2, rate=100)
    (_, once), (_, again) = deliveries(7, choice), deliveries(7, choice)
    assert once == again
    assert [each.due for each in once] == sorted(each.due for each in once)


def test_fifty_seeds_leave_no_fault_out() -> None:
    assert {fault.name for seed in range(1, 51) for fault in plan(seed, 10)} == set(Name)


@pytest.mark.parametrize("table", [ACTS, SENTENCES], ids=["what it does", "what it is called"])
def test_every_fault_has_its_row(table: dict[Name, object]) -> None:
    assert set(table) == set(Name)


def test_a_machine_without_a_small_disk_plays_the_rest_at_the_same_times() -> None:
    faults = plan(18, 10)
    left = possible(faults, with_disk=False, with_supervisor=True)
    assert left == [each for each in faults if each.name not in ON_THE_DISK]
    assert left != faults


async def test_the_clock_of_a_seed_stands_still_while_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.torture.clock.PATIENCE_SECONDS", 0.1)
    clock = SeedClock()
    running = asyncio.create_task(clock.run())
    await asyncio.sleep(0.5)
    assert clock.now < 0.3
    clock.answered()
    await asyncio.wait_for(clock.until(clock.now + 0.05), 5)
    running.cancel()
