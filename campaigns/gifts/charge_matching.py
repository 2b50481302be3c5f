"""Charges that name no message: joined by the donor's number, short code, amount and time, one to one.

Which of several equal gifts of one donor a charge belongs to decides no money; where they are of different
campaigns it would, and the charge is left for a person. Runs under the accounts' locks.

What arrives, on either side, looks only at what lies near it, and at no more than NEAR_MAX of the other side: where
there are more, or where others of its own side might want the same ones, it is left to the sweep, which looks at
everything, once in a while. Messages do not have their account alone: of two that want one charge at the same instant
the key of `charge_match` gives it to one, and the sweep looks at the other. What a notice names is matched with
nothing else: a charge that names its message, in any of its notices, or a message that a charge names.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import ChargeRow, Key, MessageRow
from campaigns.gifts.events import ChargeKey, Charges, GiftRow

APART_MAX = timedelta(minutes=10)
"""How far a charge may lie from its message."""
NEAR_MAX = 50
"""How many of the other side are looked at: more than any donor sends of one amount in twenty minutes."""

# LIMIT keeps a look-up a look-up: flattened into a join, equal numbers would be compared each with each.
SELECT_NEAR_ARRIVALS = """
SELECT a.place, u.message_ref, u.message_at, u.campaign_id,
       EXISTS (
           SELECT FROM charge_person AS c
           WHERE c.account_id = a.account_id AND c.msisdn_hash = a.msisdn_hash AND c.short_code = a.short_code
               AND c.amount_vnd = a.amount_vnd
               AND c.occurred_at BETWEEN u.message_at - $6::interval AND u.message_at + $6::interval
               AND c.charge_id <> ALL($7::text[])
       ) AS is_wanted
FROM unnest($1::integer[], $2::bytea[], $3::text[], $4::bigint[], $5::timestamptz[], $7::text[]) WITH ORDINALITY
    AS a (account_id, msisdn_hash, short_code, amount_vnd, occurred_at, charge_id, place)
CROSS JOIN LATERAL (
    SELECT u.message_ref, u.message_at, u.campaign_id FROM uncharged_person AS u
    WHERE u.account_id = a.account_id AND u.msisdn_hash = a.msisdn_hash AND u.short_code = a.short_code
        AND u.amount_vnd = a.amount_vnd
        AND u.message_at BETWEEN a.occurred_at - $6::interval AND a.occurred_at + $6::interval
        AND NOT EXISTS (
            SELECT FROM charge_notice AS n WHERE n.account_id = u.account_id AND n.message_ref = u.message_ref
        )
    LIMIT $8
) AS u
WHERE NOT EXISTS (
    SELECT FROM charge_notice AS n
    WHERE n.account_id = a.account_id AND n.charge_id = a.charge_id AND n.message_ref IS NOT NULL
)
"""
# The same from the other side.
SELECT_NEAR_NEW_MESSAGES = """
SELECT a.place, c.charge_id, c.occurred_at,
       EXISTS (
           SELECT FROM uncharged_person AS u
           WHERE u.account_id = a.account_id AND u.msisdn_hash = a.msisdn_hash AND u.short_code = a.short_code
               AND u.amount_vnd = a.amount_vnd
               AND u.message_at BETWEEN c.occurred_at - $6::interval AND c.occurred_at + $6::interval
               AND u.message_ref <> ALL($7::text[])
       ) AS is_wanted
FROM unnest($1::integer[], $2::bytea[], $3::text[], $4::bigint[], $5::timestamptz[], $7::text[]) WITH ORDINALITY
    AS a (account_id, msisdn_hash, short_code, amount_vnd, message_at, message_ref, place)
CROSS JOIN LATERAL (
    SELECT c.charge_id, c.occurred_at FROM charge_person AS c
    WHERE c.account_id = a.account_id AND c.msisdn_hash = a.msisdn_hash AND c.short_code = a.short_code
        AND c.amount_vnd = a.amount_vnd
        AND c.occurred_at BETWEEN a.message_at - $6::interval AND a.message_at + $6::interval
    LIMIT $8
) AS c
WHERE NOT EXISTS (
    SELECT FROM charge_notice AS n WHERE n.account_id = a.account_id AND n.message_ref = a.message_ref
)
"""
SELECT_CHARGES_NEAR = """
SELECT c.account_id, c.msisdn_hash, c.short_code, c.amount_vnd, c.charge_id, c.occurred_at
FROM charge_person AS c CROSS JOIN LATERAL (
    SELECT FROM uncharged_person AS u
    WHERE u.account_id = c.account_id AND u.msisdn_hash = c.msisdn_hash AND u.short_code = c.short_code
        AND u.amount_vnd = c.amount_vnd
        AND u.message_at BETWEEN c.occurred_at - $2::interval AND c.occurred_at + $2::interval
    LIMIT 1
) AS u
WHERE c.account_id = ANY($1::integer[]) OR $1 IS NULL
"""
SELECT_MESSAGES_NEAR = """
SELECT u.account_id, u.msisdn_hash, u.short_code, u.amount_vnd, u.message_ref, u.message_at, u.campaign_id
FROM uncharged_person AS u CROSS JOIN LATERAL (
    SELECT FROM charge_person AS c
    WHERE c.account_id = u.account_id AND c.msisdn_hash = u.msisdn_hash AND c.short_code = u.short_code
        AND c.amount_vnd = u.amount_vnd
        AND c.occurred_at BETWEEN u.message_at - $2::interval AND u.message_at + $2::interval
    LIMIT 1
) AS c
WHERE u.account_id = ANY($1::integer[]) OR $1 IS NULL
"""
INSERT_MATCHES = """
INSERT INTO charge_match (account_id, charge_id, message_ref)
SELECT account_id, charge_id, message_ref
FROM unnest($1::integer[], $2::text[], $3::text[]) AS t (account_id, charge_id, message_ref)
ON CONFLICT DO NOTHING
RETURNING account_id, charge_id
"""

Alike = tuple[int, bytes, str, int]
"""What a charge and its message have in common: account, number's hash, short code, amount."""


class WaitingMessage(NamedTuple):
    """A message without a charge, in the order in which messages are taken."""

    at: datetime
    ref: str
    campaign_id: int


class Match(NamedTuple):
    """A charge and the message found for it."""

    account_id: int
    charge_id: str
    message_ref: str


async def find_matches(connection: asyncpg.Connection, accounts: Collection[int] | None) -> list[Match]:
    """The charges of `accounts` (None: of all) that have a message now, each with it. Reads each of both once."""
    chosen = None if accounts is None else list(accounts)
    charges: dict[Alike, dict[str, datetime]] = defaultdict(dict)
    for row in await connection.fetch(SELECT_CHARGES_NEAR, chosen, APART_MAX):
        charges[_alike(row)][row["charge_id"]] = row["occurred_at"]
    messages: dict[Alike, set[WaitingMessage]] = defaultdict(set)
    for row in await connection.fetch(SELECT_MESSAGES_NEAR, chosen, APART_MAX):
        messages[_alike(row)].add(WaitingMessage(row["message_at"], row["message_ref"], row["campaign_id"]))
    return [match for alike, each in charges.items() for match in paired(alike[0], each, messages[alike])]


async def match_charges(connection: asyncpg.Connection, accounts: Collection[int]) -> frozenset[ChargeKey]:
    """Match what can be matched now in `accounts`; returns the charges that have a message since."""
    return await _record(connection, await find_matches(connection, accounts))


async def match_arrivals(
    connection: asyncpg.Connection, notices: Sequence[ChargeRow], messages: Sequence[MessageRow]
) -> frozenset[ChargeKey]:
    """Match what a batch has stored, where that is plain; returns the charges that have a message since.

    `notices` are all new ones, `messages` the new counted ones that await a report.
    """
    # What is not plain from the side of the notices may be from the other: the older charge has a message of its own.
    return await _match_notices(connection, notices) | await _match_messages(connection, messages)


async def _match_notices(connection: asyncpg.Connection, arrivals: Sequence[ChargeRow]) -> frozenset[ChargeKey]:
    """Not plain: older charges lie near the same messages, or there are more than NEAR_MAX."""
    rows = [row for row in arrivals if row.status == "succeeded" and row.message_ref is None]
    charges: dict[Alike, dict[str, datetime]] = defaultdict(dict)
    asked: list[tuple[Alike, datetime, str]] = []
    for row in rows:
        if row.msisdn_hash is None or row.short_code is None or row.amount_vnd is None:
            continue
        alike = row.account_id, row.msisdn_hash, row.short_code, row.amount_vnd
        charges[alike][row.charge_id] = row.occurred_at
        asked.append((alike, row.occurred_at, row.charge_id))
    near = await _near(connection, SELECT_NEAR_ARRIVALS, asked)
    messages: dict[Alike, set[WaitingMessage]] = defaultdict(set)
    for alike, each in near.found:
        messages[alike].add(WaitingMessage(each["message_at"], each["message_ref"], each["campaign_id"]))
    return await _record_plain(connection, charges, messages, near.unclear)


async def _match_messages(connection: asyncpg.Connection, arrivals: Sequence[MessageRow]) -> frozenset[ChargeKey]:
    """Not plain: older messages lie near the same charges, or there are more than NEAR_MAX."""
    messages: dict[Alike, set[WaitingMessage]] = defaultdict(set)
    asked: list[tuple[Alike, datetime, str]] = []
    for row in arrivals:
        if row.amount_vnd is None or row.campaign_id is None:
            continue
        alike = row.account_id, row.msisdn_hash, row.short_code, row.amount_vnd
        messages[alike].add(WaitingMessage(row.message_at, row.native_id, row.campaign_id))
        asked.append((alike, row.message_at, row.native_id))
    near = await _near(connection, SELECT_NEAR_NEW_MESSAGES, asked)
    charges: dict[Alike, dict[str, datetime]] = defaultdict(dict)
    for alike, each in near.found:
        charges[alike][each["charge_id"]] = each["occurred_at"]
    return await _record_plain(connection, charges, messages, near.unclear)


class _Near(NamedTuple):
    """What of the other side lies near arrivals, and of which of them it is not plain to whom it belongs."""

    found: list[tuple[Alike, asyncpg.Record]]
    unclear: set[Alike]


async def _near(connection: asyncpg.Connection, sql: str, asked: Sequence[tuple[Alike, datetime, str]]) -> _Near:
    """Ask `sql` for what lies near `asked`, each with its own id."""
    near = _Near([], set())
    if not asked:
        return near
    *keys, ids = zip(*((*alike, at, own) for alike, at, own in asked), strict=True)
    counts = [0] * len(asked)
    for row in await connection.fetch(sql, *keys, APART_MAX, ids, NEAR_MAX + 1):
        place = row["place"] - 1
        alike = asked[place][0]
        counts[place] += 1
        if row["is_wanted"] or counts[place] > NEAR_MAX:
            near.unclear.add(alike)
        near.found.append((alike, row))
    return near


def _alike(row: asyncpg.Record) -> Alike:
    return row["account_id"], row["msisdn_hash"], row["short_code"], row["amount_vnd"]


async def _record_plain(
    connection: asyncpg.Connection,
    charges: Mapping[Alike, Mapping[str, datetime]],
    messages: Mapping[Alike, set[WaitingMessage]],
    unclear: Collection[Alike],
) -> frozenset[ChargeKey]:
    clear = [alike for alike in charges if alike in messages and alike not in unclear]
    return await _record(
        connection, [match for alike in clear for match in paired(alike[0], charges[alike], messages[alike])]
    )


async def _record(connection: asyncpg.Connection, matches: Sequence[Match]) -> frozenset[ChargeKey]:
    if not matches:
        return frozenset()
    # In the order of the key: two batches of messages may want the same charges.
    made = await connection.fetch(INSERT_MATCHES, *zip(*sorted(matches), strict=True))
    return frozenset((row["account_id"], row["charge_id"]) for row in made)


def paired(account_id: int, charges: Mapping[str, datetime], messages: Iterable[WaitingMessage]) -> list[Match]:
    """Charges and messages of one donor, code and amount, each once, the earliest of both first. Pure.

    One pass over both: what a charge may take are always neighbours in the order of time.
    """
    waiting = sorted(messages)
    campaigns: dict[int, int] = defaultdict(int)
    matches = []
    first = end = 0

    def leave_first() -> None:
        nonlocal first
        campaign = waiting[first].campaign_id
        campaigns[campaign] -= 1
        if not campaigns[campaign]:
            del campaigns[campaign]
        first += 1

    for at, charge_id in sorted((at, charge_id) for charge_id, at in charges.items()):
        while end < len(waiting) and waiting[end].at - at <= APART_MAX:
            campaigns[waiting[end].campaign_id] += 1
            end += 1
        while first < end and at - waiting[first].at > APART_MAX:
            leave_first()
        if len(campaigns) == 1:
            matches.append(Match(account_id, charge_id, waiting[first].ref))
            leave_first()
    return matches


FORGET_MESSAGES = "DELETE FROM uncharged_person WHERE message_id = ANY($1::uuid[])"
FORGET_CHARGES = "DELETE FROM charge_person WHERE charge_notice_id = ANY($1::uuid[])"


async def forget_people(connection: asyncpg.Connection, charges: Charges, gifts: Mapping[Key, GiftRow]) -> None:
    """Numbers kept for matching go when they are needed no more: the charge has a message, the message a charge."""
    owners = charges.owners()
    charged = [gifts[owner].id for owner in set(owners.values()) if owner in gifts]
    if charged:
        await connection.execute(FORGET_MESSAGES, charged)
    unnamed: list[UUID] = [
        notice.id for key in owners for notice in charges.notices[key].values() if notice.message_ref is None
    ]
    if unnamed:
        await connection.execute(FORGET_CHARGES, unnamed)
