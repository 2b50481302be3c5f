"""The outbox: replies that are due, taken by one dispatcher for each account, and what became of them.

A row came with its message, in one commit. It is marked as being sent before its hub is called, durably: what a
dispatcher left so when it died may have been sent or not, and is sent again only where the hub itself drops repeats.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.schema.locks import REPLY_LOCK_SPACE

TAKE_ACCOUNT = "SELECT pg_try_advisory_lock($1, $2)"
LEAVE_ACCOUNT = "SELECT pg_advisory_unlock($1, $2)"
RECOVER = """
UPDATE reply SET state = CASE WHEN $2 THEN 'due' ELSE 'in_doubt' END, due_at = now(), changed_at = now(),
    reason = 'its dispatcher ended while it was sent'
WHERE account_id = $1 AND state = 'sending'
RETURNING message_id
"""
CLAIM = """
WITH due AS (
    SELECT message_id FROM reply
    WHERE account_id = $1 AND state = 'due' AND due_at <= now()
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE reply AS r SET state = 'sending', attempts = least(r.attempts + 1, 32000), changed_at = now()
    FROM due WHERE r.message_id = due.message_id
    RETURNING r.message_id, r.attempts, r.is_charged
)
SELECT c.message_id, c.attempts, c.is_charged, m.native_id, m.short_code, m.reading, m.campaign_id, m.keyword,
       m.carrier, m.amount_vnd, m.received_at, p.day, p.msisdn_sealed
FROM claimed AS c JOIN message AS m ON m.id = c.message_id LEFT JOIN message_person AS p ON p.message_id = m.id
"""
SETTLE = """
UPDATE reply AS r SET state = t.state, due_at = now() + t.pause, changed_at = now(), hub_id = t.hub_id,
    reason = t.reason
FROM unnest($1::uuid[], $2::text[], $3::interval[], $4::text[], $5::text[])
    AS t (message_id, state, pause, hub_id, reason)
WHERE r.message_id = t.message_id AND r.state = 'sending'
"""
SELECT_ACCEPTED = """
SELECT r.message_id, r.hub_id, m.native_id, r.changed_at
FROM reply AS r JOIN message AS m ON m.id = r.message_id
WHERE r.account_id = $1 AND r.state = 'accepted' ORDER BY r.due_at LIMIT $2
"""
FINISH = """
UPDATE reply SET state = 'sent', changed_at = now() WHERE message_id = ANY($1::uuid[]) AND state = 'accepted'
"""
SELECT_WAITING = """
SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest_seconds
FROM reply WHERE account_id = $1 AND state IN ('due', 'sending', 'accepted')
"""

# A charge that is still to be recorded stays: recording it twice records it once.
HOLD_BACK = """
UPDATE reply SET state = 'in_doubt', changed_at = now(), reason = 'it was due when its backup was made'
WHERE state IN ('due', 'sending')
RETURNING message_id
"""

ACCEPTED_MAX = 500
NO_PAUSE = timedelta()


class Claimed(NamedTuple):
    """A reply that is this dispatcher's to send, with what its message says. `msisdn_sealed`: None once erased."""

    message_id: UUID
    attempts: int
    is_charged: bool
    native_id: str
    short_code: str
    reading: str
    campaign_id: int | None
    keyword: str | None
    carrier: str
    amount_vnd: int | None
    received_at: datetime
    day: object
    msisdn_sealed: bytes | None


class Settled(NamedTuple):
    """What became of one attempt; columns in the order of SETTLE's arrays."""

    message_id: UUID
    state: str
    pause: timedelta = NO_PAUSE
    hub_id: str | None = None
    reason: str | None = None


class Accepted(NamedTuple):
    """A reply that its hub has, and whose charge is still to be recorded."""

    message_id: UUID
    hub_id: str | None
    native_id: str
    changed_at: datetime


async def take_account(connection: asyncpg.Connection, account_id: int) -> bool:
    """Become the one who sends the account's replies, for as long as this connection lives."""
    return bool(await connection.fetchval(TAKE_ACCOUNT, REPLY_LOCK_SPACE, account_id))


async def leave_account(connection: asyncpg.Connection, account_id: int) -> None:
    """Let somebody else send the account's replies."""
    await connection.fetchval(LEAVE_ACCOUNT, REPLY_LOCK_SPACE, account_id)


async def recover(connection: asyncpg.Connection, account_id: int, *, may_repeat: bool) -> int:
    """What a dispatcher before this one left behind: due again where its hub drops repeats, else in doubt."""
    return len(await connection.fetch(RECOVER, account_id, may_repeat))


async def hold_back(connection: asyncpg.Connection) -> int:
    """Send nothing of what a backup says is due: it was sent since, or nobody knows. Returns how many."""
    return len(await connection.fetch(HOLD_BACK))


async def claim(connection: asyncpg.Connection, account_id: int, limit: int) -> list[Claimed]:
    """The replies that are due, the longest due first: durably marked as being sent."""
    return [Claimed(*row) for row in await connection.fetch(CLAIM, account_id, limit)]


async def settle(connection: asyncpg.Connection, settled: Sequence[Settled]) -> None:
    """What became of attempts."""
    await connection.execute(SETTLE, *zip(*settled, strict=True))


async def select_accepted(connection: asyncpg.Connection, account_id: int) -> list[Accepted]:
    """The replies whose charge is to be recorded."""
    return [Accepted(*row) for row in await connection.fetch(SELECT_ACCEPTED, account_id, ACCEPTED_MAX)]


async def finish(connection: asyncpg.Connection, message_ids: Sequence[UUID]) -> None:
    """Their charges are recorded."""
    await connection.execute(FINISH, message_ids)


async def waiting(connection: asyncpg.Connection, account_id: int) -> tuple[int, float]:
    """How many replies of the account wait, and for how many seconds the longest has been due."""
    row = await connection.fetchrow(SELECT_WAITING, account_id)
    assert row is not None  # noqa: S101 -- an aggregate always has a row
    return row["waiting"], max(0.0, row["oldest_seconds"])
