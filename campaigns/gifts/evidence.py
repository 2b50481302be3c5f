"""Evidence: callbacks as they came, other contents of an id we hold, and what a person has to look at."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import RawRow, columns

RECORD_RAW = """
INSERT INTO raw_callback (id, received_on, account_id, sealed)
SELECT id, received_on, account_id, sealed
FROM unnest($1::uuid[], $2::date[], $3::integer[], $4::bytea[]) AS t (id, received_on, account_id, sealed)
ON CONFLICT DO NOTHING
"""


async def record_raws(connection: asyncpg.Connection, rows: Sequence[RawRow]) -> None:
    """Keep callbacks as they came."""
    await connection.execute(RECORD_RAW, *columns(rows, RawRow))


RECORD_CONFLICTS = """
INSERT INTO conflict (account_id, kind, native_id, digest, received_at, raw_id, sealed, day)
SELECT account_id, kind, native_id, digest, received_at, raw_id, sealed, day
FROM unnest(
    $1::integer[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::uuid[], $7::bytea[], $8::date[]
) AS t (account_id, kind, native_id, digest, received_at, raw_id, sealed, day)
ORDER BY account_id, kind, native_id, digest
ON CONFLICT ON CONSTRAINT conflict_once DO NOTHING
RETURNING account_id
"""


class ConflictRow(NamedTuple):
    """Another content of an id we hold: the whole callback, sealed for this row."""

    account_id: int
    kind: str
    native_id: str
    digest: bytes
    received_at: datetime
    raw_id: UUID
    sealed: bytes
    day: date


async def record_conflicts(connection: asyncpg.Connection, rows: Sequence[ConflictRow]) -> list[int]:
    """Store conflicts once per id and digest; returns the account id of each that is new."""
    found = await connection.fetch(RECORD_CONFLICTS, *columns(rows, ConflictRow))
    return [row["account_id"] for row in found]


INSERT_QUARANTINE = """
INSERT INTO quarantine (id, received_at, adapter, account_id, outcome, reason, sealed, day)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE (SELECT count(*) FROM (
    SELECT FROM quarantine WHERE account_id IS NOT DISTINCT FROM $4 AND outcome = $5
        AND received_at > $2::timestamptz - interval '1 day' LIMIT $9
) AS kept) < $9
"""


async def quarantine(
    connection: asyncpg.Connection,
    *,
    id: UUID,  # noqa: A002 -- the column's name
    received_at: datetime,
    adapter: str,
    account_id: int | None,
    outcome: str,
    reason: str,
    sealed: bytes,
    day: date,
    kept_max: int,
) -> bool:
    """Keep a callback for a person, at most `kept_max` per account and outcome a day; False when the bound is met."""
    status = await connection.execute(
        INSERT_QUARANTINE, id, received_at, adapter, account_id, outcome, reason, sealed, day, kept_max
    )
    return status == "INSERT 0 1"
