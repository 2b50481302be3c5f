"""The SQL of the hot path: rows fit their types, a slot has one owner, a quarantine has a bound."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from campaigns.gifts.event_rows import MessageRow, RawRow
from campaigns.gifts.evidence import quarantine
from campaigns.totals.slots import take_slot


@pytest.mark.parametrize(("of", "shape"), [("incoming_message", MessageRow), ("raw_callback", RawRow)])
async def test_rows_are_sent_in_the_order_of_their_type(
    connection: asyncpg.Connection, of: str, shape: type[MessageRow | RawRow]
) -> None:
    found = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum", of
    )
    # asyncpg counts them by place, not by name.
    assert [row["attname"] for row in found] == list(shape._fields)


async def test_a_slot_has_one_owner_until_all_are_taken_and_is_free_again(
    connection: asyncpg.Connection, database_dsn: str
) -> None:
    owners = [await asyncpg.connect(database_dsn) for _ in range(63)]
    slots = [await take_slot(owner, 5) for owner in owners]
    assert sorted(slots) == list(range(1, 64))
    assert await take_slot(connection, 5) == 6
    await owners[41].close()
    deadline = time.monotonic() + 5
    # The backend of a closed connection ends a moment later.
    while (free := await take_slot(connection, 5)) != slots[41]:
        assert (free, time.monotonic() < deadline) == (6, True)
        await asyncio.sleep(0.01)
    for owner in owners:
        await owner.close()


async def test_a_quarantine_is_bounded_per_account_outcome_and_day(connection: asyncpg.Connection) -> None:
    now = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)

    async def keep(account: int, outcome: str, at: datetime) -> bool:
        return await quarantine(
            connection, id=uuid4(), received_at=at, adapter="standard", account_id=account, outcome=outcome,
            reason="-", sealed=b"", day=at.date(), kept_max=3,
        )  # fmt: skip

    assert [await keep(1, "malformed", now) for _ in range(5)] == [True, True, True, False, False]
    assert await keep(1, "unauthenticated", now)
    assert await keep(2, "malformed", now)
    assert await keep(1, "malformed", now + timedelta(hours=25))
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 6


async def test_a_callback_is_quarantined_once_and_takes_room_once(connection: asyncpg.Connection) -> None:
    now, same = datetime(2026, 11, 21, 8, 30, tzinfo=UTC), uuid4()
    for _ in range(3):
        assert await quarantine(
            connection, id=same, received_at=now, adapter="standard", account_id=1, outcome="malformed",
            reason="-", sealed=b"12345", day=now.date(), kept_max=1,
        )  # fmt: skip
    assert await connection.fetchval("SELECT count(*) FROM quarantine") == 1
    assert await connection.fetchval("SELECT bytes FROM evidence_day") == 5
