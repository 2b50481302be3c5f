"""Events as they are stored: the rows that a batch hands to the statements."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

Key = tuple[int, str]
"""What an event is once for ever: account id and native id; the kind is the table."""


class MessageRow(NamedTuple):
    """One message as it is stored: the columns of the type incoming_message, in its order."""

    id: UUID
    account_id: int
    native_id: str
    digest: bytes
    received_at: datetime
    message_at: datetime
    operator_time: str | None
    short_code: str
    carrier: str
    reading: str
    campaign_id: int | None
    keyword: str | None
    units: int | None
    amount_vnd: int | None
    claimed_vnd: int | None
    parts: int | None
    flags: str
    answer: bytes | None
    book_version: int
    grammar_version: int
    raw_id: UUID
    day: date
    msisdn_sealed: bytes
    msisdn_hash: bytes
    text_sealed: bytes


class ChargeRow(NamedTuple):
    """One notice about a charge, columns in the order of RECORD_CHARGES' arrays.

    `msisdn_hash` only where the notice names no message and has to be matched by the donor's number.
    """

    id: UUID
    account_id: int
    native_id: str
    digest: bytes
    charge_id: str
    status: str
    amount_vnd: int | None
    message_ref: str | None
    short_code: str | None
    reason: str | None
    flags: str
    occurred_at: datetime
    received_at: datetime
    raw_id: UUID
    msisdn_hash: bytes | None


class ReversalRow(NamedTuple):
    """One reversal, columns in the order of RECORD_REVERSALS' arrays."""

    id: UUID
    account_id: int
    native_id: str
    digest: bytes
    charge_ref: str | None
    message_ref: str | None
    amount_vnd: int
    scope: str | None
    kind: str | None
    flags: str
    occurred_at: datetime
    received_at: datetime
    raw_id: UUID


class RawRow(NamedTuple):
    """One callback as it came, sealed: the columns of raw_callback, in their order."""

    id: UUID
    received_on: date
    account_id: int
    sealed: bytes


class StoredEvent(NamedTuple):
    """What the database holds under a key already: the digest, and the answer if it was stored."""

    digest: bytes
    answer: bytes | None


def columns(rows: Sequence[tuple[object, ...]], shape: type[tuple[object, ...]]) -> list[Sequence[object]]:
    """Rows of one shape, turned into the arrays a set-based statement takes."""
    if rows:
        return list(zip(*rows, strict=True))
    return [[] for _ in shape._fields]  # type: ignore[attr-defined]  # every shape is a NamedTuple
