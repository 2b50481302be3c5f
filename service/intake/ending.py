"""How a callback ended: what its sender hears, and what the log says of it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from gateways.callback import Callback
from gateways.events import Event
from gateways.gateway import Gateway
from gateways.outcome import Answer, FieldError, Outcome, Result
from service.catalog.catalog import Party
from service.listeners.turned_away import Kind

Events = tuple[Event, ...]


@dataclass(slots=True)
class Ending:
    """How one callback ended, for the answer, the metrics and the log line."""

    outcome: Outcome
    answer: Answer
    events: int = 0
    reason: str = ""
    readings: tuple[str | None, ...] = ()
    flags: tuple[str, ...] = ()
    """What of its events was repaired or left out, each once."""
    aside: Kind | None = None
    """Set where it was no callback at all."""

    @property
    def reading(self) -> str:
        """How its texts were read, for the log: `counted`, of several `counted 98, wrong_syntax 2`."""
        if len(self.readings) == 1:
            # Nearly every callback: counting would cost more than its signature.
            return self.readings[0] or ""
        counts = Counter(each for each in self.readings if each)
        return ", ".join(f"{reading} {count}" for reading, count in sorted(counts.items()))


def end(
    gateway: Gateway[Any],
    callback: Callback,
    outcome: Outcome,
    events: Events = (),
    conflicts: tuple[int, ...] = (),
    errors: tuple[FieldError, ...] = (),
    reason: str = "",
    readings: tuple[str | None, ...] = (),
) -> Ending:
    """The ending with this outcome, in the words of `gateway`."""
    result = Result(
        outcome=outcome, now=callback.received_at, events=events, conflicts=conflicts, errors=errors,
        readings=readings,
    )  # fmt: skip
    return Ending(outcome, gateway.respond(result), len(events), reason, readings, flags_of(events))


def flags_of(events: Events) -> tuple[str, ...]:
    """The flags of `events`, each once."""
    return tuple(dict.fromkeys(flag for event in events for flag in event.flags))


def why(party: Party, reason: str) -> str:
    """Why a callback was refused: of an account which factors failed, else why there is none to ask."""
    if party.account is None:
        return party.fault
    return reason if party.account.is_usable else f"account not usable, and not known by its other factors: {reason}"


def forwarding(callback: Callback) -> str:
    """Whether the address in `peer` is a proxy's word."""
    if callback.is_forwarded:
        return "believed"
    return "ignored" if "x-forwarded-for" in callback.headers else "none"
