"""What test accounts sent: kept apart from every fact, under keys of its own, and removed when it is old.

Nothing here is read by a total, an invariant or a seal.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import StoredEvent
from campaigns.gifts.evidence import reserve
from campaigns.schema.ids import least_id

KIND = "test"
"""What tests are called in the count of what an account's day has kept."""
CALLBACKS_PER_DAY_MAX = 100_000
BYTES_PER_DAY_MAX = 256 * 1024 * 1024
"""Callbacks of tests that are kept, per account and day (UTC)."""
CLEARED_AT_ONCE = 10_000
"""Rows removed in one go, each of one statement."""


class DayFull(Exception):
    """The account has sent as many tests today as are kept."""


class ArrivalRow(NamedTuple):
    """One arrival of an event over a test account: the columns of test_event, in their order."""

    id: UUID
    account_id: int
    kind: str
    native_id: str
    digest: bytes
    is_first: bool
    outcome: str
    received_at: datetime
    happened_at: datetime
    raw_id: UUID
    short_code: str | None
    carrier: str | None
    reading: str | None
    campaign_id: int | None
    keyword: str | None
    units: int | None
    amount_vnd: int | None
    charge_ref: str | None
    message_ref: str | None
    status: str | None
    flags: Sequence[str]
    answer: bytes | None
    book_version: int | None


INSERT_CALLBACK = """
INSERT INTO test_callback (id, account_id, received_at, day, sealed) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT ON CONSTRAINT test_callback_pkey DO NOTHING
"""


async def keep_callback(
    connection: asyncpg.Connection,
    *,
    id: UUID,  # noqa: A002 -- the column's name
    account_id: int,
    received_at: datetime,
    day: date,
    sealed: bytes,
) -> None:
    """Keep a callback of a test account as it came, once. Holds the account's day until commit. Raises DayFull."""
    roomy = await reserve(
        connection, KIND, {(account_id, day): [len(sealed)]}, callbacks_max=CALLBACKS_PER_DAY_MAX,
        bytes_max=BYTES_PER_DAY_MAX,
    )  # fmt: skip
    if not roomy:
        raise DayFull
    await connection.execute(INSERT_CALLBACK, id, account_id, received_at, day, sealed)


# A row whose key or id is there already is none of those that come back.
INSERT_ARRIVALS = """
INSERT INTO test_event (
    id, account_id, kind, native_id, digest, is_first, outcome, received_at, happened_at, raw_id, short_code, carrier,
    reading, campaign_id, keyword, units, amount_vnd, charge_ref, message_ref, status, flags, answer, book_version
)
SELECT id, account_id, kind, native_id, digest, is_first, outcome, received_at, happened_at, raw_id, short_code,
       carrier, reading, campaign_id, keyword, units, amount_vnd, charge_ref, message_ref, status, flags, answer,
       book_version
FROM unnest($1::test_event[])
ON CONFLICT DO NOTHING
RETURNING id
"""


async def insert_arrivals(connection: asyncpg.Connection, rows: Sequence[ArrivalRow]) -> frozenset[UUID]:
    """Store `rows`; of those with `is_first` only such as are the first of their key. Returns the ids stored."""
    return frozenset(row["id"] for row in await connection.fetch(INSERT_ARRIVALS, list(rows)))


SELECT_FIRSTS = """
SELECT t.kind, t.native_id, t.digest, t.answer
FROM test_event AS t JOIN unnest($2::text[], $3::text[]) AS asked (kind, native_id) USING (kind, native_id)
WHERE t.account_id = $1 AND t.is_first
"""


async def select_firsts(
    connection: asyncpg.Connection, account_id: int, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], StoredEvent]:
    """What tests of the account hold under `keys`, each a kind and a native id."""
    asked = list(keys)
    found = await connection.fetch(SELECT_FIRSTS, account_id, [key[0] for key in asked], [key[1] for key in asked])
    return {(row["kind"], row["native_id"]): StoredEvent(bytes(row["digest"]), row["answer"]) for row in found}


CLEAR_EVENTS = """
DELETE FROM test_event WHERE id IN (SELECT id FROM test_event WHERE id < $1 ORDER BY id LIMIT $2)
"""
CLEAR_CALLBACKS = """
DELETE FROM test_callback WHERE id IN (SELECT id FROM test_callback WHERE id < $1 ORDER BY id LIMIT $2)
"""


async def clear_tests(connection: asyncpg.Connection, before: datetime) -> int:
    """Remove tests received before `before`, the oldest first and CLEARED_AT_ONCE at most; returns how many."""
    least = least_id(before)
    done = [await connection.execute(sql, least, CLEARED_AT_ONCE) for sql in (CLEAR_EVENTS, CLEAR_CALLBACKS)]
    return sum(int(each.rpartition(" ")[2]) for each in done)


# Of the newest alone: ids begin with the time at which their callback came.
SELECT_ARRIVALS = """
SELECT id, native_id, outcome, reading, units, amount_vnd FROM test_event
WHERE account_id = $1 AND id >= $2 AND NOT id = ANY($3) ORDER BY id LIMIT $4
"""
ARRIVALS_AT_ONCE = 1_000


async def select_arrivals(
    connection: asyncpg.Connection, account_id: int, since: datetime, known: Iterable[UUID]
) -> list[asyncpg.Record]:
    """What came over a test account since then and is not `known`, ARRIVALS_AT_ONCE at most."""
    asked = account_id, least_id(since), list(known), ARRIVALS_AT_ONCE
    return list(await connection.fetch(SELECT_ARRIVALS, *asked))
