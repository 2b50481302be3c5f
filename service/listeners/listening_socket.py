"""Sockets that listen. A supervisor binds them and serves nothing: no HTTP server is loaded with this."""

import socket

BACKLOG = 1024
RECEIVE_BUFFER_BYTES = 64 * 1024
"""What the kernel keeps of a connection before it is read (it doubles the figure, for what it needs itself), and so
what one read brings: left to itself it grows to some megabytes for each stranger."""


class ListeningSocket(socket.socket):
    """A listening socket whose queue is always BACKLOG long.

    asyncio knows one number for the queue's length and for how many connections it takes from it at once; the
    second must be small where several workers accept from one queue.
    """

    def listen(self, _backlog: int = BACKLOG, /) -> None:
        """Listen, with the queue this service wants."""
        super().listen(BACKLOG)


def bind(host: str, port: int) -> ListeningSocket:
    """A bound TCP socket that listens; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = ListeningSocket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Every connection inherits it.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    try:
        bound.bind((host, port))
        # Two sockets may be bound to one address as long as neither listens: only now it is known to be ours.
        bound.listen()
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
