"""Charges that name no message: joined by the donor's number, short code, amount and time, one to one.

Which of several equal gifts of one donor a charge belongs to decides no money; where they are of different
campaigns it would, and the charge is left for a person. Runs under the accounts' locks.

A notice looks only at what lies near it, and at no more than NEAR_MAX messages: where there are more, or where older
charges might want the same ones, it is left to the sweep, which looks at everything, once in a while.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import ChargeRow, Key
from campaigns.gifts.events import ChargeKey, Charges, GiftRow

APART_MAX = timedelta(minutes=10)
"""How far a charge may lie from its message."""
NEAR_MAX = 50
"""How many messages near it a notice looks at: more than any donor sends of one amount in twenty minutes."""

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
FROM unnest($1::integer[], $2::bytea[], $3::text[], $4::bigint[], $5::timestamptz[]) WITH ORDINALITY
    AS a (account_id, msisdn_hash, short_code, amount_vnd, occurred_at, place)
CROSS JOIN LATERAL (
    SELECT u.message_ref, u.message_at, u.campaign_id FROM uncharged_person AS u
    WHERE u.account_id = a.account_id AND u.msisdn_hash = a.msisdn_hash AND u.short_code = a.short_code
        AND u.amount_vnd = a.amount_vnd
        AND u.message_at BETWEEN a.occurred_at - $6::interval AND a.occurred_at + $6::interval
    LIMIT $8
) AS u
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


async def match_arrivals(connection: asyncpg.Connection, arrivals: Sequence[ChargeRow]) -> frozenset[ChargeKey]:
    """Match the charges of new notices that name no message, where that is plain; returns those with a message since.

    It is not where older charges lie near the same messages, or there are more than NEAR_MAX: the sweep decides then.
    """
    new: dict[Alike, dict[str, datetime]] = defaultdict(dict)
    rows = [row for row in arrivals if row.status == "succeeded" and row.message_ref is None]
    places: list[Alike] = []
    asked: list[tuple[int, bytes, str, int, datetime]] = []
    for row in rows:
        if row.msisdn_hash is None or row.short_code is None or row.amount_vnd is None:
            continue
        alike = row.account_id, row.msisdn_hash, row.short_code, row.amount_vnd
        new[alike][row.charge_id] = row.occurred_at
        places.append(alike)
        asked.append((*alike, row.occurred_at))
    if not asked:
        return frozenset()
    found = await connection.fetch(
        SELECT_NEAR_ARRIVALS, *zip(*asked, strict=True), APART_MAX, [row.charge_id for row in rows], NEAR_MAX + 1
    )
    messages: dict[Alike, set[WaitingMessage]] = defaultdict(set)
    unclear: set[Alike] = set()
    near = [0] * len(places)
    for each in found:
        place = each["place"] - 1
        near[place] += 1
        if each["is_wanted"] or near[place] > NEAR_MAX:
            unclear.add(places[place])
        messages[places[place]].add(WaitingMessage(each["message_at"], each["message_ref"], each["campaign_id"]))
    matches = [
        match
        for alike, charges in new.items()
        if alike not in unclear
        for match in paired(alike[0], charges, messages[alike])
    ]
    return await _record(connection, matches)


def _alike(row: asyncpg.Record) -> Alike:
    return row["account_id"], row["msisdn_hash"], row["short_code"], row["amount_vnd"]


async def _record(connection: asyncpg.Connection, matches: Sequence[Match]) -> frozenset[ChargeKey]:
    if not matches:
        return frozenset()
    made = await connection.fetch(INSERT_MATCHES, *zip(*matches, strict=True))
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
