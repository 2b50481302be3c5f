"""How much of a worker's time strangers who are refused may have: beyond it their answers wait."""

import time
from collections.abc import Callable

UNITS_PER_SECOND = 1_000.0
"""A refusal costs about 0.2 ms of a processor, so that all together have about a fifth of one."""
UNITS_AT_ONCE = 2_000.0
"""Refused without waiting after a quiet time: all accounts of a programme at once, with a secret mistaken."""
UNIT_BYTES = 64 * 1024
"""So many bytes that were read cost as much as a request does."""
WAIT_SECONDS_MAX = 3.0
"""An answer waits no longer: whoever sends has not given up by then, and our own mistakes are still told soon."""


class RefusalPace:
    """One for all connections on which nothing was verified; a carrier's never asks it.

    A refused sender sends its next request when it has heard the answer. So its connections bound what it costs, and
    the pace of the answers bounds what they can ask.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: monotonic seconds."""
        self._clock = clock
        self._paid_until = float("-inf")

    def wait_seconds(self, bytes_read: int) -> float:
        """How long the answer to a refused request whose body was `bytes_read` long has to wait; 0.0: not at all."""
        now = self._clock()
        cost = (1 + bytes_read / UNIT_BYTES) / UNITS_PER_SECOND
        earliest = now - UNITS_AT_ONCE / UNITS_PER_SECOND
        latest = now + WAIT_SECONDS_MAX
        self._paid_until = min(max(self._paid_until, earliest) + cost, latest)
        return max(0.0, self._paid_until - now)
