"""Migrations are applied once, in order, and an edited or unknown one is refused."""

import asyncio

import asyncpg
import pytest

from campaigns.schema.migrate import (
    CREATE_HISTORY,
    INSERT_HISTORY,
    Migration,
    MigrationRefused,
    migrate,
    pending,
    shipped_migrations,
)
from metrics.invariant import check
from metrics.invariants import INVARIANTS


async def test_a_migrated_database_has_nothing_pending(connection: asyncpg.Connection) -> None:
    assert await pending(connection) == ()
    assert await migrate(connection) == ()


async def test_an_edited_migration_is_refused(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE schema_migration SET sha256 = 'other' WHERE number = 1")
    with pytest.raises(MigrationRefused, match="never edited"):
        await migrate(connection)


async def test_a_database_of_a_newer_release_is_refused(connection: asyncpg.Connection) -> None:
    await connection.execute("INSERT INTO schema_migration VALUES (9999, '9999_later.sql', 'x')")
    with pytest.raises(MigrationRefused, match="9999_later"):
        await pending(connection)


async def test_a_newer_migration_that_only_adds_lets_this_release_start(connection: asyncpg.Connection) -> None:
    later = Migration(9999, "9999_later.sql", "-- additive\nCREATE TABLE later_table ();")
    assert await migrate(connection, (*shipped_migrations(), later)) == (later.name,)
    assert await pending(connection) == ()
    assert await migrate(connection) == ()
    other = Migration(9999, later.name, "CREATE TABLE later_table (); -- additive")
    assert (later.is_additive, other.is_additive) == (True, False)


async def test_a_history_from_before_there_were_such_migrations_is_read_and_gets_the_column(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute("ALTER TABLE schema_migration DROP COLUMN additive")
    assert await pending(connection) == ()
    assert await migrate(connection) == ()
    later = Migration(9999, "9999_later.sql", "-- additive\nCREATE TABLE later_table ();")
    assert await migrate(connection, (*shipped_migrations(), later)) == (later.name,)
    assert await pending(connection) == ()


async def test_two_migrators_at_once_apply_each_file_once(database_dsn: str) -> None:
    admin = await asyncpg.connect(database_dsn)
    await admin.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    other = await asyncpg.connect(database_dsn)
    first, second = await asyncio.gather(migrate(admin), migrate(other))
    assert sorted([*first, *second]) == [migration.name for migration in shipped_migrations()]
    await admin.close()
    await other.close()


OLD_NOTICES = """
INSERT INTO charge_notice (id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, flags,
                           occurred_at, received_at, raw_id)
SELECT gen_random_uuid(), 1, native_id, '-', charge_id, status, 20000, message_ref, '{}', now(), now(),
       gen_random_uuid()
FROM (VALUES ('a:1', 'a', 'succeeded', NULL), ('a:9', 'a', 'succeeded', NULL), ('b:1', 'b', 'succeeded', 'm-9'),
             ('c:8', 'c', 'pending', NULL)) AS t (native_id, charge_id, status, message_ref);
INSERT INTO unallocated_total VALUES (3, 7, 0, 0, 0, 3, 60000, now());
"""


async def test_orphans_counted_by_notices_are_counted_by_charges_after_the_migration(
    connection: asyncpg.Connection,
) -> None:
    first = shipped_migrations()[0]
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.execute(CREATE_HISTORY)
    await connection.execute(first.sql)
    await connection.execute(INSERT_HISTORY, first.number, first.name, first.sha256, first.is_additive)
    await connection.execute(OLD_NOTICES)
    await migrate(connection)
    row = await connection.fetchrow("SELECT sum(orphan_charges), sum(orphan_vnd) FROM unallocated_total")
    assert row is not None
    assert tuple(row) == (2, 40_000)
    for invariant in INVARIANTS:
        if invariant.name != "references_hold":
            assert await check(connection, invariant) == [], invariant.name
