"""What has to happen now and then: partitions and keys ahead of time, old raw callbacks, the invariants."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import asyncpg
import structlog

from campaigns.gifts.sweeping import give_up, sweep
from campaigns.schema.locks import INVARIANT_LOCK, try_lock
from campaigns.schema.partitions import drop_partitions, make_partitions
from metrics.instruments import Instruments
from metrics.invariants import INVARIANTS, check
from service.intake.writer import CommitReport
from service.postgres.database import Database
from service.runtime.keyring import Keyring
from service.runtime.logs import describe_failure
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("housekeeping")

NO_TIME_LIMIT = "SET LOCAL statement_timeout = 0"
ONE_CORE = "SET LOCAL max_parallel_workers_per_gather = 0"
"""Over ten million gifts a check in parallel took every core of a small machine for a minute, and half the intake."""
REST_FACTOR = 19
"""After a check of the invariants this many times its length passes: it takes a twentieth of the time at most."""
ROUND_SECONDS = 600.0
"""Partitions and keys are looked after this often; they are made days ahead."""
SWEEP_SECONDS = 10.0
"""Charges and reversals that wait are looked after this often."""


class Housekeeping:
    """Three loops: days, joining, and invariants. Failures are logged and tried again in the next round."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        instruments: Instruments,
        clock: Callable[[], datetime],
        count: Callable[[CommitReport], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._keyring = keyring
        self._instruments = instruments
        self._clock = clock
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin all loops."""
        self._tasks = [
            asyncio.create_task(self._every(ROUND_SECONDS, self._days), name="days"),
            asyncio.create_task(self._every(SWEEP_SECONDS, self.sweep), name="joining"),
            asyncio.create_task(self._watch_invariants(), name="invariants"),
        ]

    async def stop(self) -> None:
        """End all loops."""
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

    async def _watch_invariants(self) -> None:
        while True:
            try:
                # A connection of its own without a time limit: with many millions of gifts a check takes minutes.
                connection = await self._database.connect("portal1400 invariants", may_take_long=True)
                try:
                    if await try_lock(connection, INVARIANT_LOCK):
                        await self._check_until_gone(connection)
                finally:
                    # Another process checks from now on: an old figure of ours would stand beside its own.
                    self._instruments.invariant_difference.clear()
                    await connection.close(timeout=1)
            except Exception as error:  # noqa: BLE001 -- the next round tries again
                log.warning("invariants_not_checked", **describe_failure(error))
            await asyncio.sleep(self._settings.invariant_seconds)

    async def _check_until_gone(self, connection: asyncpg.Connection) -> None:
        """Check again and again, as the one process of the cluster that does, until `connection` is lost."""
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _connection: gone.set())
        while not gone.is_set():
            started = time.monotonic()
            await self.check_invariants(connection)
            elapsed = time.monotonic() - started
            with suppress(TimeoutError):
                async with asyncio.timeout(max(self._settings.invariant_seconds, elapsed * REST_FACTOR)):
                    await gone.wait()

    async def check_invariants(self, connection: asyncpg.Connection) -> None:
        """Check each invariant in one snapshot and publish by how many rows it is broken."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(NO_TIME_LIMIT)
            await connection.execute(ONE_CORE)
            for invariant in INVARIANTS:
                differences = await check(connection, invariant)
                self._instruments.invariant_difference.labels(invariant.name).set(len(differences))
                if differences:
                    log.error("invariant_broken", invariant=invariant.name, place=differences[0].place)
