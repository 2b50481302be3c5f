"""What is refused under overload, and how: the public side first, in one order; callbacks never here."""

import re
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.listeners.overload import PAGES_REFUSED, STREAMS_CALMER, TOTALS_REFUSED
from service.listeners.problems import problem

RETRY_AFTER_SECONDS = 15


class Surface(NamedTuple):
    """A part of the public side: its name in the metric, its addresses, and the level that refuses it."""

    name: str
    addresses: re.Pattern[str]
    refused_from: int


SURFACES = (
    Surface("stream", re.compile(r"/api/v1/stream"), STREAMS_CALMER),
    Surface("totals", re.compile(r"/api/v1/totals|/api/v1/campaigns/[^/]+/totals"), TOTALS_REFUSED),
    Surface("series", re.compile(r"/api/v1/campaigns/[^/]+/series"), PAGES_REFUSED),
    Surface("desk", re.compile(r"/desk(/.*)?", re.DOTALL), TOTALS_REFUSED),
    Surface("docs", re.compile(r"/api/docs(/.*)?|/api/v1/openapi\.json"), PAGES_REFUSED),
    Surface("api", re.compile(r"/api/.*"), PAGES_REFUSED),
    Surface("page", re.compile(r".*", re.DOTALL), PAGES_REFUSED),
)
"""The first that fits. What fits nowhere else is a page or a file of one."""

BUSY_PAGE = """<!doctype html>
<html lang="vi"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>1400</title></head><body>
<h1>Cổng 1400 đang có rất đông người xem</h1>
<p>Tin nhắn ủng hộ vẫn được tiếp nhận. Xin mở lại trang này sau ít phút.</p>
<div lang="en"><h2>Portal 1400 has very many visitors right now</h2>
<p>Text gifts are still being taken. Please open this page again in a few minutes.</p></div>
</body></html>
""".encode()
BUSY_HEADERS = {
    "Retry-After": str(RETRY_AFTER_SECONDS),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
PAGE_POLICY = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Content-Language": "vi, en"}


def surface_of(path: str) -> Surface:
    """The surface an address belongs to."""
    return next(each for each in SURFACES if each.addresses.fullmatch(path))


def shedding(level: Callable[[], int], count: Callable[[str], None]) -> Middleware:
    """Refuse what the level of the moment refuses. `count` hears the surface of each refusal."""

    @web.middleware
    async def shed(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = level()
        # What reads nothing is refused below anyhow, and more truly.
        if not now or request.method not in ("GET", "HEAD"):
            return await handler(request)
        surface = surface_of(request.path)
        if now < surface.refused_from:
            return await handler(request)
        count(surface.name)
        return _busy(surface)

    return shed


def _busy(surface: Surface) -> web.Response:
    if surface.name in ("desk", "page"):
        return web.Response(
            status=503, body=BUSY_PAGE, content_type="text/html", charset="utf-8", headers=BUSY_HEADERS | PAGE_POLICY
        )
    detail = f"the service is busy taking gifts; try again after {RETRY_AFTER_SECONDS} seconds"
    response = problem(503, "busy", "Busy", detail)
    response.headers.update(BUSY_HEADERS)
    return response
