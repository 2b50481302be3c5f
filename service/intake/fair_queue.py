"""The fair queue before the writers: no carrier's flood makes another wait for a commit."""

import time
from collections import deque

from service.intake.entry import Entry

QUANTUM_EVENTS = 100
"""What one account may take of a commit before it is the next one's turn: a full batch of the `standard` protocol."""


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
