"""Re-attribution: gifts counted for one campaign that belong to another, moved by two people.

One proposes, somebody else approves; then each gift has two more money lines, one that takes what is left of it from
its campaign and one that brings it to the other, in the minute of the approval. Its message stays read as it was, and
what its carrier gives back later is given back by the campaign that holds it then.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import asyncpg

from campaigns.audit.entries import AuditAct, Who, record
from campaigns.book.recording import IntakeBusy
from campaigns.book.store import load_book
from campaigns.gifts.messages import lock_accounts
from campaigns.gifts.move_plan import Figures, HeldGift, MovePlan, MoveRefused, planned_move, select_held
from campaigns.gifts.projection import MOVED_IN, MOVED_OUT, MoneyLine, record_lines
from campaigns.schema.locks import APPLY_LOCK
from campaigns.totals.announce import announce

LISTED_MAX = 50
SLOT = 0
"""The roll-up slot of commands."""
Ground = Literal["keyword", "carrier", "donor", "portal"]
GROUNDS: tuple[str, ...] = get_args(Ground)
"""What the public is told: a keyword was announced wrongly, or a carrier, a donor or the portal was mistaken."""
EndedOtherwise = Literal["refused", "withdrawn"]
ENTERED_AS: Mapping[EndedOtherwise, AuditAct] = MappingProxyType(
    {"refused": "reattribution.refused", "withdrawn": "reattribution.withdrawn"}
)
"""What each is called in the audit log."""


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
SELECT_GIFT_IDS = "SELECT gift_id FROM reattribution_gift WHERE reattribution_id = $1"
# Who ends the same proposal at the same time waits here, and then sees that it has ended.
LOCK_REATTRIBUTION = "SELECT id FROM reattribution WHERE id = $1 FOR UPDATE"
LOCK_BOOK = "SELECT pg_advisory_xact_lock($1)"
LIMIT_WAIT = "SET LOCAL lock_timeout = '2s'"


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
    return await select_held(connection, ids)


async def plan_of_proposal(connection: asyncpg.Connection, proposal: Reattribution, now: datetime) -> MovePlan:
    """What approving it now would mean. Raises MoveRefused where it cannot be approved as it is."""
    book = await load_book(connection)
    ids = [row["gift_id"] for row in await connection.fetch(SELECT_GIFT_IDS, proposal.id)]
    giver, taker = book.by_slug.get(proposal.giver), book.by_slug.get(proposal.taker)
    if giver is None or taker is None:
        raise MoveRefused("unknown_campaign")
    plan = await planned_move(connection, book, await select_held(connection, ids), taker, now)
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
        await record(connection, who, ENTERED_AS[step], str(number), reason=reason)


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
