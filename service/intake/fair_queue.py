"""The fair queue before the writers: no carrier's flood makes another wait for a commit, and no replay does."""

import time
from collections import deque

from service.intake.entry import Entry

QUANTUM_EVENTS = 100
"""What one account may take of a commit before it is the next one's turn: a full batch of the `standard` protocol."""
QUANTUM_BYTES = 1024 * 1024
"""The same in bytes: the largest callback of any protocol."""


class _Lane:
    """Lines that share commits: one for each account, served in turns, each in its own order."""

    def __init__(self) -> None:
        self.lines: dict[int, deque[Entry]] = {}
        self._turns: deque[int] = deque()

    def push(self, entry: Entry) -> None:
        line = self.lines.get(entry.raw.account_id)
        if line is None:
            line = self.lines[entry.raw.account_id] = deque()
            self._turns.append(entry.raw.account_id)
        line.append(entry)

    def take(self, events_max: int, bytes_max: int) -> tuple[list[Entry], list[Entry]]:
        """The next batch, and what was answered meanwhile and is left out."""
        batch: list[Entry] = []
        answered: list[Entry] = []
        events = size = 0
        while self._turns:
            account = self._turns.popleft()
            line = self.lines[account]
            turn_events = turn_bytes = 0
            while line and turn_events < QUANTUM_EVENTS and turn_bytes < QUANTUM_BYTES:
                entry = line[0]
                is_over = events + len(entry.rows) > events_max or size + entry.size_bytes > bytes_max
                if batch and is_over and not entry.done.done():
                    # The batch is full; who could not finish this turn begins the next batch.
                    self._turns.appendleft(account)
                    return batch, answered
                line.popleft()
                if entry.done.done():
                    answered.append(entry)
                    continue
                batch.append(entry)
                events += len(entry.rows)
                size += entry.size_bytes
                turn_events += len(entry.rows)
                turn_bytes += entry.size_bytes
            if line:
                self._turns.append(account)
            else:
                del self.lines[account]
        return batch, answered

    def clear(self) -> None:
        self.lines.clear()
        self._turns.clear()


class FairQueue:
    """Callbacks that wait for a writer, in two lanes: as they come, and from the spool.

    A batch is of one lane, and where both wait they take turns: what the spool gives back never shares the fate of
    what somebody waits for.
    """

    def __init__(self) -> None:
        self._live, self._replayed = _Lane(), _Lane()
        self._lanes = deque((self._live, self._replayed))
        self.events = 0
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return any(lane.lines for lane in self._lanes)

    @property
    def oldest_seconds(self) -> float:
        """How long the one that came first has waited; of the replay nobody waits."""
        if not self._live.lines:
            return 0.0
        return time.monotonic() - min(line[0].queued_at for line in self._live.lines.values())

    def push(self, entry: Entry) -> None:
        """To the end of its account's line."""
        (self._replayed if entry.is_replayed else self._live).push(entry)
        self.events += len(entry.rows)
        self.size_bytes += entry.size_bytes

    def take(self, events_max: int, bytes_max: int) -> list[Entry]:
        """Up to so many events and bytes, or one callback if that has more; none that was answered meanwhile."""
        batch: list[Entry] = []
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate()
            batch, answered = lane.take(events_max, bytes_max)
            for entry in (*batch, *answered):
                self.events -= len(entry.rows)
                self.size_bytes -= entry.size_bytes
            if batch:
                break
        return batch

    def clear(self) -> None:
        """Forget everybody."""
        for lane in self._lanes:
            lane.clear()
        self.events = self.size_bytes = 0
