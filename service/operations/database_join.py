"""How a worker joins its database: at the start, or later when it started while the database was away."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from campaigns.totals.reversed import mend_reversed
from service.catalog.catalog import Catalog
from service.catalog.last_good import LastGood
from service.intake.assembly import IntakeParts
from service.live.assembly import LiveParts
from service.operations.housekeeping import Housekeeping
from service.operations.invariant_watch import InvariantWatch
from service.postgres.database import CONNECT_SECONDS, Database, DatabaseRefused
from service.runtime.logs import describe_failure
from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("service")

REJOIN_SECONDS = 1.0
"""How long a worker that started without the database waits between looks for it."""


class DatabaseJoin:
    """Reads what the worker needs from the database, then starts whatever works with it."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        intake: IntakeParts,
        live: LiveParts,
        housekeeping: Housekeeping,
        invariants: InvariantWatch,
        *,
        kind: str,
        prepare: Callable[[], Awaitable[object]] | None,
        accept_older: bool,
    ) -> None:
        """`prepare` makes the database ready once it is back and gives its kind, which has to be `kind`."""
        self._database = database
        self._catalog = catalog
        self._intake = intake
        self._live = live
        self._housekeeping = housekeeping
        self._invariants = invariants
        self._kind = kind
        self._prepare = prepare
        self._accept_older = accept_older
        self._later: asyncio.Task[None] | None = None

    async def start(self, copy: LastGood | None) -> None:
        """Join now, and raise what the database refuses; with a `copy` it is away: read that, join later."""
        if copy is None:
            await self._join()
        else:
            self._catalog.take_over(copy)
            self._later = asyncio.create_task(self._join_later(), name="join")

    async def stop(self) -> None:
        """Look for the database no more."""
        await cancel_and_wait(self._later)

    async def _join(self) -> None:
        await self._database.open_pool()
        async with self._database.borrow() as connection:
            await self._live.high_water.open(connection, accept_older=self._accept_older)
            await self._catalog.load(connection)
            await self._housekeeping.prepare(connection)
            await mend_reversed(connection)
            await self._live.feed.read_first(connection)
        self._intake.writer.start()
        # Callbacks that come before it is connected would go into the spool, which is for outages.
        await self._intake.writer.wait_connected(CONNECT_SECONDS)
        for part in (self._live.feed, self._live.high_water, self._housekeeping, self._invariants):
            part.start()

    async def _join_later(self) -> None:
        while True:
            try:
                if self._prepare is not None and await self._prepare() != self._kind:
                    raise DatabaseRefused("the database that is back is another one: a demonstration's")
                await self._join()
            except Exception as error:  # noqa: BLE001 -- whatever it was: the spool carries the intake meanwhile
                log.warning("database_not_joined", **describe_failure(error))
                await asyncio.sleep(REJOIN_SECONDS)
            else:
                log.info("database_joined", database=self._database.description)
                return
