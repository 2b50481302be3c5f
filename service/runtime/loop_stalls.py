"""How long the event loop stands: one task asks to be woken every few milliseconds, and sees how late it is."""

import asyncio
import time
from collections.abc import Callable

from service.runtime.tasks import cancel_and_wait

TICK_SECONDS = 0.01
"""A stall is told too short by at most this."""
WINDOW_SECONDS = 30.0
"""The longest of this window and the one before are told: every scraper sees a stall, however many scrape."""


class LoopStalls:
    """The longest stall of the last 30 to 60 seconds, seconds. Nothing is reset by looking."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, see: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        """`see` hears how late each wake-up was."""
        self._now = now
        self._see = see
        self._window = 0.0
        self._this = self._before = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def longest_seconds(self) -> float:
        """How late the loop came at worst. May be asked from another thread."""
        windows = self._windows_over(self._now())
        return max(self._this, self._before) if not windows else self._this if windows == 1 else 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._window = self._now()
        self._task = asyncio.create_task(self._run(), name="loop-stalls")

    async def stop(self) -> None:
        """Measure no more."""
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            due = self._now() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = self._now()
            windows = self._windows_over(now)
            if windows:
                self._before, self._this = self._this if windows == 1 else 0.0, 0.0
                self._window += windows * WINDOW_SECONDS
            late = max(0.0, now - due)
            self._this = max(self._this, late)
            self._see(late)

    def _windows_over(self, now: float) -> int:
        return int((now - self._window) / WINDOW_SECONDS)
