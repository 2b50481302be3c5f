"""Somebody at the desk in a real Chromium, by keyboard: the way in, a number that moves, the end of a session."""

import re
from datetime import UTC, datetime

import pyotp
from playwright.async_api import Browser, expect

from service.desk import second_factor
from service.desk.people import select_people
from service.desk.roles import Role
from tests.support.browser import IN_A_BROWSER
from tests.support.desk import PASSWORD, person
from tests.support.portal import Portal, message

pytestmark = IN_A_BROWSER
WIDTHS = (360, 1280, 2560)


async def test_by_keyboard_in_to_a_number_that_moves_and_out_when_the_session_ends(
    desk_portal: Portal, browser: Browser
) -> None:
    portal, desk = desk_portal, desk_portal.service.desk.desk
    user_id = await person(portal, "ban.phim", Role.OPERATOR)
    secret = second_factor.new_secret()
    async with desk.borrow() as connection, connection.transaction():
        (somebody,) = await select_people(connection, "ban.phim")
        await second_factor.enrol(connection, desk.keyring, somebody, secret, 0)
    said: list[str] = []
    page = await browser.new_page(viewport={"width": WIDTHS[0], "height": 740}, color_scheme="dark")
    page.on("console", lambda line: said.append(line.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{portal.base}/desk")
    await expect(page.locator("#login")).to_be_focused()
    await page.keyboard.insert_text("ban.phim")
    await page.keyboard.press("Tab")
    await page.keyboard.insert_text(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.locator("#code")).to_be_focused()
    await page.keyboard.insert_text(pyotp.TOTP(secret).at(datetime.now(UTC)))
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection")).to_have_text("Đang cập nhật trực tiếp")
    await portal.post(message("by-keyboard", "VNN 97"))
    (vnn,) = [each for each in (await portal.get("/api/v1/totals"))["campaigns"] if each["campaign"] == "vnn"]
    vnn_name = portal.service.catalog.book.by_slug["vnn"].name_vi
    pledged = f"{vnn['pledged_vnd']:,}".replace(",", ".")
    await expect(page.locator("#card-vnn .figure")).to_contain_text(pledged)
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
    # Every stop of the tabulator is seen.
    await page.keyboard.press("Tab")
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    # A chart is read and zoomed by keyboard, under the policy that allows no inline script or style.
    await page.goto(f"{portal.base}/desk/charts?campaign=vnn&bucket=minute&span=1h&measure=messages")
    plot, point = page.locator("#plot"), page.locator("#plot-point")
    await expect(plot).to_have_attribute("data-drawn", "yes")
    await plot.focus()
    await page.keyboard.press("End")
    await expect(point).to_contain_text(vnn_name)
    last = await point.text_content()
    await page.keyboard.press("ArrowLeft")
    await expect(point).not_to_have_text(last or "")
    for key in ("+", "-", "0", "Home"):
        await page.keyboard.press(key)
    await expect(page.locator("#plot canvas")).to_be_visible()
    await page.goto(f"{portal.base}/desk")
    await expect(page.locator("#connection")).to_have_text("Đang cập nhật trực tiếp")
    await expect(page.locator("#card-vnn [data-until]")).to_contain_text(re.compile(r"^còn \d+ ngày \d\d:\d\d:\d\d$"))
    await portal.fetch("UPDATE desk_user SET disabled_at = now() WHERE id = $1", user_id)
    portal.service.desk.pulse._turn = 14
    await expect(page.locator("#connection")).to_contain_text("Phiên đăng nhập đã kết thúc")
    await page.context.close()
    assert said == []
