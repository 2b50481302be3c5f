"""portal1400 apply FILE.toml: makes organisations, campaigns, routes and gateway accounts as FILE says."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from campaigns.book.apply_file import ApplyRefused, load
from campaigns.book.store import apply_changes, load_book
from service.catalog.account_tables import prepare_gateways
from service.commands.opening import CommandRefused, Opened, opened, require_live
from service.commands.running import wanting
from service.postgres.database import DATABASE_ERRORS
from service.runtime.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("file", metavar="FILE.toml", type=Path)


async def run(arguments: argparse.Namespace) -> int:
    """Apply the file in one transaction; print what changed."""
    settings = read_settings()
    try:
        load(arguments.file)
    except ApplyRefused as refused:
        raise CommandRefused(str(refused).splitlines()) from None
    async with opened(settings) as ready:
        require_live(ready)
        try:
            changes = await apply_file(ready, arguments.file)
        except DATABASE_ERRORS as error:
            raise CommandRefused(
                [f"nothing was applied: the database answered with {type(error).__name__}; see its log"]
            ) from None
        async with ready.database.borrow() as connection:
            version = (await load_book(connection)).version
    for change in changes:
        print(change)
    if not changes:
        print("nothing changed")
    for sentence in await wanting(settings, version):
        print(f"warning: {sentence}")
    return 0


async def apply_file(ready: Opened, path: Path) -> list[str]:
    """Record a file in an open database. Raises CommandRefused with a line per problem, nothing written."""
    try:
        file = load(path)
        gateways = prepare_gateways(file, seal=ready.keyring.settings.seal, digest_key=ready.keyring.digest_key)
        async with ready.database.borrow() as connection:
            return await apply_changes(connection, file, gateways, now=datetime.now(UTC))
    except ApplyRefused as refused:
        raise CommandRefused(str(refused).splitlines()) from None
