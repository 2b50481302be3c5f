"""What was moved between campaigns, as the public is told: read at most every few seconds, however many ask."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from campaigns.gifts.corrections import Correction, select_corrections
from service.postgres.database import DATABASE_ERRORS, Database, DatabaseAway, is_away

FRESH_SECONDS = 5.0
WAIT_SECONDS = 1.5
"""Nobody waits longer for what is newer than what is there."""
BORROW_SECONDS = 1.0

CorrectionsOf = Callable[[int], Awaitable[Sequence[Correction]]]
"""The corrections of a campaign, by its id, the oldest first. Raises DatabaseAway as long as none were ever read."""


class Corrections:
    """Those of every campaign, as one worker has them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: tuple[float, Mapping[int, Sequence[Correction]]] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def get(self, campaign_id: int) -> Sequence[Correction]:
        """Some seconds old, or older while the database is away. Raises DatabaseAway before the first time."""
        if self._kept is None or time.monotonic() - self._kept[0] >= FRESH_SECONDS:
            if self._asking is None:
                self._asking = asyncio.create_task(self._read())
                self._asking.add_done_callback(self._forget)
            await asyncio.wait({self._asking}, timeout=WAIT_SECONDS)
        if self._kept is None:
            raise DatabaseAway("nothing was read yet")
        return self._kept[1].get(campaign_id, ())

    def _forget(self, done: "asyncio.Task[None]") -> None:
        self._asking = None
        if not done.cancelled():
            done.exception()  # looked at, in case everybody who asked has left

    async def _read(self) -> None:
        try:
            async with self._database.borrow(BORROW_SECONDS) as connection:
                found = await select_corrections(connection)
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            return
        by_campaign: dict[int, list[Correction]] = defaultdict(list)
        for each in found:
            by_campaign[each.campaign_id].append(each)
        self._kept = time.monotonic(), by_campaign
