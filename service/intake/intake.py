"""The story of one callback: verify, parse, read, store with others, answer in the carrier's own words.

Nothing is answered before it is durable, and no exception leaves without an answer of the protocol.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import structlog

from campaigns.book.book import Book
from gateways.callback import Callback
from gateways.events import Event
from gateways.gateway import Gateway, MalformedCallback, Rejected, SignatureRejected
from gateways.outcome import Answer, FieldError, Outcome, Result
from gateways.registry import ADAPTERS, decoy
from metrics.instruments import UNKNOWN_ACCOUNT, Instruments
from service.catalog.accounts import LoadedAccount, LoadedAccounts
from service.intake.batch import Entry, EventResult, Fate
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.fair_queue import LARGE_BYTES, Holdings, Turns
from service.intake.packing import pack_answer, unpack_answer
from service.intake.quarantine import Kept, Quarantine
from service.intake.replay import Replay
from service.intake.row_builder import Desk
from service.intake.spool_file import SpoolRefused
from service.intake.writer import DatabaseDown, QueueFull, Unstorable, Writer
from service.runtime.keyring import Keyring
from service.runtime.logs import describe_failure

log = structlog.get_logger("intake")

Events = tuple[Event, ...]
LOUD = frozenset({Outcome.CONFLICT, Outcome.UNAVAILABLE})
# The worst first: how a callback with several events is counted.
WORST_FIRST = (
    Outcome.CONFLICT, Outcome.REJECTED_POLICY, Outcome.UNALLOCATED, Outcome.ACCEPTED, Outcome.DUPLICATE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shelf:
    """What callbacks are read by: one book version and the accounts as of it. Replaced whole, never changed."""

    book: Book
    accounts: LoadedAccounts


@dataclass(slots=True)
class Ending:
    """How one callback ended, for the answer, the metrics and the log line."""

    outcome: Outcome
    answer: Answer
    events: int = 0
    reason: str = ""


class Intake:
    """Everything a callback passes, in order. One per worker."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        writer: Writer,
        keyring: Keyring,
        quarantine: Quarantine,
        replay: Replay,
        circuit: CircuitBreaker,
        instruments: Instruments,
        queue_wait_seconds: float,
        account_callbacks_max: int,
        account_events_max: int,
    ) -> None:
        self.shelf = shelf
        self._writer = writer
        self._keyring = keyring
        self._quarantine = quarantine
        self._replay = replay
        self._circuit = circuit
        self._instruments = instruments
        self._queue_wait_seconds = queue_wait_seconds
        self._held = Holdings(account_callbacks_max, account_events_max)
        self._turns = Turns()
        # Bound once: a proxy would bind itself anew for every line.
        self._log = structlog.get_logger("intake").bind()
        self._decoys = {name: decoy(name) for name in ADAPTERS}

    def gateway(self, adapter: str, code: str) -> Gateway[Any]:
        """The gateway that answers at this address: the account's own, or a stand-in that refuses all alike."""
        account = self.shelf.accounts.find(adapter, code)
        return account.gateway if account else self._decoys[adapter]

    async def take(self, adapter: str, code: str, callback: Callback) -> Answer:
        """One callback from bytes to answer. Counts it and writes its one log line; raises nothing."""
        started = time.perf_counter()
        account = self.shelf.accounts.find(adapter, code)
        gateway = account.gateway if account else self._decoys[adapter]
        label = account.code if account else UNKNOWN_ACCOUNT
        try:
            if len(callback.body) > LARGE_BYTES:
                await self._turns.wait((code, callback.peer))
            ending = await self._open(gateway, account, callback)
        except Exception as error:  # noqa: BLE001 -- the one place where a bug of ours becomes "later"
            log.error("callback_failed", account=label, adapter=adapter, **describe_failure(error))
            ending = self._end(gateway, callback, Outcome.UNAVAILABLE, reason="internal error")
        self.note(adapter, label, ending, time.perf_counter() - started)
        return ending.answer

    def refuse(self, adapter: str, code: str, callback: Callback, outcome: Outcome) -> Answer:
        """An ending before the body was even read, such as too_large."""
        account = self.shelf.accounts.find(adapter, code)
        ending = self._end(account.gateway if account else self._decoys[adapter], callback, outcome)
        self.note(adapter, account.code if account else UNKNOWN_ACCOUNT, ending, 0.0)
        return ending.answer

    def lament(self, adapter: str, code: str, reason: str) -> None:
        """A line about a callback that never arrived whole, and so has no ending to count."""
        account = self.shelf.accounts.find(adapter, code)
        self._log.warning(
            "callback_incomplete",
            account=account.code if account else UNKNOWN_ACCOUNT,
            adapter=adapter,
            reason=reason,
        )

    def note(self, adapter: str, label: str, ending: Ending, seconds: float) -> None:
        """Count a callback and write its line."""
        self._instruments.count_callback(label, adapter, ending.outcome, seconds)
        write = self._log.warning if ending.outcome in LOUD else self._log.info
        write(
            "callback", account=label, adapter=adapter, outcome=ending.outcome, events=ending.events,
            status=ending.answer.status, milliseconds=round(seconds * 1000, 2), reason=ending.reason,
        )  # fmt: skip

    async def _open(self, gateway: Gateway[Any], account: LoadedAccount | None, callback: Callback) -> Ending:
        if account is not None and not account.is_usable:
            if account.knows(callback):
                return self._end(gateway, callback, Outcome.UNAVAILABLE, reason="account not usable")
            # To whoever cannot pass the other factors it looks like an account that does not exist.
            gateway, account = self._decoys[account.adapter], None
        try:
            if callback.method == "GET" and (document := gateway.describe(callback)) is not None:
                return Ending(Outcome.ACCEPTED, document, reason="description")
            events = gateway.open(callback, self._keyring.digest_key)
        except SignatureRejected as rejected:
            if account is not None and rejected.from_listed_network:
                self._quarantine.keep_behind(account, callback, rejected.outcome, rejected.reason)
            return self._end(gateway, callback, rejected.outcome, reason=rejected.reason)
        except Rejected as rejected:
            errors: tuple[FieldError, ...] = ()
            if isinstance(rejected, MalformedCallback):
                errors = rejected.errors
                if account is not None and not await self._set_apart(account, callback, rejected.reason):
                    return self._end(gateway, callback, Outcome.UNAVAILABLE, reason="quarantine unavailable")
            return self._end(gateway, callback, rejected.outcome, reason=rejected.reason, errors=errors)
        if account is None:
            return self._end(gateway, callback, Outcome.UNAUTHENTICATED, reason="unknown account")
        if (refusal := self._held.refusal(account.code, len(events))) is not None:
            return await self._overloaded(gateway, account, callback, events, refusal)
        self._held.add(account.code, len(events))
        try:
            self._instruments.see_callback(account.code, callback.received_at)
            self._replay.live_at = time.monotonic()
            return await self._store(gateway, account, callback, events)
        finally:
            self._held.remove(account.code, len(events))

    async def _store(
        self, gateway: Gateway[Any], account: LoadedAccount, callback: Callback, events: Events
    ) -> Ending:
        shelf = self.shelf
        day = callback.received_at.astimezone(UTC).date()
        if not self._writer.connected or not self._circuit.allows():
            return await self._spool(gateway, account, callback, events, "the database is away")
        sealer = self._keyring.day(day) or await self._quarantine.open_day(day)
        if sealer is None:
            return await self._spool(gateway, account, callback, events, "no data key")
        desk = Desk(gateway, account, callback, shelf.book, self._keyring, sealer, day)
        rows = [desk.row(event) for event in events]
        awaits_report = account.counts_on_report
        entry = Entry(rows, desk.raw_row(), callback.received_at, day, desk.seal_conflict, awaits_report)
        try:
            results = await self._writer.store(entry, self._queue_wait_seconds)
        except QueueFull:
            return await self._overloaded(gateway, account, callback, events, "queue full")
        except DatabaseDown as down:
            self._circuit.open()
            return await self._spool(gateway, account, callback, events, str(down))
        except Unstorable as unstorable:
            if not await self._set_apart(account, callback, "unstorable"):
                return self._end(gateway, callback, Outcome.UNAVAILABLE, reason="quarantine unavailable")
            errors = (FieldError("event", "cannot be stored"),)
            return self._end(
                gateway, callback, Outcome.MALFORMED, events=events, reason=str(unstorable), errors=errors
            )
        return self._conclude(gateway, callback, events, results, desk)

    async def _overloaded(
        self,
        gateway: Gateway[Any],
        account: LoadedAccount,
        callback: Callback,
        events: Events,
        reason: str,
    ) -> Ending:
        """More than we can take at once: only who really tries again may be sent away."""
        if gateway.sender_retries:
            return self._end(gateway, callback, Outcome.OVERLOADED, events=events, reason=reason)
        return await self._spool(gateway, account, callback, events, reason)

    async def _spool(
        self,
        gateway: Gateway[Any],
        account: LoadedAccount,
        callback: Callback,
        events: Events,
        reason: str,
    ) -> Ending:
        """Acknowledge from the local log. Such an answer never refuses: the text was not read yet."""
        result = Result(outcome=Outcome.ACCEPTED, now=callback.received_at, events=events)
        answer = gateway.respond(result)
        given = pack_answer(answer) if gateway.answer_depends_on_reading else None
        try:
            await self._replay.own.keep(account, callback, given)
        except SpoolRefused as refused:
            return self._end(gateway, callback, Outcome.UNAVAILABLE, events=events, reason=f"{reason}; {refused}")
        return Ending(Outcome.ACCEPTED, answer, len(events), f"spooled: {reason}")

    async def _set_apart(self, account: LoadedAccount, callback: Callback, reason: str) -> bool:
        """Keep a verified callback for a person: in quarantine; with the database away in the spool, until then."""
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

    def _conclude(
        self,
        gateway: Gateway[Any],
        callback: Callback,
        events: Events,
        results: Sequence[EventResult],
        desk: "Desk",
    ) -> Ending:
        if len(events) == 1:
            outcome = desk.outcome(events[0], results[0])
            stored = results[0].answer
            if stored is not None:
                return Ending(outcome, unpack_answer(bytes(stored)), 1)
            conflicts: tuple[int, ...] = (0,) if outcome is Outcome.CONFLICT else ()
        else:
            pairs = tuple(zip(events, results, strict=True))
            outcome = min({desk.outcome(event, result) for event, result in pairs}, key=WORST_FIRST.index)
            conflicts = tuple(place for place, result in enumerate(results) if result.fate is Fate.CONFLICT)
        return self._end(gateway, callback, outcome, events=events, conflicts=conflicts)

    def _end(
        self,
        gateway: Gateway[Any],
        callback: Callback,
        outcome: Outcome,
        *,
        events: Events = (),
        conflicts: tuple[int, ...] = (),
        errors: tuple[FieldError, ...] = (),
        reason: str = "",
    ) -> Ending:
        result = Result(outcome=outcome, now=callback.received_at, events=events, conflicts=conflicts, errors=errors)
        return Ending(outcome, gateway.respond(result), len(events), reason)
