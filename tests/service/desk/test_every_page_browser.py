"""Every page of the desk and of the public in a real Chromium: axe, focus, width from phone to television, paper."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser, Page

from service.desk import provider_entrance, sessions
from service.desk.passkeys import INSERT_PASSKEY
from service.desk.provider_links import SUBJECT_LETTERS_MAX
from service.desk.roles import Act, Role, may
from tests.service.desk.test_approvals import FORM, kept
from tests.support.browser import IN_A_BROWSER
from tests.support.databases import cloned_database
from tests.support.desk import Visitor, logged_in, person
from tests.support.portal import Portal, message, running
from tests.support.postgres import TestServer

pytestmark = IN_A_BROWSER

AXE = Path(__file__).parents[2] / "vendor" / "axe.min.js"
"""axe-core 4.14.1, MPL-2.0, as it was published."""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (2560, 1920, 768, 360)
PUBLIC = ("/", "/c/vnn", "/c/khong-co", "/nowhere")
PAGES_MIN = 19
"""So many there are at least: fewer were a mistake of this test."""
PLACES = {"{name}": "conflicts", "{id}": "1"}

# What a rule finds has the impact that the rule has: one that can find nothing serious need not look.
JUDGE = """
async (wanted) => {
  const mild = axe._audit.rules.filter((rule) => ["minor", "moderate"].includes(rule.impact));
  const rules = wanted.type === "tag" ? Object.fromEntries(mild.map((rule) => [rule.id, { enabled: false }])) : {};
  const found = await axe.run(document, { resultTypes: ["violations"], runOnly: wanted, rules });
  return found.violations.filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}
"""
# Charts follow the page's width in a later frame; where nothing follows, a second is waited for.
REACHED = """
async (width) => {
  const root = document.documentElement;
  for (let frame = 0; frame < 60 && root.scrollWidth > width; frame++)
    await new Promise((resume) => requestAnimationFrame(resume));
  return root.scrollWidth;
}
"""
UNSEEN = """
() => [...document.querySelectorAll(
  "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
  .filter((each) => each.checkVisibility() && !each.disabled)
  .filter((each) => { each.focus(); return getComputedStyle(each).outlineStyle !== "solid"; })
  .map((each) => each.outerHTML.slice(0, 120))
"""
"""What can have the focus and does not show it."""


@pytest.fixture
async def every_way_in(server: TestServer, tmp_path: Path) -> AsyncIterator[Portal]:
    """A service whose desk has a provider and passkeys."""
    async with cloned_database(server) as dsn, running(
        dsn, tmp_path, public_url="http://localhost", oidc_issuer="http://127.0.0.1:1", oidc_client_id="desk",
        oidc_client_secret="a secret",
    ) as started:  # fmt: skip
        yield started


async def a_message(portal: Portal) -> str:
    """The id of some message that is there."""
    (row,) = await portal.fetch("SELECT id::text FROM message ORDER BY id DESC LIMIT 1")
    return str(row["id"])


async def addresses(portal: Portal) -> list[tuple[str, Visitor | None]]:
    """Every page with a browser that may see it: each row of the desk by construction, and the public pages."""
    users = {role: await person(portal, f"trang.{role}", role, *["mttq"] * (role is Role.MANAGER)) for role in Role}
    visitors = {role: await logged_in(portal, each) for role, each in users.items()}
    await kept(visitors[Role.OPERATOR], **{**FORM, "slug": "moi-trang", "keywords": "MOITRANG"})
    for number in range(3):
        await portal.post(message(f"every-page-{number}", f"VNN {number} suat"))
    desk = portal.service.desk.desk
    half = {}
    async with desk.borrow() as connection:
        for user_id in users.values():
            await connection.fetch(INSERT_PASSKEY, user_id, "K" * 60, b"%d" % user_id, b"", 0, 10)
        for path, columns in {
            "/password": "one_time_until = now() + interval '1 hour'",
            "/enrol": "totp_sealed = NULL",
            "/code": "totp_sealed = '\\x00'",
        }.items():
            made = await person(portal, f"nua{path.replace('/', '.')}", Role.PRESS)
            await connection.execute(f"UPDATE desk_user SET {columns} WHERE id = $1", made)
            token = await sessions.begin(connection, desk.tokens, made, "127.0.0.1", is_complete=False)
            half[path] = Visitor(portal, {sessions.SESSION_COOKIE: token})
    found: list[tuple[str, Visitor | None]] = [(path, None) for path in PUBLIC]
    for row in portal.service.desk.rows:
        if row.method != "GET" or row.path == "/":
            continue
        path = row.path.replace("/personal/{id}", f"/personal/{await a_message(portal)}")
        for name, value in PLACES.items():
            path = path.replace(name, value)
        visitor = half.get(path)
        if row.act not in (Act.ENTER, Act.PROVE):
            visitor = visitors[next(each for each in Role if may(each, row.act))]
        answer = await (visitor or Visitor(portal)).get(path)
        # Files, streams and what a number of this test does not name are no pages.
        if answer.status == 200 and answer.headers["Content-Type"].startswith("text/html"):
            found.append((f"/desk{path}", visitor))
    assert len(found) >= PAGES_MIN
    return found


async def provider_pages(portal: Portal) -> list[tuple[str, Visitor]]:
    """Why nobody came in by the provider: with the longest subject that there is, and the page that says most."""
    seal, visitor = portal.service.desk.desk.keyring.desk.seal, Visitor(portal)
    sealed = seal(orjson.dumps("x" * SUBJECT_LETTERS_MAX), b"oidc:subject")
    visitor.cookies[provider_entrance.ATTEMPT_COOKIE] = base64.urlsafe_b64encode(sealed).decode()
    return [(f"/desk/oidc/refused?why={why}", visitor) for why in ("unknown", "first")]


async def test_every_page_is_for_everybody_on_every_screen(every_way_in: Portal, browser: Browser) -> None:
    portal = every_way_in
    pages = [*await addresses(portal), *await provider_pages(portal)]
    wrong: list[str] = []

    def complain(error: Exception) -> None:
        wrong.append(f"a script: {error}")

    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    page.on("pageerror", complain)
    for path, visitor in pages:
        await turned(page, portal, path, visitor, "en")
        wrong += [f"English {path}: {each}" for each in await too_wide(page, 360)]
    # Sent to the browser once, and not again for each page.
    await page.add_init_script(path=AXE)
    for path, visitor in pages:
        await turned(page, portal, path, visitor, "vi")
        wrong += [f"{path}: {each}" for each in await judged(page)]
    await context.close()
    assert wrong == []


async def turned(page: Page, portal: Portal, path: str, visitor: Visitor | None, language: str) -> None:
    """Turn the page to an address, as somebody, in a language."""
    await page.context.clear_cookies()
    cookies = visitor.cookies if visitor is not None else {}
    await page.context.add_cookies([{"name": n, "value": v, "url": portal.base} for n, v in cookies.items()])
    address = f"{portal.base}{path}{'&' if '?' in path else '?'}lang={language}"
    await page.goto(address, wait_until="load")
    assert page.url == address, "it leads elsewhere"


async def too_wide(page: Page, width: int, height: int = 800) -> list[str]:
    """Whether one must scroll sideways at a width in CSS pixels."""
    await page.set_viewport_size({"width": width, "height": height})
    reached = await page.evaluate(REACHED, width)
    return [f"{reached} px at a width of {width} px"] if reached > width else []


async def judged(page: Page) -> list[str]:
    """What is wrong with a page, in sentences. Of the second theme only what differs: its colours."""
    # What is as large as the height allows is seen at a height; elsewhere a low window has less to paint.
    height = 800 if await page.locator(".hero").count() else 200
    wrong = [each for width in WIDTHS for each in await too_wide(page, width, height)]
    await page.set_viewport_size({"width": WIDTHS[-1], "height": 800})
    await page.emulate_media(color_scheme="dark")
    wrong += await page.evaluate(JUDGE, {"type": "tag", "values": TAGS})
    await page.emulate_media(color_scheme="light")
    wrong += await page.evaluate(JUDGE, {"type": "rule", "values": ["color-contrast"]})
    return [*wrong, *(f"focus is not seen on {each}" for each in await page.evaluate(UNSEEN))]
