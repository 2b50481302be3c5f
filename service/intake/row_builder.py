"""The row builder: events become rows. Texts are read, what is personal is sealed, the raw callback is kept."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from campaigns.book.book import Book
from campaigns.book.grammar import Reading, ReadingOutcome, read
from campaigns.book.replies import owes_reply, reply_to
from campaigns.gifts.event_rows import ChargeRow, MessageRow, RawRow, ReversalRow
from campaigns.gifts.receipts import receipt_code
from gateways.callback import Callback
from gateways.events import Charge, Event, Message, Reversal
from gateways.outcome import Outcome, Result
from service.catalog.accounts import LoadedAccount
from service.intake.entry import Entry, Row
from service.intake.packing import pack_answer, pack_callback
from service.postgres.data_keys import DataKeys
from service.runtime.keyring import Keyring, Sealer
from service.runtime.phone_numbers import without_numbers_of_people
from service.runtime.random_pool import RandomPool
from service.runtime.uuid7 import uuid7

AHEAD_MAX = timedelta(minutes=10)
"""A carrier's message time further ahead of our clock is flagged and not believed."""
LATE_AFTER_CLOSE = timedelta(hours=24)
"""A message that arrives later than this after its campaign closed is flagged."""

UNALLOCATED = frozenset(
    {ReadingOutcome.UNKNOWN_KEYWORD, ReadingOutcome.UNKNOWN_SHORT_CODE, ReadingOutcome.EMPTY_TEXT}
)

TIME_IN_FUTURE = "time_in_future"
"""The flag of a message whose own time is not believed."""


class NoDataKey(Exception):
    """The key of the callback's day cannot be had now: the database is away."""


class HasBook(Protocol):
    """Whoever knows the book to read by: a worker's catalog, or a command's look at it."""

    book: Book


class RowBuilder:
    """One per worker, for callbacks as they come and for those that the spool gives back."""

    def __init__(self, catalog: HasBook, keyring: Keyring, data_keys: DataKeys) -> None:
        self._catalog = catalog
        self._keyring = keyring
        self._data_keys = data_keys
        self._random = RandomPool()

    async def build(
        self,
        account: LoadedAccount,
        callback: Callback,
        events: Sequence[Event],
        answered: bytes | None = None,
        doubts: tuple[str, ...] = (),
    ) -> Entry:
        """The entry that stores `callback`. Raises NoDataKey.

        `answered`: what the sender was told already, packed, where it was told before the text was read. `doubts`:
        flags of its time of arrival, for every row.
        """
        day = callback.received_at.astimezone(UTC).date()
        sealer = self._keyring.day(day) or await self._data_keys.of(day)
        if sealer is None:
            raise NoDataKey
        raw_id = callback.request_id
        of = _Callback(account, callback, self._catalog.book, sealer, day, raw_id, answered, doubts)
        rows: list[Row] = []
        outcomes: list[Outcome] = []
        for event in events:
            # The first event of a callback bears the callback's own id: most callbacks have but one.
            row_id = uuid7(callback.received_at, self._random) if rows else raw_id
            row, outcome = self._row(event, row_id, of)
            rows.append(row)
            outcomes.append(outcome)
        sealed = sealer.seal(pack_callback(callback, account.gateway), b"raw_callback.sealed:" + raw_id.bytes)
        raw = RawRow(raw_id, day, account.id, sealed)
        return Entry(
            rows, outcomes, raw, callback.received_at, day, account.counts_on_report, answered,
            account.gateway.refuses_uncounted, self._owing(account, rows),
        )  # fmt: skip

    def _owing(self, account: LoadedAccount, rows: Sequence[Row]) -> Sequence[UUID]:
        """The messages among `rows` to which a call owes a reply: a text of their campaign, or the charge itself."""
        if account.replier is None:
            return ()
        by_id, owing = self._catalog.book.by_id, []
        for row in rows:
            if not isinstance(row, MessageRow) or row.campaign_id is None or row.campaign_id not in by_id:
                continue
            if owes_reply(by_id[row.campaign_id].replies, row.reading, is_charged=account.counts_on_report):
                owing.append(row.id)
        return owing

    def _row(self, event: Event, row_id: UUID, of: "_Callback") -> tuple[Row, Outcome]:
        """The event as it is stored, and how it ends if it is new."""
        if isinstance(event, Message):
            return self._message_row(event, row_id, of)
        if isinstance(event, Charge):
            return self._charge_row(event, row_id, of), Outcome.ACCEPTED
        return self._reversal_row(event, row_id, of), Outcome.ACCEPTED

    def _message_row(self, message: Message, row_id: UUID, of: "_Callback") -> tuple[MessageRow, Outcome]:
        received_at, book = of.callback.received_at, of.book
        at, flags = _believed(message.message_at, received_at, (*message.flags, *of.doubts))
        reading = read(book, message.short_code, message.text, at)
        outcome = of.outcome(reading.outcome)
        if message.claimed_vnd is not None and reading.amount_vnd not in (None, message.claimed_vnd):
            flags = (*flags, "amount_differs")
        if reading.campaign_id is not None:
            closes_at = book.by_id[reading.campaign_id].closes_at
            if received_at - closes_at > LATE_AFTER_CLOSE:
                flags = (*flags, "late_after_close")
        if of.answered is not None and outcome is Outcome.REJECTED_POLICY:
            # It was acknowledged while the database was away, so the carrier charged for what does not count.
            flags = (*flags, "charged_not_counted")
        answer = of.answer(message, outcome, reading, self._keyring.receipt_key)
        seal = of.sealer.seal
        identity = row_id.bytes
        row = MessageRow(
            row_id, of.account.id, message.native_id, message.digest, received_at, at, message.operator_time,
            message.short_code, message.carrier, reading.outcome, reading.campaign_id, reading.keyword,
            reading.units, reading.amount_vnd, message.claimed_vnd, message.parts, ",".join(flags),
            answer, book.version, reading.grammar_version, of.raw_id, of.day,
            seal(message.msisdn.encode(), b"message_person.msisdn:" + identity),
            self._keyring.number_hash(message.msisdn),
            seal(message.text.encode(), b"message_person.text:" + identity),
        )  # fmt: skip
        return row, outcome

    def _charge_row(self, charge: Charge, row_id: UUID, of: "_Callback") -> ChargeRow:
        received_at = of.callback.received_at
        at, flags = _believed(charge.occurred_at, received_at, (*charge.flags, *of.doubts))
        return ChargeRow(
            row_id, of.account.events_id, charge.native_id, charge.digest, charge.charge_id, charge.status.value,
            charge.amount_vnd, charge.message_ref, charge.short_code, _kept(charge.reason), ",".join(flags), at,
            received_at, of.raw_id, self._number_to_match(charge),
        )  # fmt: skip

    def _number_to_match(self, charge: Charge) -> bytes | None:
        if charge.message_ref is not None or charge.msisdn is None:
            return None
        return self._keyring.number_hash(charge.msisdn)

    def _reversal_row(self, reversal: Reversal, row_id: UUID, of: "_Callback") -> ReversalRow:
        received_at = of.callback.received_at
        at, flags = _believed(reversal.occurred_at, received_at, (*reversal.flags, *of.doubts))
        return ReversalRow(
            row_id, of.account.events_id, reversal.native_id, reversal.digest, reversal.charge_ref,
            reversal.message_ref, reversal.amount_vnd, reversal.scope.value if reversal.scope else None,
            _kept(reversal.kind), ",".join(flags), at, received_at, of.raw_id,
        )  # fmt: skip


class _Callback(NamedTuple):
    """What all rows of one callback have in common."""

    account: LoadedAccount
    callback: Callback
    book: Book
    sealer: Sealer
    day: date
    raw_id: UUID
    answered: bytes | None
    doubts: tuple[str, ...]

    def outcome(self, reading: ReadingOutcome) -> Outcome:
        """How a message with this reading ends if it is new."""
        if reading is ReadingOutcome.COUNTED:
            return Outcome.ACCEPTED
        if reading in UNALLOCATED:
            return Outcome.UNALLOCATED
        return Outcome.REJECTED_POLICY if self.account.gateway.refuses_uncounted else Outcome.ACCEPTED

    def answer(self, message: Message, outcome: Outcome, reading: Reading, receipt_key: bytes) -> bytes | None:
        """What is stored with the message, to be repeated to the letter; None where the request alone decides it."""
        gateway = self.account.gateway
        if not gateway.answer_depends_on_reading:
            return None
        if self.answered is not None:
            return self.answered
        reply = None
        if gateway.carries_reply and reading.campaign_id is not None:
            replies = self.book.by_id[reading.campaign_id].replies
            receipt = receipt_code(receipt_key, self.account.id, message.native_id)
            reply = reply_to(replies, reading.outcome, reading.amount_vnd, receipt)
        result = Result(outcome=outcome, now=self.callback.received_at, events=(message,), reply=reply)
        return pack_answer(gateway.respond(result))


def _kept(word: str | None) -> str | None:
    """A sender's own word for why or what, without what is shaped like a number: it stays for ever."""
    return None if word is None else without_numbers_of_people(word)


def _believed(at: datetime | None, received_at: datetime, flags: tuple[str, ...]) -> tuple[datetime, tuple[str, ...]]:
    """The moment that decides: the carrier's, unless it lies too far ahead of our clock."""
    if at is None:
        return received_at, flags
    if at - received_at > AHEAD_MAX:
        return received_at, (*flags, TIME_IN_FUTURE)
    return at, flags
