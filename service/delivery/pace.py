"""How fast an account's replies may go: a token bucket, of one worker, which is the only one that sends them."""

import time
from collections.abc import Callable

BURST_SHARE = 0.1
"""Of a second's replies, how many may go at once."""


class Pace:
    """`take` gives out what the rate allows."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tokens = 0.0
        self._at = now()

    def take(self, per_second: int, wanted: int) -> int:
        """How many of `wanted` may go now, at `per_second`."""
        now = self._now()
        most = max(1.0, per_second * BURST_SHARE)
        self._tokens = min(most, self._tokens + (now - self._at) * per_second)
        self._at = now
        return min(wanted, int(self._tokens))

    def spend(self, count: int) -> None:
        """`count` of what was taken has gone."""
        self._tokens -= count
