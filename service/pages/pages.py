"""The public pages: the live campaigns, one campaign, and the files they need."""

from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from importlib.resources import files
from typing import Any

from aiohttp import web
from jinja2 import DictLoader, Environment, StrictUndefined
from yarl import URL

from campaigns.book.book import Book, Campaign
from campaigns.totals.rollups import Series
from metrics.board import Board
from service.pages.chart import draw
from service.pages.views import CampaignView, campaign_view, group
from service.web.assets import Asset, Assets
from service.web.words import Language, Words, load_words

STALE_SECONDS = 2.0
"""The board reads every second even when nothing happens; older than this, a page says so, as the stream does."""

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Long enough that a cache in front takes the crowd, short enough that nobody sees an old number.
    "Cache-Control": "public, max-age=1",
}
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff"}
FOR_EVER = "public, max-age=31536000, immutable"
ROBOTS = "User-agent: *\nDisallow: /api/\nDisallow: /gw/\n"


LastHour = Callable[[int, datetime], Awaitable[Series | None]]
"""The minutes of a campaign, by its id, up to a moment; None where they cannot be had in time."""


def routes(
    board: Board,
    book: Callable[[], Book],
    last_hour: LastHour,
    clock: Callable[[], datetime],
) -> list[web.RouteDef]:
    """The pages' routes.

    `last_hour` gives a campaign's minutes up to now; without them the page goes without its chart.
    `clock` is aware; it decides states, and is not used for anything that is counted.
    """
    pages = Pages(board, book, last_hour, clock)
    return [
        web.get("/", pages.front),
        web.get("/c/{slug}", pages.campaign),
        web.get("/static/{edition}/{name}", pages.static),
        web.get("/favicon.ico", pages.icon),
        web.get("/robots.txt", pages.robots),
    ]


class Pages:
    """Renders what the board shows. A page is rendered once per language and state, however many ask for it."""

    def __init__(
        self, board: Board, book: Callable[[], Book], last_hour: LastHour, clock: Callable[[], datetime]
    ) -> None:
        self._board = board
        self._book = book
        self._last_hour = last_hour
        self._clock = clock
        self._words = load_words()
        self._assets = Assets()
        self._templates = _templates()
        self._rendered: dict[tuple[str, Language], tuple[Hashable, str]] = {}

    async def front(self, request: web.Request) -> web.Response:
        """`GET /`: open campaigns, then upcoming, then recently closed."""
        words = self._choose_words(request)
        book, now, stale = self._book(), self._clock(), self._stale(words)
        groups = group(book.campaigns, now)
        state = (
            book.version,
            stale,
            tuple(len(each) for each in (groups.open, groups.upcoming, groups.closed, groups.older)),
            tuple(snapshot.totals.version for snapshot in self._board.snapshots),
        )

        def views(campaigns: tuple[Campaign, ...]) -> list[CampaignView]:
            return [self._view(campaign, book, words, now) for campaign in campaigns]

        def render() -> str:
            return self._render(
                "list.html",
                words,
                "/",
                stale=stale,
                open=views(groups.open),
                upcoming=views(groups.upcoming),
                closed=views(groups.closed),
                older=views(groups.older),
            )

        return self._page(self._remembered("/", words, state, render), words)

    async def campaign(self, request: web.Request) -> web.Response:
        """`GET /c/{slug}`: one campaign; an unknown one is a kind 404 in both languages, a withdrawn one a 410."""
        words = self._choose_words(request)
        slug = request.match_info["slug"]
        book = self._book()
        campaign = book.by_slug.get(slug)
        if campaign is None:
            return self._absent("withdrawn", words, 410) if slug in book.withdrawn else self._absent("missing", words)
        series = await self._last_hour(campaign.id, self._clock())
        # Taken after the wait: what is shown is what the board has now.
        now, stale = self._clock(), self._stale(words)
        view = self._view(campaign, book, words, now)
        minute = now.replace(second=0, microsecond=0)
        version = view.totals.version if view.totals else None
        path = str(URL.build(path=f"/c/{slug}"))

        def render() -> str:
            chart = draw(series, now) if series else None
            return self._render("campaign.html", words, path, stale=stale, view=view, chart=chart)

        state = (book.version, stale, version, view.state, minute, series)
        return self._page(self._remembered(path, words, state, render), words)

    async def static(self, request: web.Request) -> web.Response:
        """`GET /static/{edition}/{name}`: a file of the list, for ever under its own hash.

        While workers of two releases run side by side, a page may ask for the other's edition: it gets ours,
        which nobody keeps.
        """
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        current = request.match_info["edition"] == self._assets.edition
        return _file(request, asset, FOR_EVER if current else "no-cache")

    async def icon(self, request: web.Request) -> web.Response:
        """`GET /favicon.ico`: the drawn icon; who asks here did not read the page's link."""
        asset = self._assets.get("icon.svg")
        assert asset is not None  # noqa: S101 -- Assets() has read every file of its list
        return _file(request, asset, "public, max-age=86400")

    async def robots(self, _request: web.Request) -> web.Response:
        """`GET /robots.txt`: pages may be indexed, callbacks and the API not."""
        return web.Response(text=ROBOTS, headers={**COMMON_HEADERS, "Cache-Control": "public, max-age=86400"})

    def _absent(self, why: str, words: Words, status: int = 404) -> web.Response:
        """In both languages: whoever comes by a wrong address may have lost the language on the way."""
        other = self._words[Language.EN if words.language is Language.VI else Language.VI]
        return self._page(self._render("absent.html", words, "/", other=other, why=why), words, status)

    def _choose_words(self, request: web.Request) -> Words:
        """By the address alone, so that every cache holds the right page; Vietnamese unless asked otherwise."""
        return self._words[Language.EN if request.query.get("lang") == Language.EN else Language.VI]

    def _stale(self, words: Words) -> str | None:
        age = self._board.age_seconds
        if age is None:
            return words("never_seen")
        return words("stale", ago=words.ago(age)) if age >= STALE_SECONDS else None

    def _view(self, campaign: Campaign, book: Book, words: Words, now: datetime) -> CampaignView:
        snapshot = self._board.get(campaign.slug)
        return campaign_view(campaign, book, snapshot.totals if snapshot else None, words, now)

    def _remembered(self, path: str, words: Words, state: Hashable, render: Callable[[], str]) -> str:
        """The page rendered for this very state, or rendered now. One is kept per address and language."""
        known = self._rendered.get((path, words.language))
        if known is not None and known[0] == state:
            return known[1]
        body = render()
        self._rendered[path, words.language] = (state, body)
        return body

    def _render(self, template: str, words: Words, path: str, **values: Any) -> str:
        return self._templates.get_template(template).render(
            w=words,
            assets=self._assets,
            book_version=self._book().version,
            path=path,
            suffix="" if words.language is Language.VI else f"?lang={words.language}",
            **values,
        )

    def _page(self, body: str, words: Words, status: int = 200) -> web.Response:
        age = self._board.age_seconds
        headers = {
            **COMMON_HEADERS,
            **PAGE_HEADERS,
            "Content-Language": words.language.value,
            "x-portal1400-age-seconds": "unknown" if age is None else f"{age:.1f}",
        }
        return web.Response(text=body, status=status, content_type="text/html", charset="utf-8", headers=headers)


def _templates() -> Environment:
    folder = files("service.web") / "templates"
    sources = {
        each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith(".html")
    }
    return Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _file(request: web.Request, asset: Asset, cache_control: str) -> web.Response:
    headers = {**COMMON_HEADERS, "Cache-Control": cache_control, "ETag": f'"{asset.etag}"'}
    if any(tag.value in (asset.etag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, headers={**headers, "Content-Type": asset.content_type})
