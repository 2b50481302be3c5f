"""The background check of the invariants: one process of the cluster does it, and alone says what it found."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from math import inf

import asyncpg
import structlog

from campaigns.schema.locks import INVARIANT_LOCK, try_lock
from metrics.instruments import Instruments
from service.operations.day_seals import SEALED_DAYS_HOLD, DaySeals
from service.operations.invariant_rounds import InvariantRounds
from service.postgres.database import Database
from service.runtime.logs import describe_failure
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("invariants")


class InvariantWatch:
    """Asks for the lock every `seconds`; whoever has it begins a round as often, until its connection is lost."""

    def __init__(
        self,
        seconds: float,
        database: Database,
        instruments: Instruments,
        clock: Callable[[], datetime],
        seals: DaySeals,
    ) -> None:
        self._seconds = seconds
        self._database = database
        self._instruments = instruments
        self._clock = clock
        self._seals = seals
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = repeat("invariants", self._watch, (self._seconds,), _not_checked)

    async def stop(self) -> None:
        """End."""
        await cancel_and_wait(self._task)

    async def _watch(self) -> None:
        # A connection of its own: the lock lives as long as it does.
        connection = await self._database.connect("portal1400 invariants", may_take_long=True)
        try:
            if await try_lock(connection, INVARIANT_LOCK):
                await self._check_until_gone(connection)
        finally:
            # Another process checks from now on: an old figure of ours would stand beside its own.
            self._instruments.operations.invariant_difference.clear()
            self._instruments.operations.invariants_pass.clear()
            await connection.close(timeout=1)

    async def _check_until_gone(self, connection: asyncpg.Connection) -> None:
        """Round after round, as the one process of the cluster that checks, until `connection` is lost."""
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _connection: gone.set())

        async def rest(seconds: float, until: float = inf) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(loop.time() + seconds, until)):
                    await gone.wait()

        loop = asyncio.get_running_loop()
        rounds = InvariantRounds(connection, self._instruments, self._clock, rest, round_seconds=self._seconds)
        while not gone.is_set():
            next_at = loop.time() + self._seconds
            await rounds.check()
            # A day of a million gifts is followed by half a minute's rest; the newest hour does not wait for it.
            rest_at_most = partial(rest, until=next_at)
            if sealed := await self._seals.add_missing(connection, rest_at_most):
                log.info("days_sealed", count=len(sealed), newest=sealed[-1].isoformat())
            elif (differences := await self._seals.check_next(connection, rest_at_most)) is not None:
                self._instruments.operations.invariant_difference.labels(SEALED_DAYS_HOLD).set(differences)
            await rest(self._seconds, until=next_at)


def _not_checked(error: Exception, _failures: int) -> None:
    log.warning("invariants_not_checked", **describe_failure(error))
