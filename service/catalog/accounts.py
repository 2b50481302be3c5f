"""Gateway accounts as they serve: the stored rows, bound to their protocols, secrets resolved."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from campaigns.book.apply_entries import Charging
from campaigns.book.faults import faults
from gateways.account import COMMON_FACTORS, Account, AccountSettings
from gateways.callback import Callback
from gateways.gateway import Gateway, Rejected, is_any_of
from gateways.registry import ADAPTERS, REPLIERS, decoy
from gateways.replier import Replier
from service.catalog.account_rows import AccountRow
from service.catalog.account_secrets import Judge, Seal, resolved, unknowable
from service.catalog.account_tables import FACTORS_MIN, factors_of, settings_of
from service.runtime.addresses import network
from service.runtime.clock import utc_now

REPLY_SECRETS = frozenset({"reply_password"})
"""Secrets without which an account takes every callback as ever."""


@dataclass(frozen=True, slots=True)
class LoadedAccount:
    """An account bound to its protocol.

    With a `problem` it cannot serve: then `gateway` is good for answering alone, for in the places of missing
    secrets stand ones that nobody knows, and whom to answer `unavailable` is told by `knows`.
    """

    id: int
    code: str
    adapter: str
    carrier: str
    charging: Charging
    enabled: bool
    gateway: Gateway[Any]
    problem: str | None = None
    missing: frozenset[str] = frozenset()
    """The keys of which no secret can be had."""
    left_out: tuple[str, ...] = ()
    """What cannot be had of keys whose other secrets can: sentences."""
    warnings: tuple[str, ...] = ()
    """What else is to be mended: sentences."""
    is_test: bool = False
    """Whether what it sends is kept apart from every fact, and never is money."""
    changes_at: datetime | None = None
    """When the next of its secrets begins or ends to be right."""
    messages_id: int | None = None
    """The id of the account whose messages its charges are about, where they are not its own."""

    replier: Replier[Any] | None = None
    """Who hands our SMS to the hub; None where no call of ours carries them."""
    reply_problem: str | None = None
    """Why none can be sent now: they wait. It touches no callback."""

    @property
    def events_id(self) -> int:
        """The account under which charges and reversals are stored: that of their messages."""
        return self.id if self.messages_id is None else self.messages_id

    @property
    def is_usable(self) -> bool:
        """Whether callbacks can be opened."""
        return self.problem is None

    @property
    def counts_on_report(self) -> bool:
        """Whether a message counts only with its charge: by a report, or by a charged reply that a hub has taken."""
        return self.charging == "on_report" or (self.charging == "on_reply" and self.replier is not None)

    def knows(self, callback: Callback) -> bool:
        """Whether the sender passes every factor that can still be checked, of which there is at least one.

        To all others an account that cannot serve looks like one that does not exist.
        """
        account, settings = self.gateway.account, self.gateway.settings
        own_factors = settings.factors() - COMMON_FACTORS
        passes: list[bool] = []
        if account.networks:
            passes.append(account.lists(callback.peer))
        if settings.path_secret and "path_secret" not in self.missing:
            given = (callback.path_secret or "").encode("utf-8", "surrogatepass")
            passes.append(is_any_of(given, settings.path_secret))
        if settings.client_certificates:
            passes.append(self.gateway.is_client_known(callback))
        if own_factors and self.missing <= {"path_secret"}:
            passes.append(self._is_verified(callback))
        return bool(passes) and all(passes)

    def _is_verified(self, callback: Callback) -> bool:
        try:
            self.gateway.verify(callback)
        except Rejected:
            return False
        return True


@dataclass(frozen=True, slots=True)
class LoadedAccounts:
    """All accounts of an installation.

    For people, in sentences that name account and variable or file: `problems`, one for each account that cannot
    serve; `warnings`, what accounts that do serve lack.
    """

    by_code: Mapping[str, LoadedAccount]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def changes_at(self) -> datetime | None:
        """When the next secret of an account begins or ends to be right."""
        return min((each.changes_at for each in self.by_code.values() if each.changes_at is not None), default=None)


def load_accounts(
    rows: Iterable[AccountRow], unseal: Seal, environ: Mapping[str, str], now: datetime | None = None
) -> LoadedAccounts:
    """Bind `rows` to their protocols. Never raises for what a row holds: that is the account's `problem`.

    `unseal` takes sealed bytes and associated data; `environ` resolves `env:NAME`, and files are read. `now` is when
    secrets have to be right, by default at once.
    """
    now = now or utc_now()
    accounts: dict[str, LoadedAccount] = {}
    problems: list[str] = []
    warnings: list[str] = []
    rows = list(rows)
    by_code = {row.code: row for row in rows}
    for row in rows:
        if row.adapter not in ADAPTERS:
            problems.append(f"gateway {row.code}: adapter {row.adapter} is not one of this version; upgrade it")
            continue
        account = _among(_loaded(row, unseal, environ, now), by_code)
        accounts[row.code] = account
        if account.problem is not None and account.enabled:
            problems.append(f"gateway {row.code}: {account.problem}")
        if account.enabled:
            warnings += [f"gateway {row.code}: {each}; its other secrets are used" for each in account.left_out]
            warnings += [f"gateway {row.code}: {each}" for each in account.warnings]
    return LoadedAccounts(MappingProxyType(accounts), tuple(problems), tuple(warnings))


def _loaded(row: AccountRow, unseal: Seal, environ: Mapping[str, str], now: datetime) -> LoadedAccount:
    found = resolved(row.code, row.adapter, row.settings, unseal, environ, _judge(row), now)
    settings = _validated(row, found.values)
    # What only replies need keeps no callback out: they wait for it.
    wanting = {key: found.missing.pop(key) for key in sorted(found.missing.keys() & REPLY_SECRETS)}
    reply_problem = "; ".join(wanting.values()) or None
    if reply_problem is not None:
        found.warnings.append(f"replies wait: {reply_problem}")
    if settings is None:
        # Stored by another version, or broken by hand. A stand-in answers, and nothing but a network is known.
        names = ", ".join(found.missing.values()) or "its stored settings do not fit this version; apply them again"
        settings = decoy(row.adapter).settings
        problem, keys = names, frozenset({"path_secret", "settings"})
    else:
        problem, keys = "; ".join(found.missing.values()), frozenset(found.missing)
    if not problem and factors_of(row.networks, settings) < FACTORS_MIN:
        problem = "has fewer than two factors; apply it again with networks, path_secret or a secret"
    account = Account(row.code, row.carrier, tuple(network(each) for each in row.networks), settings)
    return LoadedAccount(
        row.id,
        row.code,
        row.adapter,
        row.carrier,
        row.charging,
        row.enabled or bool(row.test),
        ADAPTERS[row.adapter](account),
        problem or None,
        keys,
        tuple(found.left_out),
        tuple(found.warnings),
        is_test=_is_test(row),
        changes_at=found.changes_at,
        replier=_replier(row.adapter, settings),
        reply_problem=reply_problem,
    )


def _replier(adapter: str, settings: AccountSettings) -> Replier[Any] | None:
    replier = REPLIERS.get(adapter)
    return None if replier is None or getattr(settings, "reply_url", None) is None else replier(settings)


def _is_test(row: AccountRow) -> bool:
    # Enabled by a release that knows of no tests: its file did not say that it is one.
    return row.test is not None and not row.enabled


def _among(account: LoadedAccount, rows: Mapping[str, AccountRow]) -> LoadedAccount:
    """The account with the one whose messages its charges are about, if there is such a one.

    Where one of the two is for tests, so is what the charges report.
    """
    code = account.gateway.messages_of
    if code is None:
        return account
    if code in rows:
        return replace(account, messages_id=rows[code].id, is_test=account.is_test or _is_test(rows[code]))
    problem = f"messages_of names {code}, which is no account; apply that one too"
    return replace(account, problem=account.problem or problem)


def _validated(row: AccountRow, values: Mapping[str, Any]) -> AccountSettings | None:
    try:
        return settings_of(row.adapter, values)
    except ValidationError:
        return None


def _judge(row: AccountRow) -> Judge:
    """Whether one secret has the form of its key, whatever the account's other keys are."""
    secret_keys = ADAPTERS[row.adapter].settings_model.SECRET_KEYS
    others = dict(row.settings)
    for name in others.keys() & secret_keys:
        others[name] = _in_the_shape_of(others[name], unknowable(row.adapter, name))

    def judge(name: str, value: str) -> str | None:
        try:
            settings_of(row.adapter, others | {name: _in_the_shape_of(others[name], value)})
        except ValidationError as error:
            return next((reason for place, reason in faults(error) if place[:1] == (name,)), None)
        return None

    return judge


def _in_the_shape_of(stored: object, value: str) -> object:
    """One secret as it was written: alone, or in a list."""
    return [value] if isinstance(stored, list) else value
