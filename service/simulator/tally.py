"""What was sent and taken, and what it must have become: the simulator's own account of the run.

Every message is read with `campaigns.grammar.read` by the book of the file the simulator was given, not by the
target's. (That the readings are right is not shown here: their cases are hand-made,
tests/service/simulator/test_simulate.py.)
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from campaigns.book.book import Book
from campaigns.book.grammar import Reading, read
from gateways.sender import Sms


@dataclass(frozen=True, slots=True)
class Figures:
    """Messages, units and VND of one carrier in one campaign, or of all of them."""

    messages: int = 0
    units: int = 0
    vnd: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.messages + other.messages, self.units + other.units, self.vnd + other.vnd)

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(self.messages - other.messages, self.units - other.units, self.vnd - other.vnd)


NOTHING = Figures()


@dataclass(slots=True)
class Sums:
    """Figures by (campaign, carrier), uncounted messages by (campaign, reason), unallocated ones by reason.

    The carrier "" stands for a campaign's own sum, which the target says apart from its carriers.
    """

    counted: dict[tuple[str, str], Figures] = field(default_factory=dict)
    uncounted: Counter[tuple[str, str]] = field(default_factory=Counter)
    unallocated: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Sums of what the target has acknowledged."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.sums = Sums()
        self.messages = 0

    def reading(self, sms: Sms, now: datetime) -> Reading:
        """What `sms` must be read as; `now` decides where its protocol tells no time."""
        return read(self._book, sms.short_code, sms.text, sms.at or now)

    def enter(self, sms: Sms, reading: Reading) -> None:
        """Note that the target acknowledged `sms`. Once for each message, whatever was repeated."""
        self.messages += 1
        if reading.campaign is None:
            self.sums.unallocated[reading.outcome.value] += 1
        elif reading.units is None or reading.amount_vnd is None:
            self.sums.uncounted[reading.campaign, reading.outcome.value] += 1
        else:
            gift = Figures(1, reading.units, reading.amount_vnd)
            for carrier in ("", sms.carrier):
                place = reading.campaign, carrier
                self.sums.counted[place] = self.sums.counted.get(place, NOTHING) + gift
