"""Random bytes drawn in advance: for nonces and identifiers, of which a callback needs several."""

import os
import threading

POOL_BYTES = 4096


class RandomPool:
    """The system's random bytes, drawn 4 KiB at a time: a callback takes five pieces, each a system call otherwise.

    Every byte is handed out once. A process must not be forked while it has one: both would hand out the same.
    """

    __slots__ = ("_at", "_bytes", "_lock")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bytes:
        """`count` bytes, up to POOL_BYTES, that nobody had before."""
        # A nonce that two threads got would betray what both sealed.
        with self._lock:
            at = self._at
            if at + count > len(self._bytes):
                self._bytes, at = os.urandom(POOL_BYTES), 0
            self._at = at + count
            return self._bytes[at : at + count]
