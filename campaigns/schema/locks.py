"""The advisory locks of the cluster: every number in one place, so that no two mean different things.

A lock is held by a database session and freed with it, however its process ends. Locks of one number and of two
numbers are different ones to PostgreSQL.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

MIGRATION_LOCK = 1400_0001
"""Who migrates the schema."""
PARTITION_LOCK = 1400_0002
"""Who makes a day's partition."""
RAISING_LOCK = 1400_0003
"""Who raises the version counters."""
INVARIANT_LOCK = 1400_0004
"""The one process of the cluster that checks the invariants, for as long as it lives."""
DROP_LOCK = 1400_0005
"""Who drops the partitions whose time is over."""
FORGET_LOCK = 1400_0006
"""Who forgets the persons of a day whose time is over, and destroys its key."""
SWEEP_LOCK = 1400_0010
"""Who sweeps up what was not joined."""
DRAFT_LOCK = 1400_0011
"""Who keeps a draft: what is kept twice at one moment is one."""
APPLY_LOCK = 0x1400_0001
"""Who changes the book."""
ACCOUNT_LOCK_SPACE = 1400
"""First of two numbers, the second is the account: where the events of an account meet."""
BOOK_READERS = 0
"""Second of the two numbers, which no account has: batches share it, and who takes something back from the book has
it alone, so that no message is stored between its look at what was read and its commit."""
SLOT_LOCK_SPACE = 1401
"""First of two numbers, the second is the roll-up slot that a writer owns."""

REPLY_LOCK_SPACE = 1402
"""First of two numbers, the second is the account: the one worker of the cluster that sends its replies."""

TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
UNLOCK = "SELECT pg_advisory_unlock($1)"


async def try_lock(connection: asyncpg.Connection, lock: int) -> bool:
    """Take a lock for the life of this connection if it is free now."""
    return bool(await connection.fetchval(TRY_LOCK, lock))


@asynccontextmanager
async def if_free(connection: asyncpg.Connection, lock: int) -> AsyncIterator[bool]:
    """Hold a lock inside the block; False where somebody else holds it, who then does the work."""
    is_ours = await try_lock(connection, lock)
    try:
        yield is_ours
    finally:
        if is_ours and not connection.is_closed():
            await connection.execute(UNLOCK, lock)
