"""The last hour of a campaign as sixty bars, and the one place that asks for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from campaigns.book.book import VIETNAM, Campaign
from campaigns.totals.rollups import Series

MINUTES = 60
FRESH_SECONDS = 5.0
WAIT_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute. `height` is in hundredths of the highest bar; money is integer VND."""

    at: datetime
    messages: int
    pledged_vnd: int
    height: int

    @property
    def time(self) -> str:
        """The minute in Vietnam, as HH:MM."""
        return f"{self.at.astimezone(VIETNAM):%H:%M}"


@dataclass(frozen=True, slots=True)
class Chart:
    """Sixty minutes, the running one last. `peak` is None when nothing came."""

    bars: tuple[Bar, ...]
    peak: Bar | None


def draw(series: Series, now: datetime) -> Chart:
    """The bars of the sixty minutes that end with the one `now` lies in; minutes the series leaves out are zero."""
    last = now.replace(second=0, microsecond=0)
    by_minute = {point.at: point for point in series.points}
    starts = [last - timedelta(minutes=MINUTES - 1 - index) for index in range(MINUTES)]
    highest = max((by_minute[at].messages for at in starts if at in by_minute), default=0)
    bars = []
    for at in starts:
        point = by_minute.get(at)
        messages, pledged_vnd = (point.messages, point.pledged_vnd) if point else (0, 0)
        # A minute of reversals may be negative; a gift among thousands still deserves a visible line.
        height = max(2, messages * 100 // highest) if messages > 0 else 0
        bars.append(Bar(at, messages, pledged_vnd, height))
    peak = max(bars, key=lambda bar: bar.messages)
    return Chart(tuple(bars), peak if peak.messages > 0 else None)


class LastHour:
    """Series of the last hour, read at most every few seconds per campaign however many people open the page.

    A read that takes long is not cancelled (that would break its connection): the page goes without, the next
    one finds it done.
    """

    def __init__(self, read: Callable[[Campaign], Awaitable[Series]]) -> None:
        self._read = read
        self._known: dict[int, tuple[float, Series]] = {}
        self._reading: dict[int, asyncio.Task[Series]] = {}

    async def get(self, campaign: Campaign) -> Series | None:
        """The series; None while it cannot be had."""
        known = self._known.get(campaign.id)
        now = asyncio.get_running_loop().time()
        if known and now - known[0] < FRESH_SECONDS:
            return known[1]
        task = self._reading.get(campaign.id)
        if task is None:
            task = asyncio.create_task(self._read_once(campaign))
            self._reading[campaign.id] = task
            task.add_done_callback(lambda done: self._done(campaign.id, done))
        await asyncio.wait({task}, timeout=WAIT_SECONDS)
        if not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def _read_once(self, campaign: Campaign) -> Series:
        return await self._read(campaign)

    def _done(self, campaign_id: int, task: asyncio.Task[Series]) -> None:
        del self._reading[campaign_id]
        if task.cancelled() or task.exception() is not None:
            self._known.pop(campaign_id, None)
        else:
            self._known[campaign_id] = (asyncio.get_running_loop().time(), task.result())
