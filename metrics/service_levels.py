"""The indicators behind the service level objectives: answers in time, and messages in the totals in time.

The objectives themselves, and how fast their error budgets may burn, stand in deploy/prometheus/rules.yml.
"""

import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime

from metrics.families.register import Register

ANSWER_SECONDS_MAX = 1.0
"""An answer that takes longer is late: the strictest carrier waits for five."""
SHOWN_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 600)
NEVER_LATE = frozenset({"unauthenticated", "stale", "malformed", "too_large", "overloaded", "unavailable"})
"""Outcomes that are no acknowledgement: the first four are the sender's fault, the others are errors at any speed."""
COMMITS_PENDING_MAX = 20_000
"""Commits that wait for the totals to be read; beyond it they are held together, as old as the oldest of them."""


class ServiceLevels:
    """Counts what an objective is measured by. The feed says when the totals were read."""

    def __init__(self, register: Register) -> None:
        room = register.room("Service levels")
        self.late_answers = room.counter(
            "portal1400_late_answers",
            "Acknowledgements later than a second after the callback's last byte",
            ["account"],
            unit="callbacks",
            query="sum by (account) (rate(portal1400_late_answers_total[5m]))",
        )
        self.shown_seconds = room.histogram(
            "portal1400_message_shown_seconds",
            "From a message's arrival to totals of this worker that hold it; messages that count at once",
            buckets=SHOWN_BUCKETS,
            unit="seconds",
            query="histogram_quantile(0.99, sum by (le) (rate(portal1400_message_shown_seconds_bucket[5m])))",
        )
        self._pending: deque[tuple[float, float, int]] = deque()

    def know_accounts(self, accounts: Iterable[str]) -> None:
        """Make the children of accounts, so that a rate exists from their first late answer on."""
        for account in accounts:
            self.late_answers.labels(account)

    def see_answer(self, account: str, outcome: str, seconds: float) -> None:
        """One callback was answered after `seconds`."""
        if seconds > ANSWER_SECONDS_MAX and outcome not in NEVER_LATE:
            self.late_answers.labels(account).inc()

    def see_committed(self, arrivals: Iterable[datetime]) -> None:
        """Messages that arrived at these times are stored from now on: all count as late as the first of them."""
        times = [at.timestamp() for at in arrivals]
        if not times:
            return
        oldest, count = min(times), len(times)
        if len(self._pending) >= COMMITS_PENDING_MAX:
            _, before, waiting = self._pending.pop()
            oldest, count = min(oldest, before), count + waiting
        self._pending.append((time.monotonic(), oldest, count))

    def see_shown(self, read_at: float, now: datetime) -> None:
        """Totals that were read at `read_at` (monotonic seconds) are shown at `now`."""
        shown_at = now.timestamp()
        while self._pending and self._pending[0][0] <= read_at:
            _, oldest, count = self._pending.popleft()
            for _ in range(count):
                self.shown_seconds.observe(max(0.0, shown_at - oldest))
