"""UUIDs of version 7 (RFC 9562, section 5.7): time first, so that new rows land at the end of an index."""

import os
from datetime import datetime
from uuid import UUID

# asyncpg's own UUID: a uuid.UUID that is made and sent several times faster.
from asyncpg.pgproto import pgproto

from service.runtime.random_pool import RandomPool

VERSION = 0x70
VARIANT = 0x80


def uuid7(at: datetime, random: RandomPool | None = None) -> UUID:
    """A new identifier whose first 48 bits are `at` in unix milliseconds; the rest is random (from `random`)."""
    drawn = os.urandom(10) if random is None else random.take(10)
    value = bytearray(int(at.timestamp() * 1000).to_bytes(6) + drawn)
    value[6] = value[6] & 0x0F | VERSION
    value[8] = value[8] & 0x3F | VARIANT
    return uuid_of(bytes(value))


def uuid_of(value: bytes) -> UUID:
    """The identifier with these 16 bytes."""
    made: UUID = pgproto.UUID(value)
    return made
