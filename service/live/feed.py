"""LISTEN -> read totals -> board; and a new book or account -> shelf. Reads again anyway when nothing is heard."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from logging import ERROR, WARNING

import asyncpg
import structlog

from campaigns.book.store import SELECT_VERSION
from campaigns.schema.channels import BOOK_CHANNEL, TOTALS_CHANNEL
from campaigns.totals.rollups import FigureUnreadable, select_totals, select_unallocated
from campaigns.totals.totals import CampaignTotals, UnallocatedTotals
from metrics.board import Board
from metrics.instruments import Instruments
from service.postgres.connect_errors import reason_of
from service.postgres.database import is_away
from service.runtime.clock import Clock
from service.runtime.logs import describe_failure
from service.runtime.tasks import backoff, cancel_and_wait

log = structlog.get_logger("feed")

QUIET_SECONDS = 1.0
"""Without news the board is read again after this."""
PAUSE_SECONDS = 0.2
"""At most five reads a second."""
RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)
BESIDE_UNREADABLE = "what belongs to no campaign cannot be read: `portal1400 verify` names the figure"
ORPHANS_BEYOND = "the charges without a message sum up to more than can be shown: look for what a carrier claims"


class Feed:
    """One task, one connection. `reload` is called with the connection when there is a new book version.

    `inspect` says which of the totals that were read may be shown.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        ensure: Callable[[], Awaitable[None]],
        board: Board,
        instruments: Instruments,
        reload: Callable[[asyncpg.Connection], Awaitable[int]],
        inspect: Callable[[Sequence[CampaignTotals], UnallocatedTotals | None], list[CampaignTotals]],
        clock: Clock,
    ) -> None:
        self._connect = connect
        self._ensure = ensure
        self._board = board
        self._instruments = instruments
        self._reload = reload
        self._inspect = inspect
        self._clock = clock
        self._book_version = -1
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_connected = False
        self._is_read = True
        self._read_before: list[CampaignTotals] = []
        """What was read over this connection: another one may lead to another database."""
        self._side_trouble: str | None = None

    def start(self) -> None:
        """Begin to follow the database."""
        self._task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Stop following."""
        await cancel_and_wait(self._task)

    def troubles(self) -> Iterable[str]:
        """Whether what is shown grows old."""
        if not self.is_connected or not self._is_read:
            yield "totals are not being read from the database"
        if self._side_trouble is not None:
            yield self._side_trouble

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                connection = await self._connect()
                attempt = 0
                try:
                    await self._follow(connection)
                finally:
                    self.is_connected = False
                    with suppress(Exception):
                        await connection.close(timeout=1)
            except Exception as error:  # noqa: BLE001 -- the board must come back whatever happened
                # What is the server's or its keeper's to mend, a refused password too, is no bug of ours.
                if is_away(error) or reason_of(error) is not None:
                    log.warning("feed_lost_the_database", reason=type(error).__name__, attempt=attempt)
                else:
                    log.error("feed_failed", **describe_failure(error))
            await asyncio.sleep(backoff(RECONNECT_SECONDS, attempt))
            attempt += 1
            with suppress(Exception):
                await self._ensure()

    async def _follow(self, connection: asyncpg.Connection) -> None:
        for channel in (TOTALS_CHANNEL, BOOK_CHANNEL):
            await connection.add_listener(channel, self._hear)
        self.is_connected = True
        self._read_before = []
        while True:
            self._news.clear()
            await self.read(connection)
            await asyncio.sleep(PAUSE_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), QUIET_SECONDS - PAUSE_SECONDS)

    def _hear(self, *_notification: object) -> None:
        self._news.set()

    async def read_first(self, connection: asyncpg.Connection) -> None:
        """As `read`, at the start: figures that cannot be summed are no reason to take no gifts, and are said.

        Raises what else the database says.
        """
        try:
            await self.read(connection)
        except asyncpg.DataError as error:
            log.error("totals_not_read", **describe_failure(error))

    async def read(self, connection: asyncpg.Connection) -> None:
        """One look at the database: the book if it is newer, then the totals.

        Raises what the database says; from then on, and not while a read goes on, the totals count as unread.
        """
        try:
            await self._read(connection)
        except BaseException:
            self._is_read = False
            raise
        self._is_read = True

    async def _read(self, connection: asyncpg.Connection) -> None:
        if await connection.fetchval(SELECT_VERSION) != self._book_version:
            self._book_version = await self._reload(connection)
        seen_at = time.monotonic()
        totals = self._read_before = await select_totals(connection, self._read_before)
        unallocated = await self._read_beside(connection)
        self._board.post(self._inspect(totals, unallocated), unallocated, seen_at)
        self._instruments.service_levels.see_shown(seen_at, self._clock())
        for snapshot in self._board.snapshots:
            figures = snapshot.totals
            self._instruments.live.campaign_pledged_vnd.labels(figures.campaign).set(figures.pledged_vnd)
            self._instruments.live.campaign_messages.labels(figures.campaign).set(figures.messages)

    async def _read_beside(self, connection: asyncpg.Connection) -> UnallocatedTotals | None:
        """What belongs to no campaign; None where it cannot be had: the totals are shown all the same."""
        found: UnallocatedTotals | None = None
        trouble: str | None = BESIDE_UNREADABLE
        try:
            found = await select_unallocated(connection)
            trouble = ORPHANS_BEYOND if found.orphan_vnd is None else None
        except FigureUnreadable:
            pass
        except asyncpg.PostgresError as error:
            if is_away(error):
                raise
        if trouble != self._side_trouble:
            self._side_trouble = trouble
            log.log(WARNING if trouble is None else ERROR, "side_figures", reason=trouble or "they can be read again")
        return found
