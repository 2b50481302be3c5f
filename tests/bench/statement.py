"""The writing statement alone: prepared rows, two connections, batches of 200, each a durable commit."""

import asyncio
import os
import time
from datetime import UTC, datetime

import asyncpg

from campaigns.gifts.event_rows import MessageRow, RawRow
from campaigns.gifts.messages import record_at_once
from campaigns.totals.slots import take_slot
from service.runtime.uuid7 import uuid7

BATCH = 200


def prepared(prefix: str, account_id: int, campaign_id: int, count: int) -> list[MessageRow]:
    """Rows as intake makes them, sorted by key, sealed fields of the usual size."""
    now = datetime.now(UTC)
    rows = []
    for number in range(count):
        row_id = uuid7(now)
        row = MessageRow(
            row_id, account_id, f"{prefix}-{number:06}", os.urandom(32), now, now, None, "1408", "viettel", "counted",
            campaign_id, "VNN", 1, 20_000, None, None, "", None, 1, 1, row_id, now.date(), os.urandom(39),
            os.urandom(32), os.urandom(33),
        )  # fmt: skip
        rows.append(row)
    return rows


async def _write(dsn: str, name: str, seconds: float) -> int:
    connection = await asyncpg.connect(dsn)
    account_id = await connection.fetchval("SELECT id FROM gateway_account WHERE code = 'hub'")
    campaign_id = await connection.fetchval("SELECT id FROM campaign WHERE slug = 'vnn'")
    slot = await take_slot(connection, 1)
    written, busy = 0, 0.0
    while busy < seconds:
        rows = prepared(f"{name}-{written}", account_id, campaign_id, BATCH)
        raws = [RawRow(row.raw_id, row.day, account_id, os.urandom(400)) for row in rows]
        started = time.perf_counter()
        await record_at_once(connection, rows, raws, slot)
        busy += time.perf_counter() - started
        written += len(rows)
    await connection.close()
    return int(written / busy)


async def statement_alone(dsn: str, seconds: float) -> float:
    """Messages per second over two connections; preparing the rows is not counted."""
    return float(sum(await asyncio.gather(_write(dsn, "first", seconds), _write(dsn, "second", seconds))))
