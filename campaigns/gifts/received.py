"""Which ids of an account we have, in the order of their arrival: for a sender that compares them with its own."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.schema.ids import least_id

FIRST = UUID(int=0)
"""Before every id."""

# An id of ours begins with the millisecond of arrival: a page is a range of the primary key.
SELECT_RECEIVED = """
SELECT id, kind, native_id, received_at, said, request, is_test FROM (
    (SELECT id, 'message' AS kind, native_id, received_at, reading AS said, raw_id AS request, false AS is_test
     FROM message WHERE account_id = $1 AND id >= $3 AND id < $4 AND id > $5 ORDER BY id LIMIT $6)
    UNION ALL
    (SELECT id, 'charge', native_id, received_at, status, raw_id, false
     FROM charge_notice WHERE account_id = $2 AND id >= $3 AND id < $4 AND id > $5 ORDER BY id LIMIT $6)
    UNION ALL
    (SELECT id, 'reversal', native_id, received_at, 'reversed', raw_id, false
     FROM reversal WHERE account_id = $2 AND id >= $3 AND id < $4 AND id > $5 ORDER BY id LIMIT $6)
    UNION ALL
    (SELECT id, kind, native_id, received_at, coalesce(reading, status, 'reversed'), raw_id, true
     FROM test_event WHERE account_id = $1 AND is_first AND id >= $3 AND id < $4 AND id > $5 ORDER BY id LIMIT $6)
) AS received
ORDER BY id LIMIT $6
"""
COUNT_KEPT = """
SELECT count(*) FROM quarantine AS q WHERE account_id = $1 AND received_at >= $2 AND received_at < $3
    AND NOT EXISTS (SELECT FROM quarantine_act AS t WHERE t.quarantine_id = q.id AND t.is_stored)
"""


class Received(NamedTuple):
    """One event. `said`: how its text was read, or a charge's status. `request`: our id of the callback."""

    id: UUID
    kind: str
    native_id: str
    received_at: datetime
    said: str
    request: UUID
    is_test: bool


class Page(NamedTuple):
    """Some events in the order of their arrival; `next`: after which id of ours it goes on, None at the end.

    `quarantined`: how many callbacks of the whole window are kept for a person, so that no id of them is here.
    """

    events: list[Received]
    next: UUID | None
    quarantined: int


async def select_received(
    connection: asyncpg.Connection,
    account_id: int,
    events_id: int,
    since: datetime,
    until: datetime,
    *,
    rows_max: int,
    after: UUID | None = None,
) -> Page:
    """What was received at `since` or later and before `until`, after the id `after`, `rows_max` events at most.

    `events_id`: the account under which its charges and reversals are stored.
    """
    found = await connection.fetch(
        SELECT_RECEIVED, account_id, events_id, least_id(since), least_id(until), after or FIRST, rows_max + 1
    )
    events = [Received(*row) for row in found[:rows_max]]
    kept = await connection.fetchval(COUNT_KEPT, account_id, since, until)
    return Page(events, events[-1].id if len(found) > rows_max else None, kept)
