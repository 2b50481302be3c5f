"""How tasks that run for ever are ended."""

import asyncio

AGAIN_SECONDS = 0.5


async def cancel_and_wait(*tasks: "asyncio.Task[None] | None") -> None:
    """Cancel `tasks` and wait until all have ended; what they raised is theirs.

    Once may not be enough: a connection that is closed in the middle of a cancelled exchange can raise an error of
    its own, a loop that survives errors survives that one, and the cancellation is lost.
    """
    running = {task for task in tasks if task is not None}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
