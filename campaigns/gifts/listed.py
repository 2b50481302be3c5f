"""The lists that people work, a page at a time: what did not count, what waits, what does not fit.

A page is found by the last row of the one before and not by counting, so nothing is shown twice or passed over while
rows arrive: what was there at the first page is met once, what comes later stands before it.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

ROWS_MAX = 500
CURSOR_LETTERS_MAX = 200


class CursorRefused(Exception):
    """A cursor that no page of ours handed out."""


class Filter(NamedTuple):
    """Which rows are meant; None: whichever. `organisations` are those whose campaigns may be seen."""

    account: str | None = None
    reason: str | None = None
    campaign: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    organisations: Sequence[str] | None = None


class ListedRow(NamedTuple):
    """One row. `number_sealed` is the sender's number under the key of `day`; None where none is kept."""

    id: UUID
    received_at: datetime
    key: str
    account: str | None
    carrier: str | None
    short_code: str | None
    campaign: str | None
    keyword: str | None
    reason: str
    amount_vnd: int | None
    native_id: str | None
    day: date | None
    number_sealed: bytes | None


class ListedPage(NamedTuple):
    """Rows, the newest first, and what leads to the next page; None at the end."""

    rows: Sequence[ListedRow]
    cursor: str | None


class Worklist(NamedTuple):
    """A list: how it is read, and of which readings where it is one of messages."""

    sql: str
    readings: tuple[str, ...] = ()
    is_of_campaigns: bool = False
    """Each row belongs to a campaign, so that a manager sees those of their own."""


# Every statement takes the same arguments: account, reason, campaign, since, until, organisations, the time and the
# key of the row before, how many rows, readings.
SELECT_MESSAGES_SET_ASIDE = """
SELECT m.id, m.received_at, m.id::text AS key, a.code AS account, m.carrier, m.short_code, c.slug AS campaign,
       m.keyword, m.reading AS reason, m.claimed_vnd AS amount_vnd, m.native_id, p.day, p.msisdn_sealed
FROM unnest($10::text[]) AS r (reading)
CROSS JOIN LATERAL (
    SELECT * FROM message AS n
    WHERE n.reading = r.reading AND n.reading <> 'counted'
        AND ($8::text IS NULL OR n.id < $8::uuid) AND ($7::timestamptz IS NULL OR true)
        AND ($1::text IS NULL OR n.account_id = (SELECT g.id FROM gateway_account AS g WHERE g.code = $1))
        AND ($2::text IS NULL OR n.reading = $2)
        AND ($3::text IS NULL OR n.campaign_id = (SELECT k.id FROM campaign AS k WHERE k.slug = $3))
        AND ($4::timestamptz IS NULL OR n.received_at >= $4) AND ($5::timestamptz IS NULL OR n.received_at < $5)
        AND ($6::text[] IS NULL OR n.campaign_id IN (SELECT k.id FROM campaign AS k WHERE k.organiser = ANY($6)))
    ORDER BY n.id DESC LIMIT $9
) AS m
LEFT JOIN gateway_account AS a ON a.id = m.account_id
LEFT JOIN campaign AS c ON c.id = m.campaign_id
LEFT JOIN message_person AS p ON p.message_id = m.id
ORDER BY m.id DESC LIMIT $9
"""
# The condition on flags is that of its index, to the letter.
SELECT_CHARGED_UNCOUNTED = """
SELECT m.id, m.received_at, m.id::text AS key, a.code AS account, m.carrier, m.short_code, c.slug AS campaign,
       m.keyword, m.reading AS reason, m.claimed_vnd AS amount_vnd, m.native_id, p.day, p.msisdn_sealed
FROM message AS m
LEFT JOIN gateway_account AS a ON a.id = m.account_id
LEFT JOIN campaign AS c ON c.id = m.campaign_id
LEFT JOIN message_person AS p ON p.message_id = m.id
WHERE m.flags @> '{charged_not_counted}' AND m.reading = ANY($10::text[])
    AND ($8::text IS NULL OR m.id < $8::uuid) AND ($7::timestamptz IS NULL OR true)
    AND ($1::text IS NULL OR a.code = $1) AND ($2::text IS NULL OR m.reading = $2)
    AND ($3::text IS NULL OR c.slug = $3)
    AND ($4::timestamptz IS NULL OR m.received_at >= $4) AND ($5::timestamptz IS NULL OR m.received_at < $5)
    AND ($6::text[] IS NULL OR c.organiser = ANY($6))
ORDER BY m.id DESC LIMIT $9
"""
SELECT_CONFLICTS_PAGE = """
SELECT f.raw_id AS id, f.received_at, f.key, f.code AS account, NULL AS carrier, NULL AS short_code, NULL AS campaign,
       NULL AS keyword, f.kind AS reason, NULL::bigint AS amount_vnd, f.native_id, NULL::date AS day,
       NULL::bytea AS number_sealed
FROM (
    SELECT n.*, a.code, md5(concat_ws(':', n.account_id, n.kind, n.native_id, encode(n.digest, 'hex'))) AS key
    FROM conflict AS n LEFT JOIN gateway_account AS a ON a.id = n.account_id
) AS f
WHERE ($1::text IS NULL OR f.code = $1) AND ($2::text IS NULL OR f.kind = $2) AND $3::text IS NULL
    AND ($4::timestamptz IS NULL OR f.received_at >= $4) AND ($5::timestamptz IS NULL OR f.received_at < $5)
    AND $6::text[] IS NULL AND ($7::timestamptz IS NULL OR (f.received_at, f.key) < ($7, $8::text))
    AND $10::text[] IS NOT NULL
ORDER BY f.received_at DESC, f.key DESC LIMIT $9
"""
SELECT_REVIEWS_PAGE = """
SELECT f.raw_id AS id, f.received_at, f.key, f.code AS account, NULL AS carrier, f.short_code, NULL AS campaign,
       NULL AS keyword, f.reason, f.amount_vnd, f.native_id, NULL::date AS day, NULL::bytea AS number_sealed
FROM (
    SELECT coalesce(n.raw_id, v.raw_id) AS raw_id, coalesce(n.received_at, v.received_at) AS received_at,
           r.event_id::text AS key, a.code, n.short_code, r.reason,
           coalesce(n.amount_vnd, v.amount_vnd) AS amount_vnd, coalesce(n.native_id, v.native_id) AS native_id
    FROM review AS r LEFT JOIN gateway_account AS a ON a.id = r.account_id
    LEFT JOIN charge_notice AS n ON r.kind = 'charge' AND n.id = r.event_id
    LEFT JOIN reversal AS v ON r.kind = 'reversal' AND v.id = r.event_id
) AS f
WHERE ($1::text IS NULL OR f.code = $1) AND ($2::text IS NULL OR f.reason = $2) AND $3::text IS NULL
    AND ($4::timestamptz IS NULL OR f.received_at >= $4) AND ($5::timestamptz IS NULL OR f.received_at < $5)
    AND $6::text[] IS NULL AND ($7::timestamptz IS NULL OR (f.received_at, f.key) < ($7, $8::text))
    AND $10::text[] IS NOT NULL
ORDER BY f.received_at DESC, f.key DESC LIMIT $9
"""
# What names a message waits for it; what names none, in any of its notices, is here until a message is found for it.
SELECT_ORPHANS_PAGE = """
SELECT f.raw_id AS id, f.received_at, f.key, f.code AS account, NULL AS carrier, f.short_code, NULL AS campaign,
       NULL AS keyword, f.status AS reason, f.amount_vnd, f.native_id, NULL::date AS day,
       NULL::bytea AS number_sealed
FROM (
    SELECT n.*, n.id::text AS key, a.code
    FROM (
        SELECT event_id AS id FROM waiting_event WHERE kind = 'charge'
        UNION ALL
        SELECT c.id FROM charge_notice AS c
        WHERE c.message_ref IS NULL AND NOT EXISTS (
            SELECT FROM charge_match AS m WHERE m.account_id = c.account_id AND m.charge_id = c.charge_id
        ) AND NOT EXISTS (
            SELECT FROM charge_notice AS o
            WHERE o.account_id = c.account_id AND o.charge_id = c.charge_id AND o.message_ref IS NOT NULL
        )
    ) AS w JOIN charge_notice AS n USING (id) LEFT JOIN gateway_account AS a ON a.id = n.account_id
) AS f
WHERE ($1::text IS NULL OR f.code = $1) AND ($2::text IS NULL OR f.status = $2) AND $3::text IS NULL
    AND ($4::timestamptz IS NULL OR f.received_at >= $4) AND ($5::timestamptz IS NULL OR f.received_at < $5)
    AND $6::text[] IS NULL AND ($7::timestamptz IS NULL OR (f.received_at, f.key) < ($7, $8::text))
    AND $10::text[] IS NOT NULL
ORDER BY f.received_at DESC, f.key DESC LIMIT $9
"""
SELECT_QUARANTINE_PAGE = """
SELECT f.id, f.received_at, f.key, f.code AS account, NULL AS carrier, NULL AS short_code, NULL AS campaign,
       f.adapter AS keyword, f.outcome || ': ' || f.reason AS reason, NULL::bigint AS amount_vnd, NULL AS native_id,
       NULL::date AS day, NULL::bytea AS number_sealed
FROM (
    SELECT q.*, q.id::text AS key, a.code
    FROM quarantine AS q LEFT JOIN gateway_account AS a ON a.id = q.account_id
    WHERE NOT EXISTS (SELECT FROM quarantine_act AS t WHERE t.quarantine_id = q.id AND t.is_stored)
) AS f
WHERE ($1::text IS NULL OR f.code = $1) AND ($2::text IS NULL OR f.outcome = $2) AND $3::text IS NULL
    AND ($4::timestamptz IS NULL OR f.received_at >= $4) AND ($5::timestamptz IS NULL OR f.received_at < $5)
    AND $6::text[] IS NULL AND ($7::timestamptz IS NULL OR (f.received_at, f.key) < ($7, $8::text))
    AND $10::text[] IS NOT NULL
ORDER BY f.received_at DESC, f.key DESC LIMIT $9
"""
WORKLISTS: Mapping[str, Worklist] = {
    "wrong-syntax": Worklist(SELECT_MESSAGES_SET_ASIDE, ("wrong_syntax", "before_open"), is_of_campaigns=True),
    "after-close": Worklist(SELECT_MESSAGES_SET_ASIDE, ("after_close",), is_of_campaigns=True),
    "charged-not-counted": Worklist(
        SELECT_CHARGED_UNCOUNTED, ("wrong_syntax", "before_open", "after_close"), is_of_campaigns=True
    ),
    "unallocated": Worklist(SELECT_MESSAGES_SET_ASIDE, ("unknown_keyword", "unknown_short_code", "empty_text")),
    "orphan-charges": Worklist(SELECT_ORPHANS_PAGE),
    "reviews": Worklist(SELECT_REVIEWS_PAGE),
    "conflicts": Worklist(SELECT_CONFLICTS_PAGE),
    "quarantine": Worklist(SELECT_QUARANTINE_PAGE),
}
"""Every list by its name in addresses and commands. Of the last four a manager of an organisation sees nothing: what
stands there belongs to no campaign yet."""


async def select_page(
    connection: asyncpg.Connection, name: str, chosen: Filter, rows_max: int, cursor: str | None = None
) -> ListedPage:
    """A page of a list of WORKLISTS, of at most ROWS_MAX rows. Raises CursorRefused."""
    worklist = WORKLISTS[name]
    is_of_messages = bool(worklist.readings)
    at, key = (None, None) if cursor is None else _place(cursor, is_of_messages=is_of_messages)
    wanted = min(rows_max, ROWS_MAX)
    found = await connection.fetch(worklist.sql, *_arguments(chosen), at, key, wanted + 1, list(worklist.readings))
    rows = [ListedRow(*row) for row in found[:wanted]]
    return ListedPage(rows, _cursor(rows[-1]) if len(found) > wanted else None)


def _arguments(chosen: Filter) -> tuple[Any, ...]:
    organisations = None if chosen.organisations is None else list(chosen.organisations)
    return (*chosen[:-1], organisations)


def _cursor(row: ListedRow) -> str:
    return base64.urlsafe_b64encode(f"{row.received_at.isoformat()}|{row.key}".encode()).decode().rstrip("=")


def _place(cursor: str, *, is_of_messages: bool) -> tuple[datetime, str]:
    try:
        if len(cursor) > CURSOR_LETTERS_MAX:
            raise CursorRefused
        padded = cursor + "=" * (-len(cursor) % 4)
        at, _, key = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not 2000 <= moment.year <= 2100 or not key.isprintable():
            raise CursorRefused
        return moment, str(UUID(key)) if is_of_messages else key
    except (ValueError, binascii.Error, UnicodeError):
        raise CursorRefused from None
