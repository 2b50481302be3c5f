"""portal1400 grant-read ROLE: lets a PostgreSQL role read what an auditor needs, and nothing about persons."""

import argparse
import json

import asyncpg

from campaigns.schema.reading_rights import READABLE, WITHHELD, RoleUnfit, grant_reading
from service.commands.opening import CommandRefused, opened
from service.runtime.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("role", metavar="ROLE", help="a role of this PostgreSQL that is there already")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Grant what is missing, print what the role may read; 0 also when nothing was missing. Safe to repeat."""
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        try:
            given = await grant_reading(connection, arguments.role)
        except RoleUnfit as unfit:
            raise CommandRefused([f"role {arguments.role}: {unfit}; nothing was granted"]) from None
        except asyncpg.InsufficientPrivilegeError:
            sentence = (
                f"role {arguments.role}: the role of PORTAL1400_DATABASE_URL may not grant rights on these tables: "
                "run this command as their owner; nothing was granted"
            )
            raise CommandRefused([sentence]) from None
    if arguments.json:
        readable = {relation: list(columns) or "all columns" for relation, columns in READABLE.items()}
        print(
            json.dumps({"role": arguments.role, "granted": given, "may_read": readable, "withheld": sorted(WITHHELD)})
        )
        return 0
    for relation, columns in READABLE.items():
        print(f"{'granted' if relation in given else 'has    '} {relation}: {', '.join(columns) or 'all columns'}")
    print(f"withheld: {', '.join(sorted(WITHHELD))}; of the tables above whatever is not named")
    return 0
