"""Between accounts: no carrier's flood makes another wait, neither for a commit nor for the processor."""

import asyncio
import time
from collections import deque
from collections.abc import Hashable

from service.intake.batch import Entry

QUANTUM_EVENTS = 100
"""What one account may take of a commit before it is the next one's turn: a full batch of the `standard` protocol."""
LARGE_BYTES = 4_096
"""Bodies larger than this hold many events, and wait for their turn to be read."""


class FairQueue:
    """Callbacks that wait for a writer: a line for each account, served in turns, each in its own order."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Entry]] = {}
        self._turns: deque[int] = deque()
        self.events = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def oldest_seconds(self) -> float:
        """How long the one that came first has waited."""
        if not self._lines:
            return 0.0
        return time.monotonic() - min(line[0].queued_at for line in self._lines.values())

    def push(self, entry: Entry) -> None:
        """To the end of its account's line."""
        line = self._lines.get(entry.raw.account_id)
        if line is None:
            line = self._lines[entry.raw.account_id] = deque()
            self._turns.append(entry.raw.account_id)
        line.append(entry)
        self.events += len(entry.rows)

    def take(self, events_max: int) -> list[Entry]:
        """Up to `events_max` events, or one callback if that has more; what was answered meanwhile is left out."""
        batch: list[Entry] = []
        taken = 0
        while self._turns:
            account = self._turns.popleft()
            line = self._lines[account]
            turn = 0
            while line and turn < QUANTUM_EVENTS:
                size = len(line[0].rows)
                if batch and taken + size > events_max:
                    # The batch is full; who could not finish this turn begins the next batch.
                    self._turns.appendleft(account)
                    return batch
                entry = line.popleft()
                self.events -= size
                if not entry.done.done():
                    batch.append(entry)
                    taken += size
                    turn += size
            if line:
                self._turns.append(account)
            else:
                del self._lines[account]
        return batch

    def clear(self) -> None:
        """Forget everybody."""
        self._lines.clear()
        self._turns.clear()
        self.events = 0


class Turns:
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


class Holdings:
    """What each account has in hand, in callbacks and in events, each with its limit."""

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
