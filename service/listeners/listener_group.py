"""The listeners of one worker together: they open in order, stop accepting together and drain one after the other."""

import socket
from collections.abc import Sequence
from contextlib import suppress

from service.listeners.listener import Listener


class ListenerGroup:
    """The first is the public one: it drains first, while the others still answer probes over what they have."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @property
    def public(self) -> Listener:
        """The first."""
        return self._listeners[0]

    async def listen(self, pairs: Sequence[tuple[Listener, socket.socket]]) -> None:
        """Accept on each socket. Raises OSError; then those before it listen, as after `stop_accepting` not."""
        self._listeners = [listener for listener, _ in pairs]
        for listener, bound in pairs:
            await listener.listen(bound)

    async def stop_accepting(self) -> None:
        """Take no connection more."""
        for listener in self._listeners:
            await listener.stop_accepting()

    async def drain(self, drain_seconds: float, until: float) -> None:
        """Answer what came. A public connection has `drain_seconds` for its next request; `until` is monotonic."""
        for place, listener in enumerate(self._listeners):
            with suppress(Exception):
                await listener.drain(0.0 if place else drain_seconds, until)
