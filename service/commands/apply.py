"""portal1400 apply FILE.toml: makes organisations, campaigns, routes and gateway accounts as FILE says."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from campaigns.book.apply_entries import ApplyRefused, Language, place_in_words
from campaigns.book.apply_file import load
from campaigns.book.plan import Plan
from campaigns.book.recording import AppliedBy, IntakeBusy, apply_changes, plan_changes
from campaigns.book.sentences import Sentence, in_vietnamese, say
from campaigns.book.store import load_book
from service.catalog.account_tables import prepare_gateways
from service.catalog.accounts import load_account_rows, load_accounts
from service.commands.opening import CommandRefused, Opened, opened, require_live
from service.commands.person import add_language, language_of, name, os_user
from service.commands.running import wanting
from service.postgres.database import DATABASE_ERRORS
from service.runtime.environment import process_environment
from service.runtime.settings import read_settings

YES = {"en": ("y", "yes"), "vi": ("c", "có", "co", "y", "yes")}


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
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    add_language(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Apply the file in one transaction; print what changed, what donors will be told, and what is unusual."""
    settings = read_settings()
    language = language_of(arguments.lang)
    try:
        load(arguments.file)
        async with opened(settings) as ready:
            require_live(ready)
            try:
                plan = await _plan_or_apply(ready, arguments, language)
            except DATABASE_ERRORS as error:
                raise CommandRefused(
                    [f"nothing was applied: the database answered with {type(error).__name__}; see its log"]
                ) from None
            async with ready.database.borrow() as connection:
                version = (await load_book(connection)).version
                rows = await load_account_rows(connection)
                accounts = load_accounts(rows, ready.keyring.settings.unseal, process_environment())
    except ApplyRefused as refused:
        raise CommandRefused(refused.lines(language)) from None
    if plan is None:
        return 1
    warnings = [] if arguments.dry_run else await wanting(settings, version, [*accounts.problems, *accounts.warnings])
    if arguments.json:
        print(
            json.dumps(
                _as_json(plan, version, is_applied=not arguments.dry_run, wanting=warnings), ensure_ascii=False
            )
        )
        return 0
    for warning in warnings:
        print(f"warning: {warning}")
    return 0


async def apply_file(ready: Opened, path: Path, *, accept: Callable[[Plan], None] = lambda _: None) -> list[Sentence]:
    """Record a file in an open database; a line for each change. What is unusual is for `accept` to refuse.

    Raises CommandRefused with a line per problem, nothing written.
    """
    try:
        return (await _applied(ready, path, None, accept)).changes.lines
    except ApplyRefused as refused:
        raise CommandRefused(refused.lines("en")) from None


async def _applied(ready: Opened, path: Path, by: str | None, accept: Callable[[Plan], None]) -> Plan:
    file = load(path)
    gateways = prepare_gateways(file, seal=ready.keyring.settings.seal, digest_key=ready.keyring.digest_key)
    who = AppliedBy(os_user(), by)
    try:
        async with ready.database.borrow() as connection:
            return await apply_changes(connection, file, gateways, now=datetime.now(UTC), who=who, accept=accept)
    except IntakeBusy:
        raise CommandRefused(
            "nothing was applied: something is taken back, and messages that were being stored did not end in time; "
            "apply it again"
        ) from None


async def _plan_or_apply(ready: Opened, arguments: argparse.Namespace, language: Language) -> Plan | None:
    """The plan that was applied, or only made (--dry-run); None where nobody confirms it."""
    if arguments.dry_run:
        file = load(arguments.file)
        gateways = prepare_gateways(file, seal=ready.keyring.settings.seal, digest_key=ready.keyring.digest_key)
        async with ready.database.borrow() as connection:
            plan = await plan_changes(connection, file, gateways, now=datetime.now(UTC))
        if not arguments.json:
            _print(plan, language, is_applied=False)
        return plan
    confirmed: set[str] = set()

    def accept(plan: Plan) -> None:
        if not arguments.yes and any(each.reason not in confirmed for each in plan.warnings):
            raise NotConfirmed(plan)

    while True:
        try:
            plan = await _applied(ready, arguments.file, arguments.by, accept)
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
                return None
            confirmed = {each.reason for each in asked.plan.warnings}
            continue
        if not arguments.json:
            _print(plan, language, is_applied=True)
        return plan


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
