"""Charges and reversals: stored once, and brought together with the message they speak of.

Runs in the same transaction as the batch, after `store.lock_accounts` has taken their accounts alone, so that
a message and what belongs to it cannot miss each other. `campaigns/gift.py` decides what an event does.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gift import Disposition, Gift, GiftState, reverse
from campaigns.store import ChargeRow, Key, ReversalRow, columns

RECORD_CHARGES = """
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::uuid[], $2::integer[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::uuid[]
    ) AS t (id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, short_code, reason, flags,
            occurred_at, received_at, raw_id)
), new AS (
    INSERT INTO charge_notice (id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref,
                               short_code, reason, flags, occurred_at, received_at, raw_id)
    SELECT id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, short_code, reason,
           string_to_array(flags, ','), occurred_at, received_at, raw_id
    FROM input
    ON CONFLICT ON CONSTRAINT charge_notice_once DO NOTHING
    RETURNING id, account_id, native_id, status, amount_vnd, message_ref
), orphan AS (
    SELECT new.* FROM new WHERE NOT EXISTS (
        SELECT FROM message AS m WHERE m.account_id = new.account_id AND m.native_id = new.message_ref
    )
), waiting AS (
    INSERT INTO waiting_event (account_id, message_ref, event_id, kind)
    SELECT account_id, message_ref, id, 'charge' FROM orphan WHERE message_ref IS NOT NULL
), unallocated AS (
    INSERT INTO unallocated_total AS old (
        slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
    )
    SELECT $15, 1, 0, 0, 0, count(*), coalesce(sum(amount_vnd), 0), clock_timestamp()
    FROM orphan WHERE status = 'succeeded' HAVING count(*) > 0
    ON CONFLICT (slot) DO UPDATE SET
        version = old.version + 1, orphan_charges = old.orphan_charges + excluded.orphan_charges,
        orphan_vnd = old.orphan_vnd + excluded.orphan_vnd, as_of = greatest(old.as_of, excluded.as_of)
)
SELECT account_id, native_id FROM new
"""


async def record_charges(connection: asyncpg.Connection, rows: Sequence[ChargeRow], slot: int) -> set[Key]:
    """Store notices not stored yet; returns their keys. A succeeded one without its message is an orphan."""
    found = await connection.fetch(RECORD_CHARGES, *columns(rows, ChargeRow), slot)
    return {(row["account_id"], row["native_id"]) for row in found}


RECORD_REVERSALS = """
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::uuid[], $2::integer[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::text[],
        $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::uuid[]
    ) WITH ORDINALITY AS t (id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind,
                            flags, occurred_at, received_at, raw_id, position)
), new AS (
    INSERT INTO reversal (id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind, flags,
                          occurred_at, received_at, raw_id)
    SELECT id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind,
           string_to_array(flags, ','), occurred_at, received_at, raw_id
    FROM input
    ON CONFLICT ON CONSTRAINT reversal_once DO NOTHING
    RETURNING id, account_id, native_id
)
SELECT new.id, new.account_id, new.native_id, coalesce(input.message_ref, (
    SELECT c.message_ref FROM charge_notice AS c
    WHERE c.account_id = new.account_id AND c.charge_id = input.charge_ref AND c.message_ref IS NOT NULL LIMIT 1
)) AS message_ref
FROM new JOIN input USING (id) ORDER BY input.position
"""

INSERT_WAITING_REVERSAL = """
INSERT INTO waiting_event (account_id, message_ref, event_id, kind) VALUES ($1, $2, $3, 'reversal')
"""
INSERT_REVIEW = """
INSERT INTO review (event_id, kind, account_id, reason) VALUES ($1, $2, $3, $4) ON CONFLICT (event_id) DO NOTHING
"""


async def record_reversals(connection: asyncpg.Connection, rows: Sequence[ReversalRow], slot: int) -> set[Key]:
    """Store reversals not stored yet and apply each to its gift, in their order; returns the keys stored."""
    by_id = {row.id: row for row in rows}
    found = await connection.fetch(RECORD_REVERSALS, *columns(rows, ReversalRow))
    for new in found:
        row = by_id[new["id"]]
        if new["message_ref"] is None:
            await connection.execute(
                INSERT_REVIEW, row.id, "reversal", row.account_id, "orphan: its charge is unknown"
            )
            continue
        if not await apply_reversal(connection, row, new["message_ref"], slot):
            await connection.execute(INSERT_WAITING_REVERSAL, row.account_id, new["message_ref"], row.id)
    return {(new["account_id"], new["native_id"]) for new in found}


SELECT_GIFT_MESSAGE = """
SELECT id, campaign_id, carrier, reading, units, amount_vnd FROM message WHERE account_id = $1 AND native_id = $2
"""
INSERT_GIFT = """
INSERT INTO gift (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd, reversed_vnd)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)
ON CONFLICT ON CONSTRAINT gift_once_by_message DO NOTHING
"""
LOCK_GIFT = """
SELECT message_id, state, units, pledged_vnd, reversed_vnd FROM gift
WHERE account_id = $1 AND message_ref = $2 FOR UPDATE
"""
UPDATE_GIFT = "UPDATE gift SET state = $2, reversed_vnd = $3 WHERE message_id = $1"

RECORD_LINE = """
WITH line AS (
    INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)
    VALUES ($1, 'pledged', $2, $3, $4, $5, $6, $7, $8)
    RETURNING campaign_id, carrier, messages, units, vnd, at
), minute AS (
    INSERT INTO campaign_minute AS old (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
    SELECT campaign_id, date_trunc('minute', at), carrier, $9, messages, units, vnd FROM line
    ON CONFLICT ON CONSTRAINT campaign_minute_key DO UPDATE SET
        messages = old.messages + excluded.messages, units = old.units + excluded.units,
        pledged_vnd = old.pledged_vnd + excluded.pledged_vnd
)
INSERT INTO campaign_total AS old (
    campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd,
    wrong_syntax, before_open, after_close, as_of
)
SELECT campaign_id, carrier, $9, 1, 1, messages, units, vnd, 0, 0, 0, clock_timestamp() FROM line
ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET
    version = old.version + 1, lines = old.lines + 1, messages = old.messages + excluded.messages,
    units = old.units + excluded.units, pledged_vnd = old.pledged_vnd + excluded.pledged_vnd,
    as_of = greatest(old.as_of, excluded.as_of)
"""


class AppliedReversal(NamedTuple):
    """What `apply_reversal` needs of a reversal, new or waiting."""

    id: UUID
    account_id: int
    native_id: str
    amount_vnd: int
    scope: str | None
    occurred_at: datetime


async def apply_reversal(
    connection: asyncpg.Connection, reversal: ReversalRow | AppliedReversal, message_ref: str, slot: int
) -> bool:
    """Bring a reversal to its gift under the gift's lock; False when its message has not come."""
    message = await connection.fetchrow(SELECT_GIFT_MESSAGE, reversal.account_id, message_ref)
    if message is None:
        return False
    is_counted = message["reading"] == "counted"
    state = GiftState.COUNTED if is_counted else GiftState.UNCOUNTED
    await connection.execute(
        INSERT_GIFT, message["id"], reversal.account_id, message_ref, state, message["campaign_id"],
        message["carrier"], message["units"] or 0, message["amount_vnd"] or 0,
    )  # fmt: skip
    row = await connection.fetchrow(LOCK_GIFT, reversal.account_id, message_ref)
    assert row is not None  # noqa: S101 -- inserted above and never deleted
    gift = Gift(GiftState(row["state"]), row["units"], row["pledged_vnd"], row["reversed_vnd"])
    scope = reversal.scope
    step = reverse(gift, reversal.amount_vnd, "total" if scope == "total" else "partial" if scope else None)
    if step.disposition is not Disposition.APPLIED:
        if step.disposition is Disposition.REVIEW:
            await connection.execute(INSERT_REVIEW, reversal.id, "reversal", reversal.account_id, step.reason)
        return True
    await connection.execute(UPDATE_GIFT, row["message_id"], step.gift.state, step.gift.reversed_vnd)
    if step.vnd or step.messages:
        await connection.execute(
            RECORD_LINE, row["message_id"], f"reversal:{reversal.native_id}", message["campaign_id"],
            message["carrier"], step.messages, step.units, step.vnd, reversal.occurred_at, slot,
        )  # fmt: skip
    return True


TAKE_WAITING = """
WITH gone AS (
    DELETE FROM waiting_event AS w USING unnest($1::integer[], $2::text[]) AS t (account_id, message_ref)
    WHERE w.account_id = t.account_id AND w.message_ref = t.message_ref
    RETURNING w.account_id, w.message_ref, w.event_id, w.kind
), joined AS (
    INSERT INTO unallocated_total AS old (
        slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
    )
    SELECT $3, 1, 0, 0, 0, -count(*), -coalesce(sum(c.amount_vnd), 0), clock_timestamp()
    FROM gone JOIN charge_notice AS c ON c.id = gone.event_id
    WHERE gone.kind = 'charge' AND c.status = 'succeeded' HAVING count(*) > 0
    ON CONFLICT (slot) DO UPDATE SET
        version = old.version + 1, orphan_charges = old.orphan_charges + excluded.orphan_charges,
        orphan_vnd = old.orphan_vnd + excluded.orphan_vnd, as_of = greatest(old.as_of, excluded.as_of)
)
SELECT r.id, r.account_id, r.native_id, r.amount_vnd, r.scope, r.occurred_at, gone.message_ref
FROM gone JOIN reversal AS r ON r.id = gone.event_id ORDER BY r.received_at, r.id
"""


async def join_waiting(connection: asyncpg.Connection, keys: Sequence[Key], slot: int) -> None:
    """What waited for these messages, now stored, is joined: charges are no orphans any more, reversals apply."""
    rows = await connection.fetch(TAKE_WAITING, [key[0] for key in keys], [key[1] for key in keys], slot)
    for row in rows:
        waiting = AppliedReversal(
            row["id"], row["account_id"], row["native_id"], row["amount_vnd"], row["scope"], row["occurred_at"]
        )
        await apply_reversal(connection, waiting, row["message_ref"], slot)
