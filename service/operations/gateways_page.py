"""/admin/gateways on the internal listener: how each carrier's link does, as a page and as JSON. For operators."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from campaigns.book.book import VIETNAM
from metrics.carrier_verdicts import LinkHealth
from service.operations.carrier_watch import OWN_PATH, CarrierWatch
from service.runtime.clock import Clock

if TYPE_CHECKING:
    from jinja2 import Template

NO_STORE = {"Cache-Control": "no-store"}
PATH = "/admin/gateways"
MEANING = {
    "silent": "nothing comes, although others send: ask the carrier's duty engineer now",
    "failing": "more than 1 % of its callbacks end in an error: the log has the reason of each",
    "clock": "its message times are over a minute ahead of our clock, or over five behind",
    "gaps": "ids are missing between those that came: portal1400 resend ACCOUNT lists them",
    "good": "",
    "quiet": "nothing in the last 15 minutes, and nothing is missed",
    "never": "has sent nothing genuine since this worker started",
    "test": "for tests: nothing of it is money, and nobody waits for it",
    "off": "stopped by `enabled = false`",
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="15">
<meta name="viewport" content="width=device-width"><title>Gateways - portal1400</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
td { font-variant-numeric: tabular-nums }
.silent, .failing { background: #fde2e0 } .clock, .gaps { background: #fff3cd }
small { color: #555; display: block; max-width: 24rem }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #161616 } th, td { border-color: #444 } small { color: #bbb }
  .silent, .failing { background: #5c1f1b } .clock, .gaps { background: #554400 } }
</style></head><body>
<h1>Gateways</h1>
<p>All workers of this machine together, as of {{ at }}. Rates, clock and ids: the last 15 minutes. The page loads
itself
again every 15 seconds; <a href="/admin/gateways?format=json">as JSON</a>.</p>
<table><thead><tr>
<th scope="col">account</th><th scope="col">state</th><th scope="col">last callback</th><th scope="col">callbacks</th>
<th scope="col">usual in this hour</th><th scope="col">missed since the last</th><th scope="col">repeats</th>
<th scope="col">errors</th><th scope="col">of them ours</th><th scope="col">message to receipt, p50</th>
<th scope="col">p99</th><th scope="col">missing ids</th></tr></thead><tbody>
{% for each in links %}
<tr class="{{ each.state }}"><td><a href="/inspect/{{ each.account }}">{{ each.account }}</a></td>
<td>{{ each.state }}<small>{{ meaning[each.state] }}</small></td>
<td>{{ each.last }}</td><td>{{ each.callbacks }}</td><td>{{ each.usual_hourly_callbacks }}</td>
<td>{{ each.expected_callbacks }}</td><td>{{ each.repeats }}</td><td>{{ each.errors }}</td><td>{{ each.ours }}</td>
<td>{{ each.p50 }}</td><td>{{ each.p99 }}</td><td>{{ each.missing }}</td></tr>
{% endfor %}
</tbody></table>
{% if not links %}<p>No account was applied yet.</p>{% endif %}
</body></html>
"""


def routes(watch: CarrierWatch, clock: Clock) -> list[web.RouteDef]:
    """The page, JSON by `?format=json` or by Accept, and what this worker alone has seen."""

    async def show(request: web.Request) -> web.Response:
        links, now = await watch.links(), clock()
        wants = request.query.get("format", "")
        is_page = wants == "html" or (not wants and "text/html" in request.headers.get("Accept", ""))
        if is_page:
            return web.Response(
                text=await asyncio.to_thread(_page, links, now), content_type="text/html", headers=NO_STORE
            )
        return _json({"at": _local(now.timestamp()), "gateways": [_document(each) for each in links]})

    async def own(_request: web.Request) -> web.Response:
        return _json(await watch.own())

    return [web.get(PATH, show), web.get(OWN_PATH, own)]


def _json(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json", headers=NO_STORE)


def _document(link: LinkHealth) -> dict[str, object]:
    last = link.last_callback_at
    return asdict(link) | {"last_callback_at": None if last is None else _local(last)}


@cache
def _template() -> "Template":
    # Loaded and compiled for whoever asks first: no start of a worker waits for it.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(PAGE)


def _page(links: Sequence[LinkHealth], now: datetime) -> str:
    rows = [
        asdict(each)
        | {
            "last": _ago(each.silent_seconds),
            "repeats": _percent(each.duplicate_share),
            "errors": _percent(each.error_share),
            "ours": _percent(each.our_error_share),
            "p50": _seconds(each.delay_p50_seconds),
            "p99": _seconds(each.delay_p99_seconds),
            "missing": "-" if each.missing_ids is None else each.missing_ids,
        }
        for each in links
    ]
    return _template().render(links=rows, meaning=MEANING, at=_local(now.timestamp()))


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, VIETNAM).isoformat(timespec="seconds")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:+g} s"


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return f"{seconds:.0f} s ago" if seconds < 600 else f"{seconds / 60:.0f} min ago"
