"""Gifts with reversals or questions folded again after each start of a worker: what another release made is mended.

What is written of a gift is worked out anew with its next event; most have none any more. So where a release makes
something else of stored events than the one before, whoever sweeps goes through these events, some in each
transaction, and writes what differs: questions for a person, and lines that correct. A process of the release before
may run beside for a while and write by its rules: it is gone through at once, and again when none should be left.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.events import Charges, select_gifts, select_notices
from campaigns.gifts.messages import lock_accounts
from campaigns.gifts.projection import MoneyLine, project
from campaigns.schema.locks import SWEEP_LOCK
from campaigns.totals.announce import announce

SLOT = 0
"""Of no writer."""
EVENTS_AT_ONCE = 500
BEFORE_ALL = UUID(int=0)
BESIDE_SECONDS = 120.0
"""How long after the start of a worker one of the release before may still write: its reload is over by then."""

TRY_SWEEP_LOCK = "SELECT pg_try_advisory_xact_lock($1)"
# A round of all counts for a worker that began before it, and for one that has run so long, if it began after that.
SELECT_PROGRESS = """
SELECT upto, ended_at IS NOT NULL AS is_ended, began_at >= clock_timestamp() - make_interval(secs => $1) AS is_recent
FROM refolding
"""
# Reversals, and notices of charges that somebody is asked about: who is asked of what differs between releases too.
SELECT_SOME = """
SELECT id, account_id, message_ref, charge_ref FROM (
    (SELECT id, account_id, message_ref, charge_ref FROM reversal
     WHERE id > $1 ORDER BY id LIMIT $2)
    UNION ALL
    (SELECT c.id, c.account_id, c.message_ref, c.charge_id
     FROM review AS v JOIN charge_notice AS c ON c.id = v.event_id
     WHERE v.event_id > $1 ORDER BY v.event_id LIMIT $2)
) AS event ORDER BY id LIMIT $2
"""
BEGIN = """
INSERT INTO refolding (began_at) VALUES (clock_timestamp())
ON CONFLICT (is_only) DO UPDATE SET began_at = excluded.began_at, upto = NULL, ended_at = NULL
"""
RECORD_PROGRESS = "UPDATE refolding SET upto = $1, ended_at = CASE WHEN $2 THEN clock_timestamp() END"


class Refolded(NamedTuple):
    """The money lines that were written, and the last event that was looked at; None: there are no more."""

    lines: Sequence[MoneyLine]
    last: UUID | None


async def refold_some(connection: asyncpg.Connection, running_seconds: float) -> Sequence[MoneyLine] | None:
    """Fold the gifts of the next events again; returns the money lines written, None where nothing is to be done.

    `running_seconds`: for how long this worker runs. Does nothing while another process sweeps.
    """
    async with connection.transaction():
        if not await connection.fetchval(TRY_SWEEP_LOCK, SWEEP_LOCK):
            return None
        since_seconds = running_seconds - (BESIDE_SECONDS if running_seconds >= BESIDE_SECONDS else 0.0)
        progress = await connection.fetchrow(SELECT_PROGRESS, since_seconds)
        upto = None if progress is None else progress["upto"]
        if progress is None or progress["is_ended"]:
            if progress is not None and progress["is_recent"]:
                return None
            await connection.execute(BEGIN)
            upto = None
        done = await _refold(connection, upto)
        await connection.execute(RECORD_PROGRESS, done.last, done.last is None)
    return done.lines


async def refold_all(connection: asyncpg.Connection) -> None:
    """Fold all of them, where no worker runs beside: in a backup that was brought back."""
    done = Refolded((), None)
    while True:
        async with connection.transaction():
            done = await _refold(connection, done.last)
        if done.last is None:
            return


async def _refold(connection: asyncpg.Connection, after: UUID | None) -> Refolded:
    rows = await connection.fetch(SELECT_SOME, after or BEFORE_ALL, EVENTS_AT_ONCE)
    if not rows:
        return Refolded((), None)
    await lock_accounts(connection, (), {row["account_id"] for row in rows})
    keys = {(row["account_id"], row["message_ref"]) for row in rows if row["message_ref"] is not None}
    if named := {(row["account_id"], row["charge_ref"]) for row in rows if row["charge_ref"] is not None}:
        keys |= set((await select_notices(connection, named)).owners().values())
    lines: Sequence[MoneyLine] = ()
    if gifts := await select_gifts(connection, keys):
        charges = Charges()
        await charges.add_those_of(connection, gifts)
        lines = await project(connection, gifts, charges, SLOT)
        await announce(connection)
    return Refolded(lines, rows[-1]["id"])
