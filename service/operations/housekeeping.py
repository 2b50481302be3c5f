"""What has to happen now and then: partitions and keys ahead of time, old raw callbacks, joining."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial

import asyncpg
import structlog

from campaigns.gifts.privacy import forget_oldest_day
from campaigns.gifts.quarantined import Actor
from campaigns.gifts.refolding import refold_some
from campaigns.gifts.sweeping import give_up, sweep
from campaigns.gifts.test_mode import clear_tests
from campaigns.schema.locks import FORGET_LOCK, if_free
from campaigns.schema.partitions import drop_partitions, make_partitions
from service.intake.writer import CommitReport
from service.postgres.database import Database
from service.postgres.session import end_stalled
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("housekeeping")

ROUND_SECONDS = 600.0
"""Partitions and keys are looked after this often; they are made days ahead."""
CLOCK_DIFFERS_SECONDS = 60.0
"""Clocks that differ by more are told of; signatures are refused from 300 s on."""
SELECT_CLOCK = "SELECT clock_timestamp()"
SWEEP_SECONDS = 10.0
"""Charges and reversals that wait are looked after this often."""
WHO = Actor("portal1400", "housekeeping", "PORTAL1400_PERSON_RETENTION_DAYS")
"""Who is told to have forgotten a day."""
BORROW_SECONDS = 5
"""A round that gets no connection in so long is left to the next one."""


class Housekeeping:
    """Two loops: days and joining. Failures are logged and tried again in the next round."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        clock: Callable[[], datetime],
        count: Callable[[CommitReport], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._began = time.monotonic()
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        self.clock_ahead_seconds = 0.0
        """How far this machine's clock was ahead of the database's when they were last compared."""

    def start(self) -> None:
        """Begin both loops."""
        self._tasks = [
            repeat("days", partial(self._with_connection, self._days), (ROUND_SECONDS,)),
            repeat("joining", partial(self._with_connection, self._joining), (SWEEP_SECONDS,)),
        ]

    async def stop(self) -> None:
        """End both loops."""
        await cancel_and_wait(*self._tasks)

    async def prepare(self, connection: asyncpg.Connection) -> None:
        """Everything today and the days ahead need: partitions and data keys."""
        today = self._clock().astimezone(UTC).date()
        made = await make_partitions(connection, today)
        if made:
            log.info("partitions_made", count=len(made))
        for day in (today, today + timedelta(days=1)):
            await self._keyring.open_day(connection, day)

    async def clear(self, connection: asyncpg.Connection) -> list[str]:
        """Drop raw callbacks whose time is over by both clocks, some at a time; returns the partitions dropped."""
        now = await self._earlier_clock(connection)
        before: date = now.astimezone(UTC).date() - timedelta(days=self._settings.raw_retention_days)
        dropped = await drop_partitions(connection, before)
        if dropped:
            log.info("partitions_dropped", count=len(dropped))
        if cleared := await clear_tests(connection, datetime.combine(before, time_of_day.min, UTC)):
            log.info("tests_cleared", rows=cleared)
        return dropped

    async def forget(self, connection: asyncpg.Connection) -> date | None:
        """Forget the persons of one day whose time is over by both clocks, and destroy its key; returns the day.

        Of a day whose callbacks are still kept nothing goes. One day a round: a mistake about the time is noticed
        while nearly all is there.
        """
        today = (await self._earlier_clock(connection)).astimezone(UTC).date()
        days = max(self._settings.person_retention_days, self._settings.raw_retention_days)
        async with if_free(connection, FORGET_LOCK) as is_ours:
            before = today - timedelta(days=days)
            gone = await forget_oldest_day(connection, before, WHO) if is_ours else None
        if gone is None:
            return None
        day, messages = gone
        self._keyring.forget_day(day)
        log.info("day_forgotten", day=day, messages=messages)
        return day

    def troubles(self) -> Iterable[str]:
        """A clock that goes wrong: windows, days and the freshness of signatures are told by it."""
        if abs(self.clock_ahead_seconds) > CLOCK_DIFFERS_SECONDS:
            way = "ahead of" if self.clock_ahead_seconds > 0 else "behind"
            yield (
                f"this machine's clock is {abs(round(self.clock_ahead_seconds))} s {way} the database's: see which "
                "of them is wrong, and set it (chronyc tracking)"
            )

    async def _earlier_clock(self, connection: asyncpg.Connection) -> datetime:
        """The time by whichever clock is behind, ours or the database's: nothing is deleted by one alone."""
        theirs: datetime = await connection.fetchval(SELECT_CLOCK)
        ours = self._clock()
        self.clock_ahead_seconds = (ours - theirs).total_seconds()
        for sentence in self.troubles():
            log.error("clocks_differ", reason=sentence)
        return min(ours, theirs)

    async def _with_connection(self, act: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        async with self._database.borrow(BORROW_SECONDS) as connection:
            await act(connection)

    async def _days(self, connection: asyncpg.Connection) -> None:
        await self.prepare(connection)
        await self.clear(connection)
        await self.forget(connection)
        await give_up(connection, await self._earlier_clock(connection))

    async def _joining(self, connection: asyncpg.Connection) -> None:
        # First: what they hold is what joining, and whoever stores a gift, waits for.
        if ended := await end_stalled(connection, self._settings.statement_seconds):
            log.warning("stalled_sessions_ended", count=ended)
        await self.sweep(connection)

    async def sweep(self, connection: asyncpg.Connection) -> None:
        """Join charges and reversals that were not joined as they came; mend what another release made of others."""
        started = time.perf_counter()
        lines = await sweep(connection)
        if lines:
            log.info("joined_later", lines=len(lines))
            self._count(CommitReport(time.perf_counter() - started, (), (), frozenset(), lines))
        started = time.perf_counter()
        lines = await refold_some(connection, time.monotonic() - self._began) or ()
        if lines:
            log.info("worked_out_again", lines=len(lines))
            self._count(CommitReport(time.perf_counter() - started, (), (), frozenset(), lines))
