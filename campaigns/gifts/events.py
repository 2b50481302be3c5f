"""The stored events of gifts, read for folding: messages, charges, reversals and money lines, many gifts at once."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import Key
from campaigns.gifts.folding import Notice, StoredReversal, owner_of

ChargeKey = tuple[int, str]
"""Account id and charge id."""

_LATER_LINE = re.compile(r"^\d+:(.+)$", re.DOTALL)


class GiftRow(NamedTuple):
    """A stored message and its gift's projection; `state` None: the gift has no row yet.

    `holder_id` is the campaign for which its money counts: the message's, unless it was moved to another.
    """

    id: UUID
    account_id: int
    message_ref: str
    reading: str
    campaign_id: int | None
    carrier: str
    units: int
    amount_vnd: int
    message_at: datetime
    state: str | None
    reversed_vnd: int
    holder_id: int | None


SELECT_GIFTS = """
SELECT m.id, m.account_id, m.native_id, m.reading, m.campaign_id, m.carrier, coalesce(m.units, 0) AS units,
       coalesce(m.amount_vnd, 0) AS amount_vnd, m.message_at, g.state, coalesce(g.reversed_vnd, 0) AS reversed_vnd,
       coalesce(
           (SELECT v.to_campaign_id FROM moved_gift AS v WHERE v.gift_id = m.id
            ORDER BY v.reattribution_id DESC LIMIT 1), m.campaign_id
       ) AS holder_id
FROM unnest($1::integer[], $2::text[]) AS t (account_id, native_id)
JOIN message AS m USING (account_id, native_id) LEFT JOIN gift AS g ON g.message_id = m.id
"""


async def select_gifts(connection: asyncpg.Connection, keys: Collection[Key]) -> dict[Key, GiftRow]:
    """The messages among `keys` that have come, in the order of their keys."""
    ordered = sorted(keys)
    found = await connection.fetch(SELECT_GIFTS, [key[0] for key in ordered], [key[1] for key in ordered])
    rows = {(row["account_id"], row["native_id"]): GiftRow(*row) for row in found}
    return {key: rows[key] for key in ordered if key in rows}


SELECT_NOTICES = """
SELECT c.account_id, c.charge_id, c.id, c.status, c.amount_vnd, c.message_ref, m.message_ref AS matched,
       r.reason AS listed
FROM unnest($1::integer[], $2::text[]) AS t (account_id, charge_id)
JOIN charge_notice AS c USING (account_id, charge_id)
LEFT JOIN charge_match AS m USING (account_id, charge_id) LEFT JOIN review AS r ON r.event_id = c.id
"""
SELECT_NOTICES_OF_GIFTS = """
WITH gift_key AS MATERIALIZED (
    SELECT * FROM unnest($1::integer[], $2::text[]) AS t (account_id, message_ref)
), charge_key AS (
    SELECT account_id, charge_id FROM gift_key JOIN charge_notice USING (account_id, message_ref)
    UNION SELECT account_id, charge_id FROM gift_key JOIN charge_match USING (account_id, message_ref)
)
SELECT c.account_id, c.charge_id, c.id, c.status, c.amount_vnd, c.message_ref, m.message_ref AS matched,
       r.reason AS listed
FROM charge_key JOIN charge_notice AS c USING (account_id, charge_id)
LEFT JOIN charge_match AS m USING (account_id, charge_id) LEFT JOIN review AS r ON r.event_id = c.id
"""


@dataclass(slots=True)
class Charges:
    """Charges, each with all of its notices. `listed` are the reasons for which notices stand for review."""

    notices: dict[ChargeKey, dict[UUID, Notice]] = field(default_factory=dict)
    matched: dict[ChargeKey, str] = field(default_factory=dict)
    listed: dict[UUID, str] = field(default_factory=dict)
    _owners: dict[ChargeKey, Key] | None = None

    def add(self, rows: Iterable[asyncpg.Record]) -> None:
        """Take over what a SELECT_NOTICES found."""
        self._owners = None
        for row in rows:
            key = row["account_id"], row["charge_id"]
            notice = Notice(row["id"], row["status"], row["amount_vnd"], row["message_ref"])
            self.notices.setdefault(key, {})[notice.id] = notice
            if row["matched"] is not None:
                self.matched[key] = row["matched"]
            if row["listed"] is not None:
                self.listed[notice.id] = row["listed"]

    def owners(self) -> dict[ChargeKey, Key]:
        """The message to which each charge belongs, where that is known."""
        if self._owners is None:
            found = {key: owner_of(list(each.values()), self.matched.get(key)) for key, each in self.notices.items()}
            self._owners = {key: (key[0], ref) for key, ref in found.items() if ref is not None}
        return self._owners

    def listed_without_message(self, gifts: Mapping[Key, GiftRow]) -> list[UUID]:
        """The notices that stand for review although the message of their charge has not come.

        They stood for another message, to which their charge belonged before. `gifts` hold the owners that have come.
        """
        without = [key for key, owner in self.owners().items() if owner not in gifts]
        return [notice for key in without for notice in self.notices[key] if notice in self.listed]

    async def add_those_of(self, connection: asyncpg.Connection, gifts: Mapping[Key, GiftRow]) -> None:
        """All charges that name one of `gifts`, or were matched with one."""
        if gifts:
            self.add(await connection.fetch(SELECT_NOTICES_OF_GIFTS, *zip(*gifts, strict=True)))


async def select_notices(connection: asyncpg.Connection, keys: Collection[ChargeKey]) -> Charges:
    """The charges of `keys`, as far as notices of them have come."""
    charges = Charges()
    charges.add(await connection.fetch(SELECT_NOTICES, *zip(*sorted(keys), strict=True)))
    return charges


SELECT_REVERSALS_OF_GIFTS = """
WITH named AS (
    SELECT r.* FROM unnest($1::integer[], $2::text[]) AS t (account_id, message_ref)
    JOIN reversal AS r USING (account_id, message_ref)
    UNION ALL
    SELECT r.* FROM unnest($3::integer[], $4::text[]) AS t (account_id, charge_ref)
    JOIN reversal AS r USING (account_id, charge_ref) WHERE r.message_ref IS NULL
)
SELECT n.id, n.account_id, n.native_id, n.amount_vnd, n.scope, n.charge_ref, n.message_ref, n.occurred_at,
       r.reason AS listed
FROM named AS n LEFT JOIN review AS r ON r.event_id = n.id
"""
SELECT_NAMED_BESIDE = """
SELECT DISTINCT r.account_id, r.message_ref FROM unnest($1::integer[], $2::text[]) AS t (account_id, charge_ref)
JOIN reversal AS r USING (account_id, charge_ref) WHERE r.message_ref IS NOT NULL
"""
SELECT_LISTED_REVERSALS = """
SELECT r.id FROM unnest($1::integer[], $2::text[]) AS t (account_id, charge_ref)
JOIN reversal AS r USING (account_id, charge_ref) JOIN review AS v ON v.event_id = r.id
WHERE r.message_ref IS NULL
"""
SELECT_LINES = """
SELECT gift_id, cause, messages, units, vnd, at FROM money_line
WHERE gift_id = ANY($1::uuid[]) AND stage = 'pledged'
"""


@dataclass(slots=True)
class LineSum:
    """What the lines of one gift and cause sum up to, and how many they are."""

    count: int = 0
    messages: int = 0
    units: int = 0
    vnd: int = 0
    at: datetime | None = None


LinesByCause = dict[str, LineSum]
"""The lines of one gift by the cause they are about."""


async def select_reversals(
    connection: asyncpg.Connection, gifts: Mapping[Key, GiftRow], charges: Charges
) -> tuple[dict[Key, list[StoredReversal]], dict[UUID, str]]:
    """The reversals of each gift, by message and by charge, and for which reasons some stand for review."""
    owners = charges.owners()
    by_charge = [key for key, owner in owners.items() if owner in gifts]
    found = await connection.fetch(
        SELECT_REVERSALS_OF_GIFTS, *zip(*gifts, strict=True), [key[0] for key in by_charge],
        [key[1] for key in by_charge],
    )  # fmt: skip
    reversals: dict[Key, list[StoredReversal]] = {}
    for row in found:
        account_id, ref = row["account_id"], row["message_ref"]
        target = (account_id, ref) if ref is not None else owners[account_id, row["charge_ref"]]
        reversal = StoredReversal(
            row["id"], row["native_id"], row["amount_vnd"], row["scope"], row["charge_ref"], row["occurred_at"]
        )
        reversals.setdefault(target, []).append(reversal)
    return reversals, {row["id"]: row["listed"] for row in found if row["listed"] is not None}


async def owners_named(
    connection: asyncpg.Connection, reversals: Mapping[Key, Collection[StoredReversal]], charges: Charges
) -> dict[Key, dict[str, str]]:
    """For each gift the messages to which the charges belong that its reversals name, where that is known."""
    named = {
        key: {(key[0], each.charge_ref) for each in several if each.charge_ref is not None}
        for key, several in reversals.items()
    }
    owners = charges.owners()
    if others := set().union(*named.values()) - charges.notices.keys():
        owners = owners | (await select_notices(connection, others)).owners()
    return {key: {each[1]: owners[each][1] for each in several if each in owners} for key, several in named.items()}


async def select_named_beside(connection: asyncpg.Connection, keys: Collection[ChargeKey]) -> set[Key]:
    """The messages that reversals of these charges name themselves."""
    if not keys:
        return set()
    found = await connection.fetch(SELECT_NAMED_BESIDE, *zip(*sorted(keys), strict=True))
    return {(row["account_id"], row["message_ref"]) for row in found}


async def select_listed_reversals(connection: asyncpg.Connection, keys: Collection[ChargeKey]) -> list[UUID]:
    """The reversals that name one of these charges and no message, and stand for review."""
    found = await connection.fetch(SELECT_LISTED_REVERSALS, *zip(*sorted(keys), strict=True))
    return [row["id"] for row in found]


async def select_lines(connection: asyncpg.Connection, gifts: Mapping[Key, GiftRow]) -> dict[UUID, LinesByCause]:
    """What is written of each gift, by its id; a second line about a cause counts to that cause."""
    lines_by_gift: dict[UUID, LinesByCause] = {}
    for row in await connection.fetch(SELECT_LINES, [gift.id for gift in gifts.values()]):
        later = _LATER_LINE.match(row["cause"])
        written = lines_by_gift.setdefault(row["gift_id"], {}).setdefault(
            later[1] if later else row["cause"], LineSum()
        )
        written.count += 1
        written.messages += row["messages"]
        written.units += row["units"]
        written.vnd += row["vnd"]
        written.at = row["at"]
    return lines_by_gift
