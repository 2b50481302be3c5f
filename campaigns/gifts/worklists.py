"""What waits for a person beside quarantine: conflicts, events that did not fit their gift; and what was a test."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

SELECT_CONFLICTS_LISTED = """
SELECT a.code AS account, c.kind, c.native_id, c.raw_id AS request, c.received_at,
       coalesce(c.sealed, k.sealed) IS NOT NULL AS is_kept
FROM conflict AS c LEFT JOIN gateway_account AS a ON a.id = c.account_id
LEFT JOIN conflict_callback AS k ON k.raw_id = c.raw_id
WHERE ($1::text IS NULL OR a.code = $1) AND ($2::timestamptz IS NULL OR c.received_at >= $2)
ORDER BY c.received_at, c.account_id, c.kind, c.native_id, c.digest LIMIT $3
"""
COUNT_CONFLICTS = """
SELECT a.code AS account, c.kind AS reason, (c.received_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day,
       count(*) AS count
FROM conflict AS c LEFT JOIN gateway_account AS a ON a.id = c.account_id
WHERE ($1::text IS NULL OR a.code = $1) AND ($2::timestamptz IS NULL OR c.received_at >= $2)
GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
"""
SELECT_REVIEWS_LISTED = """
SELECT a.code AS account, r.kind, coalesce(n.native_id, v.native_id) AS native_id,
       coalesce(n.raw_id, v.raw_id) AS request, coalesce(n.received_at, v.received_at) AS received_at,
       coalesce(n.amount_vnd, v.amount_vnd) AS amount_vnd, coalesce(n.message_ref, v.message_ref) AS message, r.reason
FROM review AS r LEFT JOIN gateway_account AS a ON a.id = r.account_id
LEFT JOIN charge_notice AS n ON r.kind = 'charge' AND n.id = r.event_id
LEFT JOIN reversal AS v ON r.kind = 'reversal' AND v.id = r.event_id
WHERE ($1::text IS NULL OR a.code = $1)
    AND ($2::timestamptz IS NULL OR coalesce(n.received_at, v.received_at) >= $2)
ORDER BY r.event_id LIMIT $3
"""
COUNT_REVIEWS = """
SELECT a.code AS account, r.reason,
       (coalesce(n.received_at, v.received_at) AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day, count(*) AS count
FROM review AS r LEFT JOIN gateway_account AS a ON a.id = r.account_id
LEFT JOIN charge_notice AS n ON r.kind = 'charge' AND n.id = r.event_id
LEFT JOIN reversal AS v ON r.kind = 'reversal' AND v.id = r.event_id
WHERE ($1::text IS NULL OR a.code = $1)
    AND ($2::timestamptz IS NULL OR coalesce(n.received_at, v.received_at) >= $2)
GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
"""
SELECT_TESTS_LISTED = """
SELECT a.code AS account, t.kind, t.native_id, t.raw_id AS request, t.received_at, t.outcome, t.reading,
       c.slug AS campaign, t.units, t.amount_vnd, t.status, t.message_ref AS message
FROM test_event AS t LEFT JOIN gateway_account AS a ON a.id = t.account_id
LEFT JOIN campaign AS c ON c.id = t.campaign_id
WHERE ($1::text IS NULL OR a.code = $1) AND ($2::timestamptz IS NULL OR t.received_at >= $2)
ORDER BY t.id LIMIT $3
"""
COUNT_TESTS = """
SELECT a.code AS account, concat_ws(', ', t.kind, t.outcome, t.reading) AS reason,
       (t.received_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day, count(*) AS count
FROM test_event AS t LEFT JOIN gateway_account AS a ON a.id = t.account_id
WHERE ($1::text IS NULL OR a.code = $1) AND ($2::timestamptz IS NULL OR t.received_at >= $2)
GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
"""
# Whether the hub had a charged reply in doubt, the report of its charge has told meanwhile.
SELECT_REPLIES_LISTED = """
SELECT a.code AS account, r.state, m.native_id, m.raw_id AS request, m.received_at, r.is_charged, r.attempts, r.reason
FROM reply AS r JOIN message AS m ON m.id = r.message_id LEFT JOIN gateway_account AS a ON a.id = r.account_id
LEFT JOIN gift AS g ON g.message_id = r.message_id
WHERE r.state IN ('refused', 'given_up', 'in_doubt') AND NOT (
        r.state = 'in_doubt' AND r.is_charged AND coalesce(g.state IN ('counted', 'failed', 'reversed'), false)
    )
    AND ($1::text IS NULL OR a.code = $1) AND ($2::timestamptz IS NULL OR m.received_at >= $2)
ORDER BY r.message_id LIMIT $3
"""
COUNT_REPLIES = """
SELECT a.code AS account, r.state AS reason, (m.received_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day,
       count(*) AS count
FROM reply AS r JOIN message AS m ON m.id = r.message_id LEFT JOIN gateway_account AS a ON a.id = r.account_id
LEFT JOIN gift AS g ON g.message_id = r.message_id
WHERE r.state IN ('refused', 'given_up', 'in_doubt') AND NOT (
        r.state = 'in_doubt' AND r.is_charged AND coalesce(g.state IN ('counted', 'failed', 'reversed'), false)
    )
    AND ($1::text IS NULL OR a.code = $1) AND ($2::timestamptz IS NULL OR m.received_at >= $2)
GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
"""
LISTS = {
    "conflicts": (COUNT_CONFLICTS, SELECT_CONFLICTS_LISTED),
    "reviews": (COUNT_REVIEWS, SELECT_REVIEWS_LISTED),
    "tests": (COUNT_TESTS, SELECT_TESTS_LISTED),
    "replies": (COUNT_REPLIES, SELECT_REPLIES_LISTED),
}
"""What waits for a person, beside quarantine, and what was a test: how it is counted, and how it is listed."""


class Listed(NamedTuple):
    """Counts by account, reason and day (Vietnam's), and the oldest rows; the names of their columns with both."""

    counts: Sequence[dict[str, Any]]
    rows: Sequence[dict[str, Any]]

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(each["count"] for each in self.counts)


async def list_open(
    connection: asyncpg.Connection, name: str, account: str | None, since: datetime | None, rows_max: int
) -> Listed:
    """One of LISTS, of one account's code or of all, received at `since` or later."""
    counting, listing = LISTS[name]
    counts = await connection.fetch(counting, account, since)
    rows = await connection.fetch(listing, account, since, rows_max)
    return Listed([dict(row) for row in counts], [dict(row) for row in rows])
