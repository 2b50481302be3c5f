"""/api/v1/openapi.json, and /api/docs: a page to read it that asks nobody else for anything."""

import asyncio
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import orjson
from aiohttp import web

from service.listeners.entity import Entity, answer

# `read` lays everything out at once: what would have to be unfolded, RapiDoc unfolds for the mouse alone.
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>portal1400 API</title>
<meta name="description" content="The API of portal1400: campaigns, live totals, series, stream, campaign desk.">
<link rel="icon" href="/favicon.ico">
<style>
body { margin: 0; color: #1d1a18; background: #fff; font-family: system-ui, sans-serif; }
header { padding: 0.8rem 1.2rem; border-bottom: 1px solid #ddd6cf; }
h1 { margin: 0; font-size: 1.3rem; }
p { margin: 0.2rem 0 0; }
a { color: #a3141a; }
a:focus-visible { outline: 3px solid #a3141a; outline-offset: 3px; }
rapi-doc { display: block; height: auto; min-height: 80vh; --blue: #17527a !important; --green: #35620a !important;
  --light-fg: #59524d !important; --fg3: #59524d !important; }
</style>
<script src="/api/docs/rapidoc.js" defer></script>
</head>
<body>
<header>
<h1>portal1400 API</h1>
<p><a href="/api/v1/openapi.json">OpenAPI document (JSON)</a> \xc2\xb7 <a href="/">Portal</a></p>
</header>
<rapi-doc spec-url="/api/v1/openapi.json" render-style="read" load-fonts="false" show-header="false"
  show-side-nav="false" allow-authentication="false" allow-server-selection="false" allow-try="false"
  schema-style="tree" schema-expand-level="9" schema-description-expanded="true" theme="light" bg-color="#ffffff"
  text-color="#1d1a18" primary-color="#a3141a" regular-font="system-ui, sans-serif"></rapi-doc>
<noscript><p>The document is at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p></noscript>
</body>
</html>
"""
# The reader styles itself inside its shadow root; nothing may come from elsewhere.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


Described = Callable[[], Mapping[str, Any]]


def _encoded(public_url: str | None, more: Described) -> bytes:
    """The document's bytes. Its module and the library behind it are read here: a start that waits for them is longer
    by a tenth, and most processes are never asked for the document.
    """
    from service.live.openapi_document import document

    return orjson.dumps(document(public_url, more()))


def routes(public_url: str | None, more: Described = dict) -> list[web.RouteDef]:
    """The document, the page, and its one script. The document is made when it is first asked for, in a thread.

    `more` describes the addresses of those who log in.
    """
    made: list[Entity] = []
    making = asyncio.Lock()
    read_by = Entity((PAGE,), "text/html; charset=utf-8")
    script = resources.files("service").joinpath("web/vendor/rapidoc-min.js").read_bytes()
    reader_script = Entity((script,), "text/javascript; charset=utf-8")

    async def openapi(request: web.Request) -> web.Response:
        async with making:
            if not made:
                made.append(Entity((await asyncio.to_thread(_encoded, public_url, more),), "application/json"))
        return await answer(request, made[0], {"Cache-Control": "no-cache"})

    async def page(request: web.Request) -> web.Response:
        return await answer(request, read_by, PAGE_HEADERS)

    async def reader(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return await answer(request, reader_script, headers)

    return [
        web.get("/api/v1/openapi.json", openapi),
        web.get("/api/docs", page),
        web.get("/api/docs/rapidoc.js", reader),
    ]
