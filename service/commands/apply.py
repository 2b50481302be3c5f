"""portal1400 apply FILE.toml: makes organisations, campaigns, routes and gateway accounts as FILE says."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from campaigns.audit.entries import Who, record
from campaigns.book.apply_entries import ApplyFile, ApplyRefused, Language, place_in_words
from campaigns.book.apply_file import load
from campaigns.book.plan import Plan
from campaigns.book.recording import AppliedBy, IntakeBusy, apply_changes, plan_changes
from campaigns.book.sentences import Sentence, in_vietnamese, say
from campaigns.book.store import load_book
from campaigns.lifecycle.proposals import make, needs_two
from service.catalog.account_rows import load_account_rows
from service.catalog.account_tables import prepare_gateways
from service.catalog.accounts import load_accounts
from service.commands.opening import CommandRefused, Opened, opened, require_live
from service.commands.person import add_language, language_of, name, os_user, reason
from service.commands.running import wanting
from service.desk.people import has_people
from service.postgres.database import DATABASE_ERRORS, is_away
from service.runtime.environment import process_environment
from service.runtime.settings import read_settings

YES = {"en": ("y", "yes"), "vi": ("c", "có", "co", "y", "yes")}


WOULD_FILE = "applying it would file the campaigns of the file as a draft of the desk: they need two people"
FILED = (
    "NOT APPLIED: the campaigns of the file need two people; they wait as draft {number} of the desk, "
    "/desk/proposals/{number}"
)


class TwoNeeded(Exception):
    """The plan holds what moves money or a public figure, and the desk has people."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("two people are needed")
        self.plan = plan


class NotConfirmed(Exception):
    """The plan holds something unusual, and nobody has said that it is meant."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("not confirmed")
        self.plan = plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("file", metavar="FILE.toml", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--yes", action="store_true", help="apply what is unusual too, without asking")
    parser.add_argument("--by", metavar="NAME", type=name, help="who applies it, for the history")
    parser.add_argument(
        "--emergency", metavar="REASON", type=reason,
        help="where the desk has people: act at once all the same; somebody of the desk confirms it afterwards",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    add_language(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Apply the file in one transaction; print what changed, what donors will be told, and what is unusual.

    Once the desk has people, what needs two of them is filed as a draft there, and only the rest is applied.
    """
    settings = read_settings()
    language = language_of(arguments.lang)
    try:
        load(arguments.file)
        async with opened(settings) as ready:
            require_live(ready)
            plan, proposal = await _plan_or_apply(ready, arguments, language)
            async with ready.database.borrow() as connection:
                version = (await load_book(connection)).version
                rows = await load_account_rows(connection)
                accounts = load_accounts(rows, ready.keyring.settings.unseal, process_environment())
    except ApplyRefused as refused:
        raise CommandRefused(refused.lines(language)) from None
    if plan is None:
        return 1
    warnings = [] if arguments.dry_run else await wanting(settings, version, [*accounts.problems, *accounts.warnings])
    is_applied = not arguments.dry_run and proposal is None
    if arguments.json:
        print(
            json.dumps(
                _as_json(plan, version, is_applied=is_applied, wanting=warnings) | {"proposal": proposal},
                ensure_ascii=False,
            )
        )
    else:
        for warning in warnings:
            print(f"warning: {warning}")
    if proposal is not None:
        # Last, and beside the JSON: the exit code is 0, for all was done that one person may.
        print(_in(language, say(FILED, number=proposal)), file=sys.stderr if arguments.json else sys.stdout)
    return 0


async def apply_file(ready: Opened, path: Path, *, accept: Callable[[Plan], None] = lambda _: None) -> list[Sentence]:
    """Record a file in an open database; a line for each change. What is unusual is for `accept` to refuse.

    Raises CommandRefused with a line per problem, nothing written.
    """
    try:
        return (await _applied(ready, load(path), None, accept)).changes.lines
    except ApplyRefused as refused:
        raise CommandRefused(refused.lines("en")) from None


async def _applied(
    ready: Opened, file: ApplyFile, by: str | None, accept: Callable[[Plan], None], emergency: str | None = None
) -> Plan:
    """Write the book and the audit log in one transaction; an emergency waits at the desk to be confirmed."""
    async with _one_transaction(ready) as connection:
        before = await load_book(connection)
        plan = await _write(ready, connection, file, by, accept, emergency)
        if emergency is not None and needs_two(plan.changes):
            await make(connection, _who(), file, before, now=datetime.now(UTC), emergency=emergency)
    return plan


async def _filed(
    ready: Opened, file: ApplyFile, by: str | None, accept: Callable[[Plan], None]
) -> tuple[list[Sentence], int]:
    """Apply what one person may, file the campaigns as a draft. What was applied, and the draft's number."""
    async with _one_transaction(ready) as connection:
        number = await make(connection, _who(), file, await load_book(connection), now=datetime.now(UTC))
        plan = await _write(ready, connection, replace(file, campaigns=(), withdrawn=()), by, accept)
    return plan.changes.lines, number


async def _write(
    ready: Opened,
    connection: asyncpg.Connection,
    file: ApplyFile,
    by: str | None,
    accept: Callable[[Plan], None],
    emergency: str | None = None,
) -> Plan:
    gateways = prepare_gateways(file, seal=ready.keyring.settings.seal, digest_key=ready.keyring.digest_key)
    who = AppliedBy(os_user(), by)
    plan = await apply_changes(connection, file, gateways, now=datetime.now(UTC), who=who, accept=accept)
    if plan.changes.lines:
        after = {"by": by, "changes": [str(line) for line in plan.changes.lines]}
        await record(connection, _who(), "book.apply", after=after, reason=emergency)
    return plan


def _who() -> Who:
    return Who(f"os:{os_user()}")


@asynccontextmanager
async def _one_transaction(ready: Opened) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of the book. Raises CommandRefused where the intake did not pause, or the database failed."""
    try:
        async with ready.database.borrow() as connection, connection.transaction():
            yield connection
    except DATABASE_ERRORS as error:
        # Around the transaction alone: behind it a fault, of whoever reads our output too, takes nothing back.
        raise CommandRefused(
            f"the connection to the database ended with {type(error).__name__}: whether the file was applied, "
            "`portal1400 history` tells; to apply it again is safe"
            if is_away(error)
            else f"nothing was applied: the database answered with {type(error).__name__}; see its log"
        ) from None
    except IntakeBusy:
        raise CommandRefused(
            "nothing was applied: something is taken back, and messages that were being stored did not end in time; "
            "apply it again"
        ) from None


async def _plan_or_apply(
    ready: Opened, arguments: argparse.Namespace, language: Language
) -> tuple[Plan | None, int | None]:
    """The plan that was applied, filed at the desk, or only made (--dry-run); None where nobody confirms it.

    Beside it the number of the proposal where it was filed.
    """
    file = load(arguments.file)
    if arguments.dry_run:
        gateways = prepare_gateways(file, seal=ready.keyring.settings.seal, digest_key=ready.keyring.digest_key)
        async with ready.database.borrow() as connection:
            plan = await plan_changes(connection, file, gateways, now=datetime.now(UTC))
            is_filed = arguments.emergency is None and needs_two(plan.changes) and await has_people(connection)
        if not arguments.json:
            _print(plan, language, is_applied=False)
            if is_filed:
                print(_in(language, say(WOULD_FILE)))
        return plan, None
    async with ready.database.borrow() as connection:
        is_for_two = arguments.emergency is None and await has_people(connection)
    confirmed: set[str] = set()

    def accept(plan: Plan) -> None:
        if is_for_two and needs_two(plan.changes):
            raise TwoNeeded(plan)
        if not arguments.yes and any(each.reason not in confirmed for each in plan.warnings):
            raise NotConfirmed(plan)

    while True:
        try:
            try:
                plan, proposal = await _applied(ready, file, arguments.by, accept, arguments.emergency), None
            except TwoNeeded as needed:
                plan = needed.plan
                lines, proposal = await _filed(ready, file, arguments.by, accept)
        except NotConfirmed as asked:
            if arguments.json or sys.stdin is None or not sys.stdin.isatty():
                if arguments.json:
                    told = _as_json(asked.plan, None, is_applied=False, wanting=[])
                    print(json.dumps(told, ensure_ascii=False))
                else:
                    _print(asked.plan, language, is_applied=False)
                raise CommandRefused(
                    [_in(language, say("nothing was applied: say --yes if what is unusual is meant"))]
                ) from None
            _print(asked.plan, language, is_applied=False)
            answer = await asyncio.to_thread(input, _in(language, say("Apply it as it is? [y/N] ")))
            if answer.strip().lower() not in YES[language]:
                print(_in(language, say("nothing was applied")))
                return None, None
            confirmed = {each.reason for each in asked.plan.warnings}
            continue
        if not arguments.json:
            _print(plan, language, is_applied=proposal is None)
            if proposal is not None:
                for line in lines:
                    print(_in(language, say("applied: {change}", change=line)))
        return plan, proposal


def _print(plan: Plan, language: Language, *, is_applied: bool) -> None:
    for line in plan.changes.lines:
        print(_in(language, line))
    if not plan.changes.lines:
        print(_in(language, say("nothing changed" if is_applied else "nothing would change")))
    if plan.told:
        print(_in(language, say("Donors are told:" if is_applied else "Donors would be told:")))
    for told in (*plan.told, *plan.stays):
        print(_in(language, told))
    for each in plan.warnings:
        place = f"{each.toml_path} ({place_in_words(each.toml_path, language)})"
        at = say("line {line} {place}", line=each.line, place=place) if each.line is not None else place
        print(_in(language, say("unusual: {place}: {reason}", place=at, reason=each.reason)))


def _as_json(plan: Plan, version: int | None, *, is_applied: bool, wanting: list[str]) -> dict[str, Any]:
    return {
        "applied": is_applied,
        "version": version,
        "changes": plan.changes.lines,
        "told": plan.told,
        "stays": plan.stays,
        "unusual": [{"path": each.toml_path, "line": each.line, "reason": each.reason} for each in plan.warnings],
        "warnings": wanting,
    }


def _in(language: Language, sentence: str) -> str:
    return in_vietnamese(sentence) if language == "vi" else sentence
