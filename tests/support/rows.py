"""Rows and entries as the intake would hand them to a writer, for tests that drive a writer themselves."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import ChargeRow, MessageRow, RawRow, ReversalRow
from gateways.outcome import Outcome
from service.intake.entry import Entry, Row
from service.intake.writer import CommitReport, Writer
from service.runtime.uuid7 import uuid7

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
CAMPAIGN = 1


def message_row(native_id: str, *, at: datetime = NOW, **changes: Any) -> MessageRow:
    """A counted message of 5 units and 100,000 VND for campaign 1."""
    row = MessageRow(
        id=uuid7(at), account_id=1, native_id=native_id, digest=digest(native_id), received_at=at, message_at=at,
        operator_time=None, short_code="1408", carrier="viettel", reading="counted", campaign_id=CAMPAIGN,
        keyword="VNN", units=5, amount_vnd=100_000, claimed_vnd=None, parts=None, flags="", answer=None,
        book_version=1, grammar_version=1, raw_id=UUID(int=0), day=at.date(), msisdn_sealed=b"-", msisdn_hash=b"-",
        text_sealed=b"-",
    )  # fmt: skip
    return row._replace(**changes)


def charge_row(charge_id: str, message_ref: str | None, *, at: datetime = NOW, **changes: Any) -> ChargeRow:
    """A succeeded charge of 100,000 VND."""
    row = ChargeRow(
        id=uuid7(at), account_id=1, native_id=f"{charge_id}:succeeded", digest=digest(charge_id),
        charge_id=charge_id, status="succeeded", amount_vnd=100_000, message_ref=message_ref, short_code=None,
        reason=None, flags="", occurred_at=at, received_at=at, raw_id=UUID(int=0),
        msisdn_hash=None,
    )  # fmt: skip
    return row._replace(**changes)


def reversal_row(reversal_id: str, message_ref: str | None, amount_vnd: int, **changes: Any) -> ReversalRow:
    """A reversal without a scope, by message id unless `charge_ref` is given."""
    row = ReversalRow(
        id=uuid7(NOW), account_id=1, native_id=reversal_id, digest=digest(reversal_id), charge_ref=None,
        message_ref=message_ref, amount_vnd=amount_vnd, scope=None, kind=None, flags="", occurred_at=NOW,
        received_at=NOW, raw_id=UUID(int=0),
    )  # fmt: skip
    return row._replace(**changes)


def digest(content: str) -> bytes:
    """Stands for the keyed digest of a content."""
    return hashlib.sha256(content.encode()).digest()


def entry(*rows: Row, day: date | None = None, awaits_report: bool = False) -> Entry:
    """One callback that carries `rows`. Needs a running loop."""
    raw_id = uuid7(NOW)
    day = day or NOW.date()
    held = [row._replace(raw_id=raw_id) for row in rows]
    outcomes = [Outcome.ACCEPTED] * len(rows)
    return Entry(held, outcomes, RawRow(raw_id, day, 1, b"sealed"), NOW, day, awaits_report)


@dataclass
class Driven:
    """A writer and what it told its observer."""

    writer: Writer
    commits: list[CommitReport] = field(default_factory=list)

    async def store(self, entries: Sequence[Entry], timeout_seconds: float = 60.0) -> list[Any]:
        """Hand all entries over at once; the fates of each, or the exception it ended with."""
        ended = await asyncio.gather(
            *(self.writer.store(each, timeout_seconds) for each in entries), return_exceptions=True
        )
        return [[result.fate.value for result in each] if isinstance(each, list) else each for each in ended]


def driven(connect: Callable[[], Awaitable[asyncpg.Connection]], **limits: Any) -> Driven:
    """A writer that is not started yet: what is handed over before `start` becomes one batch."""
    chosen: dict[str, Any] = {"writers": 1, "batch_events_max": 1000, "queue_events_max": 5000, **limits}
    made = Driven(Writer(connect, observe=lambda commit: made.commits.append(commit), **chosen))
    return made
