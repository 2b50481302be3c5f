"""How often somebody may try: the generic cell rate algorithm (ITU-T I.371), and how many may do something at once.

Both in the memory of one worker.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KEYS_MAX = 20_000
"""So many are remembered; then the one that was seen longest ago is forgotten."""


class Pace:
    """So many tries at once, then one each `seconds`. Keys are whatever tells those apart who try."""

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tolerance = (burst - 1) * seconds
        self._seconds = seconds
        self._clock = clock
        self._due: OrderedDict[object, float] = OrderedDict()

    def take(self, key: object) -> int:
        """Count a try; 0, or after how many seconds the next is allowed, and then this one did not count."""
        now = self._clock()
        due = max(self._due.get(key, now), now)
        if due - now > self._tolerance:
            return math.ceil(due - now - self._tolerance)
        self._due[key] = due + self._seconds
        self._due.move_to_end(key)
        if len(self._due) > KEYS_MAX:
            self._due.popitem(last=False)
        return 0

    def forgive(self, key: object) -> None:
        """Forget the tries of a key: it was the right person."""
        self._due.pop(key, None)


class Crowded(Exception):
    """As many as there is room for are at it: whoever comes now comes again later."""


class Room:
    """So many at once; nobody waits."""

    def __init__(self, places: int) -> None:
        self._free = places

    @contextmanager
    def entered(self) -> Iterator[None]:
        """A place until the end of the block. Raises Crowded."""
        if self._free == 0:
            raise Crowded
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
