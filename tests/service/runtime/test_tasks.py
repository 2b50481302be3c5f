"""Tasks: one that repeats survives its failures, one that loses its cancellation ends, and nobody waits too long."""

import asyncio

import pytest

from service.runtime.tasks import Unhurried, backoff, cancel_and_wait, repeat


async def test_a_loop_that_loses_a_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await cancel_and_wait(task, None)
    assert (lost, task.cancelled()) == (1, True)


def test_the_last_pause_lasts() -> None:
    assert [backoff((0.1, 1.0, 5.0), attempt) for attempt in (0, 1, 2, 3, 99)] == [0.1, 1.0, 5.0, 5.0, 5.0]


async def test_what_repeats_survives_its_failures_and_tells_how_many_went_before() -> None:
    rounds, told, done = 0, [], asyncio.Event()

    async def act() -> None:
        nonlocal rounds
        rounds += 1
        if rounds in (2, 3, 5):
            raise ValueError(rounds)
        if rounds == 6:
            done.set()

    task = repeat("acting", act, (0.0,), lambda error, before: told.append((str(error), before)))
    async with asyncio.timeout(20):
        await done.wait()
    assert told == [("2", 0), ("3", 1), ("5", 0)]
    assert (task.get_name(), task.done()) == ("acting", False)
    await cancel_and_wait(task)
    assert task.cancelled()


async def test_work_that_takes_too_long_is_finished_without_who_asked() -> None:
    unhurried, go, ended = Unhurried(0.02), asyncio.Event(), []

    async def slow() -> str:
        await go.wait()
        ended.append("slow")
        return "done"

    async def broken() -> str:
        raise ValueError

    assert await unhurried.wait(slow(), "later") == "later"
    assert len(unhurried) == 1
    with pytest.raises(ValueError):  # noqa: PT011 -- the very one that was raised; it has no text
        await unhurried.wait(broken(), "later")
    go.set()
    await unhurried.finish()
    assert (ended, len(unhurried)) == (["slow"], 0)
