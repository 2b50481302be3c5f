"""What is known of one id: a sender's own, of a message, charge or reversal, or that of a request.

Read for people who ask about one callback. Nothing here is a number or a text; ids are the senders' own words.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

# Of one callback all events bear the millisecond in which it came: $3 and $4 bound it, $5 is its id.
SELECT_MESSAGES_FOUND = """
SELECT m.id, a.code AS account, m.native_id, m.raw_id AS request, m.received_at, m.message_at, m.carrier,
       m.short_code, m.reading, c.slug AS campaign, nullif(h.slug, c.slug) AS moved_to, m.keyword, m.units,
       m.amount_vnd, m.claimed_vnd, m.flags, m.book_version, g.reversed_vnd,
       coalesce(g.state, CASE WHEN m.reading = 'counted' THEN 'counted' ELSE 'uncounted' END) AS state,
       r.state AS reply, r.attempts AS reply_calls, r.reason AS reply_reason
FROM message AS m LEFT JOIN gateway_account AS a ON a.id = m.account_id
LEFT JOIN campaign AS c ON c.id = m.campaign_id LEFT JOIN gift AS g ON g.message_id = m.id
LEFT JOIN reply AS r ON r.message_id = m.id
LEFT JOIN LATERAL (
    SELECT to_campaign_id FROM moved_gift WHERE gift_id = m.id ORDER BY reattribution_id DESC LIMIT 1
) AS v ON true
LEFT JOIN campaign AS h ON h.id = v.to_campaign_id
WHERE m.id IN (
    SELECT id FROM message WHERE account_id = $1 AND native_id = $2
    UNION SELECT id FROM message WHERE id >= $3 AND id < $4 AND raw_id = $5
)
ORDER BY m.id LIMIT $6
"""
SELECT_CHARGES_FOUND = """
SELECT n.id, a.code AS account, n.native_id, n.raw_id AS request, n.received_at, n.occurred_at, n.charge_id, n.status,
       n.amount_vnd, coalesce(n.message_ref, t.message_ref) AS message, n.short_code, n.flags,
       EXISTS (SELECT FROM waiting_event AS w WHERE w.event_id = n.id) OR NOT EXISTS (
           SELECT FROM charge_owner AS o
           WHERE o.account_id = n.account_id AND o.charge_id = n.charge_id AND o.message_ref IS NOT NULL
       ) AS is_waiting
FROM charge_notice AS n LEFT JOIN gateway_account AS a ON a.id = n.account_id
LEFT JOIN charge_match AS t ON t.account_id = n.account_id AND t.charge_id = n.charge_id
WHERE n.id IN (
    SELECT id FROM charge_notice WHERE account_id = $1 AND native_id = $2
    UNION SELECT id FROM charge_notice WHERE account_id = $1 AND charge_id = $2
    UNION SELECT id FROM charge_notice WHERE account_id = $1 AND message_ref = $2
    UNION SELECT o.id FROM charge_notice AS o JOIN charge_match AS m USING (account_id, charge_id)
        WHERE m.account_id = $1 AND m.message_ref = $2
    UNION SELECT id FROM charge_notice WHERE id >= $3 AND id < $4 AND raw_id = $5
)
ORDER BY n.id LIMIT $6
"""
SELECT_REVERSALS_FOUND = """
SELECT r.id, a.code AS account, r.native_id, r.raw_id AS request, r.received_at, r.occurred_at, r.amount_vnd, r.scope,
       r.charge_ref AS charge, r.message_ref AS message, r.flags,
       EXISTS (SELECT FROM waiting_event AS w WHERE w.event_id = r.id) AS is_waiting
FROM reversal AS r LEFT JOIN gateway_account AS a ON a.id = r.account_id
WHERE r.id IN (
    SELECT id FROM reversal WHERE account_id = $1 AND native_id = $2
    UNION SELECT id FROM reversal WHERE account_id = $1 AND message_ref = $2
    UNION SELECT id FROM reversal WHERE account_id = $1 AND charge_ref = $2
    UNION SELECT b.id FROM charge_notice AS o JOIN reversal AS b ON b.account_id = $1 AND b.charge_ref = o.charge_id
        WHERE o.account_id = $1 AND o.message_ref = $2
    UNION SELECT b.id FROM charge_match AS o JOIN reversal AS b ON b.account_id = $1 AND b.charge_ref = o.charge_id
        WHERE o.account_id = $1 AND o.message_ref = $2
    UNION SELECT id FROM reversal WHERE id >= $3 AND id < $4 AND raw_id = $5
)
ORDER BY r.id LIMIT $6
"""
SELECT_LINES_FOUND = """
SELECT l.gift_id, l.stage, l.cause, c.slug AS campaign, l.carrier, l.messages, l.units, l.vnd, l.at
FROM money_line AS l LEFT JOIN campaign AS c ON c.id = l.campaign_id
WHERE l.gift_id = ANY($1::uuid[]) ORDER BY l.gift_id, l.at, l.cause
"""
SELECT_REVIEWS_FOUND = """
SELECT event_id, kind, reason, recorded_at FROM review WHERE event_id = ANY($1::uuid[]) ORDER BY event_id
"""
SELECT_CONFLICTS_FOUND = """
SELECT a.code AS account, c.kind, c.native_id, c.raw_id AS request, c.received_at
FROM conflict AS c LEFT JOIN gateway_account AS a ON a.id = c.account_id
WHERE (c.account_id = $1 AND c.native_id = $2) OR c.raw_id = $3
ORDER BY c.received_at LIMIT $4
"""
# Every arrival over a test account, apart from what is stored: none of it is money.
SELECT_TESTS_FOUND = """
SELECT t.id, a.code AS account, t.kind, t.native_id, t.raw_id AS request, t.received_at, t.happened_at, t.outcome,
       t.carrier, t.short_code, t.reading, c.slug AS campaign, t.keyword, t.units, t.amount_vnd,
       t.charge_ref AS charge, t.message_ref AS message, t.status, t.flags
FROM test_event AS t LEFT JOIN gateway_account AS a ON a.id = t.account_id
LEFT JOIN campaign AS c ON c.id = t.campaign_id
WHERE (t.account_id = $1 AND $2 IN (t.native_id, t.charge_ref, t.message_ref))
    OR (t.id >= $3 AND t.id < $4 AND t.raw_id = $5)
ORDER BY t.id LIMIT $6
"""

EVENTS_MAX = 200
"""Of one id: a batch brings a hundred, and a charge may be told a few times."""


class Found(NamedTuple):
    """What is stored: rows with the names of their columns. Money lines are those of `messages`."""

    messages: Sequence[dict[str, Any]]
    charges: Sequence[dict[str, Any]]
    reversals: Sequence[dict[str, Any]]
    lines: Sequence[dict[str, Any]]
    reviews: Sequence[dict[str, Any]]
    conflicts: Sequence[dict[str, Any]]
    tests: Sequence[dict[str, Any]]

    def __bool__(self) -> bool:
        return any(self)


async def find(connection: asyncpg.Connection, account_id: int, asked: str, *, sent_over: int | None = None) -> Found:
    """What is stored of `asked`: an id that the account's sender made, or a request's, of whatever account.

    `sent_over`: the account under which its tests are kept, where that is not `account_id`.
    """
    request = as_request(asked)
    first, last = (None, None) if request is None else _millisecond(request)

    async def rows(sql: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(sql, *arguments)]

    key = account_id, asked, first, last, request, EVENTS_MAX
    messages = await rows(SELECT_MESSAGES_FOUND, *key)
    charges = await rows(SELECT_CHARGES_FOUND, *key)
    reversals = await rows(SELECT_REVERSALS_FOUND, *key)
    events = [row["id"] for row in (*charges, *reversals)]
    return Found(
        messages,
        charges,
        reversals,
        await rows(SELECT_LINES_FOUND, [row["id"] for row in messages]),
        await rows(SELECT_REVIEWS_FOUND, events),
        await rows(SELECT_CONFLICTS_FOUND, account_id, asked, request, EVENTS_MAX),
        await rows(SELECT_TESTS_FOUND, account_id if sent_over is None else sent_over, *key[1:]),
    )


def as_request(asked: str) -> UUID | None:
    """`asked` as the id of a request, if it has that form."""
    try:
        return UUID(asked)
    except ValueError:
        return None


def _millisecond(request: UUID) -> tuple[UUID, UUID]:
    begins = request.int >> 80
    return UUID(int=begins << 80), UUID(int=min((begins + 1) << 80, 2**128 - 1))
