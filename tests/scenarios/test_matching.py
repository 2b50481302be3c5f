"""Charges that name no message are joined by the donor's number, short code, time and amount, one to one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from campaigns.gifts.finding import find
from campaigns.gifts.listed import ROWS_MAX, Filter, select_page
from tests.support.databases import cloned_database
from tests.support.portal import Portal, message, running
from tests.support.postgres import TestServer
from tests.support.reports import (
    DAY,
    REPORT_BOOK,
    charge,
    given_up,
    money,
    numbers_kept,
    orphans,
    renamed,
    require_sound,
    swept,
    taken_back,
)

SECOND_CAMPAIGN = """
[[campaign]]
slug = "tre"
name_vi = "Vì trẻ em"
category = "children"
organiser = "mttq"
opens_at = 2020-01-01T00:00:00+07:00
closes_at = 2099-01-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1408"
  keywords = ["TRE"]
  grammar = "units"
  unit_vnd = 20_000
  max_units = 100
"""


@pytest.fixture(scope="module")
async def reporting(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service whose account `hub` counts on report, with two campaigns on one short code.

    Each story has ids and donors of its own; what all leave behind is sound together.
    """
    book = REPORT_BOOK.replace("[[gateway]]", SECOND_CAMPAIGN + "\n[[gateway]]", 1)
    async with cloned_database(server) as dsn, running(dsn, tmp_path_factory.mktemp("matching"), book) as started:
        yield started
        await require_sound(started)


def unnamed(number: int, minutes: int = 0, amount: int = 100_000, **changes: Any) -> dict[str, Any]:
    """A succeeded charge that names the donor's number and no message, so many minutes after DAY."""
    at = (DAY + timedelta(minutes=minutes)).isoformat()
    values = {"msisdn": "0950000001", "short_code": "1408", "occurred_at": at, **changes}
    return charge("succeeded", f"c-{number}", None, amount, **values)


def sent(number: int, minutes: int = 0, text: str = "VNN 5", **changes: Any) -> dict[str, Any]:
    """A message of the same donor."""
    at = (DAY + timedelta(minutes=minutes)).isoformat()
    return message(f"m-{number}", text, operator_time=at, **changes)


def own(event: dict[str, Any], story: str) -> dict[str, Any]:
    """The event with ids and a donor of this story."""
    named = renamed(event, story)
    if number := named["data"].get("msisdn"):
        named["data"]["msisdn"] = f"8495{list(BY_NUMBER).index(story):02}{number[-5:]}"
    return named


async def require_listed(portal: Portal) -> None:
    """Every charge of the orphan figures stands in the list of them, at once, and `find` says that it waits."""
    async with portal.opened.database.borrow() as connection:
        page = await select_page(connection, "orphan-charges", Filter(reason="succeeded"), ROWS_MAX)
        assert (len(page.rows), sum(row.amount_vnd or 0 for row in page.rows)) == await orphans(portal)
        account_id = await connection.fetchval("SELECT id FROM gateway_account WHERE code = 'hub'")
        for row in page.rows:
            found = await find(connection, account_id, str(row.native_id))
            assert [charge["is_waiting"] for charge in found.charges] == [True], row.native_id


# Events -> gifts counted, orphans left, numbers still kept.
BY_NUMBER: dict[str, tuple[list[dict[str, Any]], int, int, int]] = {
    "message first": ([sent(1), unnamed(1)], 1, 0, 0),
    "charge first": ([unnamed(1), sent(1)], 1, 0, 0),
    "ten minutes apart": ([sent(1), unnamed(1, 10)], 1, 0, 0),
    "further apart": ([sent(1), unnamed(1, 11)], 0, 1, 2),
    "another amount": ([sent(1), unnamed(1, amount=80_000)], 0, 1, 2),
    "another short code": ([sent(1), unnamed(1, short_code="1409")], 0, 1, 2),
    "another donor": ([sent(1), unnamed(1, msisdn="84950000002")], 0, 1, 2),
    "no number": ([sent(1), charge("succeeded", ref=None)], 0, 1, 1),
    "two gifts, one charge": ([sent(1), sent(2, 1), unnamed(1)], 1, 0, 1),
    "two gifts, two charges": ([sent(1), sent(2, 9), unnamed(1, 9), unnamed(2, 18)], 2, 0, 0),
    "one gift, two charges": ([sent(1), unnamed(1), unnamed(2, 1)], 1, 1, 1),
    "the message is another charge's": ([sent(1), charge("succeeded", "c-0"), unnamed(1)], 1, 1, 1),
    "two campaigns it could be": ([sent(1), sent(2, 0, "TRE 5"), unnamed(1)], 0, 1, 3),
    "another campaign, another amount": ([sent(1), sent(2, 0, "TRE 4"), unnamed(1)], 1, 0, 1),
    "the message is the charge's that came before": ([charge("succeeded", "c-0"), unnamed(1), sent(1)], 1, 1, 1),
    "the charge has a message of its own": (
        [sent(5), charge("pending", "c-1", "m-5"), sent(1), unnamed(1), unnamed(2)], 2, 0, 0,
    ),
    "a message that was not counted": ([sent(1, 0, "VNN x"), unnamed(1)], 0, 1, 1),
    "a later notice names the message": ([unnamed(1), sent(1, 60), charge("pending", "c-1")], 1, 0, 0),
    "found, then given back": ([sent(1), unnamed(1), taken_back("r-1", 100_000, None, charge_id="c-1")], 0, 0, 0),
    "given back before it is found": (
        [taken_back("r-1", 100_000, None, charge_id="c-1"), unnamed(1), sent(1)], 0, 0, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", BY_NUMBER, ids=BY_NUMBER.keys())
async def test_a_charge_without_a_message_id_is_joined_by_number_code_time_and_amount(
    reporting: Portal, story: str
) -> None:
    events, counted, orphaned, kept = BY_NUMBER[story]
    await given_up(reporting, datetime.now(UTC) + timedelta(hours=25))
    money_before, orphans_before = await money(reporting), await orphans(reporting)

    async def seen() -> tuple[int, int, int]:
        count, vnd = await money(reporting)
        more = count - money_before[0]
        assert vnd - money_before[1] == more * 100_000
        return more, (await orphans(reporting))[0] - orphans_before[0], await numbers_kept(reporting)

    for event in events:
        assert (await reporting.post(own(event, story))).status == 200
    # At once, whichever came first.
    assert await seen() == (counted, orphaned, kept)
    await require_sound(reporting)
    await require_listed(reporting)
    # A look at everything finds nothing more, and a day later no number is left.
    await swept(reporting)
    assert await seen() == (counted, orphaned, kept)
    await given_up(reporting, datetime.now(UTC) + timedelta(hours=25))
    assert await numbers_kept(reporting) == 0
