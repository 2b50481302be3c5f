"""The internal listener: Prometheus, and the probes of an orchestrator. Not for the public."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics

from service.listeners.middleware import errors_as_problems


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this worker can take callbacks, and what is not as it should be."""

    is_started: bool
    can_accept: bool
    degraded: tuple[str, ...]
    book_version: int = 0
    """Of the book by which it reads now."""
    secret_keys: int = 1
    """How many secret keys it can open with: two while one takes the other's place."""


class Exposition(NamedTuple):
    """A format of the metrics."""

    encode: Callable[[CollectorRegistry], bytes]
    content_type: str


TEXT = Exposition(exposition.generate_latest, exposition.CONTENT_TYPE_PLAIN_0_0_4)
OPENMETRICS = Exposition(openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST)
OPENMETRICS_VERSION = "1.0.0"


def accepted_format(accept: str) -> Exposition:
    """OpenMetrics for those who ask for the version there is, or for none; the text format for everybody else.

    Any header is understood, with quoted parameters (RFC 9110, section 5.6.6) and unknown versions too.
    """
    for each in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        version = {name.strip(): value.strip(' \t"') for name, _, value in pairs}.get("version", OPENMETRICS_VERSION)
        if (kind, version) == ("application/openmetrics-text", OPENMETRICS_VERSION):
            return OPENMETRICS
    return TEXT


def application(
    registry: CollectorRegistry,
    health: Callable[[], Health],
    more: Sequence[web.RouteDef] = (),
    *,
    look: Callable[[], None] = lambda: None,
) -> web.Application:
    """What the internal listener serves: the probes, and `more`, for operators. `look` comes before each scrape."""
    app = web.Application(middlewares=[errors_as_problems])
    app.add_routes([*routes(registry, health, look), *more])
    return app


def routes(registry: CollectorRegistry, health: Callable[[], Health], look: Callable[[], None]) -> list[web.RouteDef]:
    """/metrics, /livez, /readyz, /startupz."""
    # Its own thread: a disk that hangs may hold all of those that are shared, and one scrape at a time is enough.
    encoder = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    async def metrics(request: web.Request) -> web.Response:
        look()
        wanted = accepted_format(request.headers.get("Accept", ""))
        # Hundreds of campaigns are tens of thousands of samples: callbacks do not wait for them.
        body = await asyncio.get_running_loop().run_in_executor(encoder, wanted.encode, registry)
        return web.Response(body=body, headers={"Content-Type": wanted.content_type})

    async def livez(_request: web.Request) -> web.Response:
        return _probe(200, "alive", ())

    async def readyz(_request: web.Request) -> web.Response:
        now = health()
        word = "ready" if now.can_accept else "not ready"
        return _probe(
            200 if now.can_accept else 503,
            word,
            now.degraded,
            book_version=now.book_version,
            secret_keys=now.secret_keys,
        )

    async def startupz(_request: web.Request) -> web.Response:
        started = health().is_started
        return _probe(200 if started else 503, "started" if started else "starting", ())

    return [
        web.get("/metrics", metrics),
        web.get("/livez", livez),
        web.get("/readyz", readyz),
        web.get("/startupz", startupz),
    ]


def _probe(status: int, word: str, degraded: tuple[str, ...], **more: int) -> web.Response:
    body = orjson.dumps({"status": word, "degraded": degraded, **more})
    return web.Response(
        status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
