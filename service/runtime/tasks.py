"""Tasks: those that repeat for ever and how they are ended, and work that outlives the patience of who asked."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from service.runtime.logs import describe_failure

AGAIN_SECONDS = 0.5
Done = TypeVar("Done")


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


def backoff(pauses: Sequence[float], attempt: int) -> float:
    """The pause before attempt number `attempt` (from 0) is made again: the last one for ever."""
    return pauses[min(attempt, len(pauses) - 1)]


def repeat(
    name: str,
    act: Callable[[], Awaitable[object]],
    pauses: Sequence[float],
    failed: Callable[[Exception, int], None] | None = None,
) -> "asyncio.Task[None]":
    """A task that does `act` for ever: `pauses[0]` seconds after a success, after failures in a row the next ones.

    What `act` raises ends nothing: it is logged as `<name>_failed`, or told to `failed` with how many failures went
    before it in a row. The task has the name `name`; `cancel_and_wait` ends it.
    """
    log = structlog.get_logger(name)

    async def run() -> None:
        failures = 0
        while True:
            try:
                await act()
                failures = 0
            except Exception as error:  # noqa: BLE001 -- the next round tries again; ending would be noticed by nobody
                if failed is None:
                    log.warning(f"{name}_failed", **describe_failure(error))
                else:
                    failed(error, failures)
                failures += 1
            await asyncio.sleep(backoff(pauses, failures))

    return asyncio.create_task(run(), name=name)


class Unhurried:
    """Work that is waited for only so long, and then finished without whoever asked for it.

    A cancelled query would break its connection, and a frozen server holds one for long.
    """

    def __init__(self, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._unfinished: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How much is being done."""
        return len(self._unfinished)

    def begin(self, work: Coroutine[Any, Any, Done]) -> "asyncio.Task[Done]":
        """Begin `work`, and wait for it at the end alone."""
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task

    async def wait(self, work: Coroutine[Any, Any, Done], otherwise: Done) -> Done:
        """What `work` gives, or `otherwise` when that takes too long. Raises what it raises in time."""
        task = self.begin(work)
        done, _ = await asyncio.wait({task}, timeout=self._wait_seconds)
        if done:
            return task.result()
        task.add_done_callback(_look_at)
        return otherwise

    async def finish(self) -> None:
        """Wait a little for what is still being done."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=self._wait_seconds)


def _look_at(task: "asyncio.Task[Any]") -> None:
    # Nobody waits for it any more; an exception that is not looked at would be reported as forgotten.
    if not task.cancelled():
        task.exception()
