"""How many connections there may be, so that carriers always find one free and the process its file descriptors."""

import asyncio
import resource
import time
from collections.abc import Callable
from typing import Any

import structlog

from service.listeners.strangers import Connection, Strangers

log = structlog.get_logger("doors")

RESERVED_DESCRIPTORS = 100
"""For the database, the spool, the log and the internal listener."""
VIEWERS_SHARE = 0.75
"""Streams never take more than this share of the connections."""
STRANGERS_SHARE = 0.75
"""Of connections on which nothing was verified there are never more than this share while one can be closed."""
CARRIER_SECONDS = 600.0
"""How long a connection counts as a carrier's after a callback on it was verified."""
QUIET_SECONDS = 10.0
"""At most one line of the log in this time says that connections are refused."""
NO_DESCRIPTORS = "socket.accept() out of system resource"


def raise_descriptors() -> int:
    """Take as many file descriptors as the system allows this process; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


class ConnectionLimit:
    """The bound on public connections, streams included.

    A connection is a stranger's until a callback on it was verified, and a carrier's for CARRIER_SECONDS from then
    on. Where room must be made a stranger goes, never a carrier and never a viewer: one that is idle, or else one
    that keeps a request of its own waiting, of the address that has the most connections, the oldest first. So a
    flood from few addresses makes room at its own cost, and who has just come stays.
    """

    def __init__(
        self,
        connections_max: int,
        viewers: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """`viewers` tells how many connections are streams; the others `enter` and `leave`. `clock`: seconds.

        `closed` hears of each that is closed for room.
        """
        self._closed = closed
        descriptors = raise_descriptors()
        self.connections_max = max(
            RESERVED_DESCRIPTORS // 4, min(connections_max, descriptors - RESERVED_DESCRIPTORS)
        )
        if self.connections_max < connections_max:
            log.warning("connections_limited", connections_max=self.connections_max, file_descriptors=descriptors)
        self._viewers = viewers
        self._clock = clock
        self._strangers = Strangers()
        self._carriers: dict[Connection, float] = {}
        """When a callback was last verified on each, the longest ago first."""
        self._told_at = float("-inf")

    @property
    def viewers_max(self) -> int:
        """How many of the connections may be streams."""
        return int(self.connections_max * VIEWERS_SHARE)

    @property
    def open_connections(self) -> dict[str, int]:
        """How many there are, by whose they are."""
        return {"carrier": len(self._carriers), "stranger": len(self._strangers), "viewer": self._viewers()}

    def enter(self, new: Connection) -> None:
        """A connection was accepted. Beyond the strangers' share one of them goes; beyond the bound that or `new`."""
        self._strangers.add(new)
        taken = len(self._strangers) + len(self._carriers) + self._viewers()
        is_full = taken > self.connections_max
        if not is_full and len(self._strangers) <= self.connections_max * STRANGERS_SHARE:
            return
        self._forget_old_carriers()
        closed = self._strangers.dispensable(new)
        if closed is None and is_full:
            closed = new
        if closed is not None:
            self.leave(closed)
            closed.force_close()
            self._closed()
            self._tell("connections_full", closed="the new one" if closed is new else "a stranger's")

    def leave(self, connection: Connection) -> None:
        """A connection ended, or became a stream. A second time: nothing."""
        if self._carriers.pop(connection, None) is None:
            self._strangers.discard(connection)

    def trust(self, connection: Connection) -> None:
        """A callback on `connection` was verified."""
        if self._carriers.pop(connection, None) is None and not self._strangers.discard(connection):
            return
        self._carriers[connection] = self._clock()

    def is_carrier(self, connection: Connection) -> bool:
        """Whether a callback on `connection` was verified, and that is not forgotten yet."""
        return connection in self._carriers

    def _forget_old_carriers(self) -> None:
        until = self._clock() - CARRIER_SECONDS
        while self._carriers:
            connection, verified_at = next(iter(self._carriers.items()))
            if verified_at > until:
                return
            del self._carriers[connection]
            self._strangers.add(connection)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say once that the system has no descriptor left: asyncio would for each waiting connection, each second."""
        before = loop.get_exception_handler()

        def handle(of: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if context.get("message") == NO_DESCRIPTORS:
                self._tell("no_file_descriptors", closed="nothing; new ones wait")
            elif before is not None:
                before(of, context)
            else:
                of.default_exception_handler(context)

        loop.set_exception_handler(handle)

    def _tell(self, event: str, **about: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= QUIET_SECONDS:
            self._told_at = now
            log.warning(event, connections_max=self.connections_max, viewers=self._viewers(), **about)
