"""portal1400 verify: recomputes every total from the facts, in one snapshot, beside live intake."""

import argparse

import asyncpg

from metrics.invariant import Difference
from metrics.proofs import prove
from service.commands.opening import opened
from service.operations.day_seals import SEALED_DAYS_HOLD, DaySeals
from service.operations.rereading import reread
from service.runtime.settings import read_settings

NO_TIME_LIMIT = "SET LOCAL statement_timeout = 0"
"""With many millions of gifts it takes minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--deep", action="store_true", help="also open and read every stored text again")


async def run(arguments: argparse.Namespace) -> int:
    """List the invariants by name with the first difference of each; 1 when one is broken."""
    settings = read_settings()
    async with opened(settings, may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 verify", may_take_long=True)
        broken = 0
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(NO_TIME_LIMIT)
                async for name, sentence, differences in prove(connection):
                    broken += tell(name, sentence, differences)
                count, differences = await DaySeals(settings.data_dir, ready.keyring).compare(connection)
                sentence = f"{count} day(s) sealed on this machine hold the facts that they held"
                broken += tell(SEALED_DAYS_HOLD, sentence, differences)
                if arguments.deep:
                    report = await reread(connection, ready.keyring)
                    sentence = f"{report.read} stored texts read as they were, {report.without_text} no longer held"
                    broken += tell("texts_read_the_same", sentence, report.differences)
        except asyncpg.PostgresError as error:
            print(f"failed   the database answered with {type(error).__name__}")
            return 1
        finally:
            await connection.close()
    print("every figure can be recomputed from its facts" if not broken else f"{broken} invariant(s) broken")
    return 1 if broken else 0


def tell(name: str, sentence: str, differences: list[Difference]) -> int:
    """One line for an invariant, and one for its first difference; 1 when it is broken."""
    print(f"{'broken' if differences else 'holds ':8} {name}: {sentence}")
    if differences:
        first = differences[0]
        print(f"         first difference at {first.place}: expected {first.expected}, found {first.found}")
    return 1 if differences else 0
