"""The facts of a day as a number of rows and a digest, kept where a hand in the database does not reach.

A day is one of UTC. It holds what was received on it and stored by the end of the next, and what was stored on it
later than that; so a day that is over for two days is a closed set. A fact is taken as text (the formats of a session
are pinned), without what may change or go: flags, what is sealed. Money lines follow from the events, which
`proofs.py` folds again.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import asyncpg

from metrics.subjects import least_id

CLOSED_AFTER = timedelta(days=2, hours=1)
"""From a day's beginning to when nothing joins it any more: the next day, and an hour for a transaction to end."""

# Each is given the first and the last id of the day, and the day. A piece is what was received in about a minute.
MESSAGES = """
WITH fact AS (
    SELECT m.* FROM message AS m
    WHERE m.id >= $1 AND m.id < $2 AND NOT EXISTS (SELECT FROM late_fact AS l WHERE l.id = m.id)
    UNION ALL SELECT m.* FROM late_fact AS l JOIN message AS m USING (id) WHERE l.recorded_on = $3
)
SELECT left(id::text, 8) AS piece, count(*) AS rows, sha256(string_agg(sha256(convert_to(ROW(
    id, account_id, native_id, digest, received_at, message_at, operator_time, short_code, carrier, reading,
    campaign_id, keyword, units, amount_vnd, claimed_vnd, parts, answer, book_version, grammar_version, raw_id
)::text, 'UTF8')), ''::bytea ORDER BY id)) AS digest
FROM fact GROUP BY 1 ORDER BY 1
"""
CHARGES = """
WITH fact AS (
    SELECT c.* FROM charge_notice AS c
    WHERE c.id >= $1 AND c.id < $2 AND NOT EXISTS (SELECT FROM late_fact AS l WHERE l.id = c.id)
    UNION ALL SELECT c.* FROM late_fact AS l JOIN charge_notice AS c USING (id) WHERE l.recorded_on = $3
)
SELECT left(id::text, 8) AS piece, count(*) AS rows, sha256(string_agg(sha256(convert_to(ROW(
    id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, short_code, reason, occurred_at,
    received_at, raw_id
)::text, 'UTF8')), ''::bytea ORDER BY id)) AS digest
FROM fact GROUP BY 1 ORDER BY 1
"""
REVERSALS = """
WITH fact AS (
    SELECT r.* FROM reversal AS r
    WHERE r.id >= $1 AND r.id < $2 AND NOT EXISTS (SELECT FROM late_fact AS l WHERE l.id = r.id)
    UNION ALL SELECT r.* FROM late_fact AS l JOIN reversal AS r USING (id) WHERE l.recorded_on = $3
)
SELECT left(id::text, 8) AS piece, count(*) AS rows, sha256(string_agg(sha256(convert_to(ROW(
    id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind, occurred_at, received_at,
    raw_id
)::text, 'UTF8')), ''::bytea ORDER BY id)) AS digest
FROM fact GROUP BY 1 ORDER BY 1
"""
CONFLICTS = """
WITH fact AS (
    SELECT c.* FROM conflict AS c
    WHERE c.raw_id >= $1 AND c.raw_id < $2 AND NOT EXISTS (SELECT FROM late_fact AS l WHERE l.id = c.raw_id)
    UNION ALL SELECT c.* FROM late_fact AS l JOIN conflict AS c ON c.raw_id = l.id WHERE l.recorded_on = $3
)
SELECT left(raw_id::text, 8) AS piece, count(*) AS rows, sha256(string_agg(sha256(convert_to(ROW(
    account_id, kind, native_id, digest, received_at, raw_id
)::text, 'UTF8')), ''::bytea ORDER BY account_id, kind, native_id, digest)) AS digest
FROM fact GROUP BY 1 ORDER BY 1
"""
BOOKS = """
SELECT b.version::text AS piece, 1::bigint AS rows, sha256(convert_to(ROW(
    b.version, b.applied_at, b.file_sha256, b.changes,
    (SELECT array_agg(ROW(d.campaign_id, d.number, d.decision, d.opens_at, d.closes_at)::text
                      ORDER BY d.campaign_id, d.number) FROM campaign_decision AS d WHERE d.book_version = b.version),
    (SELECT array_agg(ROW(r.id, r.campaign_id, r.short_code, r.keywords, r.grammar, r.unit_vnd, r.max_units)::text
                      ORDER BY r.id) FROM route AS r WHERE r.book_version = b.version)
)::text, 'UTF8')) AS digest
FROM book_version AS b
WHERE (b.applied_at AT TIME ZONE 'UTC')::date = $3 AND $1::uuid IS NOT NULL AND $2::uuid IS NOT NULL
ORDER BY b.version
"""
KINDS: Mapping[str, str] = {
    "messages": MESSAGES,
    "charges": CHARGES,
    "reversals": REVERSALS,
    "conflicts": CONFLICTS,
    "books": BOOKS,
}
SELECT_FIRST_DAY = """
SELECT least(
    (SELECT (created_at AT TIME ZONE 'UTC')::date FROM installation),
    (SELECT (received_at AT TIME ZONE 'UTC')::date FROM message ORDER BY id LIMIT 1)
)
"""
SELECT_LAST_DAY = "SELECT ((now() - $1::interval) AT TIME ZONE 'UTC')::date"


class DayDigest(NamedTuple):
    """How many facts of a kind a day has, and the SHA-256 over them in order, in hexadecimal."""

    rows: int
    sha256: str


async def closed_days(connection: asyncpg.Connection) -> tuple[date, date]:
    """The first day with facts, and the first day that may still get some, by the database's clock."""
    first = await connection.fetchval(SELECT_FIRST_DAY)
    until = await connection.fetchval(SELECT_LAST_DAY, CLOSED_AFTER - timedelta(days=1))
    return first, until


async def digest_day(connection: asyncpg.Connection, day: date) -> dict[str, DayDigest]:
    """The facts of `day` by kind, in the caller's snapshot. Reads that day's facts and no others."""
    begins_at = datetime.combine(day, time(), UTC)
    begins, ends = least_id(begins_at), least_id(begins_at + timedelta(days=1))
    found = {}
    for kind, sql in KINDS.items():
        rows, total = 0, hashlib.sha256()
        for row in await connection.fetch(sql, begins, ends, day):
            rows += row["rows"]
            total.update(f"{row['piece']} {row['rows']} {row['digest'].hex()}\n".encode())
        found[kind] = DayDigest(rows, total.hexdigest())
    return found
