"""The catalog: the book and the accounts that a worker reads by, loaded together and replaced whole."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from campaigns.book.book import Book
from campaigns.book.store import load_book
from gateways.gateway import Gateway
from gateways.registry import ADAPTERS, decoy
from metrics.families.intake import UNKNOWN_ACCOUNT
from metrics.instruments import Instruments
from service.catalog.account_rows import AccountRow, load_account_rows
from service.catalog.accounts import LoadedAccount, LoadedAccounts, load_accounts
from service.catalog.last_good import LastGood, keep_last_good, last_good_of
from service.runtime.addresses import Address, Network
from service.runtime.clock import Clock, utc_now
from service.runtime.environment import EnvironmentFileRefused, with_environment_file
from service.runtime.keyring import Keyring

log = structlog.get_logger("catalog")

PEERS_REMEMBERED_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Party:
    """Who posts to an address: the gateway that answers, and the account behind it where there is one.

    Made once for each account and protocol, and looked up once for each callback. Without an account the gateway is
    a stand-in that refuses all alike, the label is the one for accounts that we do not have, and `fault` says for the
    log why there is none.
    """

    label: str
    adapter: str
    gateway: Gateway[Any]
    account: LoadedAccount | None
    fault: str = ""

    @property
    def is_test(self) -> bool:
        """Whether it is a test account."""
        return self.account is not None and self.account.is_test


class Catalog:
    """One book version and the accounts as of it. Whoever reads both without awaiting sees them of one moment."""

    def __init__(
        self,
        kind: str,
        data_dir: Path,
        keyring: Keyring,
        instruments: Instruments,
        environ: Mapping[str, str],
        clock: Clock = utc_now,
    ) -> None:
        """`kind` is kept with the last good copy in `data_dir`.

        `environ` resolves the secrets that stand there, or in the file that it names; `clock` tells whose time it is.
        """
        self._clock = clock
        self._changes_at: datetime | None = None
        self._kind = kind
        self._data_dir = data_dir
        self._keyring = keyring
        self._instruments = instruments
        self._environ = environ
        self._resolving: Mapping[str, str] = environ
        self._is_environment_read = True
        """What secrets were last looked up in: with the environment file as it was when it could be read."""
        self._rows: list[AccountRow] = []
        self._changing = asyncio.Lock()
        self._strangers = {
            name: Party(UNKNOWN_ACCOUNT, name, decoy(name), None, "unknown account") for name in ADAPTERS
        }
        self._parties: dict[tuple[str, str], Party] = {}
        self.book = Book(0, ())
        self.accounts = LoadedAccounts({}, ())
        self.path_secrets: frozenset[str] = frozenset()
        """Of all accounts: what must not be logged where it stands in the wrong place of an address."""
        self._networks: tuple[Network, ...] = ()
        self._listed: dict[Address, bool] = {}
        """What was asked of `_networks`: few senders, many callbacks."""
        self.codes: dict[int, str] = {}
        """The code of each account, by its id."""

    def resolve(self, adapter: str, code: str) -> Party:
        """Who posts to this address. Raises KeyError for a protocol we do not speak."""
        if self._changes_at is not None and self._clock() >= self._changes_at:
            # A secret begins or ends to be right with this very callback. Nothing else waits for such a moment.
            self._replace(self.book, self._rows, self._bound(self._rows))
        return self._parties.get((adapter, code)) or self._strangers[adapter]

    def stranger(self, adapter: str) -> Party:
        """Whom an account that cannot serve looks like to those who cannot pass its factors."""
        return self._strangers[adapter]

    def is_listed(self, peer: Address) -> bool:
        """Whether `peer` lies in the networks of an account; one that lists everybody knows nobody."""
        known = self._listed.get(peer)
        if known is None:
            if len(self._listed) >= PEERS_REMEMBERED_MAX:
                self._listed.clear()
            known = self._listed[peer] = any(peer in network for network in self._networks)
        return known

    async def load(self, connection: asyncpg.Connection) -> int:
        """Take over the newest book and accounts, and keep them for a start without the database.

        Returns the book's version.
        """
        async with self._changing:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                book = await load_book(connection)
                rows = await load_account_rows(connection)
            self._replace(book, rows, await asyncio.to_thread(self._bound, rows))
        copy = last_good_of(self._kind, book, rows)
        try:
            await asyncio.to_thread(keep_last_good, self._data_dir, self._keyring.local, copy)
        except OSError as error:
            log.warning("last_good_copy_not_kept", reason=error.strerror)
        return book.version

    def take_over(self, copy: LastGood) -> None:
        """Begin with what was kept: the database is away."""
        self._replace(copy.book, copy.accounts, self._bound(copy.accounts))

    async def reread_secrets(self) -> bool:
        """Look up again what accounts refer to: the environment file and files. Callbacks go on meanwhile.

        False where the environment file was refused: its former variables stay.
        """
        async with self._changing:
            self._replace(self.book, self._rows, await asyncio.to_thread(self._bound, self._rows))
            return self._is_environment_read

    def troubles(self) -> list[str]:
        """What accounts lack, by their codes and the names of variables and files."""
        return [*self.accounts.problems, *self.accounts.warnings]

    def _bound(self, rows: Iterable[AccountRow]) -> LoadedAccounts:
        """The accounts of `rows` with their secrets as they are now. Reads files."""
        try:
            self._resolving = with_environment_file(self._environ)
            self._is_environment_read = True
        except EnvironmentFileRefused as refused:
            # Somebody writes it at this moment, or made a mistake: what was read last is still right.
            log.error("environment_file_refused", reason=str(refused))
            self._is_environment_read = False
        return load_accounts(rows, self._keyring.settings.unseal, self._resolving, self._clock())

    def _replace(self, book: Book, rows: Iterable[AccountRow], accounts: LoadedAccounts) -> None:
        self._rows = list(rows)
        self._instruments.intake.know_accounts(accounts.by_code)
        for account in accounts.by_code.values():
            self._instruments.catalog.see_account(
                account.code,
                is_enabled=account.enabled,
                is_usable=account.is_usable,
                is_test=account.is_test,
                secrets_missing=len(account.missing) + len(account.left_out),
            )
        self._instruments.replies.know_replies(
            code for code, each in accounts.by_code.items() if each.replier is not None
        )
        self._instruments.know_campaigns(campaign.slug for campaign in book.campaigns)
        self.book, self.accounts = book, accounts
        self._changes_at = accounts.changes_at
        self.codes = {account.id: account.code for account in accounts.by_code.values()}
        self.path_secrets = frozenset(
            secret for account in accounts.by_code.values() for secret in account.gateway.settings.path_secret
        )
        self._listed = {}
        self._networks = tuple(
            {
                network: None
                for account in accounts.by_code.values()
                for network in account.gateway.account.networks
                if network.prefixlen
            }
        )
        # Who is refused for these reasons is answered as everybody without an account is.
        refused = {
            (name, account.code): "account disabled" if name == account.adapter else "account of another protocol"
            for account in accounts.by_code.values()
            for name in self._strangers
        }
        self._parties = {
            key: replace(self._strangers[key[0]], fault=f"{fault} ({key[1]})") for key, fault in refused.items()
        } | {
            (account.adapter, account.code): Party(account.code, account.adapter, account.gateway, account)
            for account in accounts.by_code.values()
            if account.enabled
        }
        for problem in accounts.problems:
            log.warning("account_not_usable", reason=problem)
        for warning in accounts.warnings:
            log.warning("account_secret_wanting", reason=warning)
        log.info("book_loaded", version=book.version, campaigns=len(book.campaigns), accounts=len(accounts.by_code))
