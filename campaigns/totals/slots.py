"""Roll-up slots: a writer's own rows among those that sum up to a figure."""

import asyncpg

from campaigns.schema.locks import SLOT_LOCK_SPACE

TAKE_SLOT = """
SELECT slot FROM generate_series(1, 63) AS slot WHERE pg_try_advisory_lock($1, slot) LIMIT 1
"""


async def take_slot(connection: asyncpg.Connection, fallback: int) -> int:
    """A roll-up slot for the life of this connection. When all 63 are taken, share `fallback`: slower, not wrong."""
    slot = await connection.fetchval(TAKE_SLOT, SLOT_LOCK_SPACE)
    return int(slot) if slot is not None else 1 + fallback % 63
