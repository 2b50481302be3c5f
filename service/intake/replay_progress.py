"""How far the replay of one spool has come, and what in it waits for another attempt."""

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.intake.spool import Spooled
from service.intake.spool_file import Stored

BATCH_RECORDS = 50
"""Records parsed in one go: the event loop is kept from live callbacks for a few milliseconds at most."""


@dataclass(slots=True)
class Suspect:
    """A record that was not committed in time although it was tried alone, and the writer's commits by then."""

    since: float
    commits: int
    failures: int = 0
    """While others were committed: of its own fault, therefore."""
    again_at: float = 0.0


@dataclass(slots=True)
class Hold:
    """An account whose records waited for a lock of somebody else's: they stay, and those of others go on."""

    failures: int = 0
    again_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record and what is in it; None when it does not open."""

    stored: Stored
    spooled: Spooled | None

    @property
    def account(self) -> str:
        """Whose it is."""
        return "" if self.spooled is None else self.spooled.code


@dataclass(slots=True)
class Progress:
    """How far the replay of a spool has come, and how much it takes at once."""

    passed: int = 0
    """The number of the last record that was looked at and left."""
    records: int = BATCH_RECORDS
    suspects: dict[bytes, Suspect] = field(default_factory=dict)
    held: dict[str, Hold] = field(default_factory=dict)
    is_released: bool = False
    """Whether an account was let go on whose records may have been passed over before."""

    def start_over(self) -> None:
        """Look at all of them again, from the first."""
        self.passed, self.is_released = 0, False

    def release(self, accounts: Iterable[str]) -> None:
        """These accounts wait for no lock any more, if they did."""
        for account in accounts:
            if self.held.pop(account, None) is not None:
                self.is_released = True

    @property
    def is_due(self) -> bool:
        """Whether something that failed is to be tried again."""
        if self.is_released:
            return True
        due_at = [each.again_at for each in self.suspects.values()] + [each.again_at for each in self.held.values()]
        return any(at <= time.monotonic() for at in due_at)

    def groups(self, records: Iterable[Record]) -> deque[list[Record]]:
        """What is stored together: of accounts that are not held all; of one that was, and may try, its own alone."""
        together: dict[str | None, list[Record]] = defaultdict(list)
        for record in records:
            hold = self.held.get(record.account)
            if hold is None:
                together[None].append(record)
            elif hold.again_at <= time.monotonic():
                together[record.account].append(record)
        return deque(together.values())
