"""portal1400 verify: recomputes every total from the facts, in one snapshot, beside live intake."""

import argparse
from dataclasses import asdict, dataclass, field
from datetime import datetime

import asyncpg
import orjson

from campaigns.book.store import SELECT_VERSION
from campaigns.totals.rollups import select_totals
from campaigns.totals.totals import CampaignTotals
from metrics.board import encode, local
from metrics.invariant import Difference
from metrics.proofs import prove
from service.commands.opening import opened
from service.operations.day_seals import SEALED_DAYS_HOLD, DaySeals
from service.operations.rereading import reread
from service.runtime.settings import read_settings

NO_TIME_LIMIT = "SET LOCAL statement_timeout = 0"
"""With many millions of gifts it takes minutes."""
SELECT_MOMENT = "SELECT now()"


@dataclass(slots=True)
class Verification:
    """What was found in one snapshot: its time, the book, the figures of each campaign, and every invariant."""

    at: datetime
    book_version: int
    totals: list[CampaignTotals]
    invariants: list[tuple[str, str, list[Difference]]] = field(default_factory=list)

    @property
    def broken(self) -> int:
        """How many invariants do not hold."""
        return sum(bool(differences) for _, _, differences in self.invariants)

    def as_json(self) -> bytes:
        """One object; the figures are the totals objects of the API."""
        return orjson.dumps(
            {
                "at": local(self.at),
                "book_version": self.book_version,
                "campaigns": [orjson.loads(encode(each).body) for each in self.totals],
                "invariants": [
                    {"name": name, "sentence": sentence, "differences": [asdict(each) for each in differences]}
                    for name, sentence, differences in self.invariants
                ],
                "broken": self.broken,
            }
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--json", action="store_true", help="answer with one JSON object, to be kept with a report")
    parser.add_argument("--deep", action="store_true", help="also open and read every stored text again")


async def run(arguments: argparse.Namespace) -> int:
    """Tell time, book, each campaign's figures, and the invariants by name; 1 when one is broken."""
    settings = read_settings()
    async with opened(settings, may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 verify", may_take_long=True)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(NO_TIME_LIMIT)
                found = Verification(
                    await connection.fetchval(SELECT_MOMENT),
                    await connection.fetchval(SELECT_VERSION),
                    await select_totals(connection),
                )
                if not arguments.json:
                    tell_figures(found)

                def add(name: str, sentence: str, differences: list[Difference]) -> None:
                    found.invariants.append((name, sentence, differences))
                    if not arguments.json:
                        tell(name, sentence, differences)

                async for name, sentence, differences in prove(connection):
                    add(name, sentence, differences)
                count, differences = await DaySeals(settings.data_dir, ready.keyring).compare(connection)
                sentence = f"{count} day(s) sealed on this machine hold the facts that they held"
                add(SEALED_DAYS_HOLD, sentence, differences)
                if arguments.deep:
                    report = await reread(connection, ready.keyring)
                    sentence = f"{report.read} stored texts read as they were, {report.without_text} no longer held"
                    add("texts_read_the_same", sentence, report.differences)
        except asyncpg.PostgresError as error:
            print(f"failed   the database answered with {type(error).__name__}")
            return 1
        finally:
            await connection.close()
    broken = found.broken
    if arguments.json:
        print(found.as_json().decode())
    else:
        print("every figure can be recomputed from its facts" if not broken else f"{broken} invariant(s) broken")
    return 1 if broken else 0


def tell_figures(found: Verification) -> None:
    """The snapshot's time and book, and a line for each campaign."""
    print(f"verified at {local(found.at)}, book version {found.book_version}")
    for each in found.totals:
        messages, vnd = each.reversed
        print(
            f"figures  {each.campaign}: version {each.version}, {each.messages} messages, {each.units} units, "
            f"{each.pledged_vnd} VND pledged; {messages} messages, {vnd} VND given back; "
            f"{sum(each.uncounted)} uncounted"
        )


def tell(name: str, sentence: str, differences: list[Difference]) -> None:
    """One line for an invariant, and one for its first difference."""
    print(f"{'broken' if differences else 'holds ':8} {name}: {sentence}")
    if differences:
        first = differences[0]
        print(f"         first difference at {first.place}: expected {first.expected}, found {first.found}")
