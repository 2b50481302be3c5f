"""The public pages: the live campaigns, one campaign, and the way from a mistyped address."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Hashable, Iterable
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from markupsafe import Markup

from campaigns.book.book import Book, Campaign
from campaigns.gifts.corrections import Correction
from campaigns.totals.rollups import Series
from campaigns.totals.totals import CampaignTotals
from metrics.board import Board
from service.listeners.entity import Entity, answer
from service.live.corrections import CorrectionsOf
from service.pages.addresses import (
    campaign_address,
    meant_address,
    prefers_html,
    suffix_of,
)
from service.pages.chart import draw
from service.pages.site_files import AN_HOUR, COMMON_HEADERS, ROOT_FILES, SiteFiles
from service.pages.views import campaign_view, group, name_of
from service.postgres.database import DatabaseAway
from service.runtime.slices import Slices
from service.web.assets import Assets
from service.web.compiled import Templates, load_templates
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
HTML = "text/html; charset=utf-8"
NOT_OF_PAGES = re.compile(r"/(api|gw|static)(/|$)")
"""Addresses of programs, which want a problem and no page."""


LastHour = Callable[[int, datetime], Awaitable[Series | None]]
"""The minutes of a campaign, by its id, up to a moment; None where they cannot be had in time."""


def routes(pages: "Pages") -> list[web.RouteDef]:
    """The pages' routes."""
    return [
        web.get("/", pages.front),
        web.get("/c/{slug}", pages.campaign),
        web.get("/static/{edition}/{name}", pages.files.static),
        *(web.get(path, pages.files.root_file) for path in ROOT_FILES),
        web.get("/robots.txt", pages.files.robots),
        web.get("/sitemap.xml", pages.files.sitemap),
    ]


class Pages:
    """Renders what the board shows. A page is rendered once per language and state, however many ask for it."""

    def __init__(
        self,
        board: Board,
        book: Callable[[], Book],
        last_hour: LastHour,
        corrections_of: CorrectionsOf,
        clock: Callable[[], datetime],
        public_url: str | None,
    ) -> None:
        """`last_hour` gives a campaign's minutes up to now; without them its page goes without the chart.

        `clock` is aware; it decides states, and is not used for anything that is counted. Without `public_url`, how
        the outside reaches us, pages name no whole address of theirs.
        """
        self._origin = (public_url or "").rstrip("/")
        self._board = board
        self._book = book
        self._last_hour = last_hour
        self._corrections_of = corrections_of
        self._clock = clock
        self._words = load_words()
        self._assets = Assets()
        self.files = SiteFiles(self._assets, book, self._origin)
        self._templates: Templates | None = None
        self._loading = asyncio.Lock()
        self._rendered: dict[tuple[str, Language], tuple[Hashable, Entity]] = {}
        self._cards: dict[tuple[str, Language], tuple[Hashable, Markup]] = {}

    async def front(self, request: web.Request) -> web.Response:
        """`GET /`: open campaigns, then upcoming, then recently closed."""
        words = await self._speak(request)
        book, now = self._book(), self._clock()
        groups = group(book.campaigns, now)
        slices = Slices()

        async def cards(campaigns: Iterable[Campaign]) -> tuple[Markup, ...]:
            made = []
            for campaign in campaigns:
                made.append(self._card(campaign, book, words, now))
                await slices.pause()
            return tuple(made)

        lists = {
            "open": await cards(groups.open),
            "upcoming": await cards(groups.upcoming),
            "closed": await cards(groups.closed),
        }
        stale = self._stale(words)
        state = (book.version, stale, len(groups.older), tuple(lists.values()))

        def render() -> str:
            older = [(campaign_address(each.slug), *name_of(each, words)) for each in groups.older]
            return self._render("list.html", words, "/", stale=stale, older=older, **lists)

        return await self._page(request, self._remembered("/", words, state, render), words)

    async def campaign(self, request: web.Request) -> web.Response:
        """`GET /c/{slug}`: one campaign; an unknown one is a kind 404 in both languages, a withdrawn one a 410."""
        words = await self._speak(request)
        slug = request.match_info["slug"]
        book = self._book()
        campaign = book.by_slug.get(slug)
        if campaign is None:
            meant = self._meant(request)
            if meant is not None:
                return meant
            return self._absent("withdrawn", words, 410) if slug in book.withdrawn else self._absent("missing", words)
        series = await self._last_hour(campaign.id, self._clock())
        corrections = await self._corrections(campaign.id)
        # Taken after the wait: what is shown is what the board has now.
        now, stale = self._clock(), self._stale(words)
        view = campaign_view(campaign, book, self._totals(slug), words, now, corrections)
        minute = now.replace(second=0, microsecond=0)
        version = view.totals.version if view.totals else None
        path = campaign_address(slug)

        def render() -> str:
            chart = draw(series, now) if series else None
            return self._render("campaign.html", words, path, stale=stale, view=view, chart=chart)

        state = (book.version, stale, version, view.state, minute, series, corrections)
        return await self._page(request, self._remembered(path, words, state, render), words)

    async def _corrections(self, campaign_id: int) -> tuple[Correction, ...]:
        try:
            return tuple(await self._corrections_of(campaign_id))
        except DatabaseAway:
            # Then no figure is shown either.
            return ()

    @web.middleware
    async def lead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who mistyped the address of a page is led to the one that was meant, or told kindly that there is none."""
        try:
            return await handler(request)
        except web.HTTPNotFound:
            if request.method not in ("GET", "HEAD") or NOT_OF_PAGES.match(request.path):
                raise
            meant = self._meant(request)
            if meant is None and not prefers_html(request.headers.get("Accept", "")):
                raise
        return meant if meant is not None else self._absent("nowhere", await self._speak(request))

    def _meant(self, request: web.Request) -> web.Response | None:
        """The way to the page that an address must mean, unless it is that address."""
        meant = meant_address(request.path, self._book())
        if meant is None or meant.path == request.path:
            return None
        query = request.rel_url.raw_query_string if meant.language is None else f"lang={meant.language}"
        location = f"{meant.path}?{query}" if query else meant.path
        return web.Response(status=301, headers={**COMMON_HEADERS, "Location": location, "Cache-Control": AN_HOUR})

    def _absent(self, why: str, words: Words, status: int = 404) -> web.Response:
        """In both languages: whoever comes by a wrong address may have lost the language on the way."""
        other = self._words[Language.EN if words.language is Language.VI else Language.VI]
        body = self._render("absent.html", words, None, other=other, why=why)
        headers = {**self._page_headers(words), "Vary": "Accept", "Content-Type": HTML}
        return web.Response(body=body.encode(), status=status, headers=headers)

    async def _speak(self, request: web.Request) -> Words:
        """The words of the page that is asked for, with the templates to set them in.

        By the address alone, so that every cache holds the right page; Vietnamese unless asked otherwise.
        """
        async with self._loading:
            if self._templates is None:
                self._templates = await asyncio.to_thread(load_templates, for_desk=False)
        return self._words[Language.EN if request.query.get("lang") == Language.EN else Language.VI]

    def _stale(self, words: Words) -> str | None:
        age = self._board.age_seconds
        if age is None:
            return words("never_seen")
        return words("stale", ago=words.ago(age)) if age >= STALE_SECONDS else None

    def _totals(self, slug: str) -> CampaignTotals | None:
        snapshot = self._board.get(slug)
        return snapshot.totals if snapshot else None

    def _card(self, campaign: Campaign, book: Book, words: Words, now: datetime) -> Markup:
        """A campaign on the front page, rendered once for each book, state and version."""
        totals = self._totals(campaign.slug)
        state = (book.version, campaign.state_at(now), totals.version if totals else None)
        key = (campaign.slug, words.language)
        known = self._cards.get(key)
        if known is None or known[0] != state:
            view = campaign_view(campaign, book, totals, words, now)
            known = self._cards[key] = state, Markup(self._fill("card.html", words, view=view))  # noqa: S704 -- ours
        return known[1]

    def _remembered(self, path: str, words: Words, state: Hashable, render: Callable[[], str]) -> Entity:
        """The page rendered for this very state, or rendered now. One is kept per address and language."""
        known = self._rendered.get((path, words.language))
        if known is None or known[0] != state:
            known = self._rendered[path, words.language] = state, Entity((render().encode(),), HTML)
        return known[1]

    def _render(self, template: str, words: Words, path: str | None, **values: Any) -> str:
        """A whole page; `path` is its address without the language, None for a page that has no place of its own."""
        every = {"assets": self._assets, "book_version": self._book().version, "origin": self._origin, "path": path}
        return self._fill(template, words, **every, **values)

    def _fill(self, template: str, words: Words, **values: Any) -> str:
        templates = self._templates
        assert templates is not None  # noqa: S101 -- whoever answers with a page has had them loaded
        suffix = suffix_of(words.language)
        return templates.by_name[template].render(w=words, suffix=suffix, parts=templates.parts, **values)

    async def _page(self, request: web.Request, entity: Entity, words: Words) -> web.Response:
        return await answer(request, entity, self._page_headers(words))

    def _page_headers(self, words: Words) -> dict[str, str]:
        age = self._board.age_seconds
        return {
            **COMMON_HEADERS,
            **PAGE_HEADERS,
            "Content-Language": words.language.value,
            "x-portal1400-age-seconds": "unknown" if age is None else f"{age:.1f}",
        }
