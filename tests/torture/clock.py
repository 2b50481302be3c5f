"""The clock of a seed: it stands still while nobody answers, so that a slow machine plays what a fast one plays.

Without it most of the load would fall into the time a restarted service needs to come up, where there is nothing
to lose. What a fault lasts is real time all the same.
"""

import asyncio
import time

PATIENCE_SECONDS = 1.5
"""So long carriers meet a service that is down before the clock stops."""
STILL_SECONDS_MAX = 180.0
TICK_SECONDS = 0.02


class StoodStill(Exception):
    """Nobody answered for longer than any recovery may take."""


class SeedClock:
    """Counts seconds from `start` while the portal answers. Whoever gets an answer says so with `answered`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._answered_at = time.monotonic()

    def answered(self) -> None:
        """The portal has just said something, whatever it was."""
        self._answered_at = time.monotonic()

    async def run(self) -> None:
        """Tick until cancelled."""
        self._answered_at = last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - self._answered_at < PATIENCE_SECONDS:
                self.now += now - last
            last = now

    async def until(self, at: float) -> None:
        """Return when the clock shows `at`. Raises StoodStill."""
        while self.now < at:
            if time.monotonic() - self._answered_at > STILL_SECONDS_MAX:
                raise StoodStill(f"no request was answered for {STILL_SECONDS_MAX:g} s")
            await asyncio.sleep(min(TICK_SECONDS, max(0.0, at - self.now)))
