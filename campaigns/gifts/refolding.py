"""Gifts with reversals folded again, once, where a release makes something else of their events than the one before.

What is written of a gift is worked out anew with its next event; most have none any more. So after a change of the
rules whoever sweeps goes through the reversals, some in each transaction, and writes what differs: questions for a
person, and lines that correct. A process of the release before may run beside for a while and write by its rules:
each start of a worker has it gone through once more, to an end that is later than such a process lives on.
"""

from collections.abc import Sequence

import asyncpg

from campaigns.gifts.events import Charges, select_gifts, select_notices
from campaigns.gifts.messages import lock_accounts
from campaigns.gifts.projection import MoneyLine, project
from campaigns.totals.announce import announce

SLOT = 0
"""Of no writer."""
RULES = 2
"""Raised with every change of `folding.py` or `gift.py` by which stored events make something else of a gift."""
REVERSALS_AT_ONCE = 500

BESIDE_SECONDS = 120
"""How long after the start of a worker one of the release before may still write: its reload is over by then."""

SELECT_PROGRESS = """
SELECT upto, ended_at IS NOT NULL AS is_ended,
       $2::float8 IS NULL OR ended_at > clock_timestamp() - make_interval(secs => $2 - $3) AS is_late_enough
FROM refolding WHERE rules = $1
"""
SELECT_SOME = """
SELECT id, account_id, message_ref, charge_ref FROM reversal
WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""
RECORD_PROGRESS = """
INSERT INTO refolding (rules, upto, ended_at) VALUES ($1, $2, CASE WHEN $3 THEN clock_timestamp() END)
ON CONFLICT (rules) DO UPDATE SET upto = excluded.upto, ended_at = excluded.ended_at
"""


async def refold_some(
    connection: asyncpg.Connection, running_seconds: float | None = None
) -> Sequence[MoneyLine] | None:
    """Fold the gifts of the next reversals again; returns the money lines written, None where all are done.

    In the caller's transaction, which holds the sweeper's lock. `running_seconds`: how long this worker runs; None:
    no process of another release is beside.
    """
    progress = await connection.fetchrow(SELECT_PROGRESS, RULES, running_seconds, float(BESIDE_SECONDS))
    upto = None
    if progress is not None:
        if progress["is_ended"] and progress["is_late_enough"]:
            return None
        upto = None if progress["is_ended"] else progress["upto"]
    rows = await connection.fetch(SELECT_SOME, upto, REVERSALS_AT_ONCE)
    lines: list[MoneyLine] = []
    if rows:
        await lock_accounts(connection, (), {row["account_id"] for row in rows})
        keys = {(row["account_id"], row["message_ref"]) for row in rows if row["message_ref"] is not None}
        if named := {(row["account_id"], row["charge_ref"]) for row in rows if row["charge_ref"] is not None}:
            keys |= set((await select_notices(connection, named)).owners().values())
        if gifts := await select_gifts(connection, keys):
            charges = Charges()
            await charges.add_those_of(connection, gifts)
            lines = await project(connection, gifts, charges, SLOT)
            await announce(connection)
    last = rows[-1]["id"] if rows else upto
    await connection.execute(RECORD_PROGRESS, RULES, last, len(rows) < REVERSALS_AT_ONCE)
    return lines


async def refold_all(connection: asyncpg.Connection) -> None:
    """Fold all of them, where no worker runs beside: in a backup that was brought back."""
    is_done = False
    while not is_done:
        async with connection.transaction():
            is_done = await refold_some(connection) is None
