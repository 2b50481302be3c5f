"""Charges that name no message: joined by the donor's number, short code, amount and time, one to one.

Which of several equal gifts of one donor a charge belongs to decides no money; where they are of different
campaigns it would, and the charge is left for a person. Runs under the accounts' locks.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import Key
from campaigns.gifts.events import ChargeKey, Charges, GiftRow

APART_MAX = timedelta(minutes=10)
"""How far a charge may lie from its message."""

SELECT_PAIRS = """
SELECT c.account_id, c.msisdn_hash, c.short_code, c.amount_vnd, c.charge_id, c.occurred_at, u.message_ref,
       u.message_at, u.campaign_id
FROM charge_person AS c JOIN uncharged_person AS u USING (account_id, msisdn_hash, short_code, amount_vnd)
WHERE (c.account_id = ANY($1::integer[]) OR $1 IS NULL)
    AND u.message_at BETWEEN c.occurred_at - $2::interval AND c.occurred_at + $2::interval
ORDER BY c.account_id, c.msisdn_hash, c.short_code, c.amount_vnd
"""
INSERT_MATCHES = """
INSERT INTO charge_match (account_id, charge_id, message_ref)
SELECT account_id, charge_id, message_ref
FROM unnest($1::integer[], $2::text[], $3::text[]) AS t (account_id, charge_id, message_ref)
ON CONFLICT DO NOTHING
RETURNING account_id, charge_id
"""


_alike = itemgetter("account_id", "msisdn_hash", "short_code", "amount_vnd")


class Match(NamedTuple):
    """A charge and the message found for it."""

    account_id: int
    charge_id: str
    message_ref: str


async def find_matches(connection: asyncpg.Connection, accounts: Collection[int] | None) -> list[Match]:
    """The charges of `accounts` (None: of all) that have a message now, each with it."""
    found = await connection.fetch(SELECT_PAIRS, None if accounts is None else list(accounts), APART_MAX)
    return [match for _, rows in groupby(found, key=_alike) for match in _paired(list(rows))]


async def match_charges(connection: asyncpg.Connection, accounts: Collection[int]) -> frozenset[ChargeKey]:
    """Match what can be matched now in `accounts`; returns the charges that have a message since."""
    matches = await find_matches(connection, accounts)
    if not matches:
        return frozenset()
    made = await connection.fetch(INSERT_MATCHES, *zip(*matches, strict=True))
    return frozenset((row["account_id"], row["charge_id"]) for row in made)


def _paired(rows: Sequence[asyncpg.Record]) -> list[Match]:
    """Charges and messages of one donor, code and amount, each once, the earliest of both first."""
    charges: dict[str, datetime] = {}
    messages: dict[str, tuple[datetime, int]] = {}
    for row in rows:
        charges[row["charge_id"]] = row["occurred_at"]
        messages[row["message_ref"]] = row["message_at"], row["campaign_id"]
    waiting = sorted((at, ref, campaign_id) for ref, (at, campaign_id) in messages.items())
    matches = []
    for at, charge_id in sorted((at, charge_id) for charge_id, at in charges.items()):
        near = [each for each in waiting if abs(each[0] - at) <= APART_MAX]
        if len({campaign_id for _, _, campaign_id in near}) != 1:
            continue
        waiting.remove(near[0])
        matches.append(Match(rows[0]["account_id"], charge_id, near[0][1]))
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
