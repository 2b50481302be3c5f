"""How loaded this worker is, as one number: what of the public side it stops doing so that callbacks are taken.

Only facts of this process: how late its event loop is, and what a commit leaves behind in the queue of events. What
came while the database stood still is no load: nothing that is refused here would help it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("load")


class Signals(NamedTuple):
    """One look at the worker. In LEVELS: from which figures on a level begins, each alone being enough."""

    lag_seconds: float
    """How late the event loop comes to what is due."""
    queue_share: float
    """How much of the queue of events is full, after a commit and still now."""
    oldest_seconds: float
    """How long the oldest event waited for a commit that took others, the time of that commit not counted."""


IDLE = Signals(0.0, 0.0, 0.0)
STREAMS_CALMER, PAGES_REFUSED, TOTALS_REFUSED = 1, 2, 3
LEVELS = {
    STREAMS_CALMER: Signals(0.15, 0.25, 0.25),
    PAGES_REFUSED: Signals(0.40, 0.50, 0.50),
    TOTALS_REFUSED: Signals(1.00, 0.75, 0.75),
}
"""What each level sheds stands in service/listeners/shedding.py; docs/operations.md shows both."""
LOOK_SECONDS = 0.1
LOOKS = 3
"""A level rises when so many looks in a row agree: one hiccup is not overload."""
LEAVE_SHARE = 0.5
CALM_SECONDS = 5.0
"""It falls, by one, after so long below that share of its own figures: a level does not flap."""
COMMITTING_SECONDS = 1.0
"""What a commit left behind is looked at for so long: without commits the queue says nothing of load."""


def level_of(signals: Signals, share: float = 1.0) -> int:
    """The highest level of which a figure, times `share`, is reached."""
    return max(
        (
            level
            for level, from_on in LEVELS.items()
            if any(map(float.__ge__, signals, (share * each for each in from_on)))
        ),
        default=0,
    )


class OverloadMonitor:
    """The level of one worker, kept by a task that also measures how late it is itself."""

    def __init__(self, queue: Callable[[], tuple[float, float]], tell: Callable[[int], None]) -> None:
        """`queue` gives queue_share and oldest_seconds; `tell` hears each new level."""
        self._queue = queue
        self._tell = tell
        self._looks: deque[Signals] = deque(maxlen=LOOKS)
        self._near_at = 0.0
        self._committed_at = float("-inf")
        self._left = (0.0, 0.0)
        self._task: asyncio.Task[None] | None = None
        self.level = 0

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="load")

    async def stop(self) -> None:
        """Look no more."""
        await cancel_and_wait(self._task)

    def see_commit(self, seconds: float) -> None:
        """Something was committed, which took `seconds`: what is older and waits all the same, waits for its turn.

        What came during the commit waited for the database, however long that stood still.
        """
        self._committed_at = time.monotonic()
        share, oldest = self._queue()
        self._left = (share, oldest - seconds) if oldest > seconds else (0.0, 0.0)

    def _backlog(self, now: float) -> tuple[float, float]:
        """What the last commit left behind, as far as it is still there."""
        if now - self._committed_at >= COMMITTING_SECONDS:
            return 0.0, 0.0
        share, oldest = map(min, self._left, self._queue())
        return share, oldest

    async def _run(self) -> None:
        while True:
            due = time.monotonic() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            self.update(Signals(max(0.0, now - due), *self._backlog(now)), now)

    def update(self, signals: Signals, now: float) -> None:
        """Take one look into account; `now` is monotonic seconds."""
        self._looks.append(signals)
        lasting = Signals(*map(min, *self._looks)) if len(self._looks) == LOOKS else IDLE
        reached = level_of(lasting)
        if reached > self.level:
            self._near_at = now
            self._become(reached, signals)
        elif level_of(signals, LEAVE_SHARE) >= self.level:
            self._near_at = now
        elif now - self._near_at >= CALM_SECONDS:
            self._near_at = now
            self._become(self.level - 1, signals)

    def _become(self, level: int, signals: Signals) -> None:
        write = log.warning if level > self.level else log.info
        write(
            "load_level",
            shed_level=level,
            before=self.level,
            lag_milliseconds=round(1000 * signals.lag_seconds),
            queue_share=round(signals.queue_share, 2),
            oldest_milliseconds=round(1000 * signals.oldest_seconds),
        )
        self.level = level
        self._tell(level)
