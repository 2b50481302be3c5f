"""Limits of one account: what it has in hand, and its turn at the processor."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

LARGE_BYTES = 4_096
"""Bodies larger than this hold many events, and wait for their turn to be read."""
ACCOUNT_BYTES_MAX = 16 * 1024 * 1024
"""What the bodies of one account may weigh that are in hand at once: four full commits."""


class FairTurns:
    """Large bodies are read one at a time, and the senders who wait take turns.

    A hundred signed events cost some milliseconds of processor time. A flood of them on hundreds of connections,
    read as they come, would keep the event loop from everybody else for a second at a time; so between two of them
    everything else that is ready goes first.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._order: deque[Hashable] = deque()

    async def wait(self, sender: Hashable) -> None:
        """Wait until it is the turn of `sender`."""
        loop = asyncio.get_running_loop()
        if not self._order:
            loop.call_soon(self._next)
        if sender not in self._lines:
            self._lines[sender] = deque()
            self._order.append(sender)
        turn = loop.create_future()
        self._lines[sender].append(turn)
        await turn

    def _next(self) -> None:
        while self._order:
            sender = self._order.popleft()
            line = self._lines[sender]
            turn = line.popleft()
            if line:
                self._order.append(sender)
            else:
                del self._lines[sender]
            if not turn.done():
                turn.set_result(None)
                break
        if self._order:
            asyncio.get_running_loop().call_soon(self._next)


class _Held(NamedTuple):
    """What an account has in hand."""

    callbacks: int = 0
    events: int = 0
    size_bytes: int = 0


class InFlight:
    """The in-flight limit: what each account has in hand, in callbacks, in events and in bytes."""

    def __init__(self, callbacks_max: int, events_max: int, bytes_max: int = ACCOUNT_BYTES_MAX) -> None:
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
        held = self._held.get(account, _Held())
        self._held[account] = _Held(held.callbacks + 1, held.events + events, held.size_bytes + size_bytes)

    def remove(self, account: str, events: int, size_bytes: int) -> None:
        """It was answered."""
        held = self._held[account]
        if held.callbacks == 1:
            del self._held[account]
        else:
            self._held[account] = _Held(held.callbacks - 1, held.events - events, held.size_bytes - size_bytes)
