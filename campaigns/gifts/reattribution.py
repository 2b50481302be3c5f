"""Re-attribution: gifts counted for one campaign that belong to another, moved by two people.

One proposes, somebody else approves; then each gift has two more money lines, one that takes what is left of it from
its campaign and one that brings it to the other, in the minute of the approval. Its message stays read as it was, and
what its carrier gives back later is given back by the campaign that holds it then.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, get_args
from uuid import UUID

import asyncpg

from campaigns.audit.entries import Who, record
from campaigns.book.book import Book, Campaign, CampaignState
from campaigns.book.recording import IntakeBusy
from campaigns.book.store import load_book
from campaigns.gifts.messages import lock_accounts
from campaigns.gifts.projection import MOVED_IN, MOVED_OUT, MoneyLine, record_lines
from campaigns.schema.locks import APPLY_LOCK
from campaigns.totals.announce import announce

GIFTS_MAX = 500
"""Of one proposal: so many are looked over by a person, and hold up the intake of their account for some 50 ms."""
LISTED_MAX = 200
SLOT = 0
"""The roll-up slot of commands."""
Ground = Literal["keyword", "carrier", "donor", "portal"]
GROUNDS: tuple[str, ...] = get_args(Ground)
"""What the public is told: a keyword was announced wrongly, or a carrier, a donor or the portal was mistaken."""
EndedOtherwise = Literal["refused", "withdrawn"]


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


class Reattribution(NamedTuple):
    """A proposal and how it ended. `moved` is what its approval moved; zeros before."""

    id: int
    giver: str
    taker: str
    ground: str
    reason: str
    made_by: str
    made_at: datetime
    gifts: int
    state: str
    ended_by: str | None
    ended_at: datetime | None
    end_reason: str | None
    moved: Figures


class Correction(NamedTuple):
    """By how much a campaign's total changed when gifts were moved; what it gave is negative."""

    campaign_id: int
    number: int
    at: datetime
    messages: int
    units: int
    vnd: int
    other: str
    ground: str


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
INSERT_REATTRIBUTION = """
INSERT INTO reattribution (from_campaign_id, to_campaign_id, ground, reason, made_by) VALUES ($1, $2, $3, $4, $5)
RETURNING id
"""
INSERT_GIFTS = "INSERT INTO reattribution_gift (reattribution_id, gift_id) SELECT $1, unnest($2::uuid[])"
# One proposal has a gift at a time; whoever comes at the same moment waits here, and is then refused.
CLAIM = """
INSERT INTO reattribution_claim (gift_id, reattribution_id) SELECT gift_id, $1 FROM unnest($2::uuid[]) AS t (gift_id)
ORDER BY gift_id ON CONFLICT ON CONSTRAINT reattribution_claim_once DO NOTHING RETURNING gift_id
"""
RELEASE = "DELETE FROM reattribution_claim WHERE reattribution_id = $1"
INSERT_END = """
INSERT INTO reattribution_end (reattribution_id, step, who, made_by, reason, messages, units, vnd)
SELECT id, $2, $3, made_by, $4, $5, $6, $7 FROM reattribution WHERE id = $1 RETURNING recorded_at
"""
SELECT_REATTRIBUTIONS = """
SELECT r.id, g.slug AS giver, t.slug AS taker, r.ground, r.reason, r.made_by, r.made_at,
       (SELECT count(*) FROM reattribution_gift AS n WHERE n.reattribution_id = r.id) AS gifts,
       coalesce(e.step, 'proposed') AS state, e.who AS ended_by, e.recorded_at AS ended_at, e.reason AS end_reason,
       coalesce(e.messages, 0) AS messages, coalesce(e.units, 0) AS units, coalesce(e.vnd, 0) AS vnd
FROM reattribution AS r JOIN campaign AS g ON g.id = r.from_campaign_id
JOIN campaign AS t ON t.id = r.to_campaign_id
LEFT JOIN reattribution_end AS e ON e.reattribution_id = r.id
WHERE ($1::integer IS NULL OR r.id = $1) AND ($2::text[] IS NULL OR (g.organiser = ANY($2) AND t.organiser = ANY($2)))
    AND ($3::integer IS NULL OR r.id < $3)
ORDER BY r.id DESC LIMIT $4
"""
# Twice each: as the campaign that gave and the one that took see it.
SELECT_CORRECTIONS = """
SELECT c.campaign_id, r.id, e.recorded_at, c.sign * e.messages AS messages, c.sign * e.units AS units,
       c.sign * e.vnd AS vnd, other.slug AS other, r.ground
FROM reattribution_end AS e JOIN reattribution AS r ON r.id = e.reattribution_id
CROSS JOIN LATERAL (
    VALUES (r.from_campaign_id, r.to_campaign_id, -1), (r.to_campaign_id, r.from_campaign_id, 1)
) AS c (campaign_id, other_id, sign)
JOIN campaign AS other ON other.id = c.other_id
WHERE e.step = 'approved' ORDER BY r.id
"""
SELECT_GIFT_IDS = "SELECT gift_id FROM reattribution_gift WHERE reattribution_id = $1"
# Who ends the same proposal at the same time waits here, and then sees that it has ended.
LOCK_REATTRIBUTION = "SELECT id FROM reattribution WHERE id = $1 FOR UPDATE"
LOCK_BOOK = "SELECT pg_advisory_xact_lock($1)"
LIMIT_WAIT = "SET LOCAL lock_timeout = '2s'"


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
    gifts = await _select_held(connection, list(found.values()))
    if organisations is not None and (foreign := [each for each in gifts if not _is_of(each, book, organisations)]):
        raise MoveRefused("unknown_gift", [each.native_id for each in foreign])
    into = book.by_slug.get(taker)
    if into is None or (organisations is not None and into.organiser not in organisations):
        raise MoveRefused("unknown_campaign")
    plan = await _planned(connection, book, gifts, into, now)
    if claimed := [each.native_id for each in gifts if each.claimed_by is not None]:
        raise MoveRefused("claimed", claimed)
    return plan


async def propose(connection: asyncpg.Connection, who: Who, plan: MovePlan, ground: str, reason: str) -> int:
    """Propose what `plan` says; returns the number of the proposal. Nothing counts differently by it.

    Call it in a transaction. Raises MoveRefused where a gift was claimed meanwhile.
    """
    if ground not in GROUNDS:
        raise MoveRefused("ground")
    if not reason:
        raise MoveRefused("reason")
    ids = [each.id for each in plan.gifts]
    made: int = await connection.fetchval(
        INSERT_REATTRIBUTION, plan.giver.id, plan.taker.id, ground, reason, who.login
    )
    claimed = {row["gift_id"] for row in await connection.fetch(CLAIM, made, ids)}
    if lost := [each.native_id for each in plan.gifts if each.id not in claimed]:
        raise MoveRefused("claimed", lost)
    await connection.execute(INSERT_GIFTS, made, ids)
    after = {"from": plan.giver.slug, "to": plan.taker.slug, "ground": ground, **plan.moved._asdict()}
    await record(connection, who, "reattribution.propose", str(made), after=after, reason=reason)
    return made


async def select_reattributions(
    connection: asyncpg.Connection,
    organisations: Sequence[str] | None = None,
    number: int | None = None,
    *,
    before: int | None = None,
    rows_max: int = LISTED_MAX,
) -> list[Reattribution]:
    """The newest first, those older than `before`. `organisations`: only those between campaigns of theirs."""
    only = None if organisations is None else list(organisations)
    found = await connection.fetch(SELECT_REATTRIBUTIONS, number, only, before, rows_max)
    return [
        Reattribution(
            row["id"], row["giver"], row["taker"], row["ground"], row["reason"], row["made_by"], row["made_at"],
            row["gifts"], row["state"], row["ended_by"], row["ended_at"], row["end_reason"],
            Figures(row["messages"], row["units"], row["vnd"]),
        )
        for row in found
    ]  # fmt: skip


async def select_gifts_of(connection: asyncpg.Connection, number: int) -> list[HeldGift]:
    """The gifts of a proposal, as they are held now."""
    ids = [row["gift_id"] for row in await connection.fetch(SELECT_GIFT_IDS, number)]
    return await _select_held(connection, ids)


async def plan_of_proposal(connection: asyncpg.Connection, proposal: Reattribution, now: datetime) -> MovePlan:
    """What approving it now would mean. Raises MoveRefused where it cannot be approved as it is."""
    book = await load_book(connection)
    ids = [row["gift_id"] for row in await connection.fetch(SELECT_GIFT_IDS, proposal.id)]
    giver, taker = book.by_slug.get(proposal.giver), book.by_slug.get(proposal.taker)
    if giver is None or taker is None:
        raise MoveRefused("unknown_campaign")
    plan = await _planned(connection, book, await _select_held(connection, ids), taker, now)
    if plan.giver != giver:
        raise MoveRefused("changed", [each.native_id for each in plan.gifts])
    return plan


async def approve(
    connection: asyncpg.Connection, who: Who, number: int, *, now: datetime, looked_at: str
) -> MovePlan:
    """Move what somebody else proposed, two lines a gift, at once. `looked_at`: the digest of the plan that was seen.

    Raises MoveRefused, IntakeBusy; then nothing has changed.
    """
    async with connection.transaction():
        proposal = await _locked(connection, number)
        if who.login == proposal.made_by:
            raise MoveRefused("same_person")
        # The order of whoever changes the book: first that, then the intake. No campaign closes meanwhile.
        await connection.execute(LIMIT_WAIT)
        try:
            await connection.execute(LOCK_BOOK, APPLY_LOCK)
            accounts = {each.account_id for each in (await plan_of_proposal(connection, proposal, now)).gifts}
            await lock_accounts(connection, accounts, accounts)
        except asyncpg.LockNotAvailableError:
            raise IntakeBusy from None
        # Seen again, now that nothing else can join these gifts.
        plan = await plan_of_proposal(connection, proposal, now)
        if plan.digest != looked_at:
            raise MoveRefused("changed")
        at = await _end(connection, who, proposal, "approved", None, plan.moved)
        await record_lines(connection, [line for each in plan.gifts for line in _lines(each, number, plan, at)], SLOT)
        await announce(connection)
        await record(
            connection, who, "reattribution.approved", str(number), before=_both(plan, is_before=True),
            after=_both(plan, is_before=False), reason=proposal.reason,
        )  # fmt: skip
    return plan


async def select_corrections(connection: asyncpg.Connection) -> list[Correction]:
    """Of every campaign, the oldest first."""
    return [Correction(*row) for row in await connection.fetch(SELECT_CORRECTIONS)]


async def end(
    connection: asyncpg.Connection, who: Who, number: int, step: EndedOtherwise, reason: str | None
) -> None:
    """Refuse or withdraw it; its gifts are free for another proposal. Whoever proposed it withdraws it and does not
    refuse it. Raises MoveRefused.
    """
    async with connection.transaction():
        proposal = await _locked(connection, number)
        if step == "refused" and who.login == proposal.made_by:
            raise MoveRefused("same_person")
        await _end(connection, who, proposal, step, reason, Figures(0, 0, 0))
        await record(connection, who, f"reattribution.{step}", str(number), reason=reason)


async def _locked(connection: asyncpg.Connection, number: int) -> Reattribution:
    await connection.execute(LOCK_REATTRIBUTION, number)
    found = await select_reattributions(connection, None, number)
    if not found or found[0].state != "proposed":
        raise MoveRefused("ended")
    return found[0]


async def _end(
    connection: asyncpg.Connection, who: Who, proposal: Reattribution, step: str, reason: str | None, moved: Figures
) -> datetime:
    await connection.execute(RELEASE, proposal.id)
    at: datetime = await connection.fetchval(INSERT_END, proposal.id, step, who.login, reason, *moved)
    return at


async def _select_held(connection: asyncpg.Connection, ids: Sequence[UUID]) -> list[HeldGift]:
    return [HeldGift(*row) for row in await connection.fetch(SELECT_HELD, ids)]


async def _planned(
    connection: asyncpg.Connection, book: Book, gifts: Sequence[HeldGift], taker: Campaign, now: datetime
) -> MovePlan:
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


def _lines(gift: HeldGift, number: int, plan: MovePlan, at: datetime) -> list[MoneyLine]:
    messages, units, vnd = gift.messages, gift.units, gift.vnd
    out, into = f"{MOVED_OUT}{number}", f"{MOVED_IN}{number}"
    return [
        MoneyLine(gift.id, out, plan.giver.id, gift.carrier, -messages, -units, -vnd, at),
        MoneyLine(gift.id, into, plan.taker.id, gift.carrier, messages, units, vnd, at),
    ]


def _both(plan: MovePlan, *, is_before: bool) -> dict[str, dict[str, int]]:
    giver, taker = (plan.giver_before, plan.taker_before) if is_before else (plan.giver_after, plan.taker_after)
    return {plan.giver.slug: giver._asdict(), plan.taker.slug: taker._asdict()}
