"""Rounds of the checks of the invariants that wait for nothing, and what they found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from prometheus_client import CollectorRegistry

from metrics.instruments import Instruments
from service.operations.invariant_rounds import InvariantRounds, Pace

LONG_AGO = datetime(2019, 1, 1, tzinfo=UTC)
"""To a clock that says so, everything is of the newest hour."""
LONG_AFTER = datetime(2098, 1, 1, tzinfo=UTC)
"""To a clock that says so, nothing is."""
TAMPERED_TABLES = (
    "campaign_total", "campaign_minute", "unallocated_total", "money_line", "message", "gift", "waiting_event",
    "charge_notice", "charge_match", "reattribution_gift", "reattribution_end")  # fmt: skip


class Rounds:
    """A process that checks: its rounds, its rests, and what it publishes."""

    def __init__(self, connection: asyncpg.Connection, at: datetime, pace: Pace | None = None) -> None:
        self.instruments = Instruments(CollectorRegistry(), version="test", adapters=(), outcomes=())
        self.at = at
        self.rests: list[float] = []
        self._rounds = InvariantRounds(
            connection, self.instruments, lambda: self.at, self._rest, round_seconds=3600, pace=pace
        )

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    async def check(self) -> set[str]:
        """One round; the names of the invariants that are broken."""
        await self._rounds.check()
        return self.broken

    @property
    def figures(self) -> dict[str, float]:
        """What is published of each invariant."""
        (family,) = self.instruments.operations.invariant_difference.collect()
        return {sample.labels["invariant"]: sample.value for sample in family.samples}

    @property
    def broken(self) -> set[str]:
        """The names of the invariants that are published as broken."""
        return {name for name, rows in self.figures.items() if rows}

    @property
    def passes(self) -> dict[str, float]:
        """When the last pass over each subject ended."""
        (family,) = self.instruments.operations.invariants_pass.collect()
        return {sample.labels["subject"]: sample.value for sample in family.samples}


async def keep(connection: asyncpg.Connection) -> None:
    """Remember every table that may be tampered with, for as long as `connection` is open."""
    await connection.execute(
        ";".join(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}" for table in TAMPERED_TABLES)
    )


@asynccontextmanager
async def put_back(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Leave every table as `keep` found it; not by a transaction, for the rounds have their own."""
    try:
        yield
    finally:
        await connection.execute(
            ";".join(f"DELETE FROM {table}; INSERT INTO {table} TABLE kept_{table}" for table in TAMPERED_TABLES)
        )
