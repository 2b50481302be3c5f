"""portal1400 check: asks settings, database, book, accounts and the workers that run; one line per problem."""

import argparse
import json
from dataclasses import dataclass, field

import asyncpg

from campaigns.book.store import load_book
from campaigns.schema.migrate import pending, shipped_migrations
from service.catalog.account_rows import load_account_rows
from service.catalog.accounts import load_accounts
from service.commands.opening import opened
from service.commands.running import Running, running_workers
from service.live.high_water import why_refused
from service.operations.file_systems import mounted, unfit
from service.postgres.database import Database
from service.postgres.failover import unconfirmed
from service.postgres.inspection import inspect
from service.runtime.environment import process_environment
from service.runtime.keyring import Keyring
from service.runtime.refusals import Refused
from service.runtime.settings import Settings, read_settings
from service.runtime.supervisor import WORKERS_MAX


@dataclass
class Report:
    """What was found. `problems` make the exit code 1; `warnings` are no reason to hold a restart back."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    database: str | None = None
    book_version: int | None = None
    """None, as the two below, where the book was not looked at."""
    campaigns: int | None = None
    accounts: int | None = None
    workers: int = 0
    pending_migrations: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--workers",
        metavar="N",
        type=int,
        choices=range(1, WORKERS_MAX + 1),
        help="how many workers of this machine the connections must suffice for (default: those that run, else 1)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Print every problem; 1 when there is one. What cannot even be opened is refused by name."""
    report = Report()
    try:
        await _look(read_settings(), arguments.workers, report)
    except Refused as refused:
        if not arguments.json:
            raise
        report.problems.extend(refused.problems)
    if arguments.json:
        print(json.dumps({"good": not report.problems} | vars(report), ensure_ascii=False))
        return 1 if report.problems else 0
    for warning in report.warnings:
        print(f"warning: {warning}")
    for problem in report.problems:
        print(problem)
    if report.problems:
        return 1
    ran = f", {report.workers} running worker(s)" if report.workers else ""
    book = (
        "book and accounts not looked at"
        if report.book_version is None
        else f"book version {report.book_version} with {report.campaigns} campaign(s), {report.accounts} account(s)"
    )
    warned = len(report.warnings)
    # A database whose disk is full warns through its workers: that is not to be read as a good night.
    verdict = f"no reason against a start, but {warned} warning(s) above" if warned else "good"
    print(f"{verdict}: {report.database}; {book}{ran}")
    return 0


async def _look(settings: Settings, workers: int | None, report: Report) -> None:
    running = await running_workers(settings)
    report.workers = len(running)
    if (warning := unfit(settings.data_dir, mounted())) is not None:
        report.warnings.append(warning)
    async with opened(settings, may_migrate=False, may_be_behind=settings.migrate_on_start) as ready:
        report.database = ready.database.description
        if ready.kind != "live":
            report.problems.append("database: it was made by `portal1400 demo`; serve refuses it")
        found = await inspect(ready.database, workers or len(running) or 1, settings.writers)
        report.problems.extend(found.problems)
        report.warnings.extend(found.warnings)
        await _look_inside(ready.database, ready.keyring, report, settings)
    hear(running, report)


async def _look_inside(database: Database, keyring: Keyring, report: Report, settings: Settings) -> None:
    async with database.borrow() as connection:
        if (warning := await unconfirmed(database.servers, connection)) is not None:
            # No problem of ours, and no reason to hold a restart back: without its standbys a primary goes on alone.
            report.warnings.append(warning)
        waiting = await pending(connection)
        report.pending_migrations = [migration.name for migration in waiting]
        if waiting:
            is_new = len(waiting) == len(shipped_migrations())
            has_way_back = is_new or all(migration.is_additive for migration in waiting)
            then = "" if has_way_back else "; a release without them does not start from then on"
            report.warnings.append(
                f"database: {len(report.pending_migrations)} migration(s) are pending, first "
                f"{report.pending_migrations[0]}: `serve`, `apply` or `migrate`, whichever comes first, applies "
                f"them{then}; book and accounts were not looked at"
            )
            return
        if await keyring.find_kind(connection) is not None:
            report.problems.extend(await why_refused(settings.data_dir, connection))
        await _look_at_book(connection, keyring, report, settings)


async def _look_at_book(connection: asyncpg.Connection, keyring: Keyring, report: Report, settings: Settings) -> None:
    book = await load_book(connection)
    accounts = load_accounts(await load_account_rows(connection), keyring.settings.unseal, process_environment())
    report.book_version, report.campaigns = book.version, len(book.campaigns)
    report.accounts = len(accounts.by_code)
    report.problems.extend(accounts.problems)
    report.warnings.extend(accounts.warnings)
    enabled = [account for account in accounts.by_code.values() if account.enabled]
    report.warnings.extend(
        f"gateway {account.code} is a test account: nothing that it sends is counted"
        for account in enabled
        if account.is_test
    )
    if not (settings.trusted_proxies and settings.client_certificate_header):
        report.problems.extend(
            f"gateway {account.code}: it pins client certificates, and none is believed; set "
            "PORTAL1400_TRUSTED_PROXIES and PORTAL1400_CLIENT_CERTIFICATE_HEADER"
            for account in enabled
            if account.gateway.settings.client_certificates
        )
    if book.campaigns and all(account.is_test for account in enabled):
        report.problems.append("accounts: the book has campaigns, but no enabled gateway could deliver to them")


def hear(running: list[Running], report: Report) -> None:
    """What the workers say of themselves. A secret of a file that they have not read is seen by them alone."""
    for worker in running:
        who = f"running worker {worker.index}"
        if worker.is_silent:
            report.problems.append(f"{who}: it listens and does not answer; it hangs, or is being replaced")
            continue
        if not worker.is_ready:
            report.problems.append(f"{who}: it does not take callbacks")
        if report.book_version is not None and 0 < worker.book_version < report.book_version:
            report.problems.append(
                f"{who}: it reads by book version {worker.book_version}, and the database has {report.book_version}"
            )
        report.warnings.extend(f"{who}: {each}" for each in worker.degraded)
