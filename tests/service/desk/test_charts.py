"""Charts of the desk: campaigns on one axis, summed by the server, asked for once a second however many look."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from service.desk import charts, design, figures
from service.desk.charts import CAMPAIGNS_MAX, Choice, Line, Lines, choice_of
from service.desk.pulse import WAITING_MAX, Pulse, PulseBusy, Spread, spread_of
from service.desk.roles import Role
from service.web.words import Language, load_words
from tests.support.desk import logged_in, person
from tests.support.pages_site import BOOK, OLD, ORANGE, POOR, totals
from tests.support.portal import Portal, message
from tests.support.reports import taken_back

WORDS = load_words()
VI, EN = WORDS[Language.VI], WORDS[Language.EN]


def choice(axis: str, measure: str) -> Choice:
    """Two campaigns by the hour."""
    return Choice((POOR, OLD), "hour", "24h", axis, measure, ())


TWO = Lines(
    0,
    4 * 3600,
    3600,
    (Line(2 * 3600 + 60, {0: (5, 100_000), 3600: (1, 20_000)}), Line(14_400, {7200: (3, 1)})),
    datetime(2026, 10, 17, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("axis", "measure", "values", "common"),
    [
        ("opening", "messages", [[5, 1, 0, None], [0, 0, 3, 0]], ["6 tin nhắn", "0 tin nhắn"]),
        ("opening", "total", [[100_000, 120_000, 120_000, None], [0, 0, 1, 1]], ["120.000 ₫", "0 ₫"]),
        ("clock", "vnd", [[100_000, 20_000, 0, None], [0, 0, 1, 0]], None),
    ],
)
def test_lines_are_laid_on_one_axis_and_end_where_time_has_come_to(
    axis: str, measure: str, values: list[list[int | None]], common: list[str] | None
) -> None:
    made = charts.drawn(TWO, choice(axis, measure), VI)
    assert (made.x, made.values) == ([0, 3600, 7200, 10_800], values)
    plain = [each.replace("\u00a0", " ") for each in made.common[1]] if made.common else None
    assert plain == common
    assert len(made.rows) == 4
    assert made.rows[0][1][0] == "–", "the newest first, and no 0 where nothing can have come yet"


def test_a_range_of_points_too_small_is_drawn_with_larger_ones_and_a_total_from_the_opening() -> None:
    for span in charts.SPANS:
        fits = [each for each, length in charts.BUCKETS.items() if charts.SPANS[span] / length <= charts.POINTS_MAX]
        assert fits, span


def test_the_drive_before_had_a_keyword_of_this_one_and_was_over() -> None:
    assert figures.forerunner(BOOK, ORANGE) == OLD
    assert figures.forerunner(BOOK, OLD) is None
    assert figures.forerunner(BOOK, POOR) is None


@pytest.mark.parametrize(
    ("counts", "spread"),
    [
        ([(1, 1)], Spread(1, 1, 1, 1)),
        ([(1, 51), (2, 18), (3, 9), (5, 16), (10, 4), (20, 1), (50, 1)], Spread(100, 1, 1, 5)),
        ([(1, 1), (2, 4), (7, 4), (100, 1)], Spread(10, 2, 1, 7)),
    ],
)
def test_a_spread_names_the_middle_and_where_most_are(counts: Sequence[tuple[int, int]], spread: Spread) -> None:
    assert spread_of(counts) == spread


def test_mean_and_spread_are_told_where_a_message_has_units() -> None:
    told = figures._units(POOR, totals(), Spread(1000, 1, 1, 5), VI)
    assert told.replace("\u00a0", " ").startswith("Trung bình 2,2 suất mỗi tin. Của 1.000 tin nhắn mới nhất")
    assert figures._units(ORANGE, totals(ORANGE), None, VI) == ""


@pytest.mark.parametrize(
    ("seconds", "vi", "en"),
    [
        (3 * 86_400 + 4 * 3600 + 59, "còn 3 ngày 4 giờ", "3 d 4 h left"),
        (3600 * 2 + 179, "còn 2 giờ 2 phút", "2 h 2 min left"),
        (59, "còn 0 phút", "0 min left"),
        (-5, "còn 0 phút", "0 min left"),
    ],
)
def test_what_is_left_is_never_told_as_more_than_it_is(seconds: int, vi: str, en: str) -> None:
    assert (VI.left(seconds), EN.left(seconds)) == (vi, en)


async def test_charts_show_what_one_may_see_and_ask_in_the_one_line(desk_portal: Portal) -> None:
    portal, pulse = desk_portal, desk_portal.service.desk.pulse
    operator = await logged_in(portal, await person(portal, "ve", Role.OPERATOR))
    manager = await logged_in(portal, await person(portal, "ve.lu", Role.MANAGER, "redcross"))
    await portal.post(message("charted", "BL", short_code="1407"))
    both = "/charts?campaign=vnn&campaign=bao-lu&campaign=nothing&bucket=minute&span=1h&axis=clock&measure=messages"
    page = await operator.get(both)
    assert page.status == 200
    assert page.text.count('class="key line-') == 2
    queries, began = pulse.queries, asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(operator.get(both.replace("?", "/data?")) for _ in range(5)))
    seconds = asyncio.get_running_loop().time() - began
    assert pulse.queries - queries <= 1 + seconds / charts.FRESH_SECONDS["minute"], "one has read for all"
    made = orjson.loads(answers[0].text)
    assert len(made["x"]) == 60
    assert sum(each or 0 for each in made["values"][1]) >= 1
    assert "plot-figures" in made["table"]
    theirs = await manager.get(both)
    assert theirs.text.count('class="key line-') == 1
    assert 'value="vnn"' not in theirs.text
    wide = await operator.get("/charts?campaign=vnn&bucket=minute&span=all&measure=total")
    assert "Khoảng này dài quá" in wide.text
    assert "Tổng tiền chỉ vẽ được từ lúc mở" in wide.text


async def test_the_minute_within_which_a_campaign_opens_is_the_first_on_the_axis_since_opening(
    desk_portal: Portal,
) -> None:
    portal = desk_portal
    await portal.post(message("opened", "BL", short_code="1407"))
    campaign = portal.service.desk.desk.book().by_slug["bao-lu"]
    async with portal.service.desk.desk.borrow() as connection:
        last = await connection.fetchval(
            "SELECT max(minute) FROM campaign_minute WHERE campaign_id = $1", campaign.id
        )
        decision = replace(campaign.decisions[0], opens_at=last + timedelta(seconds=1))
        opened = replace(campaign, decisions=(decision,))
        asked = Choice((opened,), "minute", "1h", "opening", "messages", ())
        lines = await charts._read(connection, asked, last + timedelta(seconds=59))
    assert charts.drawn(lines, asked, VI).x == [0]
    assert lines.lines[0].points[0][0] >= 1


async def test_a_line_since_the_opening_ends_with_the_total_whatever_lies_before_it_or_ahead_of_the_clock(
    desk_portal: Portal,
) -> None:
    portal, now = desk_portal, datetime.now(UTC)
    await portal.post(message("summed", "BL", short_code="1407"))
    for number, at in enumerate((now - timedelta(hours=6), now + timedelta(minutes=5))):
        back = taken_back(f"summed-{number}", 3_000, "summed", scope="partial", occurred_at=at.isoformat())
        assert (await portal.post(back)).outcome == "accepted"
    campaign = portal.service.desk.desk.book().by_slug["bao-lu"]
    opened = replace(
        campaign, decisions=(replace(campaign.decisions[0], opens_at=now - timedelta(hours=5, minutes=7)),)
    )
    async with portal.service.desk.desk.borrow() as connection:
        total = await connection.fetchval(
            "SELECT sum(pledged_vnd)::bigint FROM campaign_total WHERE campaign_id = $1", campaign.id
        )
        for bucket in charts.BUCKETS:
            asked = Choice((opened,), bucket, "6h", "opening", "total", ())
            made = charts.drawn(await charts._read(connection, asked, datetime.now(UTC)), asked, VI)
            assert made.values[0][-1] == total, bucket
        by_the_hour = Choice((opened,), "minute", "1h", "opening", "total", ())
        lines = await charts._read(connection, by_the_hour, datetime.now(UTC))
    assert sum(vnd for _, vnd in lines.lines[0].points.values()) < 0, "what came later than its end is none of it"


def test_a_young_appeal_begins_with_minutes_and_a_fifth_campaign_is_not_dropped_in_silence() -> None:
    offered = [replace(POOR, slug=f"c{number}") for number in range(CAMPAIGNS_MAX + 1)]
    for minutes, span, bucket in ((59, "1h", "minute"), (61, "6h", "minute"), (999, "24h", "hour")):
        now = POOR.opens_at + timedelta(minutes=minutes)
        found = choice_of(make_mocked_request("GET", "/charts?campaign=c0"), VI, offered, now)
        assert (found.span, found.bucket, found.notes) == (span, bucket, ())
    all_of_them = "&".join(f"campaign={each.slug}" for each in offered)
    found = choice_of(make_mocked_request("GET", f"/charts?{all_of_them}"), VI, offered, POOR.closes_at)
    assert (len(found.campaigns), found.notes) == (CAMPAIGNS_MAX, (VI("charts_too_many", count="4"),))


async def test_who_is_at_the_desk_and_how_units_spread_is_read_in_the_same_line(desk_portal: Portal) -> None:
    portal = desk_portal
    visitor = await logged_in(portal, await person(portal, "o.day", Role.FINANCE))
    await visitor.get("/account")
    await portal.post(message("spread", "BL", short_code="1407"))
    pulse, now = Pulse(portal.service.desk.desk, lambda: now[0]), [1000.0]
    for turn in (2, 6):
        pulse._turn, now[0] = turn, now[0] + 2.0
        await pulse.ask(pulse._next())
    assert ("O.day", "finance") in pulse.here
    known = sum(each.messages for each in pulse.spread.values())
    assert known >= 1
    # A page that nobody follows reads them too; what was sent two hours ago is not of the last one.
    ago = (portal.service.desk.desk.clock() - timedelta(hours=2)).isoformat()
    await portal.post(message("spread-late", "BL", short_code="1407", operator_time=ago))
    await portal.post(message("spread-now", "BL", short_code="1407"))
    now[0] += 20.0
    await pulse.fresh()
    assert sum(each.messages for each in pulse.spread.values()) == known + 1
    # Who begins to follow a while later is not shown those of before.
    now[0] += 20.0
    pulse.watch(pulse, b"")
    assert (pulse.spread, pulse.here) == ({}, ())
    pulse.unwatch(pulse)
    await pulse.stop()
    pulse._waiting = WAITING_MAX
    with pytest.raises(PulseBusy):
        await pulse.ask(pulse._next())


async def test_a_chart_that_cannot_be_read_is_said_and_never_drawn_as_nothing(desk_portal: Portal) -> None:
    portal, pulse = desk_portal, desk_portal.service.desk.pulse
    visitor = await logged_in(portal, await person(portal, "doi", Role.PRESS))
    pulse._waiting += WAITING_MAX
    try:
        page = await visitor.get("/charts?campaign=vnn&span=30d")
        data = await visitor.get("/charts/data?campaign=vnn&span=30d")
    finally:
        pulse._waiting -= WAITING_MAX
    assert "Chưa đọc được số liệu cho biểu đồ" in page.text
    assert (data.status, data.headers["Retry-After"]) == (503, "5")


def test_the_design_language_is_written_as_it_is_and_only_a_demo_shows_it(desk_portal: Portal) -> None:
    style = files("service.web").joinpath("static/page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    light, dark = (dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    assert light.keys() == dark.keys() == set(design.COLOURS)
    said = (Path(__file__).parents[3] / "docs" / "design.md").read_text(encoding="utf-8")
    assert {colour for theme in (light, dark) for colour in theme.values() if colour not in said} == set()
    assert not any(row.path == "/design" for row in desk_portal.service.desk.rows)
