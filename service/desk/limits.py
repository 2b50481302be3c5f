"""How often somebody may try: the generic cell rate algorithm (ITU-T I.371), in the memory of one worker."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

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
