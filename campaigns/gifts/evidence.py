"""Evidence: callbacks as they came, other contents of an id we hold, and what a person has to look at.

All of it is bounded in bytes as well as in number: a callback may be a thousand times as large as another.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import RawRow, columns

CONFLICT_BYTES_PER_DAY_MAX = 64 * 1024 * 1024
"""Callbacks kept as the evidence of conflicts, per account and day (UTC): as many as sixty thousand single messages.
Beyond it conflicts are recorded by their digest alone."""
QUARANTINE_BYTES_PER_DAY_MAX = 512 * 1024 * 1024
"""Callbacks kept in quarantine, per account, outcome and day (UTC): ten thousand of 50 KiB, as a full batch has."""
CONFLICT = "conflict"
"""What the evidence of conflicts is called beside the outcomes of quarantined callbacks."""
UNBOUNDED = 2**62
"""Where bytes alone are bounded."""

RECORD_RAW = """
INSERT INTO raw_callback (id, received_on, account_id, sealed)
SELECT id, received_on, account_id, sealed
FROM unnest($1::uuid[], $2::date[], $3::integer[], $4::bytea[]) AS t (id, received_on, account_id, sealed)
ON CONFLICT DO NOTHING
"""


async def record_raws(connection: asyncpg.Connection, rows: Sequence[RawRow]) -> None:
    """Keep callbacks as they came."""
    await connection.execute(RECORD_RAW, *columns(rows, RawRow))


# Where an account and day have no row yet, what is asked for fits: a batch, or a callback, is far below the bound.
RESERVE = """
INSERT INTO evidence_day AS old (account_id, kind, day, callbacks, bytes)
SELECT account_id, $4, day, callbacks, bytes
FROM unnest($1::integer[], $2::date[], $3::bigint[], $5::bigint[]) AS t (account_id, day, bytes, callbacks)
ORDER BY account_id, day
ON CONFLICT ON CONSTRAINT evidence_day_key DO UPDATE SET
    callbacks = old.callbacks + excluded.callbacks, bytes = old.bytes + excluded.bytes
WHERE old.callbacks + excluded.callbacks <= $6 AND old.bytes + excluded.bytes <= $7
RETURNING account_id, day
"""

AccountDay = tuple[int, date]
"""Of whom evidence is kept, and on which day (UTC)."""


async def reserve(
    connection: asyncpg.Connection,
    kind: str,
    wanted: Mapping[AccountDay, Sequence[int]],
    *,
    callbacks_max: int,
    bytes_max: int,
) -> set[AccountDay]:
    """Room for callbacks of these sizes; returns for whom there is room. Holds their rows until commit."""
    found = await connection.fetch(
        RESERVE,
        [account_id for account_id, _ in wanted],
        [day for _, day in wanted],
        [sum(sizes) for sizes in wanted.values()],
        kind,
        [len(sizes) for sizes in wanted.values()],
        callbacks_max,
        bytes_max,
    )
    return {(row["account_id"], row["day"]) for row in found}


RECORD_CONFLICTS = """
WITH new AS (
    INSERT INTO conflict (account_id, kind, native_id, digest, received_at, raw_id, day)
    SELECT account_id, kind, native_id, digest, received_at, raw_id, day
    FROM unnest($1::integer[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::uuid[], $7::date[])
        AS t (account_id, kind, native_id, digest, received_at, raw_id, day)
    ORDER BY account_id, kind, native_id, digest
    ON CONFLICT ON CONSTRAINT conflict_once DO NOTHING
    RETURNING account_id, raw_id, received_at
), late AS (
    INSERT INTO late_fact (id, recorded_on)
    SELECT DISTINCT raw_id, (now() AT TIME ZONE 'UTC')::date FROM new
    WHERE (received_at AT TIME ZONE 'UTC')::date < (now() AT TIME ZONE 'UTC')::date - 1
    ON CONFLICT DO NOTHING
)
SELECT account_id, raw_id FROM new
"""
RECORD_CONFLICT_CALLBACKS = """
INSERT INTO conflict_callback (raw_id, account_id, received_at, day, bytes, sealed)
SELECT raw_id, account_id, received_at, day, bytes, sealed
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::date[], $5::integer[], $6::bytea[])
    AS t (raw_id, account_id, received_at, day, bytes, sealed)
ON CONFLICT (raw_id) DO NOTHING
"""


class ConflictRow(NamedTuple):
    """Another content of an id we hold, and the callback it came with; columns in the order of RECORD_CONFLICTS."""

    account_id: int
    kind: str
    native_id: str
    digest: bytes
    received_at: datetime
    raw_id: UUID
    day: date


class ConflictsRecorded(NamedTuple):
    """The account of each conflict that is new, and of each of their callbacks that was left out for its size."""

    conflicts: list[int]
    left_out: list[int]


async def record_conflicts(
    connection: asyncpg.Connection, rows: Sequence[ConflictRow], raws: Mapping[UUID, RawRow]
) -> ConflictsRecorded:
    """Store conflicts once per id and digest, and each callback that brought a new one, once.

    `raws` hold at least the callbacks of `rows`. One of which every conflict was known costs nothing more.
    """
    found = await connection.fetch(RECORD_CONFLICTS, *columns(rows, ConflictRow))
    received = {row.raw_id: row.received_at for row in rows}
    callbacks = [raws[raw_id] for raw_id in dict.fromkeys(row["raw_id"] for row in found)]
    left_out: list[int] = []
    if callbacks:
        sizes: dict[AccountDay, list[int]] = defaultdict(list)
        for raw in callbacks:
            sizes[raw.account_id, raw.received_on].append(len(raw.sealed))
        roomy = await reserve(
            connection, CONFLICT, sizes, callbacks_max=UNBOUNDED, bytes_max=CONFLICT_BYTES_PER_DAY_MAX
        )
        kept = []
        for raw in callbacks:
            has_room = (raw.account_id, raw.received_on) in roomy
            kept.append(
                (
                    raw.id, raw.account_id, received[raw.id], raw.received_on, len(raw.sealed),
                    raw.sealed if has_room else None,
                )
            )  # fmt: skip
            if not has_room:
                left_out.append(raw.account_id)
        await connection.execute(RECORD_CONFLICT_CALLBACKS, *zip(*kept, strict=True))
    return ConflictsRecorded([row["account_id"] for row in found], left_out)


INSERT_QUARANTINE = """
INSERT INTO quarantine (id, received_at, adapter, account_id, outcome, reason, sealed, day)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT quarantine_pkey DO NOTHING
"""
# Only so that it takes no room twice: the constraint is what keeps it once.
SELECT_IS_QUARANTINED = "SELECT EXISTS (SELECT FROM quarantine WHERE id = $1)"


class _KeptMeanwhile(Exception):
    """Somebody else has kept it at the same time: what was counted for it is taken back."""


async def quarantine(
    connection: asyncpg.Connection,
    *,
    id: UUID,  # noqa: A002 -- the column's name
    received_at: datetime,
    adapter: str,
    account_id: int,
    outcome: str,
    reason: str,
    sealed: bytes,
    day: date,
    kept_max: int,
) -> bool:
    """Keep a callback for a person, once however often it is handed over; False when a bound is met.

    Bounds: `kept_max` callbacks and QUARANTINE_BYTES_PER_DAY_MAX per account, outcome and day.
    """
    with suppress(_KeptMeanwhile):
        async with connection.transaction():
            if await connection.fetchval(SELECT_IS_QUARANTINED, id):
                return True
            roomy = await reserve(
                connection, outcome, {(account_id, day): [len(sealed)]}, callbacks_max=kept_max,
                bytes_max=QUARANTINE_BYTES_PER_DAY_MAX,
            )  # fmt: skip
            if not roomy:
                return False
            done = await connection.execute(
                INSERT_QUARANTINE, id, received_at, adapter, account_id, outcome, reason, sealed, day
            )
            if done == "INSERT 0 0":
                raise _KeptMeanwhile
    return True
