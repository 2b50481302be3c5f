"""The corrections the public is told of: by how much a campaign's total changed when gifts were moved."""

from datetime import datetime
from typing import NamedTuple

import asyncpg


class Correction(NamedTuple):
    """By how much a campaign's total changed when gifts were moved; what it gave is negative."""

    campaign_id: int
    number: int
    at: datetime
    messages: int
    units: int
    vnd: int
    other: str
    ground: str


# Twice each: as the campaign that gave and the one that took see it.
SELECT_CORRECTIONS = """
SELECT c.campaign_id, r.id, e.recorded_at, c.sign * e.messages AS messages, c.sign * e.units AS units,
       c.sign * e.vnd AS vnd, other.slug AS other, r.ground
FROM reattribution_end AS e JOIN reattribution AS r ON r.id = e.reattribution_id
CROSS JOIN LATERAL (
    VALUES (r.from_campaign_id, r.to_campaign_id, -1), (r.to_campaign_id, r.from_campaign_id, 1)
) AS c (campaign_id, other_id, sign)
JOIN campaign AS other ON other.id = c.other_id
WHERE e.step = 'approved' ORDER BY r.id
"""


async def select_corrections(connection: asyncpg.Connection) -> list[Correction]:
    """Of every campaign, the oldest first."""
    return [Correction(*row) for row in await connection.fetch(SELECT_CORRECTIONS)]
