"""The in-flight limit of one account."""

from dataclasses import dataclass

IN_HAND_BYTES_MAX = 16 * 1024 * 1024
"""What the bodies of one account may weigh that are in hand at once: four full commits."""


@dataclass(slots=True)
class _Held:
    """What an account has in hand."""

    callbacks: int = 0
    events: int = 0
    size_bytes: int = 0


class InFlight:
    """The in-flight limit: what each account has in hand, in callbacks, in events and in bytes."""

    def __init__(self, callbacks_max: int, events_max: int, bytes_max: int = IN_HAND_BYTES_MAX) -> None:
        self._max = _Held(callbacks_max, events_max, bytes_max)
        self._held: dict[str, _Held] = {}

    def refusal(self, account: str, events: int, size_bytes: int) -> str | None:
        """Why an account may not have so much more, or None. A callback alone is never too large."""
        held = self._held.get(account)
        if held is None:
            return None
        if held.callbacks >= self._max.callbacks:
            return "account has too many in hand"
        if held.events + events > self._max.events:
            return "account has too many events in hand"
        if held.size_bytes + size_bytes > self._max.size_bytes:
            return "account has too many bytes in hand"
        return None

    def add(self, account: str, events: int, size_bytes: int) -> None:
        """A callback is in hand."""
        held = self._held.get(account)
        if held is None:
            held = self._held[account] = _Held()
        held.callbacks += 1
        held.events += events
        held.size_bytes += size_bytes

    def remove(self, account: str, events: int, size_bytes: int) -> None:
        """It was answered."""
        held = self._held[account]
        if held.callbacks == 1:
            del self._held[account]
            return
        held.callbacks -= 1
        held.events -= events
        held.size_bytes -= size_bytes
