"""Where the events of one callback become rows: texts are read, what is personal is sealed, the raw form is kept."""

from datetime import date, datetime, timedelta
from typing import Any

from campaigns.book.book import Book
from campaigns.book.grammar import Reading, ReadingOutcome, read
from campaigns.gifts.messages import ChargeRow, MessageRow, RawRow, ReversalRow
from gateways.callback import Callback
from gateways.events import Charge, Event, Message, Reversal
from gateways.gateway import Gateway
from gateways.outcome import Outcome, Result
from service.catalog.accounts import LoadedAccount
from service.intake.batch import EventResult, Fate, Row
from service.intake.packing import pack_answer, pack_callback
from service.runtime.keyring import Keyring, Sealer
from service.runtime.uuid7 import uuid7

AHEAD_MAX = timedelta(minutes=10)
"""A carrier's message time further ahead of our clock is flagged and not believed."""
LATE_AFTER_CLOSE = timedelta(hours=24)
"""A message that arrives later than this after its campaign closed is flagged."""

UNALLOCATED = frozenset(
    {ReadingOutcome.UNKNOWN_KEYWORD, ReadingOutcome.UNKNOWN_SHORT_CODE, ReadingOutcome.EMPTY_TEXT}
)


class Desk:
    """Turns the events of one callback into rows: reads texts, seals what is personal, keeps the raw form."""

    def __init__(
        self,
        gateway: Gateway[Any],
        account: LoadedAccount,
        callback: Callback,
        book: Book,
        keyring: Keyring,
        sealer: Sealer,
        day: date,
        answered: bytes | None = None,
    ) -> None:
        """`answered`: what the sender was told already, packed, where it was told before the text was read."""
        self._gateway = gateway
        self._account = account
        self._callback = callback
        self._book = book
        self._keyring = keyring
        self._sealer = sealer
        self._day = day
        self._answered = answered
        self._raw_id = uuid7(callback.received_at)
        self._readings: dict[str, Reading] = {}

    def row(self, event: Event) -> Row:
        """The event as it is stored."""
        if isinstance(event, Message):
            return self._message_row(event)
        if isinstance(event, Charge):
            return self._charge_row(event)
        return self._reversal_row(event)

    def outcome(self, event: Event, result: EventResult) -> Outcome:
        """How an event ended, by its fate and, where it is new, its reading."""
        if result.fate is Fate.CONFLICT:
            return Outcome.CONFLICT
        if result.fate is Fate.DUPLICATE:
            return Outcome.DUPLICATE
        if isinstance(event, Message):
            return self._outcome_of(self._readings[event.native_id].outcome)
        return Outcome.ACCEPTED

    def _outcome_of(self, reading: ReadingOutcome) -> Outcome:
        if reading in UNALLOCATED:
            return Outcome.UNALLOCATED
        if reading is not ReadingOutcome.COUNTED and self._gateway.answer_depends_on_reading:
            return Outcome.REJECTED_POLICY
        return Outcome.ACCEPTED

    def _message_row(self, message: Message) -> MessageRow:
        received_at = self._callback.received_at
        at, flags = _believed(message.message_at, received_at, message.flags)
        reading = read(self._book, message.short_code, message.text, at)
        self._readings.setdefault(message.native_id, reading)
        if message.claimed_vnd is not None and reading.amount_vnd not in (None, message.claimed_vnd):
            flags = (*flags, "amount_differs")
        if reading.campaign_id is not None:
            closes_at = self._book.by_id[reading.campaign_id].closes_at
            if received_at - closes_at > LATE_AFTER_CLOSE:
                flags = (*flags, "late_after_close")
        if self._answered is not None and self._outcome_of(reading.outcome) is Outcome.REJECTED_POLICY:
            # It was acknowledged while the database was away, so the carrier charged for what does not count.
            flags = (*flags, "charged_not_counted")
        row_id = uuid7(received_at)
        seal = self._sealer.seal
        identity = row_id.bytes
        return MessageRow(
            row_id, self._account.id, message.native_id, message.digest, received_at, at, message.operator_time,
            message.short_code, message.carrier, reading.outcome, reading.campaign_id, reading.keyword,
            reading.units, reading.amount_vnd, message.claimed_vnd, message.parts, ",".join(flags),
            self._answer(message, reading), self._book.version, reading.grammar_version, self._raw_id, self._day,
            seal(message.msisdn.encode(), b"message_person.msisdn:" + identity),
            self._keyring.number_hash(message.msisdn),
            seal(message.text.encode(), b"message_person.text:" + identity),
        )  # fmt: skip

    def _answer(self, message: Message, reading: Reading) -> bytes | None:
        if not self._gateway.answer_depends_on_reading:
            return None
        if self._answered is not None:
            return self._answered
        outcome = self._outcome_of(reading.outcome)
        result = Result(outcome=outcome, now=self._callback.received_at, events=(message,))
        return pack_answer(self._gateway.respond(result))

    def _charge_row(self, charge: Charge) -> ChargeRow:
        at, flags = _believed(charge.occurred_at, self._callback.received_at, charge.flags)
        return ChargeRow(
            uuid7(self._callback.received_at), self._account.id, charge.native_id, charge.digest, charge.charge_id,
            charge.status.value, charge.amount_vnd, charge.message_ref, charge.short_code, charge.reason,
            ",".join(flags), at, self._callback.received_at, self._raw_id, self._number_to_match(charge),
        )  # fmt: skip

    def _number_to_match(self, charge: Charge) -> bytes | None:
        if charge.message_ref is not None or charge.msisdn is None:
            return None
        return self._keyring.number_hash(charge.msisdn)

    def _reversal_row(self, reversal: Reversal) -> ReversalRow:
        at, flags = _believed(reversal.occurred_at, self._callback.received_at, reversal.flags)
        return ReversalRow(
            uuid7(self._callback.received_at), self._account.id, reversal.native_id, reversal.digest,
            reversal.charge_ref, reversal.message_ref, reversal.amount_vnd,
            reversal.scope.value if reversal.scope else None, reversal.kind, ",".join(flags), at,
            self._callback.received_at, self._raw_id,
        )  # fmt: skip

    def raw_row(self) -> RawRow:
        """The callback as it came, sealed for its row."""
        sealed = self._sealer.seal(pack_callback(self._callback), b"raw_callback.sealed:" + self._raw_id.bytes)
        return RawRow(self._raw_id, self._day, self._account.id, sealed)

    def seal_conflict(self, kind: str, row: Row) -> bytes:
        """The callback sealed for a conflict row; called only when there is one."""
        return self._sealer.seal(pack_callback(self._callback), conflict_associated(kind, row))


def conflict_associated(kind: str, row: Row) -> bytes:
    """The associated data of a conflict row."""
    return b"conflict.sealed:%b:%d:%b:%b" % (kind.encode(), row.account_id, row.native_id.encode(), row.digest)


def _believed(at: datetime | None, received_at: datetime, flags: tuple[str, ...]) -> tuple[datetime, tuple[str, ...]]:
    """The moment that decides: the carrier's, unless it lies too far ahead of our clock."""
    if at is None:
        return received_at, flags
    if at - received_at > AHEAD_MAX:
        return received_at, (*flags, "time_in_future")
    return at, flags
