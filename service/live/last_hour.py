"""The last hour of a campaign, by minute, for the chart of its page: thousands ask, the database hears once."""

import asyncio
import time
from contextlib import aclosing
from datetime import datetime, timedelta

from campaigns.totals.rollups import Question, Series
from service.live.series import ReadPieces

HOUR = timedelta(hours=1)
FRESH_SECONDS = 5.0
"""However much is published, an hour is not read more often than this."""
WAIT_SECONDS = 1.5
"""A page waits no longer for its hour than this; the next one finds it read."""


class LastHour:
    """The newest hour of each campaign that somebody asked for."""

    def __init__(self, read: ReadPieces) -> None:
        self._read_pieces = read
        self._kept: dict[int, tuple[float, datetime, Series]] = {}
        self._asking: dict[int, asyncio.Task[Series]] = {}

    async def get(self, campaign_id: int, now: datetime) -> Series | None:
        """The minutes of the hour that ends with the one `now` lies in, some seconds old; None when not had in time.

        A question that takes long is not cancelled: that would break its connection.
        """
        until = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        kept = self._kept.get(campaign_id)
        if kept is not None and kept[1] == until and time.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[2]
        asking = self._asking.get(campaign_id)
        if asking is None:
            asking = self._asking[campaign_id] = asyncio.create_task(self._read(campaign_id, until))
            asking.add_done_callback(lambda done: self._forget(campaign_id, done))
        await asyncio.wait({asking}, timeout=WAIT_SECONDS)
        if not asking.done() or asking.cancelled() or asking.exception() is not None:
            return None
        return asking.result()

    def _forget(self, campaign_id: int, done: "asyncio.Task[Series]") -> None:
        del self._asking[campaign_id]
        if not done.cancelled():
            done.exception()  # looked at, in case every page has left

    async def _read(self, campaign_id: int, until: datetime) -> Series:
        async with aclosing(self._read_pieces(Question(campaign_id, "minute", until - HOUR, until))) as pieces:
            read = [piece async for piece in pieces]
        series = Series(read[0].version, tuple(point for piece in read for point in piece.points))
        self._kept[campaign_id] = time.monotonic(), until, series
        return series
