"""portal1400 conformance ACCOUNT: plays the carrier of a test account against a running service, case by case."""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from campaigns.book.book import Book, CampaignState, Grammar, Route
from campaigns.book.store import load_book
from campaigns.gifts.test_mode import select_arrivals
from gateways.registry import SENDERS
from service.catalog.account_rows import AccountRow
from service.catalog.accounts import LoadedAccount, load_accounts
from service.commands.opening import CommandRefused, Opened, opened, require_account
from service.commands.printing import visible
from service.operations.conformance_runs import ConformanceRun, record
from service.runtime.environment import process_environment
from service.runtime.settings import HostPort, Settings, read_settings
from service.simulator.conformance.carrier import Arrival, Witness
from service.simulator.conformance.cases import CASES
from service.simulator.conformance.report import CaseResult, Report
from service.simulator.conformance.run import conformance
from service.simulator.links import NO_PROOF, link_of

CLOCKS_DIFFER = timedelta(minutes=5)
"""The service's clock may be so far behind this machine's."""
GROUPS = tuple(dict.fromkeys(case.group for case in CASES))
EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- what is asked for there is ourselves
PREFERRED = (Grammar.UNITS, Grammar.THOUSANDS, Grammar.FIXED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("account", metavar="ACCOUNT", help="a gateway with `test = true`")
    parser.add_argument("--target", metavar="URL", help="the public listener (default: this machine's)")
    parser.add_argument("--only", metavar="GROUP", choices=GROUPS, help=f"one of {', '.join(GROUPS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit's XML to FILE as well")


async def run(arguments: argparse.Namespace) -> int:
    """Print each case as it ends; 0 where none failed."""
    settings = read_settings()
    target = _target(arguments.target, settings)
    async with opened(settings, may_migrate=False) as ready, ready.database.borrow() as connection:
        report = await played(
            connection, ready, arguments.account, target, only=arguments.only, quietly=arguments.json
        )
    if arguments.only is None:
        await asyncio.to_thread(_remember, settings.data_dir.expanduser(), report)
    if arguments.junit is not None:
        await asyncio.to_thread(_write, arguments.junit, report.junit())
    print(visible(json.dumps(report.document(), ensure_ascii=False)) if arguments.json else report.summary())
    return 0 if report.is_right else 1


async def played(
    connection: asyncpg.Connection,
    ready: Opened,
    code: str,
    target: str,
    *,
    only: str | None = None,
    quietly: bool = True,
) -> Report:
    """Play the account `code`, all cases or one group. Raises CommandRefused where it is none that may be played."""
    rows = await require_account(connection, code)
    account = playable(rows, ready, process_environment(), code)
    route = open_route(await load_book(connection), datetime.now(UTC))
    return await conformance(
        target,
        link_of(account.code, account.adapter, account.carrier, account.gateway.settings),
        route,
        witness=witness_of(connection, account.id),
        cases=[case for case in CASES if only in (None, case.group)],
        progress=None if quietly else _tell,
    )


def playable(rows: Mapping[str, AccountRow], ready: Opened, environ: Mapping[str, str], code: str) -> LoadedAccount:
    """The account, if it is for tests and its secrets can be had here. Raises CommandRefused."""
    account = load_accounts(rows.values(), ready.keyring.settings.unseal, environ).by_code.get(code)
    if account is None:
        raise CommandRefused(f"{code} speaks a protocol that this version does not: upgrade it")
    if not account.is_test:
        raise CommandRefused(
            f"{code} is no test account: what the kit sends would be money. Write `test = true` into its "
            "[[gateway]], or better a second [[gateway]] with other secrets for it, and apply the file"
        )
    if account.problem is not None:
        raise CommandRefused(f"gateway {code}: {account.problem}")
    if not SENDERS[account.adapter](code, account.gateway.settings).holds_proof:
        raise CommandRefused(f"gateway {code} cannot be played: {NO_PROOF}")
    return account


def open_route(book: Book, now: datetime) -> Route:
    """Where a text counts now, one with units where there is one. Raises CommandRefused."""
    routes = [
        route
        for campaign in book.campaigns
        if campaign.state_at(now) is CampaignState.OPEN
        for route in campaign.routes
    ]
    if not routes:
        raise CommandRefused("no campaign is open now, so no text can be read as counted: apply one that is")
    return min(routes, key=lambda route: PREFERRED.index(route.grammar))


def witness_of(connection: asyncpg.Connection, account_id: int) -> Witness:
    """What the service has stored of the account since it was asked last, at first in the last minutes."""
    since, known = datetime.now(UTC) - CLOCKS_DIFFER, set[UUID]()

    async def witness() -> Sequence[Arrival]:
        rows = await select_arrivals(connection, account_id, since, known)
        known.update(row["id"] for row in rows)
        return [
            Arrival(row["native_id"], row["outcome"], row["reading"], row["units"], row["amount_vnd"]) for row in rows
        ]

    return witness


def _target(given: str | None, settings: Settings) -> str:
    if given is None:
        listen = settings.listen
        return f"http://{HostPort(host=EVERY_INTERFACE.get(listen.host, listen.host), port=listen.port)}"
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise CommandRefused("--target is no address: write it like http://127.0.0.1:1400")
    return given


def _tell(case: CaseResult) -> None:
    for line in case.lines():
        print(visible(line), flush=True)


def _remember(data_dir: Path, report: Report) -> None:
    """For `preflight`. Without it the run is what it is."""
    run = ConformanceRun(
        account=report.account,
        protocol=report.protocol,
        at=int(datetime.now(UTC).timestamp()),
        is_right=report.is_right,
        passed=report.count("passed"),
        failed=report.count("failed"),
    )
    with suppress(OSError):
        record(data_dir, run)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandRefused(f"{path} cannot be written: {error.strerror}") from None
