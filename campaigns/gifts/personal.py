"""What is kept about a person for one message, and its callback as it came: sealed, for whoever may open it."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg


class KeptMessage(NamedTuple):
    """A message with what is sealed about its sender; None where that was forgotten."""

    id: UUID
    received_at: datetime
    raw_id: UUID
    campaign: str | None
    day: date | None
    number_sealed: bytes | None
    text_sealed: bytes | None


class KeptCallback(NamedTuple):
    """A callback as it came, sealed under the key of `day`; `table` is where it lies."""

    table: str
    day: date
    sealed: bytes


SELECT_KEPT_MESSAGE = """
SELECT m.id, m.received_at, m.raw_id, c.slug, p.day, p.msisdn_sealed, p.text_sealed
FROM message AS m LEFT JOIN message_person AS p ON p.message_id = m.id LEFT JOIN campaign AS c ON c.id = m.campaign_id
WHERE m.id = $1
"""
# Emptied ones say nothing any more. A day before and behind: an id is made a moment apart from its day.
SELECT_KEPT_CALLBACK = """
SELECT 'raw_callback' AS place, received_on AS day, sealed FROM raw_callback
WHERE id = $1 AND received_on = ANY($2::date[]) AND length(sealed) > 0
UNION ALL
SELECT 'conflict_callback', day, sealed FROM conflict_callback WHERE raw_id = $1 AND sealed IS NOT NULL
UNION ALL
SELECT 'quarantine', day, sealed FROM quarantine WHERE id = $1 AND length(sealed) > 0
LIMIT 1
"""


async def select_kept_message(connection: asyncpg.Connection, message_id: UUID) -> KeptMessage | None:
    """The message with this id of ours."""
    row = await connection.fetchrow(SELECT_KEPT_MESSAGE, message_id)
    return None if row is None else KeptMessage(*row)


async def select_kept_callback(connection: asyncpg.Connection, raw_id: UUID) -> KeptCallback | None:
    """The callback with this id, wherever it is kept; None once its days are over."""
    # A UUID of version 7 begins with its milliseconds (RFC 9562, 5.7).
    at = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=raw_id.int >> 80)).date()
    row = await connection.fetchrow(SELECT_KEPT_CALLBACK, raw_id, [at + timedelta(days=each) for each in (-1, 0, 1)])
    return None if row is None else KeptCallback(*row)
