"""Raising versions after a restore: the figures stay as they are, and whoever ignores lower versions sees them.

Slot 0 belongs to no writer. A row there with nothing but a version sums to nothing, so `verify` stays clean.
"""

from collections.abc import Mapping

import asyncpg

from campaigns.schema.locks import RAISING_LOCK
from campaigns.totals.announce import announce

LOCK_RAISING = "SELECT pg_advisory_xact_lock($1)"

# As of: the newest change in the figures stays what it was, because no figure changes.
RAISE_CAMPAIGNS = """
WITH found AS (
    SELECT c.id, coalesce(sum(t.version), 0)::bigint AS version, coalesce(max(t.as_of), c.applied_at) AS as_of,
           floor.version AS floor
    FROM unnest($1::text[], $2::bigint[]) AS floor (slug, version) JOIN campaign AS c ON c.slug = floor.slug
    LEFT JOIN campaign_total AS t ON t.campaign_id = c.id
    GROUP BY c.id, floor.version
)
INSERT INTO campaign_total AS old (
    campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd, wrong_syntax, before_open,
    after_close, as_of
)
SELECT id, 'unknown', 0, floor - version + 1, 0, 0, 0, 0, 0, 0, 0, as_of FROM found WHERE version <= floor ORDER BY id
ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET version = old.version + excluded.version
"""
RAISE_UNALLOCATED = """
INSERT INTO unallocated_total AS old (
    slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
)
SELECT 0, $1::bigint - found.version + 1, 0, 0, 0, 0, 0, found.as_of
FROM (
    SELECT coalesce(sum(version), 0)::bigint AS version, coalesce(max(as_of), now()) AS as_of FROM unallocated_total
) AS found
WHERE $1::bigint > 0 AND found.version <= $1::bigint
ON CONFLICT (slot) DO UPDATE SET version = old.version + excluded.version
"""


async def raise_versions(connection: asyncpg.Connection, campaigns: Mapping[str, int], unallocated: int) -> None:
    """Bring every version above what is given, in one transaction; campaigns that are not there are passed over.

    `unallocated` 0 leaves what belongs to no campaign. Several processes may do this at once: the second finds
    nothing left to raise.
    """
    async with connection.transaction():
        await connection.execute(LOCK_RAISING, RAISING_LOCK)
        await connection.execute(RAISE_CAMPAIGNS, list(campaigns), list(campaigns.values()))
        await connection.execute(RAISE_UNALLOCATED, unallocated)
        await announce(connection)
