"""Gifts counted for the wrong campaign are moved by two people: two lines each, whole or not at all, and told."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from campaigns.audit.entries import Who
from campaigns.gifts import reattribution
from campaigns.gifts.reattribution import Figures, MoveRefused
from metrics.invariants import INVARIANTS
from metrics.proofs import prove
from tests.support.portal import Portal, message
from tests.support.reports import taken_back

AN, BINH = Who("an"), Who("binh")


async def counted(portal: Portal, *native_ids: str, text: str = "VNN 5") -> None:
    """Gifts of 100,000 VND each for the campaign `vnn`."""
    for native_id in native_ids:
        assert (await portal.post(message(native_id, text))).outcome == "accepted"


async def figures(portal: Portal, slug: str) -> Figures:
    """A campaign's figures as the database has them."""
    (row,) = await portal.fetch(
        """
        SELECT coalesce(sum(messages), 0)::bigint AS messages, coalesce(sum(units), 0)::bigint AS units,
               coalesce(sum(pledged_vnd), 0)::bigint AS vnd
        FROM campaign_total WHERE campaign_id = (SELECT id FROM campaign WHERE slug = $1)
        """,
        slug,
    )
    return Figures(*row)


async def broken(portal: Portal) -> list[tuple[str, Any]]:
    """Which invariants do not hold, by a proof of everything."""
    connection = await asyncpg.connect(portal.dsn)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            return [(name, found[0]) async for name, _, found in prove(connection) if found]
    finally:
        await connection.close()


async def proposed(portal: Portal, *native_ids: str, who: Who = AN, taker: str = "bao-lu") -> int:
    """Propose to move gifts; the number."""
    async with portal.service.desk.desk.borrow() as connection, connection.transaction():
        plan = await reattribution.plan_of(connection, "hub", native_ids, taker, now=datetime.now(UTC))
        return await reattribution.propose(connection, who, plan, "keyword", "sai từ khóa")


async def looked(portal: Portal, number: int) -> str:
    """The digest of what a proposal would do now."""
    async with portal.service.desk.desk.borrow() as connection:
        (found,) = await reattribution.select_reattributions(connection, None, number)
        return (await reattribution.plan_of_proposal(connection, found, datetime.now(UTC))).digest


async def approved(portal: Portal, number: int, seen: str, who: Who = BINH) -> None:
    """Approve it."""
    async with portal.service.desk.desk.borrow() as connection:
        await reattribution.approve(connection, who, number, now=datetime.now(UTC), looked_at=seen)


async def refusal(act: Awaitable[object]) -> str:
    """Why something was refused."""
    with pytest.raises(MoveRefused) as refused:
        await act
    return refused.value.why


async def test_what_was_moved_counts_there_alone_whatever_is_given_back_before_and_after(desk_portal: Portal) -> None:
    portal = desk_portal
    await counted(portal, "m-1", "m-2", "m-3")
    await portal.post(taken_back("r-1", 30_000, "m-1", scope="partial"))
    giver, taker = await figures(portal, "vnn"), await figures(portal, "bao-lu")
    number = await proposed(portal, "m-1", "m-2")
    assert await figures(portal, "vnn") == giver, "a proposal moves nothing"
    seen = await looked(portal, number)
    assert await refusal(approved(portal, number, seen, AN)) == "same_person"
    with pytest.raises(asyncpg.CheckViolationError, match="reattribution_needs_two"):
        await portal.fetch("INSERT INTO reattribution_end VALUES ($1, 'approved', 'an', 'an', '', 0, 0, 0)", number)
    await approved(portal, number, seen)
    moved = Figures(2, 10, 170_000)
    after = tuple(old - each for old, each in zip(giver, moved, strict=True))
    assert (await figures(portal, "vnn"), await broken(portal)) == (after, [])
    assert await figures(portal, "bao-lu") == tuple(old + each for old, each in zip(taker, moved, strict=True))
    (entry,) = await portal.fetch("SELECT before, after FROM audit_entry WHERE act = 'reattribution.approved'")
    assert '"vnd"' in entry["before"]
    assert entry["before"] != entry["after"]

    # What its carrier gives back later is given back by the campaign that has it, and the rest moves on.
    await portal.post(taken_back("r-2", 100_000, "m-2", scope="total"))
    await portal.post(taken_back("r-3", 20_000, "m-1", scope="partial"))
    assert await figures(portal, "vnn") == after
    assert (await figures(portal, "bao-lu"))[2] == taker.vnd + 50_000
    again = await proposed(portal, "m-1", taker="vnn")
    await approved(portal, again, await looked(portal, again))
    assert (await figures(portal, "bao-lu"), await broken(portal)) == (taker, [])
    await portal.post(taken_back("r-4", 50_000, "m-1", scope="total"))
    assert (await figures(portal, "vnn"), await broken(portal)) == (Figures(*after), [])
    names = {each.name for each in INVARIANTS}
    assert "moves_are_whole" in names
