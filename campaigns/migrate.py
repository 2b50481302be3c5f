"""Applies campaigns/migrations/NNNN_words.sql in order, each in a transaction, remembered by its SHA-256."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

import asyncpg

MIGRATION_LOCK = 1400_0001
"""Advisory lock that serialises migrators on one database."""

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


def shipped_migrations() -> tuple[Migration, ...]:
    """The migrations of this release, in order."""
    found = []
    for entry in resources.files("campaigns").joinpath("migrations").iterdir():
        match = _FILE_NAME.match(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
SELECT_HISTORY = "SELECT number, name, sha256 FROM schema_migration ORDER BY number"
SELECT_HISTORY_EXISTS = "SELECT to_regclass('schema_migration') IS NOT NULL"
INSERT_HISTORY = "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)"
LOCK_MIGRATIONS = "SELECT pg_advisory_lock($1)"
UNLOCK_MIGRATIONS = "SELECT pg_advisory_unlock($1)"


async def pending(connection: asyncpg.Connection) -> tuple[Migration, ...]:
    """The migrations this database still lacks.

    Raises MigrationRefused when the database is newer than this release or an applied file was edited.
    """
    applied = {}
    if await connection.fetchval(SELECT_HISTORY_EXISTS):
        applied = {row["number"]: row for row in await connection.fetch(SELECT_HISTORY)}
    shipped = shipped_migrations()
    known = {migration.number for migration in shipped}
    for number, row in applied.items():
        if number not in known:
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


async def migrate(connection: asyncpg.Connection) -> tuple[str, ...]:
    """Apply what is pending, one transaction a file; returns the names applied. Safe to run twice at once."""
    await connection.execute(LOCK_MIGRATIONS, MIGRATION_LOCK)
    try:
        waiting = await pending(connection)
        await connection.execute(CREATE_HISTORY)
        for migration in waiting:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(INSERT_HISTORY, migration.number, migration.name, migration.sha256)
        return tuple(migration.name for migration in waiting)
    finally:
        await connection.execute(UNLOCK_MIGRATIONS, MIGRATION_LOCK)
