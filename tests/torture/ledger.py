"""What was sent under each id and what was answered: the account against which the portal is judged."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.torture.events import Event, Key


@dataclass(slots=True)
class Sent:
    """One id: every content sent under it, and which of them were answered how (by position in `contents`)."""

    contents: list[Event] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)
    told_conflict: set[int] = field(default_factory=set)

    def place(self, event: Event) -> int:
        """The position of this content, entered when it is new."""
        for place, held in enumerate(self.contents):
            if held.data == event.data and held.sms == event.sms:
                return place
        self.contents.append(event)
        return len(self.contents) - 1


class Ledger:
    """By id, never by sum."""

    def __init__(self) -> None:
        self.ids: dict[Key, Sent] = {}
        self.refused: set[Key] = set()
        """Ids that only ever stood in unreadable callbacks."""
        self.complaints: list[str] = []
        """Answers that no protocol of ours gives, at most a few."""

    def send(self, events: Iterable[Event]) -> None:
        """Note that these are about to leave; once is enough."""
        for event in events:
            self.ids.setdefault(event.key, Sent()).place(event)

    def acknowledge(self, events: Iterable[Event]) -> None:
        """The portal took them."""
        for event in events:
            sent = self.ids[event.key]
            sent.acknowledged.add(sent.place(event))

    def conflict(self, events: Iterable[Event]) -> None:
        """The portal holds these ids with another content, and said so."""
        for event in events:
            sent = self.ids[event.key]
            sent.told_conflict.add(sent.place(event))

    def refuse(self, events: Iterable[Event]) -> None:
        """These went out in a callback that cannot be read."""
        self.refused.update(event.key for event in events)

    def complain(self, sentence: str) -> None:
        """An answer was wrong; ids and statuses only."""
        if len(self.complaints) < 20:
            self.complaints.append(sentence)

    @property
    def acknowledged(self) -> int:
        """How many ids were acknowledged."""
        return sum(1 for sent in self.ids.values() if sent.acknowledged)
