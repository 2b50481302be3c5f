"""The live page in a real Chromium: it follows the stream, and nothing on it moves, flickers or leaves the house."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
from aiohttp import web
from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request, expect

from campaigns.book.book import VIETNAM, Book, Decision
from campaigns.totals.rollups import Point, Series
from campaigns.totals.totals import CarrierTotals
from metrics.board import encode
from service.web.words import Language, load_words
from tests.support.browser import IN_A_BROWSER
from tests.support.pages_site import NOW, ORANGE, POOR, VACCINE, Site, serving, totals
from tests.support.promptness import is_prompt

VI = load_words()[Language.VI]
PHONE = (360, 740)
SCREENS = {"phone": PHONE, "laptop": (1280, 800), "television": (1920, 1080)}

pytestmark = IN_A_BROWSER

WATCH_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    window.shifts.push([entry.value, ...entry.sources.map((source) => source.node?.parentElement?.outerHTML ?? "?")]);
  }
}).observe({ type: "layout-shift", buffered: true });
window.figures = [];
new MutationObserver(() => {
  const figure = document.querySelector(".hero .figure .money")?.textContent;
  if (figure && figure !== window.figures.at(-1)) window.figures.push(figure);
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
"""Notes every box that moves and every number the page ever showed."""

BROKEN_FIGURES = """
() => [...document.querySelectorAll("[data-money], [data-count], [data-stage]")].filter((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size > 1;
}).map((each) => each.outerHTML)
"""
"""The figures that stand on more than one line."""


@dataclass
class Visit:
    """Everything an open page asked for or complained about."""

    address: str
    complaints: list[str]
    requests: list[str]

    def require_quiet(self) -> None:
        """No error, no policy violation, no request to anybody else."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(self.address + "/")] == []


@asynccontextmanager
async def opened_page(browser: Browser) -> AsyncIterator[Page]:
    """A page that watches itself, in a profile of its own."""
    context = await browser.new_context()
    await context.add_init_script(WATCH_SHIFTS)
    yield await context.new_page()
    await context.close()


@pytest.fixture(scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """The page of the file, which every test turns anew: another one is a process more, and costs ten times as much.

    Each test has a port, an origin of its own, so that no test has what another one left.
    """
    async with opened_page(browser) as opened:
        yield opened


@pytest.fixture
async def clocked(browser: Browser) -> AsyncIterator[Page]:
    """A page whose timers run only when the test says so; it cannot be given its own clock back."""
    async with opened_page(browser) as opened:
        await opened.clock.install()
        yield opened


@asynccontextmanager
async def visiting(
    page: Page, address: str, path: str, screen: tuple[int, int] = SCREENS["laptop"]
) -> AsyncIterator[Visit]:
    """Turn the page to an address; afterwards it is empty, and nobody's stream is held open."""
    visit = Visit(address, [], [])

    def said(line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            visit.complaints.append(line.text)

    def failed(error: Error) -> None:
        visit.complaints.append(str(error))

    def asked(request: Request) -> None:
        visit.requests.append(request.url)

    await page.set_viewport_size({"width": screen[0], "height": screen[1]})
    page.on("console", said)
    page.on("pageerror", failed)
    page.on("request", asked)
    try:
        await page.goto(address + path)
        yield visit
    finally:
        page.remove_listener("console", said)
        page.remove_listener("pageerror", failed)
        page.remove_listener("request", asked)
        await page.goto("about:blank")


async def promptly(seconds: float, comes_true: Awaitable[None]) -> None:
    """Wait for what is promised within `seconds`; on a machine busy with other things, whenever it comes."""
    began = monotonic()
    await comes_true
    assert is_prompt(took := monotonic() - began, seconds), f"it came after {took:.1f} s"


async def pass_time(page: Page, *, seconds: int) -> None:
    """Let the page's clock run, with moments between in which the network answers before any deadline."""
    for _ in range(seconds * 2):
        await page.clock.run_for(500)
        await asyncio.sleep(0.02)


@pytest.fixture
def site() -> Site:
    """A site that has figures for every campaign."""
    made = Site()
    made.post(totals(), totals(ORANGE, version=5), replace(totals(VACCINE, version=0), messages=0, by_carrier=()))
    return made


@pytest.mark.parametrize(
    ("query", "before", "after"), [("", "90.000.000 ₫", "630.000.000 ₫"), ("?lang=en", "₫90,000,000", "₫630,000,000")]
)
async def test_a_page_follows_the_board_in_its_language(
    page: Page, site: Site, query: str, before: str, after: str
) -> None:
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}{query}") as visit:
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        await expect(page.locator(".hero .figure .money")).to_have_text(before)
        figures = replace(totals(version=1240, scale=7), confirmed_vnd=1_000)
        site.post(figures)
        await expect(page.locator(".hero .figure .money")).to_have_text(after)
        # Everything else changed with it: the page is now what the server would write.
        async with site.being_read():
            await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
            await expect(page.locator("#stale")).to_be_empty()
        live = await page.locator("article > section:not(.hour)").all_inner_texts()
        await page.reload()
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        assert await page.locator("article > section:not(.hour)").all_inner_texts() == live
        visit.require_quiet()


async def test_the_list_follows_every_campaign_on_it(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, "/") as visit:
        card = page.locator(f"[data-campaign={POOR.slug}]")
        await expect(card.locator(".figure")).to_have_text("90.000.000 ₫")
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        site.post(totals(version=1240, scale=2))
        await expect(card.locator(".figure")).to_have_text("180.000.000 ₫")
        await expect(card.locator(".counts")).to_have_text("4.000 tin nhắn")
        visit.require_quiet()


async def test_a_campaign_that_is_applied_appears_by_itself(page: Page, site: Site) -> None:
    book, site.book = site.book, Book(0, ())
    site.board = type(site.board)()
    site.post()
    async with serving(site) as address, visiting(page, address, "/") as visit:
        await expect(page.locator(".kindly")).to_be_visible()
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        site.book = book
        site.post(totals())
        await expect(page.locator(f"[data-campaign={POOR.slug}] .figure")).to_have_text("90.000.000 ₫")
        visit.require_quiet()


# The tightest in each language, and the widest.
STILL = [
    ("/", "phone"),
    ("/", "television"),
    (f"/c/{POOR.slug}", "phone"),
    (f"/c/{POOR.slug}", "laptop"),
    (f"/c/{POOR.slug}", "television"),
    (f"/c/{POOR.slug}?lang=en", "phone"),
]


@pytest.mark.parametrize(("path", "screen"), STILL)
async def test_nothing_moves_while_figures_grow(page: Page, site: Site, path: str, screen: str) -> None:
    async with serving(site) as address, visiting(page, address, path, SCREENS[screen]) as visit:
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        for version, scale in ((1235, 1), (1236, 12), (1237, 300), (1238, 1700)):
            grown = totals(version=version, scale=scale)
            newcomer = (*grown.by_carrier, CarrierTotals("gmobile", 1, 1, 20_000)) if scale > 12 else grown.by_carrier
            grown = replace(grown, by_carrier=newcomer, received_vnd=grown.pledged_vnd - 1)
            site.post(replace(grown, uncounted=(12 * scale, 7 * scale, scale)))
            await expect(page.locator(f"[data-campaign={POOR.slug}]")).to_have_attribute("data-version", str(version))
            await page.wait_for_timeout(60)
        assert await page.evaluate("window.shifts") == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visit.require_quiet()


async def test_a_lower_version_is_ignored(page: Page, site: Site) -> None:
    async def backwards(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        last = replace(totals(version=1301, scale=7), messages=14_001)
        for figures in (totals(version=1300, scale=7), totals(version=1299, scale=1), totals(version=1300), last):
            await stream.write(encode(figures).frame)
        await asyncio.sleep(30)
        return stream

    site.stream = backwards
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}"):
        await expect(page.locator(".hero .counts dd").first).to_have_text("14.001")
        shown = await page.evaluate("window.figures")
        assert shown == [VI.money(90_000_000), VI.money(630_000_000)]


async def test_a_lost_connection_is_shown_and_found_again(clocked: Page, site: Site) -> None:
    gate = asyncio.Event()

    async def falling(request: web.Request) -> web.StreamResponse:
        if gate.is_set():
            raise web.HTTPServiceUnavailable
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b"retry: 200\n\n" + encode(totals(version=1300, scale=2)).frame)
        await gate.wait()
        return stream

    site.stream = falling
    page = clocked
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}"):
        await expect(page.locator("#connection")).to_have_text("Đang cập nhật trực tiếp")
        gate.set()
        await page.wait_for_timeout(1_000)
        await pass_time(page, seconds=2)
        await expect(page.locator("#lost")).to_contain_text("Mất kết nối.")
        await expect(page.locator(".hero .figure .money")).to_have_text("180.000.000 ₫")
        # The stream stays refused: the page asks for the figures themselves instead.
        site.post(totals(version=1310, scale=3))
        await pass_time(page, seconds=16)
        await expect(page.locator(".hero .figure .money")).to_have_text("270.000.000 ₫")
        gate.clear()
        await pass_time(page, seconds=16)
        await expect(page.locator("#connection")).to_have_text("Đang cập nhật trực tiếp")
        await expect(page.locator("#lost")).to_be_empty()
        # A question that failed, or a network that was away, beside a stream that is open still.
        await page.route("**/totals", lambda route: route.fulfill(status=503))
        await pass_time(page, seconds=18)
        await expect(page.locator("#lost")).to_contain_text("Mất kết nối.")
        await page.unroute("**/totals")
        await pass_time(page, seconds=16)
        await expect(page.locator("#lost")).to_be_empty()
        assert await page.evaluate("window.shifts") == []


async def test_the_pulse_tells_an_old_board_and_redraws_the_hour(clocked: Page, site: Site) -> None:
    site.series = Series(1, ())
    page = clocked
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}") as visit:
        await expect(page.locator("#chart-peak")).to_have_text("Chưa có tin nhắn nào trong 60 phút qua.")
        # A gift that the chart does not know yet.
        site.post(replace(totals(version=1239), pledged_vnd=20_000))
        await expect(page.locator(".hero .reached")).to_have_text("đạt dưới 0,1%")
        await expect(page.locator("#chart-peak")).to_have_text("")
        start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
        site.series = Series(2, (Point(start, 1_500, 3_500, 70_000_000, ()),))
        # A series that is refused once is asked for again, though nothing else is new.
        await page.route("**/series?*", lambda route: route.fulfill(status=503))
        site.post(totals(version=1240))
        await pass_time(page, seconds=16)
        await page.unroute("**/series?*")
        assert [each for each in visit.complaints if "503" not in each] == []
        visit.complaints.clear()
        site.post(seconds_ago=190)
        await pass_time(page, seconds=16)
        await expect(page.locator("#stale")).to_contain_text("cách đây 3 phút")
        time = f"{start.astimezone(VIETNAM):%H:%M}"
        await expect(page.locator("#chart-peak")).to_have_text(f"Cao nhất 1.500 tin nhắn trong một phút, lúc {time}.")
        row = page.locator("#minutes tbody tr", has=page.locator(f"th:text-is('{time}')"))
        assert (await row.all_text_contents())[0].split() == [time, "1.500", "70.000.000", "₫"]
        assert await page.locator("#chart rect[height='100']").count() == 1
        assert await page.evaluate("window.shifts") == []
        visit.require_quiet()


async def test_the_keyboard_alone_reaches_the_language_and_shows_where_it_is(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}", PHONE) as visit:
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await expect(page.locator(".skip")).to_be_in_viewport()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        switch = page.locator("a.language")
        await expect(switch).to_be_focused()
        await expect(switch).to_have_css("outline-style", "solid")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{address}/c/{POOR.slug}?lang=en")
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        visit.require_quiet()


async def test_the_api_can_be_read_by_the_keyboard_alone(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, "/api/docs") as visit:
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
        unchanged = page.get_by_role("button", name="304").first
        await expect(unchanged).to_be_visible()
        for _ in range(20):
            await page.keyboard.press("Tab")
            if await unchanged.evaluate("(each) => each.getRootNode().activeElement === each"):
                break
        await expect(unchanged).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Nothing has changed since").first).to_be_visible()
        visit.require_quiet()


async def test_no_figure_breaks_in_two_on_a_small_phone(page: Page, site: Site) -> None:
    site.post(totals(version=1240, scale=1_911))
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}", (320, 640)):
        await expect(page.locator("[data-count='viettel.messages']")).to_have_text("2.293.200")
        broken = await page.evaluate(BROKEN_FIGURES)
        assert broken == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_paper_shows_dark_figures_bars_and_where_it_came_from(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}"):
        await page.emulate_media(media="print", color_scheme="dark")
        await expect(page.locator("body")).to_have_css("color", "rgb(0, 0, 0)")
        await expect(page.locator("progress")).to_have_css("print-color-adjust", "exact")
        await expect(page.locator("#address")).to_have_text(f"{address}/c/{POOR.slug}")
        await expect(page.locator("#address")).to_be_visible()
        await expect(page.locator("#copy")).to_be_hidden()
        await page.emulate_media(media="null", color_scheme="null")


async def test_the_line_to_quote_can_be_copied(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}"):
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        await page.locator("#copy").click()
        await expect(page.locator("#copied")).to_have_text("Đã sao chép")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == await page.locator("#quote-line").text_content()
        told = f"{VI.messages(2_000)}, {VI.money(90_000_000)} ("
        assert copied.startswith(f"{VI.as_of(NOW)}: {told}")


async def test_an_open_page_turns_with_the_book_and_keeps_the_focus(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}") as visit:
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        await page.locator("summary").focus()
        await page.keyboard.press("Enter")
        # An early close by another decision, under another name, while the reader stands in the page.
        closed = Decision("9/QĐ", POOR.opens_at, site.now)
        renamed = replace(POOR, name_vi="Vì người nghèo", decisions=(*POOR.decisions, closed))
        site.book = Book(8, (renamed, ORANGE, VACCINE), site.book.organisations.values())
        site.post(totals(version=1240))
        await promptly(2, expect(page.locator(".state")).to_have_text("Đã kết thúc"))
        await expect(page.locator("h1")).to_have_text("Vì người nghèo")
        await expect(page.locator("#quote-line")).to_contain_text("– Vì người nghèo.")
        await expect(page.locator(".decisions")).to_contain_text("9/QĐ")
        await expect(page.locator("summary")).to_be_focused()
        assert await page.locator("details").get_attribute("open") is not None
        visit.require_quiet()


async def test_an_open_page_of_a_withdrawn_campaign_says_so_and_comes_back_with_it(page: Page, site: Site) -> None:
    whole = site.book
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}?lang=en"):
        await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        site.book = Book(8, (ORANGE, VACCINE), whole.organisations.values(), (POOR.slug,))
        await promptly(2, expect(page.locator("h1")).to_have_text("This campaign has been withdrawn"))
        await expect(page.locator("h2")).to_have_text("Chiến dịch này đã được rút lại")
        await expect(page.locator("main")).to_be_focused()
        await expect(page).to_have_title("This campaign has been withdrawn – Humanitarian Portal 1400")
        await expect(page.locator("article, [data-money], .sms")).to_have_count(0)
        site.book = Book(9, whole.campaigns, whole.organisations.values())
        await promptly(4, expect(page.locator("h1")).to_have_text("Hands together for the poor 2026"))


async def test_live_is_never_said_over_a_board_that_reads_no_more(page: Page, site: Site) -> None:
    async with serving(site) as address, visiting(page, address, f"/c/{POOR.slug}"):
        stale = page.locator("#stale")
        async with site.being_read():
            await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
            await expect(stale).to_be_empty()
        await promptly(3, expect(stale).to_contain_text("có thể đã cũ"))
        await expect(page.locator("#connection")).to_be_hidden()
        async with site.being_read():
            await promptly(1.5, expect(stale).to_be_empty())
