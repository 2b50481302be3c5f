"""Accounts that count on report: every story of a gift, in every order in which its events can come."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import permutations
from typing import Any

import asyncpg
import pytest

from campaigns.gifts.refolding import BESIDE_SECONDS, refold_some
from campaigns.schema.migrate import shipped_migrations
from tests.support.databases import cloned_database
from tests.support.portal import Portal, running
from tests.support.postgres import TestServer
from tests.support.reports import MONEY, REPORT_BOOK, charge, gift, outcome, renamed, require_sound, taken_back

Event = dict[str, Any]
WHOLE, NONE = (1, 5, 100_000), (0, 0, 0)
FAIL = "failed, but another notice of its charge says succeeded"
TWICE = "succeeded, but another charge of its message did so too"

# Events in any order -> state, messages, units and VND that count, who is listed for a person, what waits.
STORIES: dict[str, tuple[list[Event], str | None, tuple[int, int, int], str, int]] = {
    "no report yet": ([gift()], "received", NONE, "", 0),
    "on its way": ([gift(), charge("pending"), charge("reserved")], "pending", NONE, "", 0),
    "paid": ([gift(), charge("succeeded")], "counted", WHOLE, "", 0),
    "paid after two steps": (
        [gift(), charge("pending"), charge("reserved"), charge("succeeded")],
        "counted", WHOLE, "", 0,
    ),
    "not paid": ([gift(), charge("pending"), charge("failed")], "failed", NONE, "", 0),
    "cancelled": ([gift(), charge("cancelled")], "failed", NONE, "", 0),
    "failed, then another charge": ([gift(), charge("failed"), charge("succeeded", "c-2")], "counted", WHOLE, "", 0),
    "failed, another under way": ([gift(), charge("failed"), charge("pending", "c-2")], "pending", NONE, "", 0),
    "one charge both ways": (
        [gift(), charge("failed"), charge("succeeded")],
        "counted", WHOLE, f"c-1:failed: {FAIL}", 0,
    ),
    "paid twice": (
        [gift(), charge("succeeded"), charge("succeeded", "c-2")],
        "counted", WHOLE, f"c-2:succeeded: {TWICE}", 0,
    ),
    "paid twice, the second given back": (
        [
            gift(), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 100_000, None, charge_id="c-2"),
        ],
        "counted", WHOLE, "", 0,
    ),
    "paid twice, the first given back": (
        [
            gift(), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 100_000, None, charge_id="c-1"),
        ],
        "counted", WHOLE, "", 0,
    ),
    "another amount": (
        [gift(), charge("succeeded", amount=90_000)],
        "counted", WHOLE, "c-1:succeeded: its amount is not the book's; the book's counts", 0,
    ),
    "given back": ([gift(), charge("succeeded"), taken_back("r-1", 100_000)], "reversed", NONE, "", 0),
    "given back by charge": (
        [gift(), charge("succeeded"), taken_back("r-1", 100_000, None, charge_id="c-1")],
        "reversed", NONE, "", 0,
    ),
    "a part given back": ([gift(), charge("succeeded"), taken_back("r-1", 30_000)], "counted", (1, 5, 70_000), "", 0),
    "a part, then the rest": (
        [gift(), charge("succeeded"), taken_back("r-1", 30_000), taken_back("r-2", 70_000, minutes=20)],
        "reversed", NONE, "", 0,
    ),
    "a part, then all of it": (
        [gift(), charge("succeeded"), taken_back("r-1", 30_000), taken_back("r-2", 100_000, scope="total")],
        "reversed", NONE, "r-1: reversals would exceed the gift", 0,
    ),
    "more than it was": (
        [gift(), charge("succeeded"), taken_back("r-1", 70_000), taken_back("r-2", 60_000)],
        "counted", (1, 5, 30_000), "r-2: reversals would exceed the gift", 0,
    ),
    "given back, and more of it again": (
        [gift(), charge("succeeded"), taken_back("r-1", 100_000), taken_back("r-2", 1, minutes=20)],
        "reversed", NONE, "r-2: reversals would exceed the gift", 0,
    ),
    "paid twice, the first given back in parts": (
        [
            gift(), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 60_000, None, charge_id="c-1"), taken_back("r-2", 40_000, None, charge_id="c-1"),
        ],
        "counted", WHOLE, "", 0,
    ),
    "paid twice, the first given back by a part of all": (
        [
            gift(), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 100_000, None, charge_id="c-1", scope="partial"),
        ],
        "counted", WHOLE, "", 0,
    ),
    "paid twice, more reserved than taken of the one given back": (
        [
            gift(), charge("reserved", amount=120_000), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 100_000, None, charge_id="c-1"),
        ],
        "counted", WHOLE, "", 0,
    ),
    "paid twice, one given back by a total of less": (
        [
            gift(), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 30_000, None, charge_id="c-2", scope="total"),
        ],
        "counted", WHOLE, "r-1: total, but it names less than was left", 0,
    ),
    "not counted, paid and given back by its message": (
        [gift("VNN x"), charge("succeeded"), taken_back("r-1", 100_000)],
        "uncounted", NONE, "", 0,
    ),
    "not counted, paid and given back in parts": (
        [
            gift("VNN x"), charge("succeeded"), taken_back("r-1", 50_000, None, charge_id="c-1"),
            taken_back("r-2", 50_000, None, charge_id="c-1"),
        ],
        "uncounted", NONE, "", 0,
    ),
    "not counted, paid twice and given back by charge and message": (
        [
            gift("VNN x"), charge("succeeded"), charge("succeeded", "c-2"),
            taken_back("r-1", 100_000, None, charge_id="c-1"), taken_back("r-2", 100_000),
        ],
        "uncounted", NONE, "", 0,
    ),
    "not counted, paid and less given back by its message": (
        [gift("VNN x"), charge("succeeded"), taken_back("r-1", 30_000, scope="total")],
        "uncounted", NONE, "c-1:succeeded: succeeded, but its message is not counted", 0,
    ),
    "not counted, succeeded and failed": (
        [gift("VNN x"), charge("succeeded"), charge("failed"), taken_back("r-1", 100_000, None, charge_id="c-1")],
        "uncounted", NONE, "", 0,
    ),
    "another amount, and given back in parts": (
        [
            gift(), charge("succeeded", amount=120_000), taken_back("r-1", 60_000, scope="partial"),
            taken_back("r-2", 40_000, scope="partial"),
        ],
        "counted", (1, 5, 0), "", 0,
    ),
    "more given back than was, before it was paid": (
        [gift(), taken_back("r-1", 150_000, scope="total")],
        "reversed", NONE, "r-1: reversals would exceed the gift", 0,
    ),
    "another amount, and given back": (
        [gift(), charge("succeeded", amount=90_000), taken_back("r-1", 100_000, scope="total")],
        "reversed", NONE, "", 0,
    ),
    "succeeded and failed, and given back": (
        [gift(), charge("succeeded"), charge("failed"), taken_back("r-1", 100_000, None, charge_id="c-1")],
        "reversed", NONE, "", 0,
    ),
    "a part of all and all of it": (
        [gift(), charge("succeeded"), taken_back("r-1", 100_000, scope="partial"), taken_back("r-2", 100_000)],
        "reversed", NONE, "r-1: reversals would exceed the gift", 0,
    ),
    "a second attempt given back twice": (
        [
            gift(), charge("failed"), charge("succeeded", "c-2"),
            taken_back("r-1", 100_000, None, charge_id="c-2"),
            taken_back("r-2", 100_000, None, charge_id="c-2", minutes=20),
        ],
        "reversed", NONE, "r-2: reversals would exceed the gift", 0,
    ),
    "given back by its charge, twice": (
        [
            gift(), charge("succeeded"), taken_back("r-1", 100_000, None, charge_id="c-1"),
            taken_back("r-2", 100_000, None, charge_id="c-1", minutes=20),
        ],
        "reversed", NONE, "r-2: reversals would exceed the gift", 0,
    ),
    "all of it given back, and less than that named": (
        [gift(), charge("succeeded"), taken_back("r-1", 99_999, scope="total")],
        "reversed", NONE, "r-1: total, but it names less than was left", 0,
    ),
    "a part, then all that is left": (
        [gift(), charge("succeeded"), taken_back("r-1", 30_000), taken_back("r-2", 70_000, scope="total")],
        "reversed", NONE, "", 0,
    ),
    "given back before it was paid": ([gift(), taken_back("r-1", 100_000)], "reversed", NONE, "", 0),
    "a part, never paid": ([gift(), taken_back("r-1", 30_000)], "received", NONE, "", 0),
    "a part of what failed": ([gift(), charge("failed"), taken_back("r-1", 30_000)], "failed", NONE, "", 0),
    "given back by a charge nobody knows": (
        [gift(), charge("succeeded"), taken_back("r-1", 100_000, None, charge_id="c-9")],
        "counted", WHOLE, "", 0,
    ),
    "the message named by one notice alone": (
        [gift(), charge("pending"), charge("succeeded", ref=None)],
        "counted", WHOLE, "", 0,
    ),
    "notices that name two messages": (
        [gift(), charge("pending", ref="m-0"), charge("succeeded")],
        "counted", WHOLE, "c-1:pending: names another message than other notices of its charge", 1,
    ),
    "given back by the charge of another message": (
        [gift(), charge("succeeded", ref="m-0"), taken_back("r-1", 30_000, charge_id="c-1")],
        "received", NONE, "r-1: names another message than its charge", 1,
    ),
    "not counted, but paid": (
        [gift("VNN x"), charge("succeeded")],
        "uncounted", NONE, "c-1:succeeded: succeeded, but its message is not counted", 0,
    ),
    "not counted, paid and given back": (
        [gift("VNN x"), charge("succeeded"), taken_back("r-1", 100_000, charge_id="c-1")],
        "uncounted", NONE, "", 0,
    ),
    "no message": ([charge("succeeded"), taken_back("r-1", 100_000)], None, NONE, "", 2),
}  # fmt: skip


@pytest.fixture(scope="module")
async def reporting(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service whose account `hub` counts on report. What all stories leave behind is sound together."""
    folder = tmp_path_factory.mktemp("reporting")
    async with cloned_database(server) as dsn, running(dsn, folder, REPORT_BOOK) as started:
        yield started
        await require_sound(started)


@pytest.mark.parametrize("as_a_batch", [False, True], ids=["one by one", "in one batch"])
@pytest.mark.parametrize("story", STORIES, ids=STORIES.keys())
async def test_a_gift_ends_the_same_in_every_order_of_its_events(
    reporting: Portal, story: str, as_a_batch: bool
) -> None:
    events, state, money, listed, waiting = STORIES[story]

    async def live(order: tuple[Event, ...], label: str) -> None:
        told = [renamed(event, label) for event in order]
        # The first again at the end: a repeat changes nothing.
        posts = [{"type": "batch", "data": [*told, told[0]]}] if as_a_batch else [*told, told[0]]
        for each in posts:
            assert (await reporting.post(each)).status == 200, label

    orders = list(permutations(events))
    labels = [f"{story} {as_a_batch} {number}" for number in range(len(orders))]
    await asyncio.gather(*(live(order, label) for order, label in zip(orders, labels, strict=True)))
    connection = await asyncpg.connect(reporting.dsn)
    ends = {}
    for label in labels:
        ends[label] = await outcome(connection, label)
        assert tuple(await connection.fetchrow(MONEY, f"{label}/%") or ()) == money, label
    await connection.close()
    found = ends[labels[0]]
    assert (found[0] or "", found[2], found[3]) == (state or "", listed, waiting)
    assert set(ends.values()) == {found}


async def test_an_upgrade_lists_what_was_given_back_by_the_charge_of_another_message(reporting: Portal) -> None:
    events, *_ = STORIES["given back by the charge of another message"]
    for event in events:
        assert (await reporting.post(renamed(event, "upgraded"))).status == 200
    listed = "SELECT * FROM review WHERE reason LIKE '%than its charge' ORDER BY event_id"
    before = await reporting.fetch(listed)
    await reporting.fetch("DELETE FROM review WHERE reason LIKE '%than its charge'")
    (migration,) = [each.sql for each in shipped_migrations() if each.number == 36]
    await reporting.fetch(migration)
    assert [row["event_id"] for row in before] == [row["event_id"] for row in await reporting.fetch(listed)] != []


async def test_what_a_release_before_made_of_gifts_with_reversals_is_worked_out_again(reporting: Portal) -> None:
    for story, (events, *_) in STORIES.items():
        for event in events:
            assert (await reporting.post(renamed(event, f"{story} before"))).status == 200
    everything = (
        "SELECT event_id::text, reason, 0 AS vnd FROM review"
        " UNION ALL SELECT gift_id::text, regexp_replace(cause, '^[0-9]+:', ''), sum(vnd)::bigint FROM money_line"
        " WHERE cause ~ '^([0-9]+:)?reversal:' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    after = await reporting.fetch(everything)
    began = "SELECT began_at FROM refolding"
    connection = await asyncpg.connect(reporting.dsn)
    await reporting.service.operations.housekeeping.stop()

    async def refold(running_seconds: float) -> list[asyncpg.Record]:
        """As a worker does that runs for so long by now, until all is done; returns when that began."""
        start = time.monotonic() - running_seconds
        while await refold_some(connection, time.monotonic() - start) is not None:
            pass
        return await reporting.fetch(began)

    async def of_a_former_release() -> None:
        """It asked nobody, asked of what is no question, and took one of them to be of another kind."""
        await reporting.fetch("DELETE FROM review WHERE reason ~ '^(reversals would exceed|total, but)'")
        await reporting.fetch(
            "INSERT INTO review (event_id, kind, account_id, reason)"
            " SELECT id, 'reversal', account_id, 'reversals would exceed the gift' FROM reversal"
            " WHERE native_id = 'given back before/r-1'"
        )
        # A gift with no reversal at all.
        asked = await reporting.fetch(
            "INSERT INTO review (event_id, kind, account_id, reason)"
            " SELECT id, 'charge', account_id, 'failed, but another notice of its charge says succeeded'"
            " FROM charge_notice AS c WHERE c.id NOT IN (SELECT event_id FROM review)"
            " AND c.message_ref IN (SELECT message_ref FROM gift)"
            " AND NOT EXISTS (SELECT FROM reversal AS r"
            " WHERE r.message_ref = c.message_ref OR r.charge_ref = c.charge_id) RETURNING event_id"
        )
        assert asked
        await reporting.fetch(
            "UPDATE gift SET state = 'counted', reversed_vnd = 30000 WHERE message_ref = 'given back before/m-1'"
        )
        assert await reporting.fetch(everything) != after

    await of_a_former_release()
    await reporting.fetch("DELETE FROM refolding")
    first = await refold(1.0)
    assert await reporting.fetch(everything) == after
    # What a process of the release before writes beside: looked for again when none of them lives on.
    await of_a_former_release()
    assert await refold(BESIDE_SECONDS - 10) == first, "it has begun since the start"
    second = await refold(BESIDE_SECONDS)
    assert await reporting.fetch(everything) == after
    assert await refold(2 * BESIDE_SECONDS) == second != first, "and once more is enough"
    await reporting.fetch("DELETE FROM refolding")
    await reporting.service.operations.housekeeping.sweep(connection)
    assert len(await reporting.fetch(began)) == 1, "whoever sweeps does it"
    await connection.close()
