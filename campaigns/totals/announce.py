"""The announcement of a change: made inside its transaction, heard by every worker when that has committed."""

import asyncpg

from campaigns.schema.channels import TOTALS_CHANNEL

NOTIFY_TOTALS = "SELECT pg_notify($1, '')"


async def announce(connection: asyncpg.Connection) -> None:
    """Tell every worker, at commit, that totals changed. Once per batch: NOTIFY serialises commits."""
    await connection.execute(NOTIFY_TOTALS, TOTALS_CHANNEL)
