"""What lies in quarantine, and what people did with it: every act is a row of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import MessageRow


class Choice(NamedTuple):
    """Which quarantined callbacks are meant; None: whichever.

    `account` is a code; `reason` an outcome, or words that stand in the reason; `since` a time of arrival.
    `is_done_too`: also those that were replayed into the store.
    """

    ids: Sequence[UUID] | None = None
    account: str | None = None
    reason: str | None = None
    since: datetime | None = None
    is_done_too: bool = False


class Quarantined(NamedTuple):
    """A quarantined callback as far as it can be told without opening it, and its last replay, if there was one.

    `account` is None where no account of ours has its id. `size_bytes` is what is kept, sealed.
    """

    id: UUID
    received_at: datetime
    adapter: str
    account_id: int | None
    account: str | None
    outcome: str
    reason: str
    day: date
    size_bytes: int
    replayed_as: str | None
    replayed_at: datetime | None
    replayed_by: str | None
    is_done: bool


class Count(NamedTuple):
    """How many callbacks of an account and day (Vietnam's) are kept for one reason."""

    account: str | None
    outcome: str
    reason: str
    day: date
    callbacks: int


COUNT_QUARANTINED = """
SELECT a.code AS account, q.outcome, q.reason, (q.received_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day,
       count(*) AS callbacks
FROM quarantine AS q LEFT JOIN gateway_account AS a ON a.id = q.account_id
WHERE ($1::uuid[] IS NULL OR q.id = ANY($1)) AND ($2::text IS NULL OR a.code = $2)
    AND ($3::text IS NULL OR q.outcome = $3 OR position($3 IN q.reason) > 0)
    AND ($4::timestamptz IS NULL OR q.received_at >= $4)
    AND ($5 OR NOT EXISTS (SELECT FROM quarantine_act AS t WHERE t.quarantine_id = q.id AND t.is_stored))
GROUP BY 1, 2, 3, 4 ORDER BY 4, 1, 2, 3
"""
SELECT_QUARANTINED = """
SELECT q.id, q.received_at, q.adapter, q.account_id, a.code AS account, q.outcome, q.reason, q.day,
       length(q.sealed) AS size_bytes, last.outcome AS replayed_as, last.acted_at AS replayed_at,
       coalesce(last.acted_by, last.os_user) AS replayed_by, coalesce(last.is_stored, false) AS is_done
FROM quarantine AS q LEFT JOIN gateway_account AS a ON a.id = q.account_id
LEFT JOIN LATERAL (
    SELECT t.* FROM quarantine_act AS t WHERE t.quarantine_id = q.id AND t.what = 'replayed'
    ORDER BY t.is_stored DESC, t.id DESC LIMIT 1
) AS last ON true
WHERE ($1::uuid[] IS NULL OR q.id = ANY($1)) AND ($2::text IS NULL OR a.code = $2)
    AND ($3::text IS NULL OR q.outcome = $3 OR position($3 IN q.reason) > 0)
    AND ($4::timestamptz IS NULL OR q.received_at >= $4) AND ($5 OR last.is_stored IS NOT TRUE)
-- Ids made within one millisecond have no order of their own.
ORDER BY q.received_at, q.id LIMIT $6
"""


async def count_quarantined(connection: asyncpg.Connection, choice: Choice) -> list[Count]:
    """How many of `choice` there are, by day, account and reason."""
    return [Count(*row) for row in await connection.fetch(COUNT_QUARANTINED, *choice)]


async def select_quarantined(
    connection: asyncpg.Connection, choice: Choice, rows_max: int | None = None
) -> list[Quarantined]:
    """Those of `choice` in the order in which they came, the first `rows_max`; by default all."""
    return [Quarantined(*row) for row in await connection.fetch(SELECT_QUARANTINED, *choice, rows_max)]


# Whoever replays the same one at the same time waits here, and then sees that it is done.
HOLD = "SELECT sealed FROM quarantine WHERE id = $1 FOR UPDATE"
SELECT_DONE = "SELECT outcome FROM quarantine_act WHERE quarantine_id = $1 AND is_stored"
SELECT_SEALED = "SELECT sealed FROM quarantine WHERE id = $1"


async def hold(connection: asyncpg.Connection, quarantine_id: UUID) -> bytes | None:
    """The callback, sealed, held for this transaction; None where it was replayed into the store before."""
    sealed = await connection.fetchval(HOLD, quarantine_id)
    if await connection.fetchval(SELECT_DONE, quarantine_id) is not None:
        return None
    return bytes(sealed)


async def select_sealed(connection: asyncpg.Connection, quarantine_id: UUID) -> bytes:
    """The callback, sealed."""
    return bytes(await connection.fetchval(SELECT_SEALED, quarantine_id))


class Actor(NamedTuple):
    """Who acts: the account of the operating system, and what they said of themselves and of their reason."""

    os_user: str
    name: str | None = None
    reason: str | None = None


RECORD_OPENED = """
INSERT INTO quarantine_act (quarantine_id, what, os_user, acted_by, reason) VALUES ($1, 'opened', $2, $3, $4)
"""
RECORD_REPLAYED = """
INSERT INTO quarantine_act
    (quarantine_id, what, outcome, is_stored, is_source_trusted, found, os_user, acted_by, reason)
VALUES ($1, 'replayed', $2, $3, $4, $5, $6, $7, $8)
"""
SELECT_ACTS = """
SELECT what, outcome, found, is_source_trusted, os_user, acted_by, reason, acted_at
FROM quarantine_act WHERE quarantine_id = $1 ORDER BY id
"""


async def record_opened(connection: asyncpg.Connection, quarantine_id: UUID, who: Actor) -> None:
    """Somebody reads what the callback says."""
    await connection.execute(RECORD_OPENED, quarantine_id, *who)


async def record_replayed(
    connection: asyncpg.Connection,
    quarantine_id: UUID,
    who: Actor,
    *,
    outcome: str,
    found: str,
    is_stored: bool,
    is_source_trusted: bool,
) -> None:
    """A callback was read again and ended as `outcome`; `found` says why, and holds no value that was sent.

    `is_stored` once for ever: a second time raises UniqueViolationError.
    """
    await connection.execute(RECORD_REPLAYED, quarantine_id, outcome, is_stored, is_source_trusted, found, *who)


class Act(NamedTuple):
    """What somebody did with a quarantined callback."""

    what: str
    outcome: str | None
    found: str | None
    is_source_trusted: bool
    os_user: str
    acted_by: str | None
    reason: str | None
    acted_at: datetime


async def select_acts(connection: asyncpg.Connection, quarantine_id: UUID) -> list[Act]:
    """All acts on a callback, in their order."""
    return [Act(*row) for row in await connection.fetch(SELECT_ACTS, quarantine_id)]


DONE = "done_before"
"""How a replay ends of what was replayed into the store before."""


class Sums(NamedTuple):
    """What a campaign's total grows by."""

    messages: int = 0
    units: int = 0
    vnd: int = 0

    def plus(self, messages: int, units: int, vnd: int) -> "Sums":
        """Both together."""
        return Sums(self.messages + messages, self.units + units, self.vnd + vnd)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How one callback ended: an outcome of the intake, `unstorable`, `no_event`, `refused` or `done_before`.

    `found` is the reason, or how its texts were read; it holds no value that was sent. `counted` is by the
    campaign's slug.
    """

    row: Quarantined
    outcome: str
    found: str = ""
    is_stored: bool = False
    counted: Mapping[str, Sums] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.is_stored or self.outcome == DONE


# By the number where it is kept. Of a person who was erased it is kept no more, and nobody can tell whether it is the
# same: then id and short code are enough, so that nothing counts twice.
SELECT_ELSEWHERE = """
SELECT a.code
FROM unnest($2::text[], $3::text[], $4::bytea[]) AS t (native_id, short_code, number)
CROSS JOIN gateway_account AS a
JOIN message AS m ON m.account_id = a.id AND m.native_id = t.native_id
LEFT JOIN message_person AS p ON p.message_id = m.id
WHERE a.id <> $1 AND m.short_code = t.short_code AND (p.msisdn_hash = t.number OR p.message_id IS NULL)
ORDER BY a.code LIMIT 1
"""


async def select_elsewhere(connection: asyncpg.Connection, rows: Sequence[MessageRow]) -> str | None:
    """The code of another account that has one of these messages, all of one account: same id, number, short code.

    A number that was erased is taken for the same.
    """
    if not rows:
        return None
    found: str | None = await connection.fetchval(
        SELECT_ELSEWHERE, rows[0].account_id, [row.native_id for row in rows], [row.short_code for row in rows],
        [row.msisdn_hash for row in rows],
    )  # fmt: skip
    return found
