"""Gifts counted for the wrong campaign are moved by two people: two lines each, whole or not at all, and told."""

import argparse
import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from campaigns.audit.entries import Who
from campaigns.gifts import reattribution
from campaigns.gifts.finding import find
from campaigns.gifts.move_plan import Figures, MoveRefused, plan_of
from campaigns.totals.reversed import mend_reversed
from metrics.invariant import check
from metrics.proofs import prove
from metrics.roll_up_checks import ROLL_UP_CHECKS
from service.commands import reattribute
from service.commands.opening import CommandRefused
from service.desk.door import Visit
from service.desk.roles import Role
from service.simulator.moved import moved_since
from service.simulator.posting import Poster
from service.web.words import Language, load_words
from tests.support.desk import logged_in, object_in, person
from tests.support.portal import SECRET_KEY, Portal, eventually, message
from tests.support.reports import charge, gift, taken_back

AN, BINH = Who("an"), Who("binh")
OF_MONEY = {
    "totals_equal_money_lines", "reversed_equal_money_lines", "minutes_equal_money_lines", "moves_are_whole",
    "each_counted_message_is_pledged_once", "no_gift_is_overdrawn", "lines_follow_their_causes",
}  # fmt: skip
"""What another test of this service may have tampered with is not among them."""


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
    """Which invariants of money do not hold, by a proof of everything."""
    connection = await asyncpg.connect(portal.dsn)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            return [(name, found[0]) async for name, _, found in prove(connection) if found and name in OF_MONEY]
    finally:
        await connection.close()


async def given_back(portal: Portal) -> dict[str, tuple[int, int]]:
    """Messages and VND that each campaign gave back, as the database has them for pages and API."""
    rows = await portal.fetch(
        "SELECT slug, coalesce(sum(reversed_messages), 0)::int, coalesce(sum(reversed_vnd), 0)::int"
        " FROM campaign LEFT JOIN campaign_total ON campaign_id = campaign.id GROUP BY slug"
    )
    return {slug: (messages, vnd) for slug, messages, vnd in rows}


async def proposed(
    portal: Portal, *native_ids: str, who: Who = AN, taker: str = "bao-lu", account: str = "hub"
) -> int:
    """Propose to move gifts; the number."""
    async with portal.service.desk.desk.borrow() as connection, connection.transaction():
        plan = await plan_of(connection, account, native_ids, taker, now=datetime.now(UTC))
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
    (entry,) = await portal.fetch(
        "SELECT before, after FROM audit_entry WHERE act = 'reattribution.approved' AND subject = $1", str(number)
    )
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
    connection = await asyncpg.connect(portal.dsn)
    (hub,) = await portal.fetch("SELECT id FROM gateway_account WHERE code = 'hub'")
    for native_id, place in (("m-1", None), ("m-2", "bao-lu"), ("m-3", None)):
        (stored,) = (await find(connection, hub["id"], native_id)).messages
        assert (stored["campaign"], stored["moved_to"]) == ("vnn", place), "where the gift is now"
    await connection.close()
    await portal.post(taken_back("r-4", 50_000, "m-1", scope="total"))
    assert (await figures(portal, "vnn"), await broken(portal)) == (Figures(*after), [])


async def test_a_correction_of_what_another_campaign_gave_back_is_no_negative(desk_portal: Portal) -> None:
    portal = desk_portal
    charged = gift(ref="n-1"), charge("succeeded", "n-c", "n-1")
    for event in (*charged, taken_back("n-r1", 30_000, None, charge_id="n-c", scope="partial")):
        assert (await portal.post(event, account="reports")).outcome == "accepted"
    before = await given_back(portal)
    number = await proposed(portal, "n-1", account="reports")
    await approved(portal, number, await looked(portal, number))
    held = await figures(portal, "bao-lu")
    # Another charge counts, and the first is given back whole: so the gift has lost nothing, where it is now.
    await portal.post(charge("succeeded", "n-d", "n-1"), account="reports")
    await portal.post(taken_back("n-r2", 70_000, None, charge_id="n-c", scope="total"), account="reports")
    assert await figures(portal, "bao-lu") == Figures(held.messages, held.units, held.vnd + 30_000)
    assert (await given_back(portal), await broken(portal)) == (before, [])
    # A release before took it for a negative: the next start shows none.
    await portal.fetch(
        "UPDATE campaign_total SET reversed_vnd = reversed_vnd - 30000"
        " WHERE campaign_id = (SELECT id FROM campaign WHERE slug = 'bao-lu')"
        " AND slot = (SELECT min(slot) FROM campaign_total WHERE lines > 0)"
    )
    assert [name for name, _ in await broken(portal)] == ["reversed_equal_money_lines"]
    async with portal.opened.database.borrow() as connection:
        await mend_reversed(connection)
        assert [each.name for each in ROLL_UP_CHECKS if each.name in OF_MONEY and await check(connection, each)] == []
    assert (await given_back(portal), await broken(portal)) == (before, [])
    # What is then given back of it there is what that campaign has less than was brought.
    await portal.post(taken_back("n-r3", 100_000, None, charge_id="n-d", scope="total"), account="reports")
    messages, vnd = before["bao-lu"]
    assert await given_back(portal) == {**before, "bao-lu": (messages + 1, vnd + 70_000)}
    assert (await figures(portal, "bao-lu"), await broken(portal)) == (
        Figures(held.messages - 1, held.units - 5, held.vnd - 70_000), [],
    )  # fmt: skip


async def test_a_move_is_refused_whole_when_anything_is_other_than_what_was_seen(desk_portal: Portal) -> None:
    portal = desk_portal
    gifts = [f"c-{number}" for number in range(8)]
    await counted(portal, *gifts)
    before = await figures(portal, "vnn"), await figures(portal, "bao-lu")
    number = await proposed(portal, *gifts[:2])
    seen = await looked(portal, number)
    assert await refusal(proposed(portal, "c-1", "c-2", who=BINH)) == "claimed"
    # Two who claim the same gifts at the same moment: one has them, the other none of its own.
    both = await asyncio.gather(
        proposed(portal, "c-3", "c-4"), proposed(portal, "c-4", "c-3", who=BINH), return_exceptions=True
    )
    assert sorted(type(each) is int for each in both) == [False, True]
    await portal.post(message("c-late", "UH", short_code="1409"))
    for native_ids, taker, why in (
        ([], "bao-lu", "no_gifts"),
        (["nobody"], "bao-lu", "unknown_gift"),
        (["c-5"], "nowhere", "unknown_campaign"),
        (["c-5"], "vnn", "same_campaign"),
        (["c-5"], "old", "not_open"),
        (["c-late"], "bao-lu", "not_counted"),
        ([f"x{each}" for each in range(501)], "bao-lu", "too_many"),
    ):
        assert await refusal(proposed(portal, *native_ids, taker=taker)) == why

    # One of the two is given back in part, then whole, before anybody approves.
    await portal.post(taken_back("c-r1", 30_000, "c-0", scope="partial"))
    assert await refusal(approved(portal, number, seen)) == "changed"
    await portal.post(taken_back("c-r2", 70_000, "c-0", scope="total"))
    assert await refusal(approved(portal, number, seen)) == "not_counted"
    giver = Figures(before[0].messages - 1, before[0].units - 5, before[0].vnd - 100_000)
    # The campaign that would take them closes before anybody approves.
    other = await proposed(portal, "c-6")
    async with portal.service.desk.desk.borrow() as connection:
        late = reattribution.approve(
            connection, BINH, other, now=datetime(2099, 1, 1, tzinfo=UTC), looked_at=await looked(portal, other)
        )
        assert await refusal(late) == "not_open"
    assert (await figures(portal, "vnn"), await figures(portal, "bao-lu")) == (giver, before[1])

    # Who refuses and who approves at the same moment: one of them.
    async def refuses() -> None:
        async with portal.service.desk.desk.borrow() as connection:
            await reattribution.end(connection, BINH, other, "refused", "không rõ")

    ends = await asyncio.gather(
        approved(portal, other, await looked(portal, other)), refuses(), return_exceptions=True
    )
    (lost,) = [each for each in ends if each is not None]
    assert isinstance(lost, MoveRefused)
    assert lost.why == "ended"
    assert await refusal(refuses()) == "ended"
    # What is withdrawn leaves its gifts free.
    async with portal.service.desk.desk.borrow() as connection:
        await reattribution.end(connection, AN, number, "withdrawn", None)
    again = await proposed(portal, "c-1")
    await approved(portal, again, await looked(portal, again))
    assert await broken(portal) == []


async def test_two_people_move_gifts_by_pages_that_say_what_the_public_will_see(desk_portal: Portal) -> None:
    portal = desk_portal
    await counted(portal, "p-1", "p-2")
    proposer = await logged_in(portal, await person(portal, "chuyen.mot", Role.OPERATOR))
    second = await logged_in(portal, await person(portal, "chuyen.hai", Role.FINANCE))
    stranger = await logged_in(portal, await person(portal, "chuyen.ba", Role.MANAGER, "redcross"))
    # A reason that is cut leaves no nine digits of a number at its end.
    assert (
        Visit(load_words()[Language.VI], "", form={"reason": "x" * 491 + " 0912345678"}).reason
        == "x" * 491 + " [redacte"
    )
    form = {
        "account": "hub",
        "ids": "p-1\np-2\n",
        "taker": "bao-lu",
        "ground": "keyword",
        "reason": "in sai\u202e\ntờ rơi, theo 0912345678",
    }
    assert (await proposer.post("/reattributions/new", **{**form, "ids": "p-1\n" + "p" * 300})).status == 422
    # Whose campaigns these are not hears no more of them than of an id that nobody sent.
    foreign = await stranger.post("/reattributions/new", **form, look="1")
    assert (foreign.status, "p-1" in foreign.text, "Cả nước chung tay" in foreign.text) == (422, True, False)
    page = await proposer.post("/reattributions/new", **form, look="1")
    assert "200.000" in page.text
    made = await proposer.post("/reattributions/new", **form)
    assert made.location is not None
    address = made.location.removeprefix("/desk")
    shown = (await proposer.get(address)).text
    assert "in sai tờ rơi" in shown, "a reason is one line, whatever it was sent as"
    assert "0912345678" not in shown, "and holds nobody's number: it stays for ever"
    assert (await stranger.get(address)).status == 404
    for act in ("approve", "refuse", "withdraw"):
        assert (await stranger.post(f"{address}/{act}", reason="x", plan="")).status == 404, act
    assert address not in (await stranger.get("/reattributions")).text
    own = (await proposer.get(address)).text
    assert ("/approve" in own, "/refuse" in own, "/withdraw" in own) == (False, False, True)
    assert (await proposer.post(f"{address}/refuse", reason="thôi")).status == 409, "it is theirs to withdraw"
    plan = (await second.get(address)).field("plan")
    assert (await second.post(f"{address}/approve", plan="0" * 64)).status == 409
    proposer_too = await logged_in(portal, await person(portal, "chuyen.tu", Role.OPERATOR))
    assert (await proposer_too.post(f"{address}/refuse")).status == 422
    for act in ("approve", "refuse"):
        assert (await proposer.post(f"{address}/{act}", plan=plan, reason="x")).status == 409, act
    before, began = await figures(portal, "bao-lu"), datetime.now(UTC)
    assert (await second.post(f"{address}/approve", plan=plan)).location == f"/desk{address}"
    assert (await figures(portal, "bao-lu")).vnd == before.vnd + 200_000
    assert (await second.post(f"{address}/refuse", reason="muộn")).status == 409
    # Both campaigns say so in public, with the date and the published reason, and with nothing else.
    for slug, sign, told in (("vnn", -1, "sang “Ủng hộ đồng bào vùng lũ”"), ("bao-lu", 1, "từ “Cả nước chung tay")):

        async def is_told(slug: str = slug, sign: int = sign) -> bool:
            listed = (await portal.get(f"/api/v1/campaigns/{slug}/corrections"))["corrections"]
            return bool(listed) and (listed[-1]["vnd"], listed[-1]["ground"]) == (sign * 200_000, "keyword")

        await eventually(is_told)
        async with portal.http.get(f"{portal.base}/c/{slug}") as public:
            text = await public.text()
        assert told in text
        assert "từ khóa được công bố chưa đúng" in text
        assert "in sai tờ rơi" not in text
    # A simulation, or the demo, whose totals grew by what nobody sent says where it came from.
    async with Poster(portal.base, 1, 1.0) as poster:
        moves = await moved_since(poster, ("vnn", "none", "bao-lu"), began)
        assert await moved_since(poster, ("vnn", "bao-lu"), datetime.now(UTC) + timedelta(minutes=1)) == ()
    assert [each.rpartition(" units, ")[2] for each in moves if "200,000" in each] == [
        "-200,000 VND to bao-lu meanwhile",
        "+200,000 VND from vnn meanwhile",
    ]
    assert "Đã chuyển" in (await proposer.get(address)).text
    assert address in (await proposer.get("/reattributions")).text


async def test_a_command_proposes_and_leaves_the_approval_to_somebody_of_the_desk(
    desk_portal: Portal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    portal = desk_portal
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", portal.dsn)
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    await counted(portal, "k-1", "k-2")

    async def ran(*words: str) -> Any:
        parser = argparse.ArgumentParser()
        reattribute.add_arguments(parser)
        capsys.readouterr()
        assert await reattribute.run(parser.parse_args([*words, "--json"])) == 0
        return object_in(capsys.readouterr().out)

    about = ("propose", "hub", "bao-lu", "--ground", "keyword", "--reason-text", "sai")
    tried = await ran(*about, "k-1", "k-2", "--dry-run")
    assert (tried["proposal"], tried["moved"]["vnd"]) == (None, 200_000)
    made = (await ran(*about, "k-1", "k-2"))["proposal"]
    shown = await ran("show", str(made))
    assert (shown["state"], shown["made_by"].startswith("os:"), shown["plan"]) == (
        "proposed", True, {name: tried[name] for name in ("vnn", "bao-lu", "moved")},
    )  # fmt: skip
    with pytest.raises(CommandRefused, match="another proposal"):
        await ran(*about, "k-1")
    assert (await ran("withdraw", str(made)))["withdrawn"] == made
    assert (await ran("list"))["rows"][0]["state"] == "withdrawn"
    await proposed(portal, "k-1")
    newest = await ran("list", "--limit", "1")
    older = await ran("list", "--limit", "1", "--before", str(newest["before"]))
    assert older["rows"][0]["id"] == made, "the next page goes on where the first ended"
    with pytest.raises(CommandRefused, match="no such proposal"):
        await ran("withdraw", str(made))
