"""Connections on which nothing was verified, by the address they come from: which of them goes to make room."""

from itertools import islice
from typing import Protocol

from service.runtime.addresses import NOBODY, Address, address, site_of

LOOKS_MAX = 64
"""So many connections are looked at to make room for one; who could not go is looked at last the next time."""


class Connection(Protocol):
    """What is asked of a connection: who is at its other end, what it waits for, and its end."""

    @property
    def remote_address(self) -> str:
        """The address of the other side; empty where there is none."""

    @property
    def is_idle(self) -> bool:
        """No request is in hand."""

    @property
    def is_stuck(self) -> bool:
        """A request in hand waits for its sender."""

    def force_close(self) -> None:
        """End it."""


class Strangers:
    """The strangers' connections. However many there are, adding and removing one takes the same time."""

    def __init__(self) -> None:
        self._sites: dict[Connection, Address] = {}
        self._of_site: dict[Address, dict[Connection, None]] = {}
        self._by_count: dict[int, dict[Address, None]] = {}
        """The addresses that have so many connections, the first to come to that number first."""

    def __len__(self) -> int:
        return len(self._sites)

    def add(self, connection: Connection) -> None:
        """One more, at the end of its address's."""
        site = site_of(address(connection.remote_address) if connection.remote_address else NOBODY)
        self._sites[connection] = site
        present = self._of_site.setdefault(site, {})
        self._recount(site, len(present), len(present) + 1)
        present[connection] = None

    def discard(self, connection: Connection) -> bool:
        """One less; False where it was none of them."""
        site = self._sites.pop(connection, None)
        if site is None:
            return False
        present = self._of_site[site]
        self._recount(site, len(present), len(present) - 1)
        del present[connection]
        if not present:
            del self._of_site[site]
        return True

    def dispensable(self, new: Connection) -> Connection | None:
        """Whose place another could have: never that of `new`. None where nobody was found within LOOKS_MAX looks.

        Of the addresses with the most connections the oldest idle one, or else one that keeps us waiting.
        """
        looks = LOOKS_MAX
        stuck: Connection | None = None
        for count in sorted(self._by_count, reverse=True):
            for site in islice(self._by_count[count], looks):
                present = self._of_site[site]
                for connection in list(islice(present, looks)):
                    looks -= 1
                    if connection is new:
                        continue
                    if connection.is_idle:
                        return connection
                    if stuck is None and connection.is_stuck:
                        stuck = connection
                    del present[connection]
                    present[connection] = None
                if looks <= 0:
                    return stuck
        return stuck

    def _recount(self, site: Address, before: int, now: int) -> None:
        if before:
            of_count = self._by_count[before]
            del of_count[site]
            if not of_count:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[site] = None
