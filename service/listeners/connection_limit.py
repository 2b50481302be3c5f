"""How many connections there may be, so that carriers always find one free and the process its file descriptors."""

import asyncio
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog

log = structlog.get_logger("doors")

RESERVED_DESCRIPTORS = 100
"""For the database, the spool, the log and the internal listener."""
VIEWERS_SHARE = 0.75
"""Streams never take more than this share of the connections."""
QUIET_SECONDS = 10.0
"""At most one line of the log in this time says that connections are refused."""
NO_DESCRIPTORS = "socket.accept() out of system resource"


class Connection(Protocol):
    """What is asked of a connection: whether it waits for a request, whether a carrier uses it, and its end."""

    @property
    def is_idle(self) -> bool:
        """No request is in hand."""

    @property
    def is_carrier(self) -> bool:
        """It brought a callback before."""

    def force_close(self) -> None:
        """End it."""


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
    """The bound on public connections, streams included."""

    def __init__(self, connections_max: int, viewers: Callable[[], int]) -> None:
        """`viewers` tells how many connections are streams; the others are told to `enter`."""
        descriptors = raise_descriptors()
        self.connections_max = max(
            RESERVED_DESCRIPTORS // 4, min(connections_max, descriptors - RESERVED_DESCRIPTORS)
        )
        if self.connections_max < connections_max:
            log.warning("connections_limited", connections_max=self.connections_max, file_descriptors=descriptors)
        self._viewers = viewers
        self._told_at = float("-inf")

    @property
    def viewers_max(self) -> int:
        """How many of the connections may be streams."""
        return int(self.connections_max * VIEWERS_SHARE)

    def enter(self, new: Connection, present: Iterable[Connection], count: int) -> None:
        """A connection was accepted, one of `count`. Beyond the bound the public's oldest idle one goes, or this."""
        if count + self._viewers() <= self.connections_max:
            return
        idle = next((each for each in present if each is not new and each.is_idle and not each.is_carrier), None)
        (idle or new).force_close()
        self._tell("connections_full", closed="an idle one" if idle else "the new one")

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
