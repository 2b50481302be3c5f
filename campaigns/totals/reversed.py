"""What was given back, made equal to its money lines: for what a release wrote that did not know the figure as it is.

A roll-up of it is kept by the statement that writes the lines. A worker of an older release that runs beside writes
the lines alone, or takes the correction of what another campaign gave back for less than nothing; the next worker
that starts makes up for it, in slot 0, which belongs to no writer.
"""

import asyncpg

from campaigns.schema.locks import RAISING_LOCK
from campaigns.totals.announce import announce

LOCK_RAISING = "SELECT pg_advisory_xact_lock($1)"
# What a campaign gave back of a gift is what the lines of its reversals took there, and never less than nothing: of a
# moved gift, the correction of what another campaign gave back lies with the campaign that holds it now.
# A reversal's first line takes something, so its messages are not 1, and an index has it; a line that corrects it may
# give one message back, and is found by the gift.
GIVEN_BACK = """
SELECT campaign_id, carrier, sum(messages) AS messages, sum(vnd) AS vnd FROM (
    SELECT campaign_id, carrier, greatest(-sum(messages), 0) AS messages, greatest(-sum(vnd), 0) AS vnd
    FROM money_line WHERE stage = 'pledged' AND cause ~ '^([0-9]+:)?reversal:' AND gift_id IN (
        SELECT gift_id FROM money_line WHERE stage = 'pledged' AND messages <> 1 AND cause ~ '^([0-9]+:)?reversal:'
    ) GROUP BY gift_id, campaign_id, carrier
) AS given GROUP BY campaign_id, carrier
"""
# One statement, one snapshot: lines and their roll-up are committed together, so a writer beside changes nothing.
MEND_REVERSED = """
WITH line AS (given_back), total AS (
    SELECT campaign_id, carrier, sum(reversed_messages) AS messages, sum(reversed_vnd) AS vnd
    FROM campaign_total GROUP BY campaign_id, carrier
)
INSERT INTO campaign_total AS old (
    campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd, reversed_messages, reversed_vnd,
    wrong_syntax, before_open, after_close, as_of
)
SELECT line.campaign_id, line.carrier, 0, 1, 0, 0, 0, 0, line.messages - coalesce(total.messages, 0),
       line.vnd - coalesce(total.vnd, 0), 0, 0, 0, clock_timestamp()
FROM line LEFT JOIN total USING (campaign_id, carrier)
WHERE (line.messages, line.vnd) <> (coalesce(total.messages, 0), coalesce(total.vnd, 0))
ORDER BY line.campaign_id, line.carrier
ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET
    version = old.version + 1, reversed_messages = old.reversed_messages + excluded.reversed_messages,
    reversed_vnd = old.reversed_vnd + excluded.reversed_vnd, as_of = greatest(old.as_of, excluded.as_of)
RETURNING old.campaign_id
""".replace("given_back", GIVEN_BACK)


async def mend_reversed(connection: asyncpg.Connection) -> int:
    """Add what the roll-up of reversals lacks, in one transaction; returns of how many campaigns and carriers.

    Several processes may do this at once: the second finds nothing left to add.
    """
    async with connection.transaction():
        await connection.execute(LOCK_RAISING, RAISING_LOCK)
        mended = await connection.fetch(MEND_REVERSED)
        if mended:
            await announce(connection)
    return len(mended)
