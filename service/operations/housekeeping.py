"""What has to happen now and then: partitions and keys ahead of time, old raw callbacks, joining."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta

import asyncpg
import structlog

from campaigns.gifts.sweeping import give_up, sweep
from campaigns.schema.partitions import drop_partitions, make_partitions
from service.intake.writer import CommitReport
from service.postgres.database import Database
from service.runtime.keyring import Keyring
from service.runtime.logs import describe_failure
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("housekeeping")

ROUND_SECONDS = 600.0
"""Partitions and keys are looked after this often; they are made days ahead."""
SWEEP_SECONDS = 10.0
"""Charges and reversals that wait are looked after this often."""


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
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin both loops."""
        self._tasks = [
            asyncio.create_task(self._every(ROUND_SECONDS, self._days), name="days"),
            asyncio.create_task(self._every(SWEEP_SECONDS, self.sweep), name="joining"),
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
        """Drop raw callbacks whose time is over; returns the partitions dropped."""
        before: date = self._clock().astimezone(UTC).date() - timedelta(days=self._settings.raw_retention_days)
        dropped = await drop_partitions(connection, before)
        if dropped:
            log.info("partitions_dropped", count=len(dropped))
        return dropped

    async def _every(self, seconds: float, act: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        while True:
            try:
                async with self._database.borrow(5) as connection:
                    await act(connection)
            except Exception as error:  # noqa: BLE001 -- the next round tries again
                log.warning("housekeeping_failed", **describe_failure(error))
            await asyncio.sleep(seconds)

    async def _days(self, connection: asyncpg.Connection) -> None:
        await self.prepare(connection)
        await self.clear(connection)
        await give_up(connection, self._clock())

    async def sweep(self, connection: asyncpg.Connection) -> None:
        """Join charges and reversals that were not joined as they came."""
        started = time.perf_counter()
        lines = await sweep(connection)
        if lines:
            log.info("joined_later", lines=len(lines))
            self._count(CommitReport(time.perf_counter() - started, (), (), frozenset(), lines))
