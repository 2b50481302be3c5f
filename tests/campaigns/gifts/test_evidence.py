"""Evidence costs its size: a callback is kept once, and of each account only so much a day."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from campaigns.gifts.evidence import CONFLICT_BYTES_PER_DAY_MAX, QUARANTINE_BYTES_PER_DAY_MAX, quarantine
from campaigns.schema.partitions import make_partitions
from metrics.invariant import check
from metrics.invariants import INVARIANTS
from service.intake.entry import Entry
from service.runtime.uuid7 import uuid7
from tests.support.portal import eventually
from tests.support.rows import NOW, Driven, digest, driven, entry, message_row
from tests.support.tampering import PAST_THE_LOCKS

EVENTS = 100
SEALED = b"sealed" * 100_000
SELECT_KEPT = """
SELECT count(*) AS callbacks, count(sealed) AS whole, coalesce(sum(octet_length(sealed)), 0)::bigint AS bytes
FROM conflict_callback
"""
SELECT_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1"
FILL = "INSERT INTO evidence_day (account_id, kind, day, callbacks, bytes) VALUES ($1, $2, $3, 1, $4)"


@pytest.fixture
async def writer(database_dsn: str, connection: asyncpg.Connection) -> AsyncIterator[Driven]:
    """A writer on a fresh database."""
    await make_partitions(connection, NOW.date(), days=1)
    made = driven(lambda: asyncpg.connect(database_dsn))
    made.writer.start()
    yield made
    await made.writer.stop(5)


def large(story: str, *, account: int = 1, events: int = EVENTS) -> Entry:
    """A large callback: always the same ids, and contents of this story."""
    rows = [
        message_row(f"m-{number}", digest=digest(f"{story} {number}"), account_id=account) for number in range(events)
    ]
    made = entry(*rows)
    made.raw = made.raw._replace(sealed=SEALED, account_id=account)
    return made


async def kept(connection: asyncpg.Connection) -> tuple[Any, ...]:
    """Callbacks of conflicts, those kept whole, and their bytes."""
    row = await connection.fetchrow(SELECT_KEPT)
    assert row is not None
    return tuple(row)


async def test_a_callback_with_a_hundred_conflicts_is_kept_once_and_its_repeat_not_at_all(
    writer: Driven, connection: asyncpg.Connection
) -> None:
    await writer.store([large("first")])
    assert await writer.store([large("other")]) == [["conflict"] * EVENTS]
    assert await connection.fetchval("SELECT count(*) FROM conflict") == EVENTS
    assert await kept(connection) == (1, 1, len(SEALED))
    assert await writer.store([large("other")]) == [["conflict"] * EVENTS]
    assert await kept(connection) == (1, 1, len(SEALED))
    assert [len(commit.conflicts) for commit in writer.commits] == [0, EVENTS, 0]
    named = await connection.fetch("SELECT DISTINCT raw_id FROM conflict JOIN conflict_callback USING (raw_id)")
    assert len(named) == 1


async def test_beyond_an_account_s_day_conflicts_are_kept_by_their_digest_and_that_is_said(
    writer: Driven, connection: asyncpg.Connection
) -> None:
    await connection.execute(FILL, 1, "conflict", NOW.date(), CONFLICT_BYTES_PER_DAY_MAX - len(SEALED))
    for account in (1, 2):
        await writer.store([large("first", account=account)])
    for story in ("fits", "does not"):
        assert await writer.store([large(story)]) == [["conflict"] * EVENTS]
    assert await writer.store([large("of another", account=2)]) == [["conflict"] * EVENTS]
    assert await connection.fetchval("SELECT count(*) FROM conflict") == 3 * EVENTS
    assert await kept(connection) == (3, 2, 2 * len(SEALED))
    left_out = await connection.fetchrow("SELECT account_id, bytes FROM conflict_callback WHERE sealed IS NULL")
    assert left_out is not None
    assert tuple(left_out) == (1, len(SEALED))
    assert [list(commit.left_out) for commit in writer.commits] == [[], [], [], [1], []]


async def test_a_conflict_whose_callback_is_gone_is_named_and_one_of_before_is_not(
    writer: Driven, connection: asyncpg.Connection
) -> None:
    (invariant,) = [each for each in INVARIANTS if each.name == "references_hold"]
    await connection.execute("INSERT INTO book_version (version, file_sha256, changes) VALUES (1, '', '{}')")
    await writer.store([large("first", events=1)])
    await writer.store([large("other", events=1)])
    # As a version before this one kept it: in the conflict's own row.
    await connection.execute(
        "INSERT INTO conflict (account_id, kind, native_id, digest, received_at, raw_id, sealed, day)"
        " VALUES (1, 'message', 'm-0', 'old', now(), gen_random_uuid(), 'whole', $1)",
        NOW.date(),
    )
    assert not [each for each in await check(connection, invariant) if each.place.startswith("conflict")]
    await connection.execute(PAST_THE_LOCKS)
    await connection.execute("DELETE FROM conflict_callback")
    (broken,) = [each for each in await check(connection, invariant) if each.place.startswith("conflict")]
    assert (broken.expected, broken.found) == ("its callback", "none")


async def keep(connection: asyncpg.Connection, outcome: str, size: int, own_id: UUID | None = None) -> bool:
    """A callback of so many bytes is to be kept for a person."""
    return await quarantine(
        connection, id=own_id or uuid7(NOW), received_at=NOW, adapter="standard", account_id=1, outcome=outcome,
        reason="-", sealed=bytes(size), day=NOW.date(), kept_max=3,
    )  # fmt: skip


async def test_quarantine_is_bounded_in_bytes_as_well_as_in_number(connection: asyncpg.Connection) -> None:
    assert [await keep(connection, "malformed", 1) for _ in range(4)] == [True, True, True, False]
    await connection.execute(FILL, 1, "unauthenticated", NOW.date(), QUARANTINE_BYTES_PER_DAY_MAX - 10)
    assert [await keep(connection, "unauthenticated", size) for size in (11, 10, 1)] == [False, True, False]
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 4


async def test_what_two_keep_at_the_same_time_is_counted_once(
    connection: asyncpg.Connection, database_dsn: str
) -> None:
    other, own_id = await asyncpg.connect(database_dsn), uuid7(NOW)
    first = other.transaction()
    await first.start()
    # Under another outcome, whose bound is a row of its own: nobody waits there.
    assert await keep(other, "unauthenticated", 1, own_id)
    second = asyncio.create_task(keep(connection, "malformed", 1, own_id))

    async def is_waiting() -> bool:
        return bool(await other.fetchval(SELECT_WAITS, connection.get_server_pid()))

    await eventually(is_waiting)
    await first.commit()
    assert await second
    await other.close()
    counted = await connection.fetch("SELECT kind, callbacks FROM evidence_day")
    assert [tuple(row) for row in counted] == [("unauthenticated", 1)]
