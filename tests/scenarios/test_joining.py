"""Charges meet their messages: at once on two workers, by the sweeper, over a change of `charging`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.commands.apply import apply_file
from tests.support.away import database_away, replayed
from tests.support.portal import BOOK, Portal, eventually, running
from tests.support.postgres import TestServer
from tests.support.reports import (
    REPORT_BOOK,
    charge,
    gift,
    given_up,
    money,
    numbers_kept,
    orphans,
    reasons,
    renamed,
    require_sound,
    taken_back,
)
from tests.support.tampering import tamper


@pytest.fixture
async def reporting(server: TestServer, database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A running service whose account `hub` counts on report."""
    async with running(database_dsn, tmp_path, REPORT_BOOK) as started:
        yield started


PAIRS = 1000


async def test_a_thousand_messages_and_charges_at_once_on_two_workers_all_count(
    database_dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with (
        # A busy machine may take longer than a carrier is let wait; what is counted is asked here, not how fast.
        running(database_dsn, tmp_path / "a", REPORT_BOOK, queue_wait_seconds="30") as first,
        running(database_dsn, tmp_path / "b", REPORT_BOOK, queue_wait_seconds="30") as second,
    ):
        workers = (first, second)
        # A message and its charge go to different workers, side by side; batches of ten pairs.
        rush = []
        for start in range(0, PAIRS, 10):
            for side, made in enumerate((gift(), charge("succeeded"))):
                data = [renamed(made, f"p{number}") for number in range(start, start + 10)]
                rush.append(workers[(start // 10 + side) % 2].post({"type": "batch", "data": data}))
        assert {answer.status for answer in await asyncio.gather(*rush)} == {200}
        assert await money(first) == (PAIRS, PAIRS * 100_000)
        assert await orphans(first) == (0, 0)
        assert await first.fetch("SELECT FROM waiting_event") == []
        assert await numbers_kept(first) == 0
        assert len(await first.fetch("SELECT FROM gift WHERE state = 'counted'")) == PAIRS
        await require_sound(first)
        shown = [
            await each.metric("portal1400_messages_total", campaign="vnn", carrier="viettel") for each in workers
        ]
        assert sum(shown) == PAIRS

        async def is_shown() -> bool:
            return all([(await each.totals())["pledged_vnd"] == PAIRS * 100_000 for each in workers])

        await eventually(is_shown)


async def test_metrics_rise_when_the_charge_is_reported(reporting: Portal) -> None:
    async def counted() -> list[float]:
        names = ("portal1400_messages_total", "portal1400_units_total", "portal1400_pledged_vnd_total")
        return [await reporting.metric(name, campaign="vnn", carrier="viettel") for name in names]

    await reporting.post(gift())
    assert await counted() == [0, 0, 0]
    assert (await reporting.totals())["pledged_vnd"] == 0
    await reporting.post(charge("succeeded"))
    assert await counted() == [1, 5, 100_000]
    await reporting.post(taken_back("r-1", 100_000))
    await reporting.post(charge("succeeded"))
    assert await counted() == [1, 5, 100_000]
    assert await money(reporting) == (0, 0)


async def test_what_was_spooled_counts_when_its_charge_was_reported(reporting: Portal) -> None:
    await reporting.post(gift(ref="m-0"))
    async with database_away(reporting):
        for event in (
            charge("succeeded", "c-0", "m-0"),
            charge("succeeded"),
            gift(),
            gift(ref="m-2"),
            taken_back("r-1", 40_000),
        ):
            assert (await reporting.post(event)).status == 200
    await replayed(reporting)
    assert (await money(reporting), await orphans(reporting)) == ((2, 160_000), (0, 0))
    assert len(await reporting.fetch("SELECT FROM gift WHERE state = 'received'")) == 1
    await require_sound(reporting)


async def test_what_slipped_through_is_joined_by_the_sweeper(reporting: Portal) -> None:
    await reporting.post(gift())
    await reporting.post(charge("pending", "c-0"))
    await reporting.post(charge("failed", "c-0"))
    # As if the charge's batch had not seen the message: stored, waiting, an orphan.
    await reporting.post(charge("succeeded", ref="m-9"))
    await reporting.post(taken_back("r-1", 40_000, "m-9"))
    await reporting.post(gift(ref="m-2"))
    await reporting.post(charge("succeeded", "c-2", "m-2"))
    await reporting.post(charge("succeeded", "c-3", "m-8"))
    for table in ("charge_notice", "reversal", "waiting_event"):
        for ref, other in (("m-1", "m-9"), ("m-2", "m-8")):
            await tamper(reporting.dsn, f"UPDATE {table} SET message_ref = '{ref}' WHERE message_ref = '{other}'")
    assert (await money(reporting), await orphans(reporting)) == ((1, 100_000), (2, 200_000))
    connections = [await asyncpg.connect(reporting.dsn) for _ in range(3)]
    await asyncio.gather(*(reporting.service.operations.housekeeping.sweep(each) for each in connections))
    assert (await money(reporting), await orphans(reporting)) == ((2, 160_000), (0, 0))
    await require_sound(reporting)
    assert await reporting.metric("portal1400_messages_total", campaign="vnn", carrier="viettel") == 2
    for each in connections:
        await each.close()


async def test_what_finds_nothing_for_a_day_is_listed_until_it_does(reporting: Portal) -> None:
    for event in (
        charge("succeeded"),
        charge("pending", "c-2", "m-2"),
        charge("succeeded", "c-3", None),
        taken_back("r-1", 40_000),
        taken_back("r-2", 50_000, None, charge_id="c-4"),
        # Their charges have come, and no message of theirs.
        taken_back("r-3", 1_000, None, charge_id="c-2"),
        taken_back("r-4", 2_000, None, charge_id="c-3"),
    ):
        await reporting.post(event)
    now = datetime.now(UTC)
    await given_up(reporting, now + timedelta(hours=23))
    assert await reasons(reporting) == []
    for _ in range(2):
        await given_up(reporting, now + timedelta(hours=25))
    assert await reasons(reporting) == [
        "its charge has not come within 24 hours",
        "its message has not come within 24 hours",
        "its message has not come within 24 hours",
        "no message was found for it within 24 hours",
        "the message of its charge has not come within 24 hours",
        "the message of its charge has not come within 24 hours",
    ]
    assert await orphans(reporting) == (2, 200_000)
    await reporting.post(gift())
    await reporting.post(charge("succeeded", "c-4", "m-4"))
    await reporting.post(gift(ref="m-4"))
    await reporting.post(gift(ref="m-2"))
    assert await reasons(reporting) == [
        "no message was found for it within 24 hours", "the message of its charge has not come within 24 hours",
    ]  # fmt: skip
    assert await money(reporting) == (2, 60_000 + 50_000)
    await require_sound(reporting)


async def test_each_gift_keeps_the_charging_under_which_its_message_came(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, BOOK) as portal:

        async def change(book: str) -> None:
            file = tmp_path / "changed.toml"
            file.write_text(book, encoding="utf-8")
            lines = await apply_file(portal.opened, file)
            assert any('charging "on_' in line for line in lines), lines
            charging = "on_report" if book is REPORT_BOOK else "on_message"

            async def is_known() -> bool:
                return portal.service.catalog.accounts.by_code["hub"].charging == charging

            await eventually(is_known)

        await portal.post(gift(ref="m-1"))
        await change(REPORT_BOOK)
        await portal.post(gift(ref="m-2"))
        await portal.post(gift(ref="m-3"))
        await portal.post(charge("succeeded", "c-1", "m-1"))
        await portal.post(charge("succeeded", "c-2", "m-2"))
        assert await money(portal) == (2, 200_000)
        await change(BOOK)
        await portal.post(gift(ref="m-4"))
        assert await money(portal) == (3, 300_000)
        await portal.post(charge("succeeded", "c-4", "m-4"))
        # The one that still waited for its report counts by it, as was said when it came.
        await portal.post(charge("succeeded", "c-3", "m-3"))
        assert await money(portal) == (4, 400_000)
        assert await reasons(portal) == []
        await require_sound(portal)


# Charges of an account that counts on message -> what is listed for a person; the money is the message's.
ON_MESSAGE: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
    "succeeded": ("VNN 5", [charge("succeeded")], []),
    "of another amount": ("VNN 5", [charge("succeeded", amount=1)], []),
    "failed": ("VNN 5", [charge("pending"), charge("failed")], ["failed, but its message is counted"]),
    "failed, then another": ("VNN 5", [charge("failed"), charge("succeeded", "c-2")], []),
    "twice": (
        "VNN 5",
        [charge("succeeded"), charge("succeeded", "c-2")],
        ["succeeded, but another charge of its message did so too"],
    ),
    "twice, of which one is given back": (
        "VNN 5",
        [charge("succeeded"), charge("succeeded", "c-2", amount=90_000), taken_back("r-1", 100_000, charge_id="c-1")],
        [],
    ),
    "both ways": (
        "VNN 5",
        [charge("succeeded"), charge("failed")],
        ["failed, but another notice of its charge says succeeded"],
    ),
    "of what was not counted": ("VNN x", [charge("succeeded")], ["succeeded, but its message is not counted"]),
}


@pytest.mark.parametrize("story", ON_MESSAGE, ids=ON_MESSAGE.keys())
async def test_charges_of_an_account_that_counts_on_message_move_nothing(lasting_portal: Portal, story: str) -> None:
    text, charges, listed = ON_MESSAGE[story]
    before = await money(lasting_portal)
    for order, events in enumerate(([gift(text), *charges], [*reversed(charges), gift(text)])):
        await lasting_portal.fetch("DELETE FROM review")
        for event in events:
            assert (await lasting_portal.post(renamed(event, f"{story} {order}"))).status == 200
        assert await reasons(lasting_portal) == listed
    gifts = 2 if text == "VNN 5" else 0
    assert await money(lasting_portal) == (before[0] + gifts, before[1] + gifts * 100_000)
    await require_sound(lasting_portal)
