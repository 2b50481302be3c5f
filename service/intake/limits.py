"""Limits of one account: what it has in hand, and its turn at the processor."""

import asyncio
from collections import deque
from collections.abc import Hashable

LARGE_BYTES = 4_096
"""Bodies larger than this hold many events, and wait for their turn to be read."""


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


class InFlight:
    """The in-flight limit: what each account has in hand, in callbacks and in events."""

    def __init__(self, callbacks_max: int, events_max: int) -> None:
        self._callbacks_max = callbacks_max
        self._events_max = events_max
        self._held: dict[str, tuple[int, int]] = {}

    def refusal(self, account: str, events: int) -> str | None:
        """Why an account may not have so many events more, or None. A callback alone is never too large."""
        callbacks, held = self._held.get(account, (0, 0))
        if callbacks >= self._callbacks_max:
            return "account has too many in hand"
        if held and held + events > self._events_max:
            return "account has too many events in hand"
        return None

    def add(self, account: str, events: int) -> None:
        """A callback is in hand."""
        callbacks, held = self._held.get(account, (0, 0))
        self._held[account] = (callbacks + 1, held + events)

    def remove(self, account: str, events: int) -> None:
        """It was answered."""
        callbacks, held = self._held[account]
        if callbacks == 1:
            del self._held[account]
        else:
            self._held[account] = (callbacks - 1, held - events)
