"""Applies campaigns/schema/migrations/NNNN_words.sql in order, each in a transaction, remembered by its SHA-256.

The previous release's workers go on while a migration runs. A table's lock that it waits for stands in the way of
everybody who comes after it, so it waits for a moment only, lets them pass, and tries again. A file
NNNN_words_concurrently.sql makes indexes without holding up writers, which PostgreSQL does outside a transaction
only: `concurrent_indexes.py`.

A file whose first line is `-- additive` lets the releases before it start on a database that has it: they write and
read as ever, and what it adds stays empty meanwhile. That stands in the history, where those releases see it; without
it they go on running, and refuse to start.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import asyncpg

from campaigns.schema.concurrent_indexes import IndexRefused, make_indexes
from campaigns.schema.locks import MIGRATION_LOCK, UNLOCK, try_lock

LOCK_PATIENCE_SECONDS = 600.0
"""How long a migration goes on asking for its locks, and how long one migrator waits for another."""
LOCK_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Between two attempts; four fifths of the time and more belong to the workers."""
MIGRATION_SECONDS_MAX = 24 * 3600.0
"""A statement of a migration may take long: an index over years of gifts does."""

ADDITIVE = "-- additive"
"""The first line of a migration with which the releases before it may start."""

_FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class MigrationRefused(Exception):
    """The database and the migration files do not belong together; the sentence says which and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name and its SQL."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> bytes:
        """What tells an edited file from the one that was applied."""
        return hashlib.sha256(self.sql.encode()).digest()

    @property
    def is_additive(self) -> bool:
        """Whether a release that does not know it may start all the same."""
        return self.sql.partition("\n")[0].strip() == ADDITIVE

    @property
    def is_concurrent(self) -> bool:
        """Whether it makes indexes beside the writers, outside a transaction."""
        return self.name.endswith("_concurrently.sql")


def shipped_migrations() -> tuple[Migration, ...]:
    """The migrations of this release, in order."""
    return migrations_in(resources.files("campaigns.schema").joinpath("migrations"))


def migrations_in(folder: Traversable) -> tuple[Migration, ...]:
    """The migrations of a folder, in order."""
    found = []
    for entry in folder.iterdir():
        match = _FILE_NAME.match(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    additive boolean NOT NULL DEFAULT false
)
"""
ADD_ADDITIVE = "ALTER TABLE schema_migration ADD COLUMN IF NOT EXISTS additive boolean NOT NULL DEFAULT false"
# A history of a release that did not know the column yet has none that is.
SELECT_HISTORY = """
SELECT number, name, sha256, coalesce((to_jsonb(m) ->> 'additive')::boolean, false) AS additive
FROM schema_migration AS m ORDER BY number
"""
SELECT_HISTORY_EXISTS = "SELECT to_regclass('schema_migration') IS NOT NULL"
# In whichever schema: one that search_path does not name would be taken for an empty database.
SELECT_HIDDEN = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = 'schema_migration' AND NOT pg_table_is_visible(c.oid)
    AND EXISTS (SELECT FROM pg_class AS o WHERE o.relname = 'money_line' AND o.relnamespace = c.relnamespace)
LIMIT 1
"""
INSERT_HISTORY = "INSERT INTO schema_migration (number, name, sha256, additive) VALUES ($1, $2, $3, $4)"
SET_LIMITS = "SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = 0"


async def pending(
    connection: asyncpg.Connection, shipped: tuple[Migration, ...] | None = None
) -> tuple[Migration, ...]:
    """The migrations this database still lacks; `shipped` where they are not those of this release.

    Raises MigrationRefused when the database is newer than this release, an applied file was edited, or search_path
    hides the tables.
    """
    applied = {}
    if await connection.fetchval(SELECT_HISTORY_EXISTS):
        applied = {row["number"]: row for row in await connection.fetch(SELECT_HISTORY)}
    elif (hidden := await connection.fetchval(SELECT_HIDDEN)) is not None:
        raise MigrationRefused(
            f"the tables of this database lie in the schema {hidden}, which search_path does not name: set it for "
            "the role of PORTAL1400_DATABASE_URL (ALTER ROLE ... SET search_path); nothing was made in another schema"
        )
    shipped = shipped_migrations() if shipped is None else shipped
    known = {migration.number for migration in shipped}
    for number, row in applied.items():
        if number not in known and not row["additive"]:
            raise MigrationRefused(
                f"the database holds migration {row['name']}, which this release does not know: "
                "it was made by a newer release; install that one"
            )
    for migration in shipped:
        if migration.number in applied and bytes(applied[migration.number]["sha256"]) != migration.sha256:
            raise MigrationRefused(
                f"migration {migration.name} differs from what was applied to this database: "
                "a released migration is never edited; reinstall the release"
            )
    return tuple(migration for migration in shipped if migration.number not in applied)


async def migrate(connection: asyncpg.Connection, shipped: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Apply what is pending, one transaction a file; returns the names applied. Safe to run twice at once.

    Raises MigrationRefused, also when a lock was not to be had in LOCK_PATIENCE_SECONDS. What makes indexes beside
    the writers is no transaction: interrupted, it begins again with the index it was at.
    """
    # Asked for again and again rather than waited for: a statement that waits has a time limit and holds a snapshot.
    deadline, attempt = time.monotonic() + LOCK_PATIENCE_SECONDS, 0
    while not await try_lock(connection, MIGRATION_LOCK):
        await _pause("another migration runs on this database", deadline, attempt)
        attempt += 1
    try:
        waiting = await pending(connection, shipped)
        await connection.execute(CREATE_HISTORY)
        if waiting:
            await _patiently(connection, "the history of migrations", (ADD_ADDITIVE,))
        for migration in waiting:
            await (_apply_concurrent if migration.is_concurrent else _apply)(connection, migration)
        return tuple(migration.name for migration in waiting)
    finally:
        if not connection.is_closed():
            await connection.execute(UNLOCK, MIGRATION_LOCK)


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    await _patiently(connection, f"migration {migration.name}", (migration.sql,), _row_of(migration))


async def _patiently(
    connection: asyncpg.Connection, what: str, statements: Sequence[str], row: tuple[object, ...] = ()
) -> None:
    """`statements`, and `row` into the history, in one transaction: tried again until they get their locks."""
    deadline, attempt = time.monotonic() + LOCK_PATIENCE_SECONDS, 0
    while True:
        try:
            async with connection.transaction():
                await connection.execute(SET_LIMITS)
                for sql in statements:
                    await connection.execute(sql, timeout=MIGRATION_SECONDS_MAX)
                if row:
                    await connection.execute(INSERT_HISTORY, *row)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await _pause(f"{what} does not get its locks", deadline, attempt)
            attempt += 1
        else:
            return


async def _apply_concurrent(connection: asyncpg.Connection, migration: Migration) -> None:
    try:
        await make_indexes(connection, migration.sql, LOCK_PATIENCE_SECONDS, MIGRATION_SECONDS_MAX)
    except IndexRefused as refused:
        raise MigrationRefused(f"migration {migration.name}: {refused}") from None
    await connection.execute(INSERT_HISTORY, *_row_of(migration))


def _row_of(migration: Migration) -> tuple[int, str, bytes, bool]:
    return migration.number, migration.name, migration.sha256, migration.is_additive


async def _pause(what: str, deadline: float, attempt: int) -> None:
    if time.monotonic() > deadline:
        raise MigrationRefused(
            f"{what} after {LOCK_PATIENCE_SECONDS:.0f} s: look in pg_stat_activity for a transaction that was left "
            "open, end it, then start again; nothing of it was applied"
        )
    await asyncio.sleep(LOCK_PAUSES[min(attempt, len(LOCK_PAUSES) - 1)])
