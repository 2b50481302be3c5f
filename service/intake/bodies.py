"""Bodies in flight: how many bytes of large ones a worker holds at once, and whose."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from service.runtime.addresses import Address, site_of

MIB = 1024 * 1024
LARGE_BYTES = 4_096
"""Bodies larger than this hold many events, or nothing of ours. Smaller ones are always taken: a gift is one."""
BODIES_BYTES_MAX = 64 * MIB
"""In one worker. A body costs about twice its size while it is put together, and once more while it is verified."""
ACCOUNT_BYTES_MAX = BODIES_BYTES_MAX // 2
"""Of one account: some dozens of the largest, a thousand of the usual batches."""
STRANGERS_BYTES_MAX = BODIES_BYTES_MAX // 4
"""Of all together who are not expected where they post to."""
STRANGER_BYTES_MAX = STRANGERS_BYTES_MAX // 2
"""Of one of them."""


STRANGERS = object()
"""No account has this name."""


class Sender(NamedTuple):
    """Who sent a body, as far as its head tells.

    `label` is the account's code, or the one for accounts that we do not have. A stranger passes no factor of the
    account that a head can carry.
    """

    label: str
    peer: Address
    is_stranger: bool


class NoRoom(Exception):
    """There is no room for such a body now; it was not read, or not to its end. `sender` is whose it is."""

    def __init__(self, sender: Sender) -> None:
        super().__init__("no room for a body")
        self.sender = sender


class Bodies:
    """The bytes that are held, and whose they are. What is at most LARGE_BYTES long is not counted."""

    def __init__(self, freed: Callable[[int], None]) -> None:
        """`freed` hears how many bytes were let go, each time."""
        self._freed = freed
        self._held = 0
        self._held_by: Counter[Hashable] = Counter()

    @property
    def held_bytes(self) -> int:
        """All of them."""
        return self._held

    @contextmanager
    def room(self, who: Callable[[], Sender]) -> Iterator["Room"]:
        """Room for one body, given back at the end. `who` is asked only where the body is large."""
        room = Room(self, who)
        try:
            yield room
        finally:
            if room.size:
                self.give_back(room)

    def grow(self, room: "Room", sender: Sender, size: int) -> None:
        """Let `room` hold `size` bytes in all. Raises NoRoom."""
        more = size - room.size
        bounds = _bounds(sender)
        if self._held + more > BODIES_BYTES_MAX or any(
            self._held_by[each] + more > bytes_max for each, bytes_max in bounds
        ):
            raise NoRoom(sender)
        self._held += more
        for each, _ in bounds:
            self._held_by[each] += more
        room.size = size

    def give_back(self, room: "Room") -> None:
        """Nothing is held any more."""
        sender = room.sender
        self._held -= room.size
        for each, _ in _bounds(sender):
            self._held_by[each] -= room.size
            if not self._held_by[each]:
                del self._held_by[each]
        self._freed(room.size)


class Room:
    """What one body may hold."""

    __slots__ = ("_bodies", "_who", "asked", "size")

    def __init__(self, bodies: Bodies, who: Callable[[], Sender]) -> None:
        self._bodies = bodies
        self._who = who
        self.asked: Sender | None = None
        """Whose body it is, where that was asked."""
        self.size = 0

    @property
    def sender(self) -> Sender:
        """Whose body it is."""
        if self.asked is None:
            self.asked = self._who()
        return self.asked

    def require(self, size: int) -> None:
        """Have room for `size` bytes in all. Raises NoRoom."""
        if size > LARGE_BYTES and size > self.size:
            self._bodies.grow(self, self.sender, size)


def _bounds(sender: Sender) -> tuple[tuple[Hashable, int], ...]:
    if sender.is_stranger:
        return (STRANGERS, STRANGERS_BYTES_MAX), (site_of(sender.peer), STRANGER_BYTES_MAX)
    return ((sender.label, ACCOUNT_BYTES_MAX),)
