"""The way of kept traces from a commit to the viewers: notified, read, pushed. Wraps board and broadcaster."""

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from campaigns.totals.totals import CampaignTotals, UnallocatedTotals
from metrics.board import Board
from service.live.broadcast import Broadcaster

if TYPE_CHECKING:
    from service.runtime.traces import Trace, Traces

FOLLOWED_MAX = 1_000
"""Kept traces whose messages nobody has seen yet; beyond it the oldest end with their commit."""
NANOSECONDS = 1_000_000_000


class Following:
    """The kept traces of messages that are stored, until they were shown. Times are ns since the epoch."""

    def __init__(self, traces: "Traces") -> None:
        self._traces = traces
        self._stored: deque[tuple[Trace, int]] = deque(maxlen=FOLLOWED_MAX)
        self._shown: deque[Trace] = deque(maxlen=FOLLOWED_MAX)

    def see_stored(self, trace: "Trace", at: int) -> None:
        """The commit of a kept trace ended at `at`."""
        self._stored.append((trace, at))

    def see_shown(self, read_at: int, now: int, campaigns: int) -> None:
        """Totals that were read at `read_at` are shown since `now`; of so many campaigns they are new."""
        while self._stored and self._stored[0][1] <= read_at:
            trace, stored_at = self._stored.popleft()
            self._traces.child(trace, "notify", stored_at, read_at, {})
            self._traces.child(trace, "read totals", read_at, now, {"portal1400.campaigns": campaigns})
            self._shown.append(trace)

    def take_shown(self) -> list["Trace"]:
        """What is shown and not pushed yet."""
        taken = list(self._shown)
        self._shown.clear()
        return taken

    def see_pushed(self, traces: Iterable["Trace"], began: int, ended: int, viewers: int) -> None:
        """A round to the viewers."""
        for trace in traces:
            self._traces.child(trace, "push", began, ended, {"portal1400.viewers": viewers})


class TracedBoard(Board):
    """Tells when totals are shown."""

    def __init__(self, following: Following) -> None:
        super().__init__()
        self._following = following

    def post(self, totals: Iterable[CampaignTotals], unallocated: UnallocatedTotals | None, seen_at: float) -> int:
        """As a board does."""
        changed = super().post(totals, unallocated, seen_at)
        now = time.time_ns()
        self._following.see_shown(now - int((time.monotonic() - seen_at) * NANOSECONDS), now, changed)
        return changed


class TracedBroadcaster(Broadcaster):
    """Tells when viewers were written to."""

    def __init__(self, following: Following, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._following = following

    async def _round(self) -> None:
        began, taken = time.time_ns(), self._following.take_shown()
        await super()._round()
        self._following.see_pushed(taken, began, time.time_ns(), len(self))
