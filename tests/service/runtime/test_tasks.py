"""A task that loses its cancellation once is ended all the same."""

import asyncio

from service.runtime.tasks import cancel_and_wait


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
    async with asyncio.timeout(5):
        await cancel_and_wait(task, None)
    assert (lost, task.cancelled()) == (1, True)
