"""The story of one callback: verify, parse, read, store with others, answer in the carrier's own words.

Nothing is answered before it is durable, and no exception leaves without an answer of the protocol.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

import structlog

from campaigns.gifts.event_rows import MessageRow
from campaigns.gifts.messages import ReadByOldBook
from campaigns.gifts.test_mode import DayFull
from gateways.callback import Callback
from gateways.gateway import CredentialsAbsent, MalformedCallback, Rejected, SignatureRejected
from gateways.outcome import Answer, FieldError, Outcome
from metrics.instruments import Instruments
from service.catalog.accounts import LoadedAccount
from service.catalog.catalog import Catalog, Party
from service.intake.bodies import LARGE_BYTES, Bodies, Sender
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.ending import Ending, Events, end, flags_of, forwarding, why
from service.intake.entry import Entry, EventResult, Fate, Row
from service.intake.explaining import explained
from service.intake.inspection import Inspection
from service.intake.limits import InFlight
from service.intake.packing import pack_answer, unpack_answer
from service.intake.quarantine import UNSTORABLE, Kept, Quarantine
from service.intake.replay import Replay
from service.intake.row_builder import NoDataKey, RowBuilder
from service.intake.spool_answers import keys_of
from service.intake.spool_file import SpoolRefused
from service.intake.trials import TrialsAway, TrialStore
from service.intake.turns import FairTurns
from service.intake.writer import DatabaseDown, QueueFull, Unstorable, Writer
from service.listeners.turned_away import Kind, TurnedAway, word
from service.runtime.garbage import CollectionByBytes
from service.runtime.logs import describe_failure

log = structlog.get_logger("intake")

Verified = Callable[[], None]
LOUD = frozenset({Outcome.CONFLICT, Outcome.MALFORMED, Outcome.OVERLOADED, Outcome.UNAVAILABLE})
"""Warnings: a gift that is not counted as its sender means it, or that may not come again."""
USUAL = frozenset({Outcome.ACCEPTED, Outcome.DUPLICATE})
"""Of these a sample may be logged: the metrics count them all."""
ANSWERED_ASIDE = frozenset({Kind.DESCRIPTION, Kind.PING, Kind.SENT_TO_PING, Kind.RECEIVED})
"""No callbacks at all: they have a count and a line of their own."""
REFUSED = frozenset({Outcome.UNAUTHENTICATED, Outcome.STALE})
BEFORE_PROOF = REFUSED | {Outcome.TOO_LARGE}
"""Who is answered so has not shown who he is, and learns nothing about the account."""
TEST_HEADER = ("x-portal1400-test", "true")
"""On every answer to a test account that has shown who it is."""
# The worst first: how a callback with several events is counted.
WORST_FIRST = (
    Outcome.CONFLICT, Outcome.REJECTED_POLICY, Outcome.UNALLOCATED, Outcome.ACCEPTED, Outcome.DUPLICATE,
)  # fmt: skip


class Intake:
    """Everything a callback passes, in order. One per worker."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        rows: RowBuilder,
        writer: Writer,
        digest_key: bytes,
        quarantine: Quarantine,
        replay: Replay,
        circuit: CircuitBreaker,
        instruments: Instruments,
        trials: TrialStore,
        queue_wait_seconds: float,
        account_callbacks_max: int,
        account_events_max: int,
        log_one_in: int = 1,
    ) -> None:
        """`log_one_in`: of the usual callbacks of an account, one in so many has a line, the first among them."""
        self._catalog = catalog
        self._rows = rows
        self._writer = writer
        self._digest_key = digest_key
        self._quarantine = quarantine
        self._replay = replay
        self._circuit = circuit
        self._instruments = instruments
        self._trials = trials
        self._queue_wait_seconds = queue_wait_seconds
        self._in_flight = InFlight(account_callbacks_max, account_events_max)
        self._turns = FairTurns()
        self.turned_away = TurnedAway(instruments, catalog.is_listed)
        self.inspection = Inspection()
        self.bodies = Bodies(CollectionByBytes().see)
        self._log_one_in = log_one_in
        self._usual: Counter[str] = Counter()
        # Bound once: a proxy would bind itself anew for every line.
        self._log = structlog.get_logger("intake").bind()

    def resolve(self, adapter: str, code: str) -> Party:
        """Who posts to this address; asked once for each callback."""
        return self._catalog.resolve(adapter, code)

    def stranger(self, adapter: str) -> Party:
        """Whom an account that cannot serve looks like to those who cannot pass its factors."""
        return self._catalog.stranger(adapter)

    def set_aside(self) -> dict[str, str]:
        """Accounts that nobody waits for: those for tests, and those that are stopped."""
        accounts = self._catalog.accounts.by_code.values()
        waited_for = {each.code for each in accounts if each.enabled and not each.is_test}
        return {each.code: "test" if each.is_test else "off" for each in accounts if each.code not in waited_for}

    def sender_of(self, party: Party, head: Callback) -> Sender:
        """Who posts, as far as a callback whose body is not read yet can tell."""
        is_expected = party.gateway.is_expected(head)
        return Sender(party.label, head.peer, is_stranger=party.account is None or not is_expected)

    async def take(
        self,
        party: Party,
        callback: Callback,
        *,
        sender: Sender | None = None,
        verified: Verified = lambda: None,
        tried: str = "",
    ) -> Answer:
        """One callback from bytes to answer. Counts it and writes its line in the log; raises nothing.

        `tried` is the account's code as the address has it; `sender` is who sent it, where that was asked already;
        `verified` is called when every factor has passed.
        """
        started = time.perf_counter()
        try:
            if len(callback.body) > LARGE_BYTES:
                await self._turns.wait(sender or self.sender_of(party, callback))
            ending = await self._open(party, callback, verified)
        except Exception as error:  # noqa: BLE001 -- the one place where a bug of ours becomes "later"
            log.error(
                "callback_failed", request=callback.request_id, account=party.label, adapter=party.adapter,
                **describe_failure(error),
            )  # fmt: skip
            ending = end(party.gateway, callback, Outcome.UNAVAILABLE, reason="internal error")
        if party.is_test and ending.aside is None and ending.outcome not in BEFORE_PROOF:
            ending.answer = replace(ending.answer, headers=(*ending.answer.headers, TEST_HEADER))
        self.finish(party, ending, time.perf_counter() - started, callback, tried)
        return ending.answer

    def refuse_for_now(self, party: Party, callback: Callback) -> Answer:
        """There is no room for its body: "later", in the protocol's words."""
        return self.refuse(
            party, callback, Outcome.OVERLOADED if party.gateway.sender_retries else Outcome.UNAVAILABLE
        )

    def refuse(self, party: Party, callback: Callback, outcome: Outcome) -> Answer:
        """An ending before the body was even read, such as too_large."""
        ending = end(party.gateway, callback, outcome)
        self.finish(party, ending, 0.0, callback)
        return ending.answer

    def safe(self, part: str) -> str:
        """A part of an address as the log may have it, also where a path secret stands in its place or within it."""
        # Encoded twice or in capitals it is as good as told.
        said = (part.casefold(), unquote(part).casefold())
        is_secret = any(secret.casefold() in each for secret in self._catalog.path_secrets for each in said)
        return "[a path secret]" if is_secret else word(part)

    def known(self, part: str) -> str:
        """A part of an address that may hold anything: as it stands where it is an account's code, else `?`."""
        return part if part in self._catalog.accounts.by_code else "?"

    def finish(self, party: Party, ending: Ending, seconds: float, callback: Callback, tried: str = "") -> None:
        """Count a callback and write its line, unless it is a usual one and not of the sample."""
        if self.inspection.codes and (tried or party.label) in self.inspection.codes:
            tell = partial(explained, party, callback, ending, seconds, self._catalog.book, self._digest_key)
            self.inspection.explain_soon(tried or party.label, tell)
        if ending.aside in ANSWERED_ASIDE:
            self.turned_away.see(
                ending.aside, callback.peer, callback.request_id, adapter=party.adapter, account=party.label,
                **({"fault": ending.reason} if ending.reason else {}),
            )  # fmt: skip
            return
        event = "callback"
        if ending.aside is Kind.CHALLENGED:
            # Written each time, as a refusal is: who is told to come again must not hear it sooner than strangers do.
            event = Kind.CHALLENGED.value
            self.turned_away.count(Kind.CHALLENGED, callback.peer, party.adapter)
        else:
            self._instruments.intake.count_callback(party.label, party.adapter, ending.outcome, seconds)
        more: dict[str, object] = {}
        if self._log_one_in > 1 and ending.outcome in USUAL and not party.is_test:
            self._usual[party.label] += 1
            if self._usual[party.label] % self._log_one_in != 1:
                return
            more = {"one_in": self._log_one_in}
        if ending.outcome in REFUSED:
            # A gateway's address is not personal, and the first thing that its engineer asks for.
            more |= {"peer": str(callback.peer), "forwarded": forwarding(callback)}
            if party.account is None:
                more["listed"] = self.turned_away.count(Kind.UNKNOWN_ACCOUNT, callback.peer, party.adapter)
                more["tried"] = self.safe(tried)
            else:
                more["listed"] = self.turned_away.is_listed(callback.peer)
        elif reading := ending.reading:
            more["reading"] = reading
        if party.is_test:
            more["test"] = True
        if ending.flags:
            more["flags"] = ", ".join(ending.flags)
        write = self._log.warning if ending.outcome in LOUD else self._log.info
        write(
            event, request=callback.request_id, account=party.label, adapter=party.adapter,
            outcome=ending.outcome, events=ending.events, status=ending.answer.status,
            milliseconds=round(seconds * 1000, 2), reason=ending.reason, **more,
        )  # fmt: skip

    async def _open(self, party: Party, callback: Callback, verified: Verified) -> Ending:
        gateway, account = party.gateway, party.account
        if account is not None and not account.is_usable:
            if account.knows(callback):
                return end(gateway, callback, Outcome.UNAVAILABLE, reason="account not usable")
            # To whoever cannot pass the other factors it looks like an account that does not exist.
            gateway, account = self.stranger(account.adapter).gateway, None
        try:
            if callback.method == "GET" and (document := gateway.describe(callback)) is not None:
                return Ending(Outcome.ACCEPTED, document, aside=Kind.DESCRIPTION)
            events = gateway.open(callback, self._digest_key)
        except SignatureRejected as rejected:
            ending = end(gateway, callback, rejected.outcome, reason=why(party, rejected.reason))
            if account is not None and gateway.challenges and isinstance(rejected, CredentialsAbsent):
                ending.aside = Kind.CHALLENGED
            elif account is not None and rejected.from_listed_network and not account.is_test:
                self._quarantine.keep_in_background(account, callback, rejected.outcome, rejected.reason)
            return ending
        except Rejected as rejected:
            errors: tuple[FieldError, ...] = ()
            if isinstance(rejected, MalformedCallback):
                errors = rejected.errors
                if account is not None:
                    verified()
                if account is not None and not await self._keep_for_a_person(account, callback, rejected.reason):
                    return end(gateway, callback, Outcome.UNAVAILABLE, reason="quarantine unavailable")
            return end(gateway, callback, rejected.outcome, reason=rejected.reason, errors=errors)
        if account is None:
            return end(gateway, callback, Outcome.UNAUTHENTICATED, reason=why(party, ""))
        verified()
        opened = Opened(account, callback, events)
        if not events:
            return self._nothing_to_store(opened)
        held = account.code, len(events), len(callback.body)
        if (refusal := self._in_flight.refusal(*held)) is not None:
            return await self._overloaded(opened, refusal)
        self._in_flight.add(*held)
        try:
            if not account.is_test:
                self._instruments.intake.see_callback(account.code, callback.received_at)
            self._replay.see_live()
            return await self._store(opened)
        finally:
            self._in_flight.remove(*held)

    def _nothing_to_store(self, opened: "Opened") -> Ending:
        """A question before a charge, or a trial: yes, unless what its sender does upon a yes could not be kept."""
        if not opened.account.is_test:
            self._instruments.intake.see_callback(opened.account.code, opened.callback.received_at)
        if not self._writer.connected and self._replay.own.refusal is not None:
            return opened.end(Outcome.UNAVAILABLE, reason="the database is away, and the spool takes nothing")
        return opened.end(Outcome.ACCEPTED, reason="carries no event")

    async def _store(self, opened: "Opened") -> Ending:
        account, callback, events = opened
        if not self._writer.connected:
            return await self._spool(opened, "the database is away")
        if not self._circuit.allows():
            return await self._spool(opened, "the database does not commit in time")
        try:
            entry = await self._rows.build(account, callback, events)
            if account.is_test:
                return _conclude(opened, entry, await self._trials.store(entry))
            if Outcome.REJECTED_POLICY in entry.outcomes and await self._replay.has_said_yes(
                opened.keys(self._digest_key)
            ):
                # Its sender was told yes in an outage: whoever sends it again hears what he heard.
                entry = await self._rows.build(account, callback, events, opened.accepted)
            results = await self._writer.store(entry, self._queue_wait_seconds)
        except NoDataKey:
            return await self._spool(opened, "the database is away")
        except TrialsAway as away:
            return await self._spool(opened, str(away))
        except DayFull:
            return opened.end(Outcome.UNAVAILABLE, reason="the account has sent as many tests today as are kept")
        except ReadByOldBook:
            # Something was taken back from the book this instant: the spool has it read again by the new one.
            return await self._spool(opened, "the book has changed")
        except QueueFull:
            return await self._overloaded(opened, "queue full")
        except DatabaseDown as down:
            self._circuit.open()
            return await self._spool(opened, str(down))
        except Unstorable as unstorable:
            if not await self._keep_for_a_person(account, callback, UNSTORABLE):
                return opened.end(Outcome.UNAVAILABLE, reason="quarantine unavailable")
            errors = (FieldError("event", "cannot be stored"),)
            return opened.end(Outcome.MALFORMED, reason=str(unstorable), errors=errors)
        return _conclude(opened, entry, results)

    async def _overloaded(self, opened: "Opened", reason: str) -> Ending:
        """More than we can take at once: only who really tries again may be sent away."""
        if opened.account.gateway.sender_retries:
            return opened.end(Outcome.OVERLOADED, reason=reason)
        return await self._spool(opened, reason)

    async def _spool(self, opened: "Opened", reason: str) -> Ending:
        """Acknowledge from the local log. Such an answer never refuses: the text was not read yet."""
        account = opened.account
        given, keys = None, []
        if account.gateway.answer_depends_on_reading:
            given = opened.accepted
        # What a test was told is nothing that a real message with its id may count on.
        if account.gateway.refuses_uncounted and not account.is_test:
            keys = opened.keys(self._digest_key)
        try:
            await self._replay.own.keep(account, opened.callback, given, keys)
        except SpoolRefused as refused:
            return opened.end(Outcome.UNAVAILABLE, reason=f"{reason}; {refused}")
        return opened.end(Outcome.ACCEPTED, reason=f"spooled: {reason}")

    async def _keep_for_a_person(self, account: LoadedAccount, callback: Callback, reason: str) -> bool:
        """Quarantine a verified callback; with the database away it waits for that in the spool.

        One of a test account is told in the log alone: nobody has to count it.
        """
        if account.is_test:
            return True
        kept = Kept.AWAY
        if self._writer.connected:
            kept = await self._quarantine.keep(account, callback, Outcome.MALFORMED, reason)
        if kept is not Kept.AWAY:
            return kept is Kept.YES
        try:
            await self._replay.own.keep(account, callback)
        except SpoolRefused:
            return False
        return True


class Opened(NamedTuple):
    """A callback that was verified and parsed: whose it is, and the events in it."""

    account: LoadedAccount
    callback: Callback
    events: Events

    @property
    def accepted(self) -> bytes:
        """The answer to an accepted callback, packed."""
        return pack_answer(self.end(Outcome.ACCEPTED).answer)

    def keys(self, digest_key: bytes) -> list[bytes]:
        """Its messages, as they stand in the lists of what spools said yes to."""
        return keys_of(self.account.id, self.events, digest_key)

    def end(
        self,
        outcome: Outcome,
        *,
        conflicts: tuple[int, ...] = (),
        errors: tuple[FieldError, ...] = (),
        reason: str = "",
        readings: tuple[str | None, ...] = (),
    ) -> Ending:
        """The ending with this outcome, in the words of the account's protocol."""
        return end(self.account.gateway, self.callback, outcome, self.events, conflicts, errors, reason, readings)


def _reading(row: Row, result: EventResult) -> str | None:
    """How a text was read that this very callback brought."""
    return row.reading if isinstance(row, MessageRow) and result.fate is Fate.NEW else None


def _conclude(opened: Opened, entry: Entry, results: Sequence[EventResult]) -> Ending:
    if len(results) == 1:
        # Nearly every callback.
        readings: tuple[str | None, ...] = (_reading(entry.rows[0], results[0]),)
        outcome = entry.outcome(0, results[0])
        stored = results[0].answer
        is_another = outcome is Outcome.CONFLICT and not opened.account.gateway.refuses_uncounted
        if stored is not None and not is_another:
            # Of reply style to what contradicts a message too: any other answer could give its money back.
            answer = unpack_answer(bytes(stored))
            return Ending(outcome, answer, 1, readings=readings, flags=flags_of(opened.events))
        return opened.end(outcome, conflicts=(0,) if outcome is Outcome.CONFLICT else (), readings=readings)
    readings = tuple(_reading(row, result) for row, result in zip(entry.rows, results, strict=True))
    outcomes = {entry.outcome(place, result) for place, result in enumerate(results)}
    conflicts = tuple(place for place, result in enumerate(results) if result.fate is Fate.CONFLICT)
    return opened.end(min(outcomes, key=WORST_FIRST.index), conflicts=conflicts, readings=readings)
