"""What every command that needs the database does first: settings, server, key, schema."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from campaigns.schema.migrate import MigrationRefused, migrate, pending
from service.catalog.account_rows import AccountRow, load_account_rows
from service.catalog.last_good import LastGood, find_last_good
from service.postgres.connect_errors import known_cause
from service.postgres.database import DATABASE_ERRORS, Database, DatabaseAway, is_away
from service.runtime.keyring import Keyring
from service.runtime.refusals import Refused
from service.runtime.settings import Settings


class CommandRefused(Refused):
    """The command cannot do its work; the sentences say why and what to do."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open, migrated database that belongs to our key; with a `copy`, one that is away and not opened yet."""

    database: Database
    keyring: Keyring
    kind: str
    prepare: Callable[[], Awaitable[str]]
    """Opens and migrates the database, and returns its kind. Raises Refused."""
    copy: LastGood | None = None


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    kind: str = "live",
    may_migrate: bool = True,
    embedded_only: bool = False,
    may_be_away: bool = False,
    may_be_behind: bool = False,
    progress: Callable[[str], None] | None = None,
) -> AsyncIterator[Opened]:
    """Open the database for one command. Raises Refused with every reason in a sentence, also for an error of the
    database while the command works.

    With `may_be_away`, a database that does not answer is no reason where a last good copy lies in DATA_DIR; with
    `may_be_behind`, migrations that are pending are none, and nothing is written to such a database.
    """
    keyring = Keyring.of(settings)
    async with await Database.open(settings, embedded_only=embedded_only, progress=progress) as database:

        async def prepare() -> str:
            if may_be_behind and not may_migrate:
                return await _as_it_is(database, keyring, kind)
            return await _prepared(database, keyring, kind, may_migrate, progress)

        try:
            found = await prepare()
        except DatabaseAway:
            copy = find_last_good(settings.data_dir, keyring.local) if may_be_away else None
            if copy is None:
                raise
            opening = Opened(database, keyring, copy.kind, prepare, copy)
        else:
            opening = Opened(database, keyring, found, prepare)
        try:
            yield opening
        except DATABASE_ERRORS as error:
            raise refusal_of(error) from None


async def _prepared(
    database: Database, keyring: Keyring, kind: str, may_migrate: bool, progress: Callable[[str], None] | None
) -> str:
    try:
        await database.open_pool()
        async with database.borrow() as connection:
            if may_migrate:
                applied = await migrate(connection)
                if applied and progress is not None:
                    progress(f"applied {len(applied)} migration(s)")
            elif waiting := await pending(connection):
                first = waiting[0].name
                raise CommandRefused([f"migrations are pending, first {first}: run `portal1400 migrate`"])
            return await keyring.claim(connection, kind)
    except MigrationRefused as refused:
        raise CommandRefused(str(refused)) from None
    except DATABASE_ERRORS as error:
        raise refusal_of(error) from None


async def _as_it_is(database: Database, keyring: Keyring, kind: str) -> str:
    """Opens the database and asks its kind and key, where it has them. Writes nothing."""
    try:
        await database.open_pool()
        async with database.borrow() as connection:
            await pending(connection)
            return await keyring.find_kind(connection) or kind
    except MigrationRefused as refused:
        raise CommandRefused(str(refused)) from None
    except DATABASE_ERRORS as error:
        raise refusal_of(error) from None


def refusal_of(error: Exception) -> Exception:
    """What a command says of an error of the database; the error itself when it is one of a file or of our output."""
    if isinstance(error, BrokenPipeError) or getattr(error, "filename", None) is not None:
        return error
    kind_of_refusal = DatabaseAway if is_away(error) else CommandRefused
    return kind_of_refusal(known_cause(error) or f"the database answered with {type(error).__name__}: see its log")


async def require_account(connection: asyncpg.Connection, code: str) -> dict[str, AccountRow]:
    """Every account, by its code, of which `code` is one: a mistyped name is not to look like one with nothing.

    Raises CommandRefused, which names those that there are.
    """
    rows = {row.code: row for row in await load_account_rows(connection)}
    if code not in rows:
        known = ", ".join(sorted(rows)) or "none was applied yet"
        raise CommandRefused(f"no account has the code {code}; there are: {known}")
    return rows


def require_live(opened_database: Opened) -> None:
    """Refuse a demonstration's database, whose gifts are invented. Raises CommandRefused."""
    if opened_database.kind != "live":
        raise CommandRefused(
            ["this database was made by `portal1400 demo` and holds invented gifts: use another DATA_DIR or database"]
        )
