"""The files that pages need, and those that are looked for unasked: icons, robots.txt, the sitemap."""

from collections.abc import Callable

from aiohttp import web

from campaigns.book.book import Book
from service.listeners.entity import Entity, answer
from service.pages.addresses import robots, sitemap
from service.web.assets import Assets

COMMON_HEADERS = {"X-Content-Type-Options": "nosniff"}
FOR_EVER = "public, max-age=31536000, immutable"
A_DAY = "public, max-age=86400"
AN_HOUR = "public, max-age=3600"
ROOT_FILES = {
    "/favicon.ico": "favicon.ico",
    "/apple-touch-icon.png": "touch-icon.png",
    "/apple-touch-icon-precomposed.png": "touch-icon.png",
}
"""What is asked for without having read any page's links."""


class SiteFiles:
    """Serves them. `origin` is how the outside reaches us; empty where nobody has said it."""

    def __init__(self, assets: Assets, book: Callable[[], Book], origin: str) -> None:
        self._edition = assets.edition
        self._book = book
        self._origin = origin
        self._files = {
            name: Entity((asset.body,), asset.content_type, tag=asset.etag) for name, asset in assets.by_name.items()
        }

    async def static(self, request: web.Request) -> web.Response:
        """`GET /static/{edition}/{name}`: a file of the list, for ever under its own hash.

        While workers of two releases run side by side, a page may ask for the other's edition: it gets ours,
        which nobody keeps.
        """
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        current = request.match_info["edition"] == self._edition
        return await self._file(request, name, FOR_EVER if current else "no-cache")

    async def root_file(self, request: web.Request) -> web.Response:
        """A file at the address where it is looked for unasked."""
        return await self._file(request, ROOT_FILES[request.path], A_DAY)

    async def robots(self, request: web.Request) -> web.Response:
        """`GET /robots.txt`: pages may be indexed, callbacks and the API not."""
        entity = Entity((robots(self._origin).encode(),), "text/plain; charset=utf-8")
        return await answer(request, entity, {**COMMON_HEADERS, "Cache-Control": A_DAY})

    async def sitemap(self, request: web.Request) -> web.Response:
        """`GET /sitemap.xml`: every page in both languages; not found where nobody has said how we are reached."""
        if not self._origin:
            raise web.HTTPNotFound
        book = self._book()
        entity = Entity((sitemap(self._origin, book).encode(),), "application/xml; charset=utf-8")
        return await answer(request, entity, {**COMMON_HEADERS, "Cache-Control": AN_HOUR})

    async def _file(self, request: web.Request, name: str, cache_control: str) -> web.Response:
        return await answer(request, self._files[name], {**COMMON_HEADERS, "Cache-Control": cache_control})
