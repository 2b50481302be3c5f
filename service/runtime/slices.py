"""Long work on the event loop, cut into slices: what is ready in between goes first, callbacks above all."""

import asyncio
import time

SLICE_SECONDS = 0.002


class Slices:
    """The slices of one piece of work that begins now."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = time.monotonic() + SLICE_SECONDS

    async def pause(self) -> None:
        """Between two steps: let everything else go first when the slice is over."""
        if time.monotonic() >= self._ends:
            await asyncio.sleep(0)
            self._ends = time.monotonic() + SLICE_SECONDS
