"""The net below joining: what slipped through or needs time is joined, and what nobody can join is listed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from campaigns.gifts.charge_matching import find_matches, match_charges
from campaigns.gifts.event_rows import Key
from campaigns.gifts.joining import Arrivals, join
from campaigns.gifts.messages import lock_accounts
from campaigns.gifts.projection import MoneyLine
from campaigns.gifts.refolding import TRY_SWEEP_LOCK
from campaigns.schema.ids import least_id
from campaigns.schema.locks import SWEEP_LOCK
from campaigns.totals.announce import announce

SWEEP_SLOT = 0
MISSED_MAX = 1000
UNJOINED_AFTER = timedelta(hours=24)
UNJOINED_FOR = timedelta(hours=72)
"""Charges that name no message are looked at until they are this old; those that name one, for ever."""

SELECT_MISSED = """
SELECT w.event_id, w.account_id, w.message_ref
FROM waiting_event AS w JOIN message AS m ON m.account_id = w.account_id AND m.native_id = w.message_ref
ORDER BY w.account_id, w.message_ref LIMIT $1
"""


async def sweep(connection: asyncpg.Connection) -> Sequence[MoneyLine]:
    """Join what can be joined and was not; returns the money lines written.

    Charges that name no message are joined here where it was not plain, when they or the message came, which belongs
    to which. Otherwise there is nothing to do, unless something failed that nobody thought of. Does nothing while
    another process sweeps.
    """
    async with connection.transaction():
        if not await connection.fetchval(TRY_SWEEP_LOCK, SWEEP_LOCK):
            return []
        missed = await _select_missed(connection)
        accounts = {account_id for account_id, _ in missed.values()}
        accounts |= {match.account_id for match in await find_matches(connection, None)}
        if not accounts:
            return []
        await lock_accounts(connection, (), accounts)
        matched = await match_charges(connection, accounts)
        missed = {event: key for event, key in (await _select_missed(connection)).items() if key[0] in accounts}
        lines = await join(connection, Arrivals(missed=missed, matched=matched), SWEEP_SLOT)
        await announce(connection)
    return lines


async def _select_missed(connection: asyncpg.Connection) -> dict[UUID, Key]:
    found = await connection.fetch(SELECT_MISSED, MISSED_MAX)
    return {row["event_id"]: (row["account_id"], row["message_ref"]) for row in found}


LIST_UNJOINED = """
INSERT INTO review (event_id, kind, account_id, reason)
SELECT id, 'charge', account_id, 'its message has not come within 24 hours'
FROM charge_notice WHERE status = 'succeeded' AND received_at < $1
    AND id IN (SELECT event_id FROM waiting_event WHERE kind = 'charge')
UNION ALL
SELECT id, 'reversal', account_id, 'its message has not come within 24 hours'
FROM reversal WHERE received_at < $1 AND id IN (SELECT event_id FROM waiting_event WHERE kind = 'reversal')
UNION ALL
SELECT c.id, 'charge', c.account_id, 'no message was found for it within 24 hours'
FROM charge_notice AS c CROSS JOIN LATERAL (
    -- OFFSET 0: of each of these its charge, and not all charges there are.
    SELECT message_ref FROM charge_owner WHERE account_id = c.account_id AND charge_id = c.charge_id OFFSET 0
) AS o
WHERE c.id BETWEEN $2 AND $3 AND c.status = 'succeeded' AND c.message_ref IS NULL AND o.message_ref IS NULL
UNION ALL
SELECT r.id, 'reversal', r.account_id,
       CASE WHEN o.charge_id IS NULL THEN 'its charge has not come within 24 hours'
            ELSE 'the message of its charge has not come within 24 hours' END
FROM reversal AS r LEFT JOIN LATERAL (
    SELECT c.charge_id, c.message_ref FROM charge_owner AS c
    WHERE c.account_id = r.account_id AND c.charge_id = r.charge_ref OFFSET 0
) AS o ON true
WHERE r.id BETWEEN $2 AND $3 AND r.message_ref IS NULL AND (
    o.message_ref IS NULL OR NOT EXISTS (
        -- By the index of messages, whose order is not that of the view.
        SELECT FROM message AS m WHERE m.account_id = r.account_id AND m.native_id = o.message_ref COLLATE "default"
        OFFSET 0
    )
)
ON CONFLICT (event_id) DO NOTHING
"""
FORGET_UNCHARGED = "DELETE FROM uncharged_person WHERE received_at < $1"
FORGET_UNMATCHED = "DELETE FROM charge_person WHERE received_at < $1"


async def give_up(connection: asyncpg.Connection, now: datetime) -> None:
    """List what has waited for over a day, and forget the numbers kept for matching. What waits still may join."""
    before = now - UNJOINED_AFTER
    async with connection.transaction():
        await connection.execute(LIST_UNJOINED, before, least_id(now - UNJOINED_FOR), least_id(before))
        await connection.execute(FORGET_UNCHARGED, before)
        await connection.execute(FORGET_UNMATCHED, before)
