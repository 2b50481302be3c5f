"""The closing report: one page, in both languages, with the figures of the API and all letters of Vietnamese."""

import asyncio
import io
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pypdf import PdfReader

from campaigns.book.book import VIETNAM, Decision
from campaigns.gifts.corrections import Correction
from campaigns.totals.rollups import Point
from campaigns.totals.totals import CampaignTotals, CarrierTotals
from service.desk.report import WAITING_MAX, Closed, report_of, select_closed
from service.desk.roles import Role
from service.web.words import Language, load_words
from tests.support.desk import Visitor, logged_in, person
from tests.support.pages_site import BOOK
from tests.support.portal import Portal, eventually, message


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
