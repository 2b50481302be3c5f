"""What a re-attribution would mean: the gifts as they are held now, both campaigns' figures before and after.

Nothing is written here; a plan is what two people look at before `reattribution.approve` moves anything.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.book.book import Book, Campaign, CampaignState
from campaigns.book.store import load_book

GIFTS_MAX = 500
"""Of one proposal: so many are looked over by a person, and hold up the intake of their account for some 50 ms."""


class MoveRefused(Exception):
    """A move that cannot be made, proposed or ended; nothing has changed.

    `why`: no_gifts, too_many, unknown_gift, not_counted, confirmed, claimed, several_campaigns, unknown_campaign,
    same_campaign, not_open, ground, reason; of a proposal that is there: ended, same_person, changed. `about` are the
    senders' ids of the gifts that are the reason.
    """

    def __init__(self, why: str, about: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.about = tuple(about)


class HeldGift(NamedTuple):
    """A stored message and what of its money is left, for the campaign that holds it; None: nothing counts."""

    id: UUID
    account_id: int
    account: str
    native_id: str
    carrier: str
    message_at: datetime
    campaign_id: int | None
    messages: int
    units: int
    vnd: int
    is_confirmed: bool
    claimed_by: int | None


class Figures(NamedTuple):
    """What a campaign's total is made of."""

    messages: int
    units: int
    vnd: int


class MovePlan(NamedTuple):
    """What would be moved, and both campaigns' figures as they are while somebody looks."""

    giver: Campaign
    taker: Campaign
    gifts: Sequence[HeldGift]
    giver_before: Figures
    taker_before: Figures

    @property
    def moved(self) -> Figures:
        """What all gifts are together."""
        sums = zip(*((each.messages, each.units, each.vnd) for each in self.gifts), strict=True)
        return Figures(*map(sum, sums))

    @property
    def giver_after(self) -> Figures:
        """What the campaign that gives would show."""
        return Figures(*(old - moved for old, moved in zip(self.giver_before, self.moved, strict=True)))

    @property
    def taker_after(self) -> Figures:
        """What the campaign that takes would show."""
        return Figures(*(old + moved for old, moved in zip(self.taker_before, self.moved, strict=True)))

    @property
    def digest(self) -> str:
        """Tells whether a plan is the one that somebody looked at: the same gifts with the same money."""
        seen = [(self.giver.id, self.taker.id), *((str(each.id), *each[7:10]) for each in self.gifts)]
        return hashlib.sha256(repr(seen).encode()).hexdigest()


SELECT_IDS = """
SELECT m.native_id, m.id FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id
WHERE a.code = $1 AND m.native_id = ANY($2::text[])
"""
SELECT_HELD = """
SELECT m.id, m.account_id, a.code AS account, m.native_id, m.carrier, m.message_at, h.campaign_id,
       coalesce(h.messages, 0) AS messages, coalesce(h.units, 0) AS units, coalesce(h.vnd, 0) AS vnd,
       EXISTS (SELECT FROM money_line AS l WHERE l.gift_id = m.id AND l.stage <> 'pledged') AS is_confirmed,
       c.reattribution_id AS claimed_by
FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id
LEFT JOIN LATERAL (
    SELECT l.campaign_id, sum(l.messages) AS messages, sum(l.units) AS units, sum(l.vnd)::bigint AS vnd
    FROM money_line AS l WHERE l.gift_id = m.id AND l.stage = 'pledged'
    GROUP BY l.campaign_id HAVING sum(l.messages) = 1
) AS h ON true
LEFT JOIN reattribution_claim AS c ON c.gift_id = m.id
WHERE m.id = ANY($1::uuid[]) ORDER BY m.id
"""
SELECT_FIGURES = """
SELECT campaign_id, sum(messages)::bigint AS messages, sum(units)::bigint AS units, sum(pledged_vnd)::bigint AS vnd
FROM campaign_total WHERE campaign_id = ANY($1::integer[]) GROUP BY campaign_id
"""


async def plan_of(
    connection: asyncpg.Connection,
    account: str,
    native_ids: Sequence[str],
    taker: str,
    *,
    now: datetime,
    organisations: Sequence[str] | None = None,
) -> MovePlan:
    """What moving these messages of an account to the campaign `taker` would mean; nothing is written.

    `organisations`: only what is these organisations' is seen. Raises MoveRefused.
    """
    wanted = list(dict.fromkeys(native_ids))
    if not wanted:
        raise MoveRefused("no_gifts")
    if len(wanted) > GIFTS_MAX:
        raise MoveRefused("too_many")
    found = {row["native_id"]: row["id"] for row in await connection.fetch(SELECT_IDS, account, wanted)}
    if unknown := [each for each in wanted if each not in found]:
        raise MoveRefused("unknown_gift", unknown)
    book = await load_book(connection)
    gifts = await select_held(connection, list(found.values()))
    if organisations is not None and (foreign := [each for each in gifts if not _is_of(each, book, organisations)]):
        raise MoveRefused("unknown_gift", [each.native_id for each in foreign])
    into = book.by_slug.get(taker)
    if into is None or (organisations is not None and into.organiser not in organisations):
        raise MoveRefused("unknown_campaign")
    plan = await planned_move(connection, book, gifts, into, now)
    if claimed := [each.native_id for each in gifts if each.claimed_by is not None]:
        raise MoveRefused("claimed", claimed)
    return plan


async def select_held(connection: asyncpg.Connection, ids: Sequence[UUID]) -> list[HeldGift]:
    """These messages, as they are held now, in the order of their ids."""
    return [HeldGift(*row) for row in await connection.fetch(SELECT_HELD, ids)]


async def planned_move(
    connection: asyncpg.Connection, book: Book, gifts: Sequence[HeldGift], taker: Campaign, now: datetime
) -> MovePlan:
    """What moving `gifts` to `taker` would mean at `now`. Raises MoveRefused where the rules forbid it."""
    if gone := [each.native_id for each in gifts if each.campaign_id is None]:
        raise MoveRefused("not_counted", gone)
    if confirmed := [each.native_id for each in gifts if each.is_confirmed]:
        raise MoveRefused("confirmed", confirmed)
    givers = {each.campaign_id for each in gifts}
    if len(givers) != 1:
        raise MoveRefused("several_campaigns")
    giver = book.by_id.get(givers.pop() or 0)
    if giver is None:
        raise MoveRefused("unknown_campaign")
    if giver.id == taker.id:
        raise MoveRefused("same_campaign")
    if taker.state_at(now) is not CampaignState.OPEN:
        raise MoveRefused("not_open")
    found = await connection.fetch(SELECT_FIGURES, [giver.id, taker.id])
    figures = {row["campaign_id"]: Figures(*tuple(row)[1:]) for row in found}
    nothing = Figures(0, 0, 0)
    return MovePlan(giver, taker, gifts, figures.get(giver.id, nothing), figures.get(taker.id, nothing))


def _is_of(gift: HeldGift, book: Book, organisations: Sequence[str]) -> bool:
    campaign = book.by_id.get(gift.campaign_id or 0)
    return campaign is not None and campaign.organiser in organisations
