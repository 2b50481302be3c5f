"""A batch of messages in one round trip: what it costs, when it steps aside, and what a cut in between leaves."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from campaigns.schema.partitions import make_partitions
from service.intake.batch import store_batch
from service.intake.entry import Entry, Fate
from tests.support.databases import cloned_database
from tests.support.postgres import TestServer
from tests.support.rows import NOW, charge_row, digest, entry, message_row


@pytest.fixture(scope="module")
async def stored(server: TestServer) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database of this file's, with the partition of its day; the driver knows its types."""
    async with cloned_database(server) as dsn:
        connection = await asyncpg.connect(dsn)
        await make_partitions(connection, NOW.date(), days=1)
        await store_batch(connection, 1, [entry(message_row("the first"))])
        yield connection
        await connection.close()


async def count(connection: asyncpg.Connection, native_id: str) -> int:
    """How often a message is stored."""
    found = await connection.fetchval("SELECT count(*) FROM message WHERE native_id = $1", native_id)
    return int(found)


async def test_messages_alone_take_one_round_trip_and_what_came_before_takes_a_second_look(
    stored: asyncpg.Connection,
) -> None:
    asked: list[str] = []

    def hear(query: asyncpg.connection.LoggedQuery) -> None:
        asked.append(query.query)

    stored.add_query_logger(hear)
    batch = [entry(message_row("trip-1")), entry(message_row("trip-2"), message_row("trip-3"))]
    results, changes = await store_batch(stored, 1, batch)
    # The driver tells of a statement in the next turn of the loop.
    await asyncio.sleep(0)
    assert len(asked) == 1
    assert [[each.fate for each in of] for of in results] == [[Fate.NEW], [Fate.NEW, Fate.NEW]]
    assert [row.native_id for row in changes.messages] == ["trip-1", "trip-2", "trip-3"]
    again = [
        entry(message_row("trip-2")),
        entry(message_row("trip-3", digest=digest("another")), message_row("trip-4")),
    ]
    results, changes = await store_batch(stored, 1, again)
    await asyncio.sleep(0)
    stored.remove_query_logger(hear)
    assert [[each.fate for each in of] for of in results] == [[Fate.DUPLICATE], [Fate.CONFLICT, Fate.NEW]]
    assert ([row.native_id for row in changes.messages], changes.conflicts) == (["trip-4"], [1])
    assert [query for query in asked if query.startswith("BEGIN")] == ["BEGIN;"]
    assert [await count(stored, f"trip-{number}") for number in (1, 2, 3, 4)] == [1, 1, 1, 1]


async def test_a_message_that_something_waits_for_is_joined_in_its_own_transaction(
    stored: asyncpg.Connection,
) -> None:
    await store_batch(stored, 1, [entry(charge_row("waits", "awaited"))])
    assert await stored.fetchval("SELECT count(*) FROM waiting_event") == 1
    results, _ = await store_batch(stored, 1, [entry(message_row("beside")), entry(message_row("awaited"))])
    assert [each.fate for of in results for each in of] == [Fate.NEW, Fate.NEW]
    assert await stored.fetchval("SELECT count(*) FROM waiting_event") == 0
    assert [await count(stored, each) for each in ("beside", "awaited")] == [1, 1]


async def test_a_commit_that_fails_at_its_very_end_stores_nothing_and_says_so(stored: asyncpg.Connection) -> None:
    # The rows came back already: only the commit itself asks such a constraint.
    await stored.execute("""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE serialization_failure; END';
        CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON keyword_read DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.keyword = 'LATE') EXECUTE FUNCTION fail()
    """)
    with pytest.raises(asyncpg.SerializationError):
        await store_batch(stored, 1, [entry(message_row("late-1", keyword="LATE"))])
    assert await count(stored, "late-1") == 0
    assert await stored.fetchval("SELECT count(*) FROM keyword_read WHERE keyword = 'LATE'") == 0


async def test_a_look_that_another_transaction_ends_is_taken_again_and_what_is_new_stays_new(
    stored: asyncpg.Connection,
) -> None:
    await stored.execute("""
        CREATE SEQUENCE looks;
        CREATE FUNCTION lose_once() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF nextval(''looks'') = 1 THEN RAISE deadlock_detected; END IF; RETURN NEW; END';
        CREATE TRIGGER loses BEFORE INSERT ON conflict FOR EACH ROW EXECUTE FUNCTION lose_once()
    """)
    await store_batch(stored, 1, [entry(message_row("cut-1"))])
    results, changes = await store_batch(stored, 1, contradicting())
    assert await stored.fetchval("SELECT last_value FROM looks") == 2
    assert [each.fate for of in results for each in of] == [Fate.CONFLICT, Fate.NEW]
    assert ([row.native_id for row in changes.messages], changes.conflicts) == (["cut-2"], [1])


async def test_cut_off_before_the_second_look_nothing_is_lost_and_the_repeat_tells_all(database_dsn: str) -> None:
    first, second = [await asyncpg.connect(database_dsn) for _ in range(2)]
    await make_partitions(second, NOW.date(), days=1)
    await store_batch(first, 1, [entry(message_row("cut-1"))])
    # Called when the statement has ended: its rows are committed, and nobody was told.
    first.add_query_logger(lambda _query: first.terminate())
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await store_batch(first, 1, contradicting())
    assert [await count(second, each) for each in ("cut-1", "cut-2")] == [1, 1]
    assert await second.fetchval("SELECT count(*) FROM conflict") == 0
    results, changes = await store_batch(second, 2, contradicting())
    await second.close()
    assert [each.fate for of in results for each in of] == [Fate.CONFLICT, Fate.DUPLICATE]
    assert (changes.messages, changes.conflicts) == ([], [1])


def contradicting() -> list[Entry]:
    """One callback that says something else under a known id, and one that is new."""
    return [entry(message_row("cut-1", digest=digest("another"))), entry(message_row("cut-2"))]
