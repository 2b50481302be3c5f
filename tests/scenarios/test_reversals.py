"""Reversals over HTTP: by message id, total and partial, too much, too early, again, and two at the same instant."""

import asyncio
from typing import Any

import asyncpg
import pytest

from campaigns.totals.reversed import mend_reversed
from tests.support.portal import Portal, eventually, message
from tests.support.reports import require_sound


def reversal(native_id: str, amount: int, ref: str | None = "m-1", **changes: Any) -> dict[str, Any]:
    """A `charge.reversed` event."""
    data: dict[str, Any] = {"reversal_id": native_id, "amount": amount, **changes}
    if ref is not None:
        data["message_id"] = ref
    return {"type": "charge.reversed", "timestamp": "2026-11-21T08:30:00Z", "data": data}


GIFT = message("m-1", "VNN 5")
WRONG = message("m-1", "VNN x")

# Events in their order -> messages, units and VND that are left, events for review, events that still wait.
STORIES: dict[str, tuple[list[dict[str, Any]], tuple[int, int, int], int, int]] = {
    "total by its scope": ([GIFT, reversal("r", 100_000, scope="total")], (0, 0, 0), 0, 0),
    "total by its amount": ([GIFT, reversal("r", 100_000)], (0, 0, 0), 0, 0),
    "partial": ([GIFT, reversal("r", 40_000)], (1, 5, 60_000), 0, 0),
    "two parts": ([GIFT, reversal("r", 40_000), reversal("s", 10_000)], (1, 5, 50_000), 0, 0),
    "a part, then the rest": ([GIFT, reversal("r", 40_000), reversal("s", 60_000)], (0, 0, 0), 0, 0),
    "more than the gift": ([GIFT, reversal("r", 100_001)], (1, 5, 100_000), 1, 0),
    "more than is left": ([GIFT, reversal("r", 60_000), reversal("s", 60_000)], (1, 5, 40_000), 1, 0),
    "after it is gone": ([GIFT, reversal("r", 100_000), reversal("s", 100_000)], (0, 0, 0), 1, 0),
    "the same again": ([GIFT, reversal("r", 40_000), reversal("r", 40_000)], (1, 5, 60_000), 0, 0),
    "other content": ([GIFT, reversal("r", 40_000), reversal("r", 50_000)], (1, 5, 60_000), 0, 0),
    "before its message": ([reversal("r", 100_000), GIFT], (0, 0, 0), 0, 0),
    "a part before its message": ([reversal("r", 40_000), GIFT], (1, 5, 60_000), 0, 0),
    "two before, one too much": ([reversal("r", 70_000), reversal("s", 70_000), GIFT], (1, 5, 30_000), 1, 0),
    "its message never comes": ([reversal("r", 100_000)], (0, 0, 0), 0, 1),
    "of what never counted": ([WRONG, reversal("r", 100_000)], (0, 0, 0), 0, 0),
    "of what did not count, before it": ([reversal("r", 100_000), WRONG], (0, 0, 0), 0, 0),
    "of an unknown charge": ([GIFT, reversal("r", 100_000, None, charge_id="c-9")], (1, 5, 100_000), 0, 0),
}


def renamed(event: dict[str, Any], label: str) -> dict[str, Any]:
    """The same event with ids of its own, so that many stories fit one database."""
    ids = ("message_id", "reversal_id", "charge_id")
    data = {name: f"{label} {value}" if name in ids else value for name, value in event["data"].items()}
    return {**event, "data": data}


@pytest.mark.parametrize("as_a_batch", [False, True], ids=["one by one", "in one batch"])
async def test_a_reversal_takes_what_its_story_says(portal: Portal, as_a_batch: bool) -> None:
    for label, (events, left, reviews, waiting) in STORIES.items():
        story = [renamed(event, label) for event in events]
        if as_a_batch:
            await portal.post({"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": story})
        else:
            for event in story:
                assert (await portal.post(event)).status in (200, 409), label
        (money,) = await portal.fetch(
            "SELECT coalesce(sum(l.messages), 0), coalesce(sum(l.units), 0), coalesce(sum(l.vnd), 0)::bigint"
            " FROM money_line AS l JOIN message AS m ON m.id = l.gift_id WHERE m.native_id = $1",
            f"{label} m-1",
        )
        assert tuple(money) == left, label
        (other,) = await portal.fetch(
            "SELECT (SELECT count(*) FROM review JOIN reversal USING (account_id) WHERE event_id = reversal.id AND"
            " native_id LIKE $1 || ' %'), (SELECT count(*) FROM waiting_event WHERE message_ref LIKE $1 || ' %')",
            label,
        )
        assert tuple(other) == (reviews, waiting), label
    await require_sound(portal)
    expected = [sum(figures) for figures in zip(*(left for _, left, _, _ in STORIES.values()), strict=True)]

    async def is_shown() -> bool:
        totals = await portal.totals()
        return [totals["messages"], totals["units"], totals["pledged_vnd"]] == expected

    await eventually(is_shown)
    # What was given back stands beside totals that are net of it, and the default series sums to them.
    totals = await portal.totals()
    counted = [label for label, (events, *_) in STORIES.items() if GIFT in events]
    assert totals["reversed"] == {
        "messages": len(counted) - expected[0], "vnd": len(counted) * 100_000 - expected[2],
    }  # fmt: skip
    points = (await portal.get("/api/v1/campaigns/vnn/series"))["points"]
    assert sum(point["pledged_vnd"] for point in points) == totals["pledged_vnd"]
    # A release that did not know the figure wrote lines alone: the next start makes up for it, once.
    await portal.fetch("UPDATE campaign_total SET reversed_messages = 0, reversed_vnd = 0")
    connection = await asyncpg.connect(portal.dsn)
    assert (await mend_reversed(connection), await mend_reversed(connection)) == (1, 0)
    await connection.close()
    await require_sound(portal)


async def test_reversals_at_the_same_instant_never_take_more_than_the_gift(portal: Portal) -> None:
    await asyncio.gather(*(portal.post(message(f"m-{number}", "VNN 5")) for number in range(10)))
    rush = [
        portal.post(reversal(f"r-{number}-{turn}", 30_000, f"m-{number}"))
        for turn in range(5)
        for number in range(10)
    ]
    assert {answer.status for answer in await asyncio.gather(*rush)} == {200}
    rows = await portal.fetch("SELECT sum(vnd)::bigint AS left, sum(messages) FROM money_line GROUP BY gift_id")
    assert [tuple(row) for row in rows] == [(10_000, 1)] * 10
    assert len(await portal.fetch("SELECT FROM review")) == 20
    await require_sound(portal)


async def test_a_message_and_its_reversal_at_the_same_instant_meet(portal: Portal) -> None:
    rush = [
        portal.post(event)
        for number in range(30)
        for event in (reversal(f"r-{number}", 100_000, f"m-{number}"), message(f"m-{number}", "VNN 5"))
    ]
    assert {answer.status for answer in await asyncio.gather(*rush)} == {200}
    (money,) = await portal.fetch("SELECT sum(messages), sum(units), sum(vnd)::bigint FROM money_line")
    assert tuple(money) == (0, 0, 0)
    assert await portal.fetch("SELECT FROM waiting_event") == []
    await require_sound(portal)
