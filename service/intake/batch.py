"""A batch of callbacks in one transaction: stored, joined, told apart, announced. Called by the writer alone."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple, cast
from uuid import UUID

import asyncpg

from campaigns.gifts.charge_matching import match_arrivals
from campaigns.gifts.event_rows import ChargeRow, Key, MessageRow, RawRow, ReversalRow, StoredEvent
from campaigns.gifts.evidence import ConflictRow, ConflictsRecorded, record_conflicts, record_raws
from campaigns.gifts.joining import Arrivals, join, record_charges, record_reversals
from campaigns.gifts.messages import await_standbys, flag_charged, lock_accounts, record_messages, select_stored
from campaigns.gifts.projection import MoneyLine
from campaigns.totals.announce import announce
from service.intake.entry import KIND, NEW, Entry, EventResult, Fate, Row


class BatchChanges(NamedTuple):
    """What a commit made: new messages, the accounts of new conflicts, and the lines of joined events."""

    messages: list[MessageRow]
    conflicts: list[int]
    on_report: frozenset[int]
    """The accounts whose new messages are not counted yet."""
    lines: list[MoneyLine]
    left_out: list[int]
    """The accounts of conflicts whose callback was not kept: of those there are enough today."""


First = tuple[Row, Entry]
"""The first arrival of a key in a batch, and the callback it came with."""
Firsts = dict[type[Row], dict[Key, First]]

_key = attrgetter("account_id", "native_id")

LIMIT_STATEMENTS = "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)"
LIMIT_NO_MORE = "SET LOCAL statement_timeout TO DEFAULT; SET LOCAL lock_timeout TO DEFAULT"
LOCK_SHARE = 0.5
"""Of a statement's time, what it may wait for one lock: so a lock is told from what is slow by itself."""


async def store_batch(
    connection: asyncpg.Connection, slot: int, batch: Sequence[Entry], *, statement_seconds: float | None = None
) -> tuple[list[list[EventResult]], BatchChanges]:
    """Store `batch` in one transaction; returns the results of each callback, and what is new.

    `statement_seconds`: how long a statement of it may take, where that is less than the session's own limit. Raises
    what the database raises, with nothing stored. Of a key that comes twice the first arrival is stored.
    """
    async with connection.transaction():
        if statement_seconds is None:
            return await _store(connection, slot, batch)
        milliseconds = statement_seconds * 1000
        await connection.execute(LIMIT_STATEMENTS, str(int(milliseconds)), str(int(milliseconds * LOCK_SHARE)))
        stored = await _store(connection, slot, batch)
        # The commit may wait for standbys as long as any other.
        await connection.execute(LIMIT_NO_MORE)
    return stored


async def _store(
    connection: asyncpg.Connection, slot: int, batch: Sequence[Entry]
) -> tuple[list[list[EventResult]], BatchChanges]:
    firsts: Firsts = {MessageRow: {}, ChargeRow: {}, ReversalRow: {}}
    is_all_new = True
    for entry in batch:
        for row in entry.rows:
            first = (row, entry)
            if firsts[type(row)].setdefault((row.account_id, row.native_id), first) is not first:
                is_all_new = False
    messages = cast("list[MessageRow]", sorted((row for row, _ in firsts[MessageRow].values()), key=_key))
    charges = cast("list[ChargeRow]", [row for row, _ in firsts[ChargeRow].values()])
    reversals = cast("list[ReversalRow]", [row for row, _ in firsts[ReversalRow].values()])
    missing: dict[type[Row], list[Key]] = {MessageRow: [], ChargeRow: [], ReversalRow: []}
    on_report = frozenset(entry.raw.account_id for entry in batch if entry.awaits_report)
    arrivals = Arrivals()
    lines: list[MoneyLine] = []
    await lock_accounts(
        connection,
        {row.account_id for row in messages},
        {row.account_id for row in charges} | {row.account_id for row in reversals},
    )
    if messages:
        raws = {entry.raw.id: entry.raw for _, entry in firsts[MessageRow].values()}
        owing = [each for entry in batch for each in entry.owing]
        recorded = await record_messages(connection, messages, list(raws.values()), slot, on_report, owing)
        if recorded.repeated:
            missing[MessageRow] = [_key(row) for row in messages if row.id in recorded.repeated]
            messages = [row for row in messages if row.id not in recorded.repeated]
        arrivals.awaited = [_key(row) for row in messages if row.id in recorded.awaited]
    if charges:
        stored = await record_charges(connection, charges)
        missing[ChargeRow] = [key for key in firsts[ChargeRow] if key not in stored]
        arrivals.charges = [row for row in charges if _key(row) in stored]
    if reversals:
        stored = await record_reversals(connection, reversals)
        missing[ReversalRow] = [key for key in firsts[ReversalRow] if key not in stored]
        arrivals.reversals = [row for row in reversals if _key(row) in stored]
    arrivals.matched = await match_arrivals(
        connection,
        arrivals.charges,
        [row for row in messages if row.account_id in on_report and row.reading == "counted"],
    )
    if arrivals:
        lines = await join(connection, arrivals, slot)
    if charges or reversals:
        await _keep_raws(connection, firsts, missing)
    if is_all_new and not any(missing.values()):
        return [[_new(row) for row in entry.rows] for entry in batch], BatchChanges(
            messages, [], on_report, lines, []
        )
    await await_standbys(connection)
    results, conflicts = await _classify(connection, batch, firsts, missing)
    recorded_conflicts = ConflictsRecorded([], [])
    if conflicts:
        recorded_conflicts = await record_conflicts(
            connection, conflicts, {entry.raw.id: entry.raw for entry in batch}
        )
    return results, BatchChanges(
        messages, recorded_conflicts.conflicts, on_report, lines, recorded_conflicts.left_out
    )


def _new(row: Row) -> EventResult:
    answer = getattr(row, "answer", None)
    return NEW if answer is None else EventResult(Fate.NEW, answer)


async def _classify(
    connection: asyncpg.Connection, batch: Sequence[Entry], firsts: Firsts, missing: dict[type[Row], list[Key]]
) -> tuple[list[list[EventResult]], list[ConflictRow]]:
    """New, duplicate or conflict, for every event; the database is asked only for what it did not insert."""
    known: dict[tuple[type[Row], Key], StoredEvent] = {}
    for shape, keys in missing.items():
        if keys:
            for key, event in (await select_stored(connection, KIND[shape], keys)).items():
                known[shape, key] = event
    results: list[list[EventResult]] = []
    conflicts: list[ConflictRow] = []
    contradicted: set[Key] = set()
    for entry in batch:
        fates = []
        for row in entry.rows:
            shape, key = type(row), _key(row)
            first = firsts[shape][key][0]
            held = known.get((shape, key))
            if held is None:
                if row is first:
                    fates.append(_new(row))
                    continue
                held = StoredEvent(first.digest, getattr(first, "answer", None))
            if row.digest == held.digest:
                answer = held.answer
                if entry.answered is not None and answer is not None and answer != entry.answered:
                    answer = entry.answered
                    if entry.may_refuse:
                        contradicted.add(key)
                fates.append(EventResult(Fate.DUPLICATE, answer))
            else:
                fates.append(EventResult(Fate.CONFLICT, held.answer))
                conflicts.append(_conflict(entry, row))
        results.append(fates)
    if contradicted:
        await flag_charged(connection, contradicted)
    return results, conflicts


def _conflict(entry: Entry, row: Row) -> ConflictRow:
    return ConflictRow(
        row.account_id, KIND[type(row)], row.native_id, row.digest, entry.received_at, entry.raw.id, entry.day,
    )  # fmt: skip


async def _keep_raws(connection: asyncpg.Connection, firsts: Firsts, missing: dict[type[Row], list[Key]]) -> None:
    """Raw callbacks of new charges and reversals, and the announcement; messages brought theirs along."""
    raws: dict[UUID, RawRow] = {}
    for shape in (ChargeRow, ReversalRow):
        repeated = frozenset(missing[shape])
        raws |= {entry.raw.id: entry.raw for key, (_, entry) in firsts[shape].items() if key not in repeated}
    if raws:
        await record_raws(connection, list(raws.values()))
        await announce(connection)
