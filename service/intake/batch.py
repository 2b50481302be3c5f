"""A batch of callbacks in one transaction: stored, joined, told apart, announced. For the writer and replays."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, Self, cast
from uuid import UUID

import asyncpg

from campaigns.gifts.charge_matching import match_arrivals
from campaigns.gifts.event_rows import ChargeRow, Key, MessageRow, RawRow, ReversalRow, StoredEvent
from campaigns.gifts.evidence import ConflictRow, ConflictsRecorded, record_conflicts, record_raws
from campaigns.gifts.joining import Arrivals, join, record_charges, record_reversals
from campaigns.gifts.messages import (
    await_standbys,
    flag_charged,
    lock_accounts,
    record_at_once,
    record_messages,
    select_stored,
)
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
Missing = dict[type[Row], list[Key]]
"""What was not inserted, as its key was held already."""

_key = attrgetter("account_id", "native_id")

LIMIT_STATEMENTS = "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)"
LIMIT_NO_MORE = "SET LOCAL statement_timeout TO DEFAULT; SET LOCAL lock_timeout TO DEFAULT"
LOOKS_MAX = 5
"""How often what came before is looked up, where another transaction ends the look."""
LOCK_SHARE = 0.5
"""Of a statement's time, what it may wait for one lock: so a lock is told from what is slow by itself."""


@dataclass(slots=True)
class _Sorted:
    """A batch by what its statements take: the first arrival of each key, messages in the order of their keys."""

    batch: Sequence[Entry]
    firsts: Firsts
    is_each_first: bool
    """Whether no key comes twice in it."""
    messages: list[MessageRow]
    on_report: frozenset[int]
    """The accounts in it whose messages count when their charge is reported."""

    @classmethod
    def of(cls, batch: Sequence[Entry]) -> Self:
        firsts: Firsts = {MessageRow: {}, ChargeRow: {}, ReversalRow: {}}
        is_each_first = True
        for entry in batch:
            for row in entry.rows:
                first = (row, entry)
                if firsts[type(row)].setdefault((row.account_id, row.native_id), first) is not first:
                    is_each_first = False
        messages = cast("list[MessageRow]", sorted((row for row, _ in firsts[MessageRow].values()), key=_key))
        on_report = frozenset(entry.raw.account_id for entry in batch if entry.awaits_report)
        return cls(batch, firsts, is_each_first, messages, on_report)

    @property
    def is_plain(self) -> bool:
        """Whether it holds nothing but messages, whose money counts as they come."""
        return bool(self.messages) and not (self.firsts[ChargeRow] or self.firsts[ReversalRow] or self.on_report)

    @property
    def raws(self) -> list[RawRow]:
        """The raw callbacks of its messages."""
        return list({entry.raw.id: entry.raw for _, entry in self.firsts[MessageRow].values()}.values())

    @property
    def owing(self) -> list[UUID]:
        """Its messages to which a call of ours owes a reply."""
        return [each for entry in self.batch for each in entry.owing]

    def without(self, repeated: frozenset[UUID]) -> tuple[list[MessageRow], list[Key]]:
        """Its messages but for those that were held already, and the keys of these."""
        if not repeated:
            return self.messages, []
        return (
            [row for row in self.messages if row.id not in repeated],
            [_key(row) for row in self.messages if row.id in repeated],
        )


async def store_batch(
    connection: asyncpg.Connection, slot: int, batch: Sequence[Entry], *, statement_seconds: float | None = None
) -> tuple[list[list[EventResult]], BatchChanges]:
    """Store `batch` in one transaction; returns the results of each callback, and what is new.

    `statement_seconds`: how long a statement of it may take, where that is less than the session's own limit. Of a
    key that comes twice the first arrival is stored. Raises what the database raises: with nothing stored, but for
    what follows.

    Nearly every batch is messages alone and takes one round trip. What of it was held already is then looked up in a
    second transaction: whoever is cut off between the two hears nothing, sends again, and is a repeat as a whole.
    """
    work = _Sorted.of(batch)
    if work.is_plain and statement_seconds is None and not connection.is_in_transaction():
        recorded = await record_at_once(connection, work.messages, work.raws, slot, work.owing)
        if recorded is not None:
            return await _tell_apart_after(connection, work, recorded.repeated)
    async with connection.transaction():
        if statement_seconds is None:
            return await _store(connection, slot, work)
        milliseconds = statement_seconds * 1000
        await connection.execute(LIMIT_STATEMENTS, str(int(milliseconds)), str(int(milliseconds * LOCK_SHARE)))
        stored = await _store(connection, slot, work)
        # The commit may wait for standbys as long as any other.
        await connection.execute(LIMIT_NO_MORE)
    return stored


async def _tell_apart_after(
    connection: asyncpg.Connection, work: _Sorted, repeated: frozenset[UUID]
) -> tuple[list[list[EventResult]], BatchChanges]:
    """The results of messages that are committed, under the locks under which they were stored."""
    messages, keys = work.without(repeated)
    missing: Missing = {MessageRow: keys}
    if work.is_each_first and not keys:
        return _all_new(work, messages, [])
    attempt = 1
    while True:
        try:
            async with connection.transaction():
                await lock_accounts(connection, {row.account_id for row in work.messages}, ())
                return await _tell_apart(connection, work, missing, messages, [])
        except asyncpg.TransactionRollbackError:
            # Lost to another. Tried again as a whole, the batch would take what it has stored itself for repeats.
            if attempt == LOOKS_MAX:
                raise
            attempt += 1


async def _store(
    connection: asyncpg.Connection, slot: int, work: _Sorted
) -> tuple[list[list[EventResult]], BatchChanges]:
    firsts, messages = work.firsts, work.messages
    charges = cast("list[ChargeRow]", [row for row, _ in firsts[ChargeRow].values()])
    reversals = cast("list[ReversalRow]", [row for row, _ in firsts[ReversalRow].values()])
    missing: Missing = {MessageRow: [], ChargeRow: [], ReversalRow: []}
    arrivals = Arrivals()
    lines: list[MoneyLine] = []
    await lock_accounts(
        connection,
        {row.account_id for row in messages},
        {row.account_id for row in charges} | {row.account_id for row in reversals},
    )
    if messages:
        recorded = await record_messages(connection, messages, work.raws, slot, work.on_report, work.owing)
        messages, missing[MessageRow] = work.without(recorded.repeated)
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
        [row for row in messages if row.account_id in work.on_report and row.reading == "counted"],
    )
    if arrivals:
        lines = await join(connection, arrivals, slot)
    if charges or reversals:
        await _keep_raws(connection, firsts, missing)
    if work.is_each_first and not any(missing.values()):
        return _all_new(work, messages, lines)
    return await _tell_apart(connection, work, missing, messages, lines)


def _all_new(
    work: _Sorted, messages: list[MessageRow], lines: list[MoneyLine]
) -> tuple[list[list[EventResult]], BatchChanges]:
    results = [[_new(row) for row in entry.rows] for entry in work.batch]
    return results, BatchChanges(messages, [], work.on_report, lines, [])


async def _tell_apart(
    connection: asyncpg.Connection,
    work: _Sorted,
    missing: Missing,
    messages: list[MessageRow],
    lines: list[MoneyLine],
) -> tuple[list[list[EventResult]], BatchChanges]:
    """Where something was not inserted, or came twice: who repeats, and who contradicts."""
    await await_standbys(connection)
    results, conflicts = await _classify(connection, work.batch, work.firsts, missing)
    recorded = ConflictsRecorded([], [])
    if conflicts:
        raws = {entry.raw.id: entry.raw for entry in work.batch}
        recorded = await record_conflicts(connection, conflicts, raws)
    return results, BatchChanges(messages, recorded.conflicts, work.on_report, lines, recorded.left_out)


def _new(row: Row) -> EventResult:
    answer = getattr(row, "answer", None)
    return NEW if answer is None else EventResult(Fate.NEW, answer)


async def _classify(
    connection: asyncpg.Connection, batch: Sequence[Entry], firsts: Firsts, missing: Missing
) -> tuple[list[list[EventResult]], list[ConflictRow]]:
    """New, duplicate or conflict, for every event; the database is asked only for what it did not insert."""
    known: dict[tuple[type[Row], Key], StoredEvent] = {}
    for shape, keys in missing.items():
        if keys:
            found = await select_stored(connection, KIND[shape], keys)
            if len(found) < len(keys):
                raise LookupError("what was held when the batch was stored is not there")
            known |= {(shape, key): event for key, event in found.items()}
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


async def _keep_raws(connection: asyncpg.Connection, firsts: Firsts, missing: Missing) -> None:
    """Raw callbacks of new charges and reversals, and the announcement; messages brought theirs along."""
    raws: dict[UUID, RawRow] = {}
    for shape in (ChargeRow, ReversalRow):
        repeated = frozenset(missing[shape])
        raws |= {entry.raw.id: entry.raw for key, (_, entry) in firsts[shape].items() if key not in repeated}
    if raws:
        await record_raws(connection, list(raws.values()))
        await announce(connection)
