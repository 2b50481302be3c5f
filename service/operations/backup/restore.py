"""Bringing a backup into an empty database, and the proof that it is what was backed up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from campaigns.gifts.refolding import refold_all
from campaigns.schema.locks import MIGRATION_LOCK, if_free
from campaigns.schema.migrate import MigrationRefused, migrate, shipped_migrations
from campaigns.totals.reversed import mend_reversed
from metrics.proofs import prove
from service.operations.backup import tools as dump_tools
from service.operations.backup.manifest import BackupRefused, Manifest, collect, compare, compare_lasting
from service.operations.day_seals import compare_days, read_days
from service.operations.rereading import reread
from service.postgres.database import DATABASE_ERRORS, Database
from service.runtime.keyring import Keyring

SELECT_MAJOR = "SELECT current_setting('server_version_num')::integer / 10000"
NO_TIME_LIMITS = "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"
# What belongs to an extension of the server's owner is not ours to count.
SELECT_OCCUPANTS = """
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relkind = 'r' DESC, 1 LIMIT 1
"""
# Functions first: those that take a table's row go with the table, and could not be named any more.
SELECT_REMOVALS = """
SELECT format('DROP ROUTINE %s CASCADE', p.oid::regprocedure) AS removal
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
(SELECT format(CASE WHEN c.relkind = 'c' THEN 'DROP TYPE %I.%I CASCADE' ELSE 'DROP TABLE %I.%I CASCADE' END,
              n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND c.relkind IN ('r', 'p', 'c') AND NOT c.relispartition
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relkind, c.relname)
"""

SELECT_SCHEMAS = """
SELECT nspname, format('DROP SCHEMA %I', nspname) AS removal FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> ALL ($1::name[])
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared after a restore, all of it as it should be."""

    migrations_applied: int
    invariants: int
    days_sealed: int
    """How many past days hold the facts that the manifest says."""
    texts_read: int | None
    """None: not asked for."""


class RestoreDiffers(BackupRefused):
    """What was restored is not what was backed up; nothing of it was left in the database."""


async def bring_back(
    database: Database, keyring: Keyring, file: Path, manifest: Manifest, *, preference: str, deep: bool
) -> Proof:
    """Restore `file`, compare every figure, check every invariant. Raises BackupRefused, ToolFailed.

    The database is empty before, and again after a refusal. Meanwhile no service can make its tables there.
    """
    require_known(manifest)
    connection = await database.connect("portal1400 restore", may_take_long=True)
    try:
        await connection.execute(NO_TIME_LIMITS)
        async with _alone(connection):
            await require_empty(connection)
            major = await connection.fetchval(SELECT_MAJOR)
            if major < manifest.server:
                raise BackupRefused(
                    f"{file} comes from PostgreSQL {manifest.server} and this server is {major}: restore into "
                    f"{manifest.server} or newer"
                )
            tools = await asyncio.to_thread(dump_tools.choose_tools, preference, max(major, manifest.tools))
            schemas = [row["nspname"] for row in await connection.fetch(SELECT_SCHEMAS, [])]
            try:
                await dump_tools.restore(tools, database.dsn, major, file)
                return await _prove(connection, keyring, manifest, deep=deep)
            except BaseException as failed:
                await _take_back(connection, schemas, failed)
                if isinstance(failed, MigrationRefused):
                    raise BackupRefused(str(failed)) from None
                raise
    finally:
        connection.terminate()


def require_known(manifest: Manifest) -> None:
    """Raises BackupRefused for a backup of a newer release, whose tables this one does not know."""
    known = {migration.name for migration in shipped_migrations()}
    known.update(manifest.figures.additive)
    if unknown := [name for name in manifest.figures.migrations if name not in known]:
        raise BackupRefused(
            f"the backup was made by release {manifest.software} with migration {unknown[0]}, unknown to this "
            "release: install that release or a newer one"
        )


async def require_empty(connection: asyncpg.Connection) -> None:
    """Raises BackupRefused when there is a table, view or type of anybody's."""
    occupant = await connection.fetchval(SELECT_OCCUPANTS)
    if occupant is not None:
        raise BackupRefused(
            f"the database is not empty (it has {occupant}), and a backup is restored into an empty one only: name "
            "a new database in PORTAL1400_DATABASE_URL, or another PORTAL1400_DATA_DIR"
        )


@asynccontextmanager
async def _alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Hold the lock that whoever makes tables takes, so that no service starts on what is being restored."""
    async with if_free(connection, MIGRATION_LOCK) as is_ours:
        if not is_ours:
            raise BackupRefused("a migration or another restore works on this database: wait for it, then look again")
        yield


async def _prove(connection: asyncpg.Connection, keyring: Keyring, manifest: Manifest, *, deep: bool) -> Proof:
    # Our queries know the tables of this release: what an older one left is brought there first.
    applied = await migrate(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        agree = compare_lasting if applied else compare
        differences = agree(manifest.figures, await collect(connection))
    if differences:
        raise RestoreDiffers("what was restored differs from the manifest: " + "; ".join(differences))
    # What the first worker of a release makes of what one before wrote, where the rules have changed since.
    await mend_reversed(connection)
    await refold_all(connection)
    await connection.execute("ANALYZE")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        proved = 0
        async for name, sentence, broken in prove(connection):
            if broken:
                first = broken[0]
                raise RestoreDiffers(
                    f"the backup breaks the invariant {name} ({sentence}): {first.place}, "
                    f"expected {first.expected}, found {first.found}. It was broken when the backup was made; "
                    "docs/backup.md tells how to bring such a backup back all the same"
                )
            proved += 1
        days = read_days(manifest.seals)
        if changed := await compare_days(connection, days):
            first = changed[0]
            raise RestoreDiffers(
                f"the backup holds other facts than were sealed: {first.place}, sealed were {first.expected}, it "
                f"holds {first.found}. They were changed before the backup was made; docs/backup.md tells how to "
                "bring such a backup back all the same"
            )
        report = await reread(connection, keyring) if deep else None
    if report is not None and report.differences:
        first = report.differences[0]
        raise RestoreDiffers(f"a stored text reads otherwise: {first.place}, was {first.expected}, is {first.found}")
    return Proof(len(applied), proved, len(days), report.read if report else None)


async def _take_back(connection: asyncpg.Connection, schemas: Sequence[str], failed: BaseException) -> None:
    """Remove what was restored into a database that was empty, and had these schemas."""
    try:
        async with connection.transaction():
            for row in await connection.fetch(SELECT_REMOVALS):
                await connection.execute(row["removal"])
            for row in await connection.fetch(SELECT_SCHEMAS, schemas):
                await connection.execute(row["removal"])
    except DATABASE_ERRORS:
        raise BackupRefused(
            f"{failed}. What was restored could not be removed again: drop that database, nothing in it is proved"
        ) from None
