"""Migrations are applied once, in order, and an edited or unknown one is refused."""

import asyncio

import asyncpg
import pytest

from campaigns.migrate import MigrationRefused, migrate, pending, shipped_migrations


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


async def test_two_migrators_at_once_apply_each_file_once(database_dsn: str) -> None:
    admin = await asyncpg.connect(database_dsn)
    await admin.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    other = await asyncpg.connect(database_dsn)
    first, second = await asyncio.gather(migrate(admin), migrate(other))
    assert sorted([*first, *second]) == [migration.name for migration in shipped_migrations()]
    await admin.close()
    await other.close()
