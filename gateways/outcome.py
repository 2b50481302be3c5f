"""How a callback ended, and what an adapter is told to put it into the sender's words."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateways.events import Event
from gateways.records import record


class Outcome(StrEnum):
    """The closed set of endings. Each protocol has exactly one answer for each."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    UNALLOCATED = "unallocated"
    REJECTED_POLICY = "rejected_policy"
    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    STALE = "stale"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of a callback: where (`data.text`, `query.id`) and why. Never holds a value that was sent."""

    path: str
    reason: str


@record()
class Answer:
    """What goes back over the wire. The listener adds `Cache-Control: no-store` and nothing else."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@record(kw_only=True)
class Result:
    """What `Gateway.respond` is told.

    `events` are those parsed from this very callback, in its order (empty where it did not get that far);
    `conflicts` the positions of those whose content differs from what we hold (in a batch also from an
    earlier event of it); `retry_after_seconds` goes
    with `overloaded` and `unavailable`; `readings` are how the texts were read, in the order of `events`, None for
    what is no message or was not stored by this callback; `reply` is what the donor is to be told by SMS, None where
    that is left to the protocol's own words; `now` is our clock, for answers that tell it.
    """

    outcome: Outcome
    now: datetime
    events: tuple[Event, ...] = ()
    conflicts: tuple[int, ...] = ()
    errors: tuple[FieldError, ...] = ()
    readings: tuple[str | None, ...] = ()
    reply: str | None = field(default=None, repr=False)
    retry_after_seconds: int = 5
