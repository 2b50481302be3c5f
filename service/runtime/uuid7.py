"""Random bytes drawn in advance, and UUIDs of version 7 (RFC 9562, section 5.7): time first, so that new rows land at
the end of an index."""

import os
from datetime import datetime
from uuid import UUID

# asyncpg's own UUID: a uuid.UUID that is made and sent several times faster.
from asyncpg.pgproto import pgproto

VERSION = 0x70
VARIANT = 0x80
POOL_BYTES = 4096


class RandomPool:
    """The system's random bytes, drawn 4 KiB at a time: a callback takes five pieces, each a system call otherwise.

    Every byte is handed out once. A process must not be forked while it has one: both would hand out the same.
    """

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """`count` bytes, up to POOL_BYTES, that nobody had before."""
        at = self._at
        if at + count > len(self._bytes):
            self._bytes, at = os.urandom(POOL_BYTES), 0
        self._at = at + count
        return self._bytes[at : at + count]


def uuid7(at: datetime, random: RandomPool | None = None) -> UUID:
    """A new identifier whose first 48 bits are `at` in unix milliseconds; the rest is random (from `random`)."""
    drawn = os.urandom(10) if random is None else random.take(10)
    value = bytearray(int(at.timestamp() * 1000).to_bytes(6) + drawn)
    value[6] = value[6] & 0x0F | VERSION
    value[8] = value[8] & 0x3F | VARIANT
    made: UUID = pgproto.UUID(bytes(value))
    return made
