"""Charges and reversals: stored once, then brought together with the messages they speak of.

Runs in the same transaction as the batch, after `store.lock_accounts` has taken their accounts alone, so that
a message and what belongs to it cannot miss each other, and no two transactions settle one gift. What a gift
becomes is decided by `folding.py` from all of its stored events; `settling.py` writes the difference.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.charge_matching import forget_people
from campaigns.gifts.event_rows import ChargeRow, Key, ReversalRow, columns
from campaigns.gifts.events import (
    ChargeKey,
    Charges,
    GiftRow,
    select_gifts,
    select_listed_reversals,
    select_named_beside,
    select_notices,
)
from campaigns.gifts.folding import Notice, owner_of, succeeded_vnd
from campaigns.gifts.projection import MoneyLine, project

RECORD_CHARGES = """
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::uuid[], $2::integer[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::uuid[], $15::bytea[]
    ) AS t (id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, short_code, reason, flags,
            occurred_at, received_at, raw_id, msisdn_hash)
), new AS (
    INSERT INTO charge_notice (id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref,
                               short_code, reason, flags, occurred_at, received_at, raw_id)
    SELECT id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, short_code, reason,
           string_to_array(flags, ','), occurred_at, received_at, raw_id
    FROM input
    ON CONFLICT ON CONSTRAINT charge_notice_once DO NOTHING
    RETURNING id, account_id, native_id
), person AS (
    INSERT INTO charge_person (charge_notice_id, account_id, charge_id, msisdn_hash, short_code, amount_vnd,
                               occurred_at, received_at)
    SELECT id, input.account_id, charge_id, msisdn_hash, short_code, amount_vnd, occurred_at, received_at
    FROM input JOIN new USING (id)
    WHERE status = 'succeeded' AND message_ref IS NULL AND short_code IS NOT NULL AND amount_vnd IS NOT NULL
        AND msisdn_hash IS NOT NULL
), late AS (
    INSERT INTO late_fact (id, recorded_on)
    SELECT id, (now() AT TIME ZONE 'UTC')::date FROM input JOIN new USING (id)
    WHERE (received_at AT TIME ZONE 'UTC')::date < (now() AT TIME ZONE 'UTC')::date - 1
    ON CONFLICT DO NOTHING
)
SELECT account_id, native_id FROM new
"""


async def record_charges(connection: asyncpg.Connection, rows: Sequence[ChargeRow]) -> set[Key]:
    """Store notices not stored yet; returns their keys."""
    found = await connection.fetch(RECORD_CHARGES, *columns(rows, ChargeRow))
    return {(row["account_id"], row["native_id"]) for row in found}


RECORD_REVERSALS = """
WITH new AS (
    INSERT INTO reversal (id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind, flags,
                          occurred_at, received_at, raw_id)
    SELECT id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind,
           string_to_array(flags, ','), occurred_at, received_at, raw_id
    FROM unnest(
        $1::uuid[], $2::integer[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::text[],
        $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::uuid[]
    ) AS t (id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind, flags, occurred_at,
            received_at, raw_id)
    ON CONFLICT ON CONSTRAINT reversal_once DO NOTHING
    RETURNING id, account_id, native_id, received_at
), late AS (
    INSERT INTO late_fact (id, recorded_on)
    SELECT id, (now() AT TIME ZONE 'UTC')::date FROM new
    WHERE (received_at AT TIME ZONE 'UTC')::date < (now() AT TIME ZONE 'UTC')::date - 1
    ON CONFLICT DO NOTHING
)
SELECT account_id, native_id FROM new
"""


async def record_reversals(connection: asyncpg.Connection, rows: Sequence[ReversalRow]) -> set[Key]:
    """Store reversals not stored yet; returns their keys."""
    found = await connection.fetch(RECORD_REVERSALS, *columns(rows, ReversalRow))
    return {(row["account_id"], row["native_id"]) for row in found}


@dataclass(slots=True)
class Arrivals:
    """What is new in this transaction: notices, reversals, messages for which something waited by name, and matches.

    `missed` are events that wait although their message is here, each with the message it names.
    """

    charges: Sequence[ChargeRow] = ()
    reversals: Sequence[ReversalRow] = ()
    awaited: Collection[Key] = ()
    matched: Collection[ChargeKey] = frozenset()
    missed: Mapping[UUID, Key] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.charges or self.reversals or self.awaited or self.matched or self.missed)


async def join(connection: asyncpg.Connection, arrivals: Arrivals, slot: int) -> list[MoneyLine]:
    """Bring `arrivals` to their gifts; returns the money lines written. What finds no message waits for it."""
    touched: set[ChargeKey] = {(row.account_id, row.charge_id) for row in arrivals.charges}
    touched |= {(row.account_id, row.charge_ref) for row in arrivals.reversals if row.charge_ref is not None}
    touched |= set(arrivals.matched)
    charges = await select_notices(connection, touched) if touched else Charges()
    before = _Before(charges, arrivals, frozenset(row.id for row in arrivals.charges))
    # A reversal may name a message and a charge of another: that is a question about the message it names.
    told_anew = {key for key in charges.notices if charges.owners().get(key) != before.owner(key)}
    keys = {
        *arrivals.awaited,
        *arrivals.missed.values(),
        *_named(arrivals),
        *charges.owners().values(),
        *before.owners(),
        *await select_named_beside(connection, told_anew),
    }
    gifts = await select_gifts(connection, keys)
    # Before others' charges are added, whose owners were not looked for.
    unlisted = charges.listed_without_message(gifts)
    if left := [key for key, owner in charges.owners().items() if owner not in gifts and before.owner(key) in gifts]:
        # What gave back such a charge is no question about the gift to which it belonged before.
        unlisted += await select_listed_reversals(connection, left)
    await charges.add_those_of(connection, gifts)
    await _record_orphans(connection, _orphans_added(before, gifts), slot)
    await _wait(connection, arrivals, gifts)
    written = await project(connection, gifts, charges, slot, unlisted)
    await forget_people(connection, charges, gifts)
    return written


@dataclass(frozen=True, slots=True)
class _Before:
    """The charges as they were before `arrivals`, whose notices are `new`."""

    charges: Charges
    arrivals: Arrivals
    new: frozenset[UUID]

    def notices(self, key: ChargeKey) -> list[Notice]:
        """The notices of a charge."""
        return [notice for id_, notice in self.charges.notices[key].items() if id_ not in self.new]

    def owner(self, key: ChargeKey) -> Key | None:
        """The message to which a charge belonged: rarely another than now."""
        matched = None if key in self.arrivals.matched else self.charges.matched.get(key)
        ref = owner_of(self.notices(key), matched)
        return None if ref is None else (key[0], ref)

    def owners(self) -> set[Key]:
        """The messages to which the charges belonged."""
        owners = map(self.owner, self.charges.notices)
        return {owner for owner in owners if owner is not None}


def _named(arrivals: Arrivals) -> set[Key]:
    """The messages that new events name."""
    return {(row.account_id, row.message_ref) for row in _naming(arrivals) if row.message_ref is not None}


def _naming(arrivals: Arrivals) -> list[ChargeRow | ReversalRow]:
    return [*arrivals.charges, *arrivals.reversals]


class Orphans(NamedTuple):
    """Charges that succeeded and whose message has not come."""

    charges: int
    vnd: int


def _orphans_added(before: _Before, gifts: Mapping[Key, GiftRow]) -> Orphans:
    """By how much the orphans are more (or less) than before these arrivals."""
    charges = before.charges
    had_come = gifts.keys() - set(before.arrivals.awaited)
    owners = charges.owners()
    number = vnd = 0
    for key, notices in charges.notices.items():
        was_missed = not notices.keys().isdisjoint(before.arrivals.missed)
        for sign, known, is_joined in (
            (-1, before.notices(key), before.owner(key) in had_come and not was_missed),
            (1, list(notices.values()), owners.get(key) in gifts),
        ):
            took = succeeded_vnd(known)
            if took is not None and not is_joined:
                number += sign
                vnd += sign * took
    return Orphans(number, vnd)


RECORD_ORPHANS = """
INSERT INTO unallocated_total AS old (
    slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
)
VALUES ($1, 1, 0, 0, 0, $2, $3, clock_timestamp())
ON CONFLICT (slot) DO UPDATE SET
    version = old.version + 1, orphan_charges = old.orphan_charges + excluded.orphan_charges,
    orphan_vnd = old.orphan_vnd + excluded.orphan_vnd, as_of = greatest(old.as_of, excluded.as_of)
"""


async def _record_orphans(connection: asyncpg.Connection, added: Orphans, slot: int) -> None:
    if any(added):
        await connection.execute(RECORD_ORPHANS, slot, *added)


INSERT_WAITING = """
INSERT INTO waiting_event (account_id, message_ref, event_id, kind)
SELECT account_id, message_ref, event_id, kind
FROM unnest($1::integer[], $2::text[], $3::uuid[], $4::text[]) AS t (account_id, message_ref, event_id, kind)
ON CONFLICT DO NOTHING
"""
DELETE_WAITING = """
DELETE FROM waiting_event AS w USING unnest($1::integer[], $2::text[]) AS t (account_id, message_ref)
WHERE w.account_id = t.account_id AND w.message_ref = t.message_ref
"""


async def _wait(connection: asyncpg.Connection, arrivals: Arrivals, gifts: Collection[Key]) -> None:
    """New events whose message has not come wait for it; what waited for a message that came waits no more."""
    waiting = [
        (row.account_id, row.message_ref, row.id, "charge" if isinstance(row, ChargeRow) else "reversal")
        for row in _naming(arrivals)
        if row.message_ref is not None and (row.account_id, row.message_ref) not in gifts
    ]
    if waiting:
        await connection.execute(INSERT_WAITING, *zip(*waiting, strict=True))
    come = {*arrivals.awaited, *arrivals.missed.values()}
    if come:
        await connection.execute(DELETE_WAITING, *zip(*come, strict=True))
