"""The closing report: one page, in both languages, with the figures of the API and all letters of Vietnamese."""

import asyncio
import io
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from campaigns.audit.entries import Who
from campaigns.book.book import VIETNAM, Decision
from campaigns.gifts import reattribution
from campaigns.gifts.corrections import Correction
from campaigns.gifts.move_plan import plan_of
from campaigns.totals.rollups import BUCKETS, Point
from campaigns.totals.totals import CampaignTotals, CarrierTotals
from service.commands.apply import apply_file
from service.desk.report import WAITING_MAX, Closed, report_of, select_closed
from service.desk.roles import Role
from service.web.words import Language, load_words
from tests.support.desk import Visitor, logged_in, person
from tests.support.pages_site import BOOK
from tests.support.portal import Portal, book_file, eventually, message
from tests.support.reports import taken_back


def text_of(content: bytes) -> str:
    """What the only page says."""
    (page,) = PdfReader(io.BytesIO(content)).pages
    return re.sub(r"\s+", " ", page.extract_text())


def closed(days: int) -> Closed:
    """A campaign with many carriers, corrections and so many days, each of its own figures."""
    begin = datetime(2026, 1, 1, tzinfo=VIETNAM)
    points = tuple(
        Point(begin + timedelta(days=number), number + 1, number + 1, 20_000 * (number + 1), ())
        for number in range(days)
    )
    shares = tuple(
        CarrierTotals(each, 10**6, 10**6, 10**12)
        for each in ("viettel", "vinaphone", "mobifone", "vietnamobile", "gmobile", "mvno", "unknown")
    )
    campaign = replace(
        BOOK.campaigns[0], name_vi="Ủng hộ đồng bào bị bão lũ, sạt lở đất ở miền núi phía Bắc " * 2,
        decisions=tuple(Decision(f"{number}/QĐ-BTTTT", begin, begin + timedelta(days=9)) for number in range(4)),
    )  # fmt: skip
    totals = CampaignTotals(
        campaign=campaign.slug, campaign_id=campaign.id, version=7, as_of=datetime(2026, 5, 1, tzinfo=UTC),
        messages=7 * 10**6, units=7 * 10**6, pledged_vnd=7 * 10**12, confirmed_vnd=5, received_vnd=None,
        disbursed_vnd=None, goal_vnd=10**13, reversed=(3, 60_000), by_carrier=shares, uncounted=(11, 12, 13),
    )  # fmt: skip
    moved = [Correction(campaign.id, number, begin, -1, -1, -20_000, "gone", "keyword") for number in range(9)]
    return Closed(campaign, totals, points, moved)


@pytest.mark.parametrize(
    ("days", "by"), [(3, "Theo ngày"), (60, "Theo ngày"), (400, "Theo tháng"), (4000, "Theo năm")]
)
def test_a_report_is_one_page_however_long_the_campaign(days: int, by: str) -> None:
    said = text_of(report_of(closed(days), BOOK, load_words()[Language.VI], "https://1400.example/c/x"))
    assert by in said
    for part in ("sạt lở đất", "7.000.000.000.000", "chưa có số liệu", "Mạng di động ảo", "3/QĐ-BTTTT", "70,0%",
                 "Sai cú pháp: 11; Gửi trước giờ mở: 12; Gửi sau giờ đóng: 13", "và 3 lần điều chỉnh",
                 "https://1400.example/c/x"):  # fmt: skip
        assert part in said, (part, said)
    listed = said[said.index(by) :]
    figures = [int(each.replace(".", "")) for each in re.findall(r"(?:/| )20\d\d ([\d.]+) [\d.]+", listed)]
    assert sum(figures) == days * (days + 1) // 2


async def report(visitor: Visitor, slug: str) -> tuple[int, str, bytes]:
    """The file of a campaign, with its type."""
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())}
    address = f"{visitor.portal.base}/desk/campaigns/{slug}/report.pdf"
    async with visitor.portal.http.get(address, headers=cookies) as answer:
        return answer.status, answer.content_type, await answer.read()


async def test_a_closed_campaigns_report_has_the_figures_of_the_api(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(message("report-late", "UH", short_code="1409"))
    totals: Any = {}

    async def is_told() -> bool:
        nonlocal totals
        totals = await portal.get("/api/v1/campaigns/old/totals")
        return bool(totals["uncounted"]["after_close"])

    await eventually(is_told)
    visitor = await logged_in(portal, await person(portal, "bao.cao", Role.PRESS))
    assert "/desk/campaigns/old/report.pdf" in (await visitor.get("/exports")).text
    status, media_type, content = await report(visitor, "old")
    assert (status, media_type) == (200, "application/pdf")
    said = text_of(content)
    words = load_words()[Language.VI]
    assert f"Gửi sau giờ đóng: {words.number(totals['uncounted']['after_close'])}" in said
    assert f"Phiên bản số liệu {totals['version']}." in said
    assert words.money(totals["pledged_vnd"]).replace("\u00a0", " ") in said
    for slug in ("vnn", "none"):
        assert (await report(visitor, slug))[0] == 404
    manager = await logged_in(portal, await person(portal, "bao.cao.khac", Role.MANAGER, "redcross"))
    assert (await report(manager, "old"))[0] == 404
    entries = await portal.fetch("SELECT subject FROM audit_entry WHERE act = 'report' AND who = 'bao.cao'")
    assert [entry["subject"] for entry in entries] == ["old"]


async def test_the_days_of_a_report_hold_the_running_minute_and_add_up_to_its_totals(desk_portal: Portal) -> None:
    await desk_portal.post(message("report-now"))
    desk = desk_portal.service.desk.desk
    async with desk.borrow() as connection:
        made = await select_closed(connection, desk.book().by_slug["vnn"], desk.clock())
    assert sum(each.messages for each in made.days) == made.totals.messages > 0


SOON = """
[[campaign]]
slug = "soon"
name_vi = "Sắp mở"
category = "other"
organiser = "mttq"
opens_at = {opens}
closes_at = 2099-01-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1405"
  keywords = ["SOM"]
  grammar = "fixed"
  unit_vnd = 20_000
"""


async def moved(portal: Portal, native_id: str, taker: str) -> None:
    """A gift is moved to another campaign by two people."""
    now = datetime.now(UTC)
    async with portal.service.desk.desk.borrow() as connection:
        async with connection.transaction():
            plan = await plan_of(connection, "hub", [native_id], taker, now=now)
            number = await reattribution.propose(connection, Who("an"), plan, "keyword", "sai")
        await reattribution.approve(connection, Who("binh"), number, now=now, looked_at=plan.digest)


async def test_a_series_of_all_and_the_days_of_a_report_sum_to_the_totals_wherever_their_money_lies(
    desk_portal: Portal, tmp_path: Path
) -> None:
    portal, desk = desk_portal, desk_portal.service.desk.desk
    now = datetime.now(UTC).replace(microsecond=0)
    opens = now + timedelta(minutes=3)
    await apply_file(portal.opened, book_file(tmp_path, SOON.format(opens=opens.isoformat())))

    async def is_known() -> bool:
        return "soon" in desk.book().by_slug

    await eventually(is_known)
    # Campaign, code, text, moment of the message and of what is given back of it; bao-lu has it by a move alone.
    for slug, code, text, sent_at, back_at in (
        ("bao-lu", "1408", "VNN 5", now, datetime(2019, 12, 31, 12, tzinfo=UTC)),
        ("soon", "1405", "SOM", opens + timedelta(seconds=30), now),
        ("vnn", "1408", "VNN 5", now, datetime(2003, 4, 30, 23, 59, tzinfo=UTC)),
        ("old", "1409", "UH", datetime(2019, 1, 9, tzinfo=UTC), now + timedelta(minutes=7)),
    ):
        gift = message(f"sum-{slug}", text, short_code=code, operator_time=sent_at.isoformat())
        back = taken_back(f"sum-r-{slug}", 3_000, f"sum-{slug}", scope="partial", occurred_at=back_at.isoformat())
        assert (await portal.post(gift)).outcome == "accepted"
        if slug == "bao-lu":
            await moved(portal, f"sum-{slug}", slug)
        assert (await portal.post(back)).outcome == "accepted"
        async with desk.borrow() as connection:
            made = await select_closed(connection, desk.book().by_slug[slug], desk.clock())
        expected = made.totals.messages, made.totals.units, made.totals.pledged_vnd
        assert made.totals.reversed[1] >= 3_000
        assert summed_up((each.messages, each.units, each.pledged_vnd) for each in made.days) == expected, slug
        address = f"/api/v1/campaigns/{slug}/series"
        for bucket in BUCKETS:
            series = await portal.get(f"{address}?bucket={bucket}")
            assert series["version"] == made.totals.version
            points = [(each["messages"], each["units"], each["pledged_vnd"]) for each in series["points"]]
            assert summed_up(points) == expected, (slug, bucket)
        assert datetime.fromisoformat(series["from"]) <= back_at < datetime.fromisoformat(series["to"])
        # An end that is asked for cuts.
        asked = {"to": now.isoformat()} if back_at > now else {"from": (back_at + timedelta(minutes=1)).isoformat()}
        cut = (await portal.get(address, params={"bucket": "minute", **asked}))["points"]
        assert sum(each["pledged_vnd"] for each in cut) >= expected[2] + 3_000, slug


def summed_up(figures: Iterable[tuple[int, int, int]]) -> tuple[int, ...]:
    """Messages, units and VND of all of them."""
    return tuple(map(sum, zip(*figures, strict=True)))


def test_a_report_tells_what_a_day_before_the_opening_is() -> None:
    words, made = load_words()[Language.EN], closed(3)
    told = words("report_before_opening")
    opened = replace(made.campaign, decisions=(replace(made.campaign.decisions[0], opens_at=made.days[1].at),))
    assert told in text_of(report_of(made._replace(campaign=opened), BOOK, words, "x"))
    opened = replace(made.campaign, decisions=(replace(made.campaign.decisions[0], opens_at=made.days[0].at),))
    assert told not in text_of(report_of(made._replace(campaign=opened), BOOK, words, "x"))


async def test_reports_made_at_the_same_moment_are_the_same_to_the_byte(desk_portal: Portal) -> None:
    visitor = await logged_in(desk_portal, await person(desk_portal, "bao.cao.nhieu", Role.PRESS))
    first = await report(visitor, "old")
    # Threads take turns as often as they can: what they share shows.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        made = await asyncio.gather(*(report(visitor, "old") for _ in range(2 * WAITING_MAX)))
    finally:
        sys.setswitchinterval(usual)
    assert {status for status, _, _ in made} == {200, 503}
    assert {content for status, _, content in made if status == 200} == {first[2]}
