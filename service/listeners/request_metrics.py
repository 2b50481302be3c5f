"""Public requests, counted by route and status and timed by route. What was sent makes no label: a route is ours."""

import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


def route_of(request: web.Request) -> str:
    """The address as the router knows it, with names in the place of what varies: `/c/{slug}`; empty for none."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def labels_of(app: web.Application) -> dict[str, str]:
    """The label of each value that `route_of` can have; what lies in an application below `app` has its prefix."""
    return {
        route.resource.canonical: resource.canonical
        for resource in app.router.resources()
        for route in resource
        if route.resource is not None
    }


def measuring(count: Callable[[str, int, float], None]) -> Middleware:
    """`count` hears route, status and seconds of each request, of which a stream's end when the viewer is seated."""

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        status = 500
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as refusal:
            status = refusal.status
            raise
        finally:
            count(route_of(request), status, time.perf_counter() - started)
        return response

    return measure
