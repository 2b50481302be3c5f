"""One callback on its way into a commit: its rows, its raw form, and what became of each of its events."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from campaigns.gifts.event_rows import ChargeRow, MessageRow, RawRow, ReversalRow
from gateways.outcome import Outcome


class Fate(StrEnum):
    """What became of one event."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class EventResult:
    """The fate of one event, and the answer stored with its first arrival, if any."""

    fate: Fate
    answer: bytes | None = None


NEW = EventResult(Fate.NEW)
"""How nearly every event ends: made once."""

Row = MessageRow | ChargeRow | ReversalRow
KIND: dict[type[Row], str] = {MessageRow: "message", ChargeRow: "charge", ReversalRow: "reversal"}


class Commit(NamedTuple):
    """The commit that an entry was in: its times in ns since the epoch, and how many callbacks it held."""

    began: int
    ended: int
    callbacks: int


@dataclass(slots=True, eq=False)
class Entry:
    """One callback that waits for its commit. Made by the row builder, answered by the writer.

    `outcomes` say how each event ends if it is new. `awaits_report`: the account's `charging` is on_report, its
    messages count when their charge is reported. `answered`: what the sender was told already, packed, where it was
    told before the text was read. `may_refuse`: what does not count is refused, which is then repeated.
    `owing`: the rows of it that are messages to which a call of ours owes a reply, once they are stored.
    `is_replayed`: it comes from the spool, and nobody waits for it.
    """

    rows: Sequence[Row]
    outcomes: Sequence[Outcome]
    raw: RawRow
    received_at: datetime
    day: date
    awaits_report: bool
    answered: bytes | None = None
    may_refuse: bool = False
    owing: Sequence[UUID] = ()
    is_replayed: bool = False
    done: "asyncio.Future[list[EventResult]]" = field(init=False)
    queued_at: float = field(init=False)
    commit: Commit | None = field(default=None, init=False)
    """Noted where traces are kept."""
    size_bytes: int = field(init=False)
    """What it weighs on its way into the database: its raw form, beside which its rows are light."""

    def is_read_before(self, version: int) -> bool:
        """Whether a text in it was read by an older book than `version`."""
        return any(isinstance(row, MessageRow) and row.book_version < version for row in self.rows)

    def __post_init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.queued_at = time.monotonic()
        self.size_bytes = len(self.raw.sealed)

    def outcome(self, place: int, result: EventResult) -> Outcome:
        """How the event at `place` ended, by its fate and, where it is new, its reading."""
        if result.fate is Fate.NEW:
            return self.outcomes[place]
        return Outcome.DUPLICATE if result.fate is Fate.DUPLICATE else Outcome.CONFLICT
