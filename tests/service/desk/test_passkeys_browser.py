"""A passkey in a real Chromium with a virtual authenticator: added at one's account, shown at the door, stopped."""

from typing import Any

from playwright.async_api import Browser, Page, expect

from service.desk import second_factor, sessions
from service.desk.passkeys import relying_party_of
from service.desk.people import select_people
from service.desk.roles import Role
from service.web.words import Language, load_words
from tests.support.browser import IN_A_BROWSER
from tests.support.desk import PASSWORD, logged_in, person
from tests.support.portal import Portal

pytestmark = IN_A_BROWSER
VI = load_words()[Language.VI]
OPTIONS = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""As a telephone or a laptop is: the finger is there, and is the right one."""


async def adds(page: Page, code: str) -> None:
    """Fill in the form of a passkey and send it."""
    for name, value in {"name": "máy tính", "old": PASSWORD, "code": code}.items():
        await page.fill(f"#passkey-{name}", value)
    await page.get_by_role("button", name=VI("passkey_add")).click()


async def cookie(portal: Portal, user_id: int, base: str) -> Any:
    """A session of somebody, for a browser."""
    visitor = await logged_in(portal, user_id)
    return {"name": sessions.SESSION_COOKIE, "value": visitor.cookies[sessions.SESSION_COOKIE], "url": base}


async def test_a_passkey_is_added_and_lets_in_and_a_stopped_one_says_so(
    desk_portal: Portal, browser: Browser
) -> None:
    portal, desk = desk_portal, desk_portal.service.desk.desk
    base = portal.base.replace("127.0.0.1", "localhost")
    desk.relying_party = relying_party_of(base)
    user_id = await person(portal, "khoa.that", Role.OPERATOR)
    async with desk.borrow() as connection, connection.transaction():
        (made,) = await select_people(connection, "khoa.that")
        codes = await second_factor.enrol(connection, desk.keyring, made, second_factor.new_secret(), 0)
    said: list[str] = []
    context = await browser.new_context()
    await context.add_cookies([await cookie(portal, user_id, base)])
    page = await context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    devtools = await context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    key = (await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": OPTIONS}))["authenticatorId"]
    await page.goto(f"{base}/desk/account")
    await expect(page.locator("[data-without-passkeys]")).to_be_hidden()
    told, mine = (
        page.locator("[data-told]"),
        page.get_by_role("button", name=VI("passkey_remove", name="máy tính")),
    )
    await adds(page, "wrong code")
    await expect(told).to_have_text(VI("code_wrong"))
    await adds(page, codes[0])
    await expect(mine).to_be_visible()
    held = (await devtools.send("WebAuthn.getCredentials", {"authenticatorId": key}))["credentials"]
    assert [(each["rpId"], each["isResidentCredential"]) for each in held] == [("localhost", True)]
    # The same device is asked for no second one.
    await adds(page, codes[1])
    await expect(told).to_have_text(VI("passkey_held"))

    await page.locator("header form button").click()
    enter = page.get_by_role("button", name=VI("login_passkey"))
    await expect(page.locator("#login")).to_be_focused()
    await devtools.send("WebAuthn.setUserVerified", {"authenticatorId": key, "isUserVerified": False})
    await enter.click()
    await expect(told).to_have_text(VI("passkey_stopped"))
    await devtools.send("WebAuthn.setUserVerified", {"authenticatorId": key, "isUserVerified": True})
    await enter.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection")).to_be_attached()
    assert page.url == f"{base}/desk"

    # What the desk has forgotten the device still shows, and nobody comes in.
    await portal.fetch("DELETE FROM desk_passkey")
    await page.locator("header form button").click()
    await enter.click()
    await expect(page.locator("#problem")).to_have_text(VI("passkey_refused"))
    assert sessions.SESSION_COOKIE not in {each["name"] for each in await context.cookies()}

    # Without a script the door and the account are as they were.
    plain = await browser.new_context(java_script_enabled=False)
    page = await plain.new_page()
    await page.goto(f"{base}/desk/login")
    await expect(page.locator("form[data-passkey]")).to_be_hidden()
    await expect(page.locator("#password")).to_be_visible()
    await plain.add_cookies([await cookie(portal, user_id, base)])
    await page.goto(f"{base}/desk/account")
    await expect(page.locator("form[data-passkey]")).to_be_hidden()
    await expect(page.locator("[data-without-passkeys]")).to_have_text(VI("passkey_script"))
    for each in (context, plain):
        await each.close()
    assert said == []
