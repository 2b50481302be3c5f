"""What ends of personal data: a person's rows, what callbacks said, the keys of days. Money is none of it.

Every end is a row of `privacy_act`, for ever, in the transaction that makes it: without it the database refuses.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from campaigns.gifts.quarantined import Actor
from campaigns.schema.ids import least_id

What = Literal["person_erased", "day_forgotten", "secret_rotated"]

RECORD_ACT = """
INSERT INTO privacy_act (what, proof, counts, os_user, acted_by, reason) VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)
RETURNING acted_at
"""
SELECT_ACTS = """
SELECT acted_at, what, os_user, acted_by, reason, counts::text AS about FROM privacy_act
UNION ALL
SELECT acted_at, 'callback_' || what, os_user, acted_by, reason, format('{"callback": "%s"}', quarantine_id)
FROM quarantine_act WHERE what = 'opened'
UNION ALL
SELECT recorded_at, act, 'desk', who, reason, jsonb_build_object('request', subject, 'what', after->'what')::text
FROM audit_entry WHERE act = 'personal.read' AND after->>'table' IS DISTINCT FROM 'quarantine'
ORDER BY acted_at DESC LIMIT $1
"""
SELECT_PROOFS = "SELECT proof, acted_at FROM privacy_act WHERE proof IS NOT NULL ORDER BY id DESC"


async def record_act(
    connection: asyncpg.Connection,
    what: What,
    counts: Mapping[str, int | str],
    who: Actor,
    proof: bytes | None = None,
) -> datetime:
    """Write down what this transaction does, and by whom; returns its time. `counts` name nobody."""
    at: datetime = await connection.fetchval(RECORD_ACT, what, proof, orjson.dumps(counts).decode(), *who)
    return at


async def select_acts(connection: asyncpg.Connection, rows_max: int) -> list[dict[str, Any]]:
    """Who ended or opened personal data, the newest first."""
    return [
        dict(row) | {"about": orjson.loads(row["about"])} for row in await connection.fetch(SELECT_ACTS, rows_max)
    ]


class Kept(NamedTuple):
    """What is kept about one number. `messages` are ids of ours.

    `waiting`: rows by which a charge still finds its message; they go by themselves within a day. `in_ids`: ids that
    a sender made of the number, by which a gift is counted once; they stay.
    """

    messages: Sequence[UUID]
    waiting: int
    in_ids: int


SELECT_MESSAGES = "SELECT message_id FROM message_person WHERE msisdn_hash = $1"
COUNT_WAITING = """
SELECT (SELECT count(*) FROM uncharged_person WHERE msisdn_hash = $1)
     + (SELECT count(*) FROM charge_person WHERE msisdn_hash = $1)
"""
# Whoever's they are: of an erased person nothing says any more which messages were theirs. An id of digits alone
# holds any nine of them by chance, so that inside a longer row of digits only theirs are looked at.
COUNT_IDS = """
SELECT count(DISTINCT (account_id, made)) FROM (
    SELECT account_id, native_id AS made, id = ANY($1::uuid[]) AS is_theirs FROM message
    UNION ALL SELECT account_id, charge_id, false FROM charge_notice
    UNION ALL SELECT account_id, message_ref, false FROM charge_notice WHERE message_ref IS NOT NULL
    UNION ALL SELECT account_id, native_id, false FROM reversal
    UNION ALL SELECT account_id, charge_ref, false FROM reversal WHERE charge_ref IS NOT NULL
    UNION ALL SELECT account_id, message_ref, false FROM reversal WHERE message_ref IS NOT NULL
    UNION ALL SELECT account_id, native_id, false FROM test_event
) AS kept
WHERE CASE WHEN made LIKE $4 OR octet_length(made) <> char_length(made)
    THEN translate(made, 'FULL_WIDTH ._/+():,;-', '0123456789') LIKE '%' || $2 || '%'
        AND (is_theirs OR translate(made, 'FULL_WIDTH', '0123456789') ~ $3)
END
""".replace("FULL_WIDTH", "".join(map(chr, range(0xFF10, 0xFF1A))))
BETWEEN_DIGITS = "[^0-9A-Za-z]{0,3}"


def _whole(national: str) -> str:
    """The number by itself, or with a time glued to it (PostgreSQL, regular expressions, 9.7.3)."""
    digits = BETWEEN_DIGITS.join(national)
    begins = "(^|[^0-9]|20[0-9]{6}|20[0-9]{10}|20[0-9]{12}|1[5-9][0-9]{8}|1[5-9][0-9]{11})"
    ends = "($|[^0-9]|20[2-9][0-9](0[1-9]|1[0-2])|1[5-9][0-9]{8}([0-9]{3})?($|[^0-9]))"
    return rf"{begins}((00|\+)?84{BETWEEN_DIGITS}0?|0)?{BETWEEN_DIGITS}{digits}{ends}"


async def select_kept(connection: asyncpg.Connection, number_hash: bytes, national: str) -> Kept:
    """What is kept about the number with this hash; `national` are its nine digits after the country code."""
    messages = [row["message_id"] for row in await connection.fetch(SELECT_MESSAGES, number_hash)]
    waiting = await connection.fetchval(COUNT_WAITING, number_hash)
    # Most ids have not even these digits in this order, which is found in a tenth of the time.
    in_order = f"%{'%'.join(national)}%"
    ids = await connection.fetchval(COUNT_IDS, messages, national, _whole(national), in_order)
    return Kept(messages, waiting, ids)


SELECT_RAW = """
SELECT id, received_on AS day, sealed, true AS is_decided FROM raw_callback WHERE length(sealed) > 0
"""
SELECT_CONFLICTS = """
SELECT raw_id AS id, day, sealed, true AS is_decided FROM conflict_callback WHERE sealed IS NOT NULL
"""
SELECT_QUARANTINE = """
SELECT q.id, q.day, q.sealed,
       EXISTS (SELECT FROM quarantine_act AS t WHERE t.quarantine_id = q.id AND t.is_stored) AS is_decided
FROM quarantine AS q WHERE length(q.sealed) > 0
"""
SELECT_TESTS = "SELECT id, day, sealed, true AS is_decided FROM test_callback"
# An empty one tells that there was one: the row is the trace, and `verify` looks for it.
ERASE_RAW = "UPDATE raw_callback SET sealed = '' WHERE received_on = ANY($2::date[]) AND id = ANY($1::uuid[])"
ERASE_CONFLICTS = (
    "UPDATE conflict_callback SET sealed = NULL WHERE day = ANY($2::date[]) AND raw_id = ANY($1::uuid[])"
)
ERASE_QUARANTINE = "UPDATE quarantine SET sealed = '' WHERE day = ANY($2::date[]) AND id = ANY($1::uuid[])"
ERASE_TESTS = "DELETE FROM test_callback WHERE day = ANY($2::date[]) AND id = ANY($1::uuid[])"


class Sealed(NamedTuple):
    """A table of callbacks as they came: how all of it is read, how some of it is emptied, what its seal names."""

    select: str
    erase: str
    associated: bytes


SEALED = {
    "raw_callback": Sealed(SELECT_RAW, ERASE_RAW, b"raw_callback.sealed:"),
    "conflict_callback": Sealed(SELECT_CONFLICTS, ERASE_CONFLICTS, b"raw_callback.sealed:"),
    "test_callback": Sealed(SELECT_TESTS, ERASE_TESTS, b"raw_callback.sealed:"),
    "quarantine": Sealed(SELECT_QUARANTINE, ERASE_QUARANTINE, b"quarantine.sealed:"),
}
"""Wherever a callback is kept whole."""

DELETE_PERSONS = "DELETE FROM message_person WHERE message_id = ANY($1::uuid[])"
# Conflicts of a release before hold their callback themselves.
ERASE_OLD_CONFLICTS = """
UPDATE conflict AS c SET sealed = NULL FROM message AS m
WHERE m.id = ANY($1::uuid[]) AND c.account_id = m.account_id AND c.kind = 'message' AND c.native_id = m.native_id
    AND c.sealed IS NOT NULL
"""


async def erase(
    connection: asyncpg.Connection,
    messages: Sequence[UUID],
    callbacks: Mapping[str, Sequence[tuple[UUID, date]]],
    who: Actor,
    proof: bytes,
) -> datetime:
    """End what is kept: persons of `messages`, and `callbacks` by table, with their days. All of it or nothing."""
    counts: dict[str, int | str] = {"messages": len(messages)}
    counts |= {table: len(rows) for table, rows in callbacks.items()}
    async with connection.transaction():
        at = await record_act(connection, "person_erased", counts, who, proof)
        await connection.execute(DELETE_PERSONS, messages)
        await connection.execute(ERASE_OLD_CONFLICTS, messages)
        for table, rows in callbacks.items():
            if rows:
                ids, days = zip(*rows, strict=True)
                await connection.execute(SEALED[table].erase, ids, sorted(set(days)))
    return at


async def select_proofs(connection: asyncpg.Connection) -> list[tuple[bytes, datetime]]:
    """What erasures left behind, the newest first."""
    return [(bytes(row["proof"]), row["acted_at"]) for row in await connection.fetch(SELECT_PROOFS)]


SELECT_OLDEST_KEY = "SELECT min(day) FROM data_key WHERE day < $1"
FORGET_SOME = """
DELETE FROM message_person WHERE message_id IN (
    SELECT message_id FROM message_person WHERE message_id < $2 AND day = $1 ORDER BY message_id LIMIT $3
)
"""
DELETE_KEY = "DELETE FROM data_key WHERE day = $1"
FORGET_ROWS = 5_000
"""Persons forgotten in one transaction."""


async def forget_oldest_day(connection: asyncpg.Connection, before: date, who: Actor) -> tuple[date, int] | None:
    """Forget the persons of the oldest day before `before`, and destroy its key: what it sealed is unreadable then.

    Returns the day and how many rows about persons it had; None where no day is that old. Interrupted, it goes on
    with what is left. Its key, and so the row that tells of it, goes last.
    """
    day = await connection.fetchval(SELECT_OLDEST_KEY, before)
    if day is None:
        return None
    # Ids rise with the time of arrival; an hour for what was stamped around midnight.
    end = least_id(datetime.combine(day + timedelta(days=1), time(1), UTC))
    rows = 0
    while gone := int((await connection.execute(FORGET_SOME, day, end, FORGET_ROWS)).split()[1]):
        rows += gone
    async with connection.transaction():
        await record_act(connection, "day_forgotten", {"day": day.isoformat(), "messages": rows}, who)
        await connection.execute(DELETE_KEY, day)
    return day, rows
