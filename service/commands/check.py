"""portal1400 check: validates settings, database, book and accounts; one line per problem."""

import argparse

from campaigns.book.store import load_book
from service.catalog.accounts import load_account_rows, load_accounts
from service.commands.opening import opened
from service.commands.running import wanting
from service.postgres.failover import unconfirmed
from service.runtime.environment import process_environment
from service.runtime.settings import read_settings


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


async def run(_arguments: argparse.Namespace) -> int:
    """Print every problem; 1 when there is one. What cannot even be opened is refused by name before."""
    settings = read_settings()
    problems: list[str] = []
    async with opened(settings, may_migrate=False) as ready:
        if ready.kind != "live":
            problems.append("database: it was made by `portal1400 demo`; serve refuses it")
        async with ready.database.borrow() as connection:
            warning = await unconfirmed(ready.database.servers, connection)
            book = await load_book(connection)
            accounts = load_accounts(
                await load_account_rows(connection), ready.keyring.settings.unseal, process_environment()
            )
        problems.extend(accounts.problems)
        if book.campaigns and not any(account.enabled for account in accounts.by_code.values()):
            problems.append("accounts: the book has campaigns, but no enabled gateway could deliver to them")
    if warning is not None:
        # No problem of ours, and no reason to hold a restart back: with its standbys away a primary goes on alone.
        print(f"warning: {warning}")
    for each in (*accounts.warnings, *await wanting(settings)):
        print(f"warning: {each}")
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(
        f"good: {ready.database.description}; book version {book.version} with {len(book.campaigns)} campaign(s), "
        f"{len(accounts.by_code)} account(s)"
    )
    return 0
