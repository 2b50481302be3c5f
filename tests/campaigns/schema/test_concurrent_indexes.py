"""Indexes made beside the writers: anew after an interruption, once by two migrators, nothing but indexes."""

import asyncio
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from campaigns.schema.concurrent_indexes import IndexRefused, statements_of
from campaigns.schema.migrate import Migration, MigrationRefused, migrate, migrations_in, pending, shipped_migrations
from campaigns.schema.migrate import __name__ as migrate_module
from tests.support.portal import eventually

INDEXES = """
-- The first; of two.
CREATE INDEX CONCURRENTLY first_later ON message (carrier);
CREATE INDEX CONCURRENTLY second_later ON message (short_code, carrier)
    WHERE reading <> 'counted';
"""
SELECT_INDEXES = """
SELECT c.relname::text, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relname LIKE '%\\_later' ORDER BY 1
"""
INVALIDATE = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass($1)"


@pytest.fixture
def next_release(tmp_path: Path) -> tuple[Migration, ...]:
    """What a release after this one would ship: indexes more."""
    for each in shipped_migrations():
        (tmp_path / each.name).write_text(each.sql, encoding="utf-8")
    number = shipped_migrations()[-1].number + 1
    (tmp_path / f"{number:04}_later_concurrently.sql").write_text(INDEXES, encoding="utf-8")
    return migrations_in(tmp_path)


async def indexes(connection: asyncpg.Connection) -> list[tuple[str, bool]]:
    """The indexes of INDEXES that there are, and whether they are valid."""
    return [(row[0], row[1]) for row in await connection.fetch(SELECT_INDEXES)]


async def oids(connection: asyncpg.Connection) -> dict[str, int]:
    """Which index is which: one that is made anew has another number."""
    found = await connection.fetch("SELECT relname::text, oid FROM pg_class WHERE relname LIKE '%\\_later'")
    return {row["relname"]: row["oid"] for row in found}


async def is_half_done(connection: asyncpg.Connection) -> bool:
    """Whether the first index is there and waits for whoever was there before it."""
    return await indexes(connection) == [("first_later", False)]


BOTH = [("first_later", True), ("second_later", True)]


@pytest.mark.parametrize("left_behind", ["first_later", "second_later", None])
async def test_an_index_that_an_interruption_left_behind_is_made_anew_and_what_was_done_stays(
    connection: asyncpg.Connection, next_release: tuple[Migration, ...], left_behind: str | None
) -> None:
    # As far as the one before came: its indexes, the last of them invalid, and no entry in the history.
    for name, statement in statements_of(INDEXES).items():
        await connection.execute(statement)
        if name == left_behind:
            await connection.execute(INVALIDATE, name)
            break
    before = await oids(connection)
    assert await migrate(connection, next_release) == (next_release[-1].name,)
    assert await indexes(connection) == BOTH
    after = await oids(connection)
    assert {name for name in before if after[name] == before[name]} == before.keys() - {left_behind}
    assert await pending(connection, next_release) == ()


async def test_a_migrator_that_is_killed_in_the_middle_leaves_what_the_next_one_mends(
    connection: asyncpg.Connection, database_dsn: str, next_release: tuple[Migration, ...]
) -> None:
    holder, killed = await asyncpg.connect(database_dsn), await asyncpg.connect(database_dsn)
    open_transaction = holder.transaction(isolation="repeatable_read")
    await open_transaction.start()
    await holder.execute("LOCK TABLE message IN ROW EXCLUSIVE MODE")
    migrating = asyncio.create_task(migrate(killed, next_release))
    await eventually(partial(is_half_done, connection))
    await connection.execute("SELECT pg_terminate_backend($1)", killed.get_server_pid())
    with pytest.raises(asyncpg.PostgresError):
        await migrating
    assert await indexes(connection) == [("first_later", False)]
    await open_transaction.rollback()
    assert await migrate(connection, next_release) == (next_release[-1].name,)
    assert await indexes(connection) == BOTH
    await holder.close()


async def test_writers_pass_while_an_index_waits_for_a_transaction_that_was_open_before(
    connection: asyncpg.Connection, database_dsn: str, next_release: tuple[Migration, ...]
) -> None:
    holder, writer = await asyncpg.connect(database_dsn), await asyncpg.connect(database_dsn)
    open_transaction = holder.transaction()
    await open_transaction.start()
    await holder.execute("LOCK TABLE message IN ROW EXCLUSIVE MODE")
    migrating = asyncio.create_task(migrate(connection, next_release))
    await eventually(partial(is_half_done, writer))
    await writer.execute("SET lock_timeout = '100ms'")
    for _ in range(10):
        async with writer.transaction():
            await writer.execute("LOCK TABLE message IN ROW EXCLUSIVE MODE")
        await asyncio.sleep(0.02)
    assert not migrating.done()
    await open_transaction.rollback()
    assert await migrating == (next_release[-1].name,)
    assert await indexes(connection) == BOTH
    await holder.close()
    await writer.close()


async def test_a_transaction_that_stays_open_is_a_sentence_and_the_session_is_as_before(
    database_dsn: str, next_release: tuple[Migration, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{migrate_module}.LOCK_PATIENCE_SECONDS", 0.5)
    # As the service opens its connections.
    settings = {"lock_timeout": "7s", "statement_timeout": "8s"}
    connection = await asyncpg.connect(database_dsn, server_settings=settings)
    holder = await asyncpg.connect(database_dsn)
    async with holder.transaction():
        await holder.execute("LOCK TABLE message IN ROW EXCLUSIVE MODE")
        with pytest.raises(MigrationRefused, match=r"_concurrently.sql: the index first_later .* pg_stat_activity"):
            await migrate(connection, next_release)
    assert await pending(connection, next_release) == (next_release[-1],)
    assert await migrate(connection, next_release) == (next_release[-1].name,)
    assert await indexes(connection) == BOTH
    assert await connection.fetchval("SHOW lock_timeout") == "7s"
    assert await connection.fetchval("SHOW statement_timeout") == "8s"
    await holder.close()
    await connection.close()


async def test_two_migrators_at_once_make_each_index_once(
    connection: asyncpg.Connection, database_dsn: str, next_release: tuple[Migration, ...]
) -> None:
    other = await asyncpg.connect(database_dsn)
    first, second = await asyncio.gather(migrate(connection, next_release), migrate(other, next_release))
    assert [*first, *second] == [next_release[-1].name]
    assert await indexes(connection) == BOTH
    await other.close()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX first_later ON message (carrier)",
        "CREATE INDEX CONCURRENTLY ON message (carrier)",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS first_later ON message (carrier)",
        "CREATE UNIQUE INDEX CONCURRENTLY first_later ON message (carrier)",
        "ALTER TABLE message ADD COLUMN later_thought text",
        f"{INDEXES}; DROP TABLE message",
    ],
)
async def test_what_is_no_index_beside_the_writers_is_refused_before_anything_is_done(
    connection: asyncpg.Connection, sql: str
) -> None:
    last = shipped_migrations()[-1].number
    later = Migration(last + 1, f"{last + 1:04}_later_concurrently.sql", sql)
    with pytest.raises(MigrationRefused, match="is not CREATE INDEX CONCURRENTLY name ON table"):
        await migrate(connection, (*shipped_migrations(), later))
    assert await indexes(connection) == []


def test_every_shipped_file_that_runs_outside_a_transaction_can_be_read() -> None:
    shipped = [migration for migration in shipped_migrations() if migration.is_concurrent]
    assert shipped
    for migration in shipped:
        assert statements_of(migration.sql)
    with pytest.raises(IndexRefused):
        statements_of("SELECT 1")
