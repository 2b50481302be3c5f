"""What every command that needs the database does first: settings, server, key, schema."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from campaigns.migrate import MigrationRefused, migrate, pending
from service.database import AWAY, Database, DatabaseRefused
from service.embedded import EmbeddedServerFailed
from service.keyring import Keyring, WrongSecretKey
from service.settings import Settings, SettingsRefused


class CommandRefused(SettingsRefused):
    """The command cannot do its work; the sentences say why and what to do."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open, migrated database that belongs to our key."""

    database: Database
    keyring: Keyring
    kind: str


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    kind: str = "live",
    may_migrate: bool = True,
    embedded_only: bool = False,
    progress: Callable[[str], None] | None = None,
) -> AsyncIterator[Opened]:
    """Open the database for one command. Raises CommandRefused with every reason in a sentence."""
    keyring = Keyring(settings.require_secret_key())
    try:
        database = await Database.open(settings, embedded_only=embedded_only, progress=progress)
    except (EmbeddedServerFailed, DatabaseRefused) as failed:
        raise CommandRefused([str(failed)]) from None
    async with database:
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
                found = await keyring.claim(connection, kind)
        except (DatabaseRefused, MigrationRefused, WrongSecretKey) as refused:
            raise CommandRefused([str(refused)]) from None
        except AWAY as error:
            raise CommandRefused([f"the database answered with {type(error).__name__}: see its log"]) from None
        yield Opened(database, keyring, found)


def require_live(opened_database: Opened) -> None:
    """Refuse a demonstration's database, whose gifts are invented. Raises CommandRefused."""
    if opened_database.kind != "live":
        raise CommandRefused(
            ["this database was made by `portal1400 demo` and holds invented gifts: use another DATA_DIR or database"]
        )
