"""The internal listener: Prometheus, and the probes of an orchestrator. Not for the public."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service.listeners.middleware import errors_as_problems


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this worker can take callbacks, and what is not as it should be."""

    is_started: bool
    can_accept: bool
    degraded: tuple[str, ...]
    book_version: int = 0
    """Of the book by which it reads now."""


def application(registry: CollectorRegistry, health: Callable[[], Health]) -> web.Application:
    """What the internal listener serves."""
    app = web.Application(middlewares=[errors_as_problems])
    app.add_routes(routes(registry, health))
    return app


def routes(registry: CollectorRegistry, health: Callable[[], Health]) -> list[web.RouteDef]:
    """/metrics, /livez, /readyz, /startupz."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def livez(_request: web.Request) -> web.Response:
        return _probe(200, "alive", ())

    async def readyz(_request: web.Request) -> web.Response:
        now = health()
        word = "ready" if now.can_accept else "not ready"
        return _probe(200 if now.can_accept else 503, word, now.degraded, book_version=now.book_version)

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
