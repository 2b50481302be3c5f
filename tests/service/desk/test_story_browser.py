"""What people of the desk do in an evening, in a real Chromium: two open an appeal, watch it, and put it right."""

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from python_calamine import CalamineWorkbook

from service.desk import figures, second_factor
from service.desk.people import select_people
from service.desk.roles import Role
from service.web.words import Language, load_words
from tests.service.desk.test_approvals import FORM, kept
from tests.service.desk.test_reattribution import counted
from tests.service.desk.test_templates import OPENED_SECONDS_MAX
from tests.support.browser import IN_A_BROWSER
from tests.support.desk import PASSWORD, logged_in, person
from tests.support.portal import Portal, eventually, message

pytestmark = IN_A_BROWSER
VI = load_words()[Language.VI]
LIVE, LOST, GONE = (VI(f"desk_{each}") for each in ("live", "lost", "gone"))
OLD_SINCE = {
    each: re.compile(re.escape(VI(f"lost_{each}", time="@")).replace("@", r"\d\d:\d\d:\d\d"))
    for each in ("lost", "late", "gone")
}
"""What a page says of figures to which nothing new comes."""
PRESSED_TWICE = """button => {
  let isHeld;
  addEventListener("submit", event => { isHeld = event.defaultPrevented; });
  button.click();
  button.click();
  return isHeld;
}"""
"""A double click, and whether the second was kept from being sent."""
PAINTED = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const line = document.createElement("canvas").getContext("2d");
  line.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--line-1").trim();
  line.fillRect(0, 0, 1, 1);
  const [red, green, blue] = line.getImageData(0, 0, 1, 1).data;
  let found = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255) found++;
  return found;
}"""
"""How many points of a chart have the colour of its first line."""
APPEAL = {
    "slug": "bao-so-3", "name_vi": "Ủng hộ đồng bào sau bão số 3", "decision": "3/QĐ",
    "opens_at": "2020-01-01T00:00", "closes_at": "2099-01-01T00:00", "goal_vnd": "1.000.000.000",
    "short_code": "1404", "keywords": "BT", "unit_vnd": "20.000", "max_units": "100",
}  # fmt: skip


async def somebody(browser: Browser, portal: Portal, login: str, role: Role, *organisations: str) -> Page:
    """A page of somebody who has logged in already."""
    visitor = await logged_in(portal, await person(portal, login, role, *organisations))
    context = await browser.new_context()
    await context.add_cookies([{"name": n, "value": v, "url": portal.base} for n, v in visitor.cookies.items()])
    return await context.new_page()


@pytest.fixture(scope="module")
async def two_people(browser: Browser, desk_portal: Portal) -> AsyncIterator[tuple[Page, Page]]:
    """Who proposes and who approves, each with a page of their own: a page more is a process more."""
    one = await somebody(browser, desk_portal, "hai.mot", Role.OPERATOR)
    two = await somebody(browser, desk_portal, "hai.hai", Role.FINANCE)
    yield one, two
    await close(one.context, two.context)


async def shows_password(page: Page, portal: Portal, login: str) -> None:
    """The first step of the way in."""
    await page.goto(f"{portal.base}/desk")
    await page.fill("#login", login)
    await page.fill("#password", PASSWORD)
    await page.click("main button.main")


async def shows_code(page: Page, secret: str) -> None:
    """The second step: what the telephone shows now."""
    await page.fill("#code", pyotp.TOTP(secret).at(datetime.now(UTC)))
    await page.click("main button.main")


async def presses(page: Page, act: str) -> None:
    """A button by what stands on it."""
    await page.get_by_role("button", name=VI(act), exact=True).click()


async def proposed(page: Page) -> str:
    """A form that is filled in, looked at, kept by an impatient double click and proposed; the proposal's address."""
    await presses(page, "act_look")
    assert await page.get_by_role("button", name=VI("act_keep"), exact=True).evaluate(PRESSED_TWICE) is True
    await presses(page, "act_propose")
    await expect(page.locator("main")).to_contain_text(VI("state_of_proposed"))
    return page.url


async def approved(portal: Portal, page: Page, address: str, slug: str) -> None:
    """The second person looks and approves; from then on texts are read by it."""
    await page.goto(address)
    await presses(page, "act_approve")
    await expect(page.locator("main")).to_contain_text(VI("state_of_approved"))

    async def is_read() -> bool:
        return slug in portal.service.catalog.book.by_slug

    await eventually(is_read)


async def shown_everywhere(pages: list[Page], slug: str, pledged: str) -> None:
    """Wait until each of these pages shows an amount for a campaign."""
    for page in pages:
        await expect(page.locator(f"#card-{slug} .figure")).to_contain_text(pledged)


async def charted(chart: Page, pledged: int) -> bool:
    """Whether the minutes in the table under a chart add up to this; gifts of one moment may be of two minutes."""
    cells = await chart.locator("#plot-table td").all_inner_texts()
    return sum(int(re.sub(r"\D", "", cell)) for cell in cells) == pledged


async def test_two_people_open_an_appeal_and_three_tabs_follow_it_over_a_lost_network(
    desk_portal: Portal, browser: Browser
) -> None:
    portal, desk, slug = desk_portal, desk_portal.service.desk.desk, APPEAL["slug"]
    watching = portal.service.desk.pulse.watching
    await person(portal, "mo.mot", Role.OPERATOR)
    await person(portal, "mo.hai", Role.FINANCE)
    secret = second_factor.new_secret()
    async with desk.borrow() as connection, connection.transaction():
        (enrolled,) = await select_people(connection, "mo.hai")
        await second_factor.enrol(connection, desk.keyring, enrolled, secret, 0)
    office, home = await browser.new_context(), await browser.new_context()
    one, two = await office.new_page(), await home.new_page()
    # The one adds a second factor from the page, the other has one.
    await shows_password(one, portal, "mo.mot")
    await shows_code(one, (await one.locator("code.letters").inner_text()).replace(" ", ""))
    await expect(one.locator("ol.codes code")).to_have_count(second_factor.RECOVERY_CODES)
    await one.click("a.go")
    await shows_password(two, portal, "mo.hai")
    await shows_code(two, secret)
    for page in (one, two):
        await expect(page.locator("#connection")).to_have_text(LIVE)
    # A tab that was open before has the new campaign by itself.
    tab = await office.new_page()
    await tab.goto(f"{portal.base}/desk")
    await one.goto(f"{portal.base}/desk/proposals/new")
    for name, value in APPEAL.items():
        await one.fill(f"#{name}", value)
    await one.select_option("#organiser", "mttq")
    await one.select_option("#category", "storm_flood")
    await one.select_option("#grammar", "units")
    await approved(portal, two, await proposed(one), slug)
    for page in (one, two):
        await page.goto(f"{portal.base}/desk")
    for number in range(3):
        await portal.post(message(f"story-{number}", "BT 5", short_code="1404"))
        await portal.post(message(f"story-wrong-{number}", f"BT {number} thung mi", short_code="1404"))
    tabs = [one, tab, two]
    await shown_everywhere(tabs, slug, "300.000")
    for page in tabs:
        await expect(page.locator("#forms")).to_contain_text("BT 9 □ □")
        await expect(page.locator("#forms")).not_to_contain_text("thung")

    async def only_one_follows() -> bool:
        return len(watching) == 1

    chart = await office.new_page()
    await chart.goto(f"{portal.base}/desk/charts?campaign={slug}&bucket=minute&span=1h&measure=vnd")
    await eventually(lambda: charted(chart, 300_000), 30)
    await office.set_offline(True)
    for page in (one, tab):
        await expect(page.locator("#connection")).to_have_text(LOST)
    for page in (one, tab, chart):
        await expect(page.locator("#lost")).to_have_text(OLD_SINCE["lost"])
    await eventually(only_one_follows)
    await portal.post(message("story-away", "BT 1", short_code="1404"))
    await shown_everywhere([two], slug, "320.000")
    for page in (one, tab):
        assert "300.000" in await page.locator(f"#card-{slug} .figure").inner_text()
        await expect(page.locator("#connection")).to_have_text(LOST)
    await office.set_offline(False)
    await shown_everywhere(tabs, slug, "320.000")
    await eventually(lambda: charted(chart, 320_000), 30)
    for page in tabs:
        await expect(page.locator("#connection")).to_have_text(LIVE)
    for page in (*tabs, chart):
        await expect(page.locator("#lost")).to_be_empty()
    # The network is there, and the server has nothing new to say.
    await chart.route("**/desk/charts/data*", lambda asked: asked.fulfill(status=503))
    await expect(chart.locator("#lost")).to_have_text(OLD_SINCE["late"])
    await chart.unroute("**/desk/charts/data*")
    await expect(chart.locator("#lost")).to_be_empty()
    await close(office, home)


def opened_again(file: Path) -> list[list[Any]]:
    """The rows of a workbook's first sheet, as another library reads them."""
    rows: list[list[Any]] = (
        CalamineWorkbook.from_filelike(BytesIO(file.read_bytes())).get_sheet_by_index(0).to_python()
    )
    return rows


async def close(*contexts: BrowserContext) -> None:
    """Close what these people had open."""
    for context in contexts:
        await context.close()


async def test_a_network_that_falls_silent_is_lost_and_a_busy_server_ends_no_session(
    desk_portal: Portal, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = desk_portal
    page = await somebody(browser, portal, "im.lang", Role.PRESS)
    line = page.locator("#connection")
    await page.clock.install()
    await page.goto(f"{portal.base}/desk")
    await expect(line).to_have_text(LIVE)
    with monkeypatch.context() as busy:
        busy.setattr(figures, "WATCHING_MAX", 0)
        # Nothing is heard for more than three beats, and whoever asks again then is refused.
        async with page.expect_response(lambda answer: answer.request.resource_type == "fetch") as asked:
            await page.clock.fast_forward(31_000)
        assert (await asked.value).status == 503
        await expect(line).to_have_text(LOST)
    await expect(line).to_have_text(LIVE)
    # Where it leads to the way in the session is over.
    await portal.fetch("DELETE FROM desk_session WHERE user_id = (SELECT id FROM desk_user WHERE login = 'im.lang')")
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(line).to_have_text(GONE)
    await expect(page.locator("#lost")).to_have_text(OLD_SINCE["gone"])
    await close(page.context)


async def test_gifts_are_moved_by_two_people_taken_along_in_a_file_and_are_nothing_to_a_third(
    desk_portal: Portal, browser: Browser, two_people: tuple[Page, Page]
) -> None:
    portal = desk_portal
    names = {slug: portal.service.catalog.book.by_slug[slug].name_vi for slug in ("vnn", "bao-lu", "old")}
    await counted(portal, "story-m1", "story-m2", "story-m3")
    one, two = two_people
    await one.goto(f"{portal.base}/desk/reattributions/new")
    await one.fill("#account", "hub")
    await one.fill("#ids", "story-m1\nstory-m2")
    await one.select_option("#taker", "bao-lu")
    await one.select_option("#ground", "keyword")
    await one.fill("#reason", "in sai tờ rơi")
    await presses(one, "act_look")

    async def tells_totals(page: Page) -> None:
        """Both campaigns before and after."""
        for row, amounts in enumerate((("300.000", "100.000"), ("0", "200.000"))):
            cells = page.locator("main table tbody tr").nth(row).locator("td .money")
            await expect(cells).to_have_text([f"{amount}\u00a0₫" for amount in amounts])

    await tells_totals(one)
    await presses(one, "act_propose")
    await expect(one.locator("main")).to_contain_text(VI("state_of_proposed"))
    move = one.url
    await two.goto(move)
    await tells_totals(two)
    await presses(two, "move_approve")
    await expect(two.locator("main")).to_contain_text(VI("state_of_approved"))

    async def is_published() -> bool:
        return [(await portal.totals(slug))["pledged_vnd"] for slug in ("vnn", "bao-lu")] == [100_000, 200_000]

    await eventually(is_published)
    await one.goto(f"{portal.base}/desk")
    await shown_everywhere([one], "vnn", "100.000")
    await shown_everywhere([one], "bao-lu", "200.000")

    await two.goto(f"{portal.base}/desk/exports")
    await two.select_option("#campaign", "vnn")
    async with two.expect_download() as begun:
        await two.click("button[value=xlsx][formaction='/desk/exports/money-lines']")
    download = await begun.value
    assert download.suggested_filename.startswith("portal1400-money-lines-vnn-")
    heading, *lines = opened_again(await download.path())
    vnd = heading.index(VI("column_vnd"))
    assert len(lines) == 5
    assert sum(line[vnd] for line in lines) == (await portal.totals("vnn"))["pledged_vnd"]

    # A manager of one of the organisations meets nothing of the other's by any page, link or address.
    operator = await logged_in(portal, await person(portal, "chuyen.ba", Role.OPERATOR))
    proposal = await kept(operator, **FORM)
    third = await somebody(browser, portal, "chuyen.tu", Role.MANAGER, "redcross")
    await third.goto(f"{portal.base}/desk")
    await expect(third.locator("#connection")).to_have_text(LIVE)
    await expect(third.locator("#card-bao-lu")).to_have_count(1)
    rooms = await third.locator("nav.rooms a").evaluate_all("all => all.map((each) => each.pathname)")
    guessed = [
        "/charts?campaign=vnn", "/lists/wrong-syntax?campaign=vnn", "/proposals/new?campaign=vnn",
        "/proposals/new?template=vnn", "/exports?campaign=vnn", "/reattributions", "/reattributions/new",
        "/campaigns/old/report.pdf", proposal, move.partition("/desk")[2],
    ]  # fmt: skip
    absent = (proposal, move.partition("/desk")[2], "/report.pdf")
    for address in (*rooms, *(f"/desk{each}" for each in guessed)):
        # What is sent, not what is drawn: a page for each address costs more, and shows nothing that was not sent.
        answer = await third.context.request.get(f"{portal.base}{address}")
        told = unescape(await answer.text())
        assert [each for each in (names["vnn"], names["old"], FORM["name_vi"], "story-m") if each in told] == []
        assert (answer.status == 404) is address.endswith(absent), address
    await close(third.context)


async def test_in_an_emergency_two_people_open_an_appeal_from_a_prepared_form(
    desk_portal: Portal, two_people: tuple[Page, Page]
) -> None:
    portal = desk_portal
    one, two = two_people
    began = time.monotonic()
    await two.goto(f"{portal.base}/desk")
    await expect(two.locator("#connection")).to_have_text(LIVE)
    await one.goto(f"{portal.base}/desk/proposals/new")
    await one.select_option("#template", "storm_flood")
    await presses(one, "template_go")
    await expect(one.locator("#name_vi")).not_to_have_value("")
    slug = await one.input_value("#slug")
    # Whatever the browser's language makes of a date, the page says which day it is.
    day = (await one.input_value("#opens_at")).partition("T")[0]
    await expect(one.locator("#opens_at-told")).to_contain_text("/".join(reversed(day.split("-"))))
    await one.fill("#closes_at", "2099-11-10T00:00")
    await expect(one.locator("#closes_at-told")).to_have_text("00:00 ngày 10/11/2099")
    for name, value in {"decision": "99/QĐ-KC", "short_code": "1406", "keywords": "KC"}.items():
        await one.fill(f"#{name}", value)
    address = await proposed(one)
    # Whoever has the first page open is told by itself.
    await expect(two.locator(f"#waiting a[href='{address.removeprefix(portal.base)}']")).to_be_visible()
    await approved(portal, two, address, slug)
    assert (await portal.post(message("story-emergency", "KC", short_code="1406"))).outcome == "accepted"

    async def is_published() -> bool:
        pledged: int = (await portal.totals(slug))["pledged_vnd"]
        return pledged == 20_000

    await eventually(is_published)
    assert time.monotonic() - began < OPENED_SECONDS_MAX
    # Its first hour is one figure, which makes no line and is seen all the same; unasked, a chart of it has minutes.
    await one.goto(f"{portal.base}/desk/charts?campaign={slug}&bucket=hour&span=24h&measure=vnd")
    await expect(one.locator("#plot")).to_have_attribute("data-drawn", "yes")
    assert await one.locator("#plot canvas").evaluate(PAINTED) > 0
    await one.goto(f"{portal.base}/desk/charts?campaign={slug}")
    assert [await one.input_value(name) for name in ("#span", "#bucket")] == ["1h", "minute"]
