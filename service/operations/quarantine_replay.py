"""Quarantined callbacks, read again by today's parser, secrets and book, and stored as the intake stores.

What a person mended (a secret, a parser) is all that differs: a callback keeps its time of arrival, which decides
window, minute and the age of a signature; the keys of its events decide whether it counts. Its sender was answered
when it came, and is told nothing. A message that is stored so is flagged `from_quarantine`.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from uuid import UUID

import asyncpg

from campaigns.book.book import Book
from campaigns.book.store import load_book
from campaigns.gifts.event_rows import MessageRow
from campaigns.gifts.messages import ReadByOldBook
from campaigns.gifts.quarantined import (
    DONE,
    Actor,
    Quarantined,
    Replayed,
    Sums,
    hold,
    record_replayed,
    select_elsewhere,
    select_sealed,
)
from campaigns.schema.partitions import make_partitions
from campaigns.totals.slots import take_slot
from gateways.callback import Callback
from gateways.events import Event
from gateways.gateway import (
    CLIENT_CERTIFICATE_FAILED,
    PATH_SECRET_FAILED,
    CredentialsAbsent,
    MalformedCallback,
    Rejected,
)
from gateways.outcome import Outcome
from service.catalog.account_rows import load_account_rows
from service.catalog.accounts import LoadedAccount, load_accounts
from service.intake.batch import BatchChanges, store_batch
from service.intake.entry import Entry
from service.intake.intake import WORST_FIRST
from service.intake.packing import unpack_callback
from service.intake.quarantine import NO_EVENT, UNSTORABLE
from service.intake.row_builder import RowBuilder
from service.intake.writer import RETRIES_MAX, Verdict, verdict_on
from service.operations.event_groups import Name, grouped, is_unnamed, names_in, owners_of
from service.postgres.data_keys import DataKeys
from service.postgres.database import Database
from service.runtime.environment import process_environment
from service.runtime.keyring import Keyring, SealBroken
from service.runtime.refusals import Refused

FLAG = "from_quarantine"
REFUSED = "refused"
"""Not read at all; `found` says what to do. Leaves no act."""
NOTHING_IN_IT = "no_event"
NOBODY = ip_address("0.0.0.0")  # noqa: S104 -- an address is not kept: that its network was listed is
REHEARSAL_SECONDS_MAX = 0.5
"""What is rehearsed together is one transaction, and live callbacks of its account may wait for it."""
STATEMENT_SECONDS = 0.5
"""No live callback waits longer for a statement of a replay."""


@dataclass(slots=True)
class Today:
    """The newest book, and the accounts with their secrets as they are now, by id."""

    book: Book
    accounts: Mapping[int, LoadedAccount]


async def load_today(connection: asyncpg.Connection, keyring: Keyring) -> Today:
    """Book and accounts. Raises EnvironmentFileRefused."""
    rows = await load_account_rows(connection)
    loaded = load_accounts(rows, keyring.settings.unseal, process_environment())
    return Today(await load_book(connection), {each.id: each for each in loaded.by_code.values()})


class ReplayRefused(Refused):
    """The callback cannot be opened or judged; the sentence says what to do."""


class _Unauthenticated(Exception):
    """A factor that was kept still fails."""


class QuarantineReplay:
    """Replays over one connection, in a roll-up slot of its own."""

    def __init__(
        self, connection: asyncpg.Connection, database: Database, keyring: Keyring, today: Today, slot: int
    ) -> None:
        """`connection` owns `slot`; `open` makes both."""
        self._connection = connection
        self._keyring = keyring
        self._today = today
        self._slot = slot
        self._rows = RowBuilder(today, keyring, DataKeys(database, keyring))

    @classmethod
    async def open(cls, connection: asyncpg.Connection, database: Database, keyring: Keyring) -> "QuarantineReplay":
        """Over a connection that nobody else uses."""
        today = await load_today(connection, keyring)
        return cls(connection, database, keyring, today, await take_slot(connection, 0))

    async def replay(self, row: Quarantined, who: Actor, *, is_source_trusted: bool = False) -> Replayed:
        """One callback, in one transaction with the record of this act."""
        await self._make_partition(row)
        async with self._connection.transaction():
            return await self._replay(row, who, is_source_trusted=is_source_trusted)

    async def rehearse(self, rows: Sequence[Quarantined], *, is_source_trusted: bool = False) -> list[Replayed]:
        """What `replay` of all of them, in this order, would do; nothing of it stays.

        What has nothing to do with one another is tried apart, each in a transaction that is rolled back: live
        callbacks wait for its locks no longer than for those of a replay. Left out is what of such a group did not
        fit into REHEARSAL_SECONDS_MAX.
        """
        for row in {each.day: each for each in rows}.values():
            await self._make_partition(row)
        ended: dict[UUID, Replayed] = {}
        for group in await self._groups(rows, is_source_trusted=is_source_trusted):
            rehearsal = self._connection.transaction()
            await rehearsal.start()
            began = time.monotonic()
            try:
                for row in group:
                    ended[row.id] = await self._replay(row, Actor("rehearsal"), is_source_trusted=is_source_trusted)
                    if time.monotonic() - began > REHEARSAL_SECONDS_MAX:
                        break
            finally:
                await rehearsal.rollback()
        return [ended[row.id] for row in rows if row.id in ended]

    async def _groups(self, rows: Sequence[Quarantined], *, is_source_trusted: bool) -> list[list[Quarantined]]:
        named: list[tuple[Quarantined, set[Name]]] = []
        # Two messages of one donor may want the same charge, which may be stored already.
        by_number = {account.id for account in self._today.accounts.values() if account.counts_on_report}
        for row in rows:
            events: Sequence[Event] = ()
            # Why it cannot be read is told when it is tried.
            with suppress(ReplayRefused, _Unauthenticated, MalformedCallback):
                sealed = await select_sealed(self._connection, row.id)
                _, _, events = await self._parsed(row, sealed, is_source_trusted=is_source_trusted)
            account = self._today.accounts.get(row.account_id or 0)
            # What it names may be another account's.
            account_id = account.events_id if account is not None else 0
            named.append((row, names_in(account_id, events)))
            if any(map(is_unnamed, events)):
                by_number.add(account_id)
        ties = await owners_of(self._connection, {name for _, names in named for name in names})
        return grouped(named, ties, frozenset(by_number))

    async def _make_partition(self, row: Quarantined) -> None:
        # Its day may be over for long: then its raw callback is dropped with the next old day.
        await make_partitions(self._connection, row.day, days=1)

    async def _replay(self, row: Quarantined, who: Actor, *, is_source_trusted: bool) -> Replayed:
        sealed = await hold(self._connection, row.id)
        if sealed is None:
            return Replayed(row, DONE, "it was replayed before")
        try:
            account, callback, events = await self._parsed(row, sealed, is_source_trusted=is_source_trusted)
            ended = await self._stored(row, account, callback, events, is_source_trusted=is_source_trusted)
        except ReplayRefused as refused:
            return Replayed(row, REFUSED, str(refused))
        except _Unauthenticated as unauthenticated:
            ended = Replayed(row, Outcome.UNAUTHENTICATED.value, str(unauthenticated))
        except MalformedCallback as malformed:
            ended = Replayed(row, Outcome.MALFORMED.value, malformed.reason)
        await record_replayed(
            self._connection, row.id, who, outcome=ended.outcome, found=ended.found, is_stored=ended.is_stored,
            is_source_trusted=is_source_trusted,
        )  # fmt: skip
        return ended

    def _account_of(self, row: Quarantined) -> LoadedAccount:
        account = self._today.accounts.get(row.account_id or 0)
        if account is None or account.adapter != row.adapter:
            raise ReplayRefused(f"the account it came to is not in this database, or no longer speaks {row.adapter}")
        if not account.is_usable:
            raise ReplayRefused(f"account {account.code} cannot serve: {account.problem}; see that to it first")
        return account

    async def opened(self, row: Quarantined, sealed: bytes) -> Callback:
        """The callback in clear."""
        if not sealed:
            raise ReplayRefused("what it said was erased at a person's request")
        sealer = self._keyring.day(row.day) or await self._keyring.find_day(self._connection, row.day)
        if sealer is None:
            raise ReplayRefused(f"the key of {row.day} was destroyed, and with it what this callback said")
        try:
            return unpack_callback(sealer.unseal(sealed, b"quarantine.sealed:" + row.id.bytes), NOBODY, row.id)
        except SealBroken:
            raise ReplayRefused("it does not open: it was changed, or moved from another row") from None

    async def _parsed(
        self, row: Quarantined, sealed: bytes, *, is_source_trusted: bool
    ) -> tuple[LoadedAccount, Callback, Sequence[Event]]:
        """Whose it is and what it says. Raises ReplayRefused, _Unauthenticated, MalformedCallback."""
        account = self._account_of(row)
        callback = await self.opened(row, sealed)
        if row.outcome == Outcome.UNAUTHENTICATED:
            _require_sender(account, callback, row, is_source_trusted=is_source_trusted)
        return account, callback, account.gateway.parse(callback, self._keyring.digest_key)

    async def _stored(
        self,
        row: Quarantined,
        account: LoadedAccount,
        callback: Callback,
        events: Sequence[Event],
        *,
        is_source_trusted: bool,
    ) -> Replayed:
        """Read and stored, as the intake does it."""
        if not events:
            # A question or a trial. By other settings it may have been more: whoever has changed them sees to it.
            return Replayed(row, NOTHING_IN_IT, NO_EVENT)
        for attempt in range(RETRIES_MAX + 1):
            entry = await self._rows.build(account, callback, events, doubts=(FLAG,))
            if not is_source_trusted:
                await self._require_nowhere_else(entry)
            try:
                results, changes = await store_batch(
                    self._connection, self._slot, [entry], statement_seconds=STATEMENT_SECONDS
                )
            except ReadByOldBook:
                self._today.book = await load_book(self._connection)
            except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError):
                continue
            except Exception as error:
                verdict = verdict_on(error)
                if verdict in (Verdict.AGAIN, Verdict.TWICE) and attempt < RETRIES_MAX:
                    continue
                if verdict not in (Verdict.DATA, Verdict.TWICE):
                    raise
                return Replayed(row, UNSTORABLE, "the database refuses what is in it: report it as a bug")
            else:
                outcomes = {entry.outcome(place, result) for place, result in enumerate(results[0])}
                outcome = min(outcomes, key=WORST_FIRST.index)
                counted = _counted(self._today.book, account, changes)
                return Replayed(row, outcome.value, _readings(entry, events), is_stored=True, counted=counted)
        raise ReplayRefused("it was not stored in time: the database is busy, or the book changes; replay it again")

    async def _require_nowhere_else(self, entry: Entry) -> None:
        """Raises ReplayRefused where a message of it is stored already, as it was sent again over another account."""
        messages = [row for row in entry.rows if isinstance(row, MessageRow)]
        found = await select_elsewhere(self._connection, messages)
        if found:
            raise ReplayRefused(
                f"account {found} has a message of the same id, number and short code, or one whose number was "
                "erased: it was probably sent again there and counts; if the carrier says that they are two, replay "
                "it with --trust-source, --by and --reason-text"
            )


@asynccontextmanager
async def replaying(
    database: Database, keyring: Keyring, name: str
) -> AsyncIterator[tuple[asyncpg.Connection, QuarantineReplay]]:
    """A connection of one's own, called `name` in the server's list, and the replay over it."""
    connection = await database.connect(name)
    try:
        yield connection, await QuarantineReplay.open(connection, database, keyring)
    finally:
        await connection.close()


def _require_sender(account: LoadedAccount, callback: Callback, row: Quarantined, *, is_source_trusted: bool) -> None:
    """Every factor as of then, by today's secrets. That its address was listed is why it was kept.

    A path secret, a client certificate and HTTP credentials are not kept, so that nobody can check them again: then
    somebody has to answer for the sender. Raises ReplayRefused, _Unauthenticated.
    """
    settings = account.gateway.settings
    not_kept = {PATH_SECRET_FAILED: settings.path_secret, CLIENT_CERTIFICATE_FAILED: settings.client_certificates}
    factors = row.reason.split(", ")
    missing = [name for name, asked in not_kept.items() if asked and any(each.startswith(name) for each in factors)]
    try:
        account.gateway.verify(callback)
    except CredentialsAbsent:
        missing.append("HTTP credentials")
    except Rejected as rejected:
        raise _Unauthenticated(rejected.reason) from None
    if missing and not is_source_trusted:
        raise ReplayRefused(
            f"not kept, and not right when it came: {' and '.join(missing)}; ask the carrier whether it sent this, "
            "then replay it with --trust-source, --by and --reason-text"
        )


def _readings(entry: Entry, events: Sequence[Event]) -> str:
    readings = Counter(row.reading for row in entry.rows if isinstance(row, MessageRow))
    reports = len(events) - readings.total()
    counts = [f"{reading} {count}" for reading, count in sorted(readings.items())]
    return ", ".join([*counts, *([f"reports {reports}"] if reports else [])])


def _counted(book: Book, account: LoadedAccount, changes: BatchChanges) -> dict[str, Sums]:
    """What a batch of one callback adds to totals: its messages' own money, and the lines of what was joined."""
    sums: dict[str, Sums] = {}

    def add(campaign_id: int, messages: int, units: int, vnd: int) -> None:
        campaign = book.by_id.get(campaign_id)
        slug = campaign.slug if campaign is not None else str(campaign_id)
        sums[slug] = sums.get(slug, Sums()).plus(messages, units, vnd)

    for message in changes.messages:
        is_money = message.units is not None and message.amount_vnd is not None and message.campaign_id is not None
        if is_money and not account.counts_on_report:
            add(message.campaign_id or 0, 1, message.units or 0, message.amount_vnd or 0)
    for line in changes.lines:
        add(line.campaign_id, line.messages, line.units, line.vnd)
    return sums
