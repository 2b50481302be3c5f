"""The circuit breaker: while the database does not commit, callbacks do not wait a second each to learn it again."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed: callbacks go to the writer. Open: they go to the spool, and one in `trial_seconds` tries."""

    def __init__(self, trial_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds that never go backwards."""
        self._trial_seconds = trial_seconds
        self._clock = clock
        self._next_trial_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last that was heard of the database is that it does not commit."""
        return self._next_trial_at is not None

    def allows(self) -> bool:
        """Whether this callback may wait for a commit. While open, true for one callback in `trial_seconds`."""
        if self._next_trial_at is None:
            return True
        now = self._clock()
        if now < self._next_trial_at:
            return False
        self._next_trial_at = now + self._trial_seconds
        return True

    def open(self) -> None:
        """A callback was not committed in time."""
        if self._next_trial_at is None:
            self._next_trial_at = self._clock() + self._trial_seconds

    def close(self) -> None:
        """Something was committed."""
        self._next_trial_at = None
