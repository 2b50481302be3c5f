"""The store of what test accounts send: told apart and answered as a gift is, and never stored as one.

It takes no part in the group commit: tests are few, and none may hold up a gift. One is stored at a time in a worker.
"""

import asyncio

import asyncpg

from campaigns.gifts.event_rows import ChargeRow, MessageRow, StoredEvent
from campaigns.gifts.test_mode import ArrivalRow, insert_arrivals, keep_callback, select_firsts
from service.intake.entry import KIND, NEW, Entry, EventResult, Fate, Row
from service.postgres.database import DATABASE_ERRORS, Database, is_away
from service.runtime.tasks import Unhurried

BORROW_SECONDS = 1.0


class TrialsAway(Exception):
    """The database did not store the test in time."""


class TrialStore:
    """One per worker. `stop` waits a little for what is being stored."""

    def __init__(self, database: Database, wait_seconds: float) -> None:
        self._database = database
        self._storing = Unhurried(wait_seconds)
        self._turn = asyncio.Lock()

    async def store(self, entry: Entry) -> list[EventResult]:
        """What became of each event of a callback, stored when this returns. Raises DayFull, TrialsAway.

        What took too long may be stored all the same: its repeat is then a duplicate.
        """
        results = await self._storing.wait(self._store_in_turn(entry), None)
        if results is None:
            raise TrialsAway("no commit in time")
        return results

    async def stop(self) -> None:
        """Wait a little for what is still being stored."""
        await self._storing.finish()

    async def _store_in_turn(self, entry: Entry) -> list[EventResult] | None:
        async with self._turn:
            try:
                async with self._database.borrow(BORROW_SECONDS) as connection, connection.transaction():
                    return await store_trial(connection, entry)
            except (*DATABASE_ERRORS, TimeoutError) as error:
                if not isinstance(error, TimeoutError) and not is_away(error):
                    raise
                raise TrialsAway(type(error).__name__) from None


async def store_trial(connection: asyncpg.Connection, entry: Entry) -> list[EventResult]:
    """Store a callback of a test account, in the caller's transaction. Raises DayFull."""
    raw = entry.raw
    await keep_callback(
        connection, id=raw.id, account_id=raw.account_id, received_at=entry.received_at, day=raw.received_on,
        sealed=raw.sealed,
    )  # fmt: skip
    firsts: dict[tuple[str, str], Row] = {}
    for row in entry.rows:
        firsts.setdefault((KIND[type(row)], row.native_id), row)
    wanted = [
        _arrival(entry, place, row, NEW) for place, row in enumerate(entry.rows) if firsts[_key(row)] is row
    ]  # fmt: skip
    # In the order of their keys, so that two workers that store each other's repeats do not wait for one another.
    stored = await insert_arrivals(connection, sorted(wanted, key=lambda each: (each.kind, each.native_id)))
    held = await select_firsts(
        connection, raw.account_id, [key for key, row in firsts.items() if row.id not in stored]
    )
    results = [_result(row, firsts, stored, held) for row in entry.rows]
    again = [
        _arrival(entry, place, row, result)
        for place, (row, result) in enumerate(zip(entry.rows, results, strict=True))
        if result.fate is not Fate.NEW
    ]
    if again:
        await insert_arrivals(connection, again)
    return results


def _key(row: Row) -> tuple[str, str]:
    return KIND[type(row)], row.native_id


def _result(
    row: Row, firsts: dict[tuple[str, str], Row], stored: frozenset[object], held: dict[tuple[str, str], StoredEvent]
) -> EventResult:
    first = firsts[_key(row)]
    answer = getattr(first, "answer", None)
    if row.id in stored:
        return EventResult(Fate.NEW, answer)
    before = held.get(_key(row)) or StoredEvent(first.digest, answer)
    return EventResult(Fate.DUPLICATE if row.digest == before.digest else Fate.CONFLICT, before.answer)


def _arrival(entry: Entry, place: int, row: Row, result: EventResult) -> ArrivalRow:
    # Never the account whose messages its charges are about: tests are kept under the account that sent them.
    is_first = result.fate is Fate.NEW
    outcome = entry.outcome(place, result).value
    head = (
        row.id, entry.raw.account_id, KIND[type(row)], row.native_id, row.digest, is_first, outcome, row.received_at,
    )  # fmt: skip
    flags = row.flags.split(",") if row.flags else []
    if isinstance(row, MessageRow):
        return ArrivalRow(
            *head, row.message_at, row.raw_id, row.short_code, row.carrier, row.reading, row.campaign_id, row.keyword,
            row.units, row.amount_vnd, None, None, None, flags, row.answer, row.book_version,
        )  # fmt: skip
    if isinstance(row, ChargeRow):
        return ArrivalRow(
            *head, row.occurred_at, row.raw_id, row.short_code, None, None, None, None, None, row.amount_vnd,
            row.charge_id, row.message_ref, row.status, flags, None, None,
        )  # fmt: skip
    return ArrivalRow(
        *head, row.occurred_at, row.raw_id, None, None, None, None, None, None, row.amount_vnd, row.charge_ref,
        row.message_ref, row.scope, flags, None, None,
    )  # fmt: skip
