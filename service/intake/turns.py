"""Turns at the processor: large bodies are read one at a time, and who sends them takes turns."""

import asyncio
import time
from collections import deque
from collections.abc import Hashable

from service.intake.bodies import Sender
from service.runtime.addresses import site_of

STRANGERS_WORK_SHARE = 0.1
"""What strangers' large bodies may take of a worker's time: to verify one of 1 MiB takes some milliseconds."""

Turn = asyncio.Future[None]


class FairTurns:
    """Large bodies are read one at a time, and the senders who wait take turns.

    A hundred signed events cost some milliseconds of processor time. A flood of them on hundreds of connections,
    read as they come, would keep the event loop from everybody else for a second at a time; so between two of them
    everything else that is ready goes first. All strangers together are one sender, whatever names they invent and
    however many addresses they have, and after each of theirs they rest until it was their share of the time.
    """

    def __init__(self, strangers_share: float = STRANGERS_WORK_SHARE) -> None:
        self._rest_ratio = 1 / strangers_share - 1
        self._accounts = _Lines()
        self._strangers = _Lines()
        self._began_at: float | None = None
        """When the turn of the stranger began that is at work now."""
        self._strangers_at = 0.0
        self._next_call: asyncio.Handle | None = None

    async def wait(self, sender: Sender) -> None:
        """Wait until it is the turn of `sender`, who then works until it awaits something."""
        turn = asyncio.get_running_loop().create_future()
        if sender.is_stranger:
            self._strangers.push(site_of(sender.peer), turn)
        else:
            self._accounts.push((sender.label, sender.peer), turn)
        if isinstance(self._next_call, asyncio.TimerHandle):
            # It waits for the strangers' rest to be over, and this may be an account.
            self._next_call.cancel()
            self._next_call = None
        if self._next_call is None:
            self._next_call = asyncio.get_running_loop().call_soon(self._next)
        await turn

    def _next(self) -> None:
        loop, now = asyncio.get_running_loop(), time.monotonic()
        self._next_call = None
        if self._began_at is not None:
            self._strangers_at = now + (now - self._began_at) * self._rest_ratio
            self._began_at = None
        if now >= self._strangers_at and (turn := self._strangers.pop()) is not None:
            # The order in which the loop runs them: the clock is read, the stranger works, then comes the next.
            loop.call_soon(self._begin)
            turn.set_result(None)
            self._next_call = loop.call_soon(self._next)
        elif (turn := self._accounts.pop()) is not None:
            turn.set_result(None)
            if self._accounts or self._strangers:
                self._next_call = loop.call_soon(self._next)
        elif self._strangers:
            self._next_call = loop.call_later(self._strangers_at - now, self._next)

    def _begin(self) -> None:
        self._began_at = time.monotonic()


class _Lines:
    """A line for each sender, served in turns; who has hung up is left out."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[Turn]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def push(self, sender: Hashable, turn: Turn) -> None:
        self._lines.setdefault(sender, deque()).append(turn)

    def pop(self) -> Turn | None:
        while self._lines:
            sender, line = next(iter(self._lines.items()))
            turn = line.popleft()
            # To the end of the order, unless nothing of it is left.
            del self._lines[sender]
            if line:
                self._lines[sender] = line
            if not turn.done():
                return turn
        return None
