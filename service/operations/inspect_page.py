"""/inspect/{account} on the internal listener: an account's callbacks as they come, step by step. For operators."""

import asyncio
from contextlib import suppress

import orjson
from aiohttp import web

from service.intake.inspection import HouseFull, Inspection, Viewer
from service.listeners.problems import problem
from service.operations.siblings import INSTALLATION_HEADER, Siblings
from service.runtime.tasks import cancel_and_wait

COMMENT_SECONDS = 15.0
"""A stream on which nothing comes says so much to those between."""
LOOK_SECONDS_MAX = 3600.0
"""After so long a viewer has to ask again; the page does by itself."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Inspect - portal1400</title><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1a1a1a; background: #fff }
article { border: 1px solid #ccc; border-radius: .4rem; margin: 0 0 1rem; padding: .6rem .9rem }
h2 { font-size: 1rem; margin: 0 0 .4rem } ol { margin: 0; padding-left: 1.4rem } b { font-weight: 600 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; margin: .1rem 0 .3rem }
dd { margin: 0; overflow-wrap: anywhere } .no { color: #a4130b } .yes { color: #1c6b2a }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616 } article { border-color: #555 }
.no { color: #ff8a80 } .yes { color: #81d38d } }
</style></head><body><h1>Inspect</h1><p id="state" role="status">connecting</p>
<p>Callbacks to this account from now on, the newest first. Secrets and numbers are not shown; texts are, of a test
account alone. <a href="/admin/gateways">All gateways</a></p><main id="seen"></main><script>
const KEPT = 100, list = document.getElementById("seen"), state = document.getElementById("state");
const add = (parent, name, text, kind) => { const made = document.createElement(name);
  if (text !== undefined) made.textContent = text; if (kind) made.className = kind;
  parent.append(made); return made; };
const pairs = (parent, values) => { const list = add(parent, "dl");
  for (const [name, value] of Object.entries(values)) { add(list, "dt", name); add(list, "dd", String(value)); } };
const stream = new EventSource(location.pathname.replace(/[/]$/, "") + "/stream");
stream.onopen = () => { state.textContent = "listening"; };
stream.onerror = () => { state.textContent = "not connected; trying again"; };
stream.addEventListener("callback", (event) => {
  const seen = JSON.parse(event.data), card = document.createElement("article");
  if (seen.left_out) add(card, "p", `${seen.left_out} before this one were left out: they came faster than shown`);
  add(card, "h2", [seen.at, seen.request, seen.test ? "test" : ""].filter(Boolean).join("  "));
  const steps = add(card, "ol");
  for (const { step, passed, says, fields, ...more } of seen.steps) {
    const item = add(steps, "li"); add(item, "b", step);
    if (says !== undefined) add(item, "span", ": " + says, passed === false ? "no" : passed ? "yes" : "");
    pairs(item, { ...fields, ...more });
  }
  list.prepend(card);
  while (list.childElementCount > KEPT) list.lastElementChild.remove();
});
</script></body></html>
"""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def routes(inspection: Inspection, siblings: Siblings) -> list[web.RouteDef]:
    """The page, and the stream of server-sent events that it reads: of all workers of this machine."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html", headers=HEADERS)

    async def stream(request: web.Request) -> web.StreamResponse:
        code = request.match_info["account"]
        try:
            with inspection.watching(code) as viewer:
                return await _streamed(request, viewer, siblings, code)
        except HouseFull:
            return problem(503, "full", "Full", "too many look already; try again soon")

    return [web.get("/inspect/{account}", page), web.get("/inspect/{account}/stream", stream, allow_head=False)]


async def _streamed(request: web.Request, viewer: Viewer, siblings: Siblings, code: str) -> web.StreamResponse:
    headers = {"Cache-Control": "no-store", INSTALLATION_HEADER: siblings.installation}
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b": looking\n\n")
    others: list[asyncio.Task[None]] = []
    if "own" not in request.query:
        others = await siblings.follow(f"/inspect/{code}/stream?own", viewer.put)
    try:
        with suppress(ConnectionError):
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                await _tell(response, viewer)
    except TimeoutError:
        return response
    finally:
        await cancel_and_wait(*others)
    return response


async def _tell(response: web.StreamResponse, viewer: Viewer) -> None:
    """Until the viewer is gone, which the next comment shows, or the worker ends."""
    coming = asyncio.ensure_future(viewer.next())
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=COMMENT_SECONDS)
            if not done:
                await response.write(b": nothing yet\n\n")
                continue
            seen = coming.result()
            if seen is None:
                return
            await response.write(b"event: callback\ndata: " + orjson.dumps(seen) + b"\n\n")
            coming = asyncio.ensure_future(viewer.next())
    finally:
        coming.cancel()
