"""What the simulator sends: a message planned on a link, and a callback that carries one or more."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateways.sender import Sms
from service.simulator.links import Link


class Fault(StrEnum):
    """What goes wrong on a real evening. Each has a share of all messages, 0 to 1."""

    DUPLICATES = "duplicates"
    CONFLICTS = "conflicts"
    DISCONNECT = "disconnect"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    LATE = "late"
    EARLY = "early"


ON_THE_WAY = (Fault.DUPLICATES, Fault.CONFLICTS, Fault.DISCONNECT)
"""Faults of the link: the message is sent again, with another text, or over a connection that breaks."""
OF_THE_DONOR = (Fault.WRONG, Fault.UNKNOWN, Fault.LATE, Fault.EARLY)
"""Faults of what is texted, or when."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A message, the link it comes over, when it is due (seconds from the start), and what befalls it there."""

    sms: Sms
    link: Link
    due_seconds: float
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback: one message, or a batch of them, in which one message may stand twice."""

    messages: tuple[Sms, ...]
    link: Link
    due_seconds: float
    fault: Fault | None = None


def cumulated(shares: Mapping[Fault, float], among: Sequence[Fault]) -> tuple[tuple[float, Fault], ...]:
    """The faults `among` with the upper ends of their shares, one after another."""
    made: list[tuple[float, Fault]] = []
    reached = 0.0
    for fault in among:
        reached += shares.get(fault, 0.0)
        made.append((reached, fault))
    return tuple(made)


def drawn_fault(cumulated: Sequence[tuple[float, Fault]], chance: random.Random) -> Fault | None:
    """One of the faults by its share, else none. Always draws once."""
    drawn = chance.random()
    return next((fault for reached, fault in cumulated if drawn < reached), None)
