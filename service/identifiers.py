"""UUIDs of version 7 (RFC 9562, section 5.7): time first, so that new rows land at the end of an index."""

import os
from datetime import datetime
from uuid import UUID


def uuid7(at: datetime) -> UUID:
    """A new identifier whose first 48 bits are `at` in unix milliseconds; the rest is random."""
    milliseconds = int(at.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
