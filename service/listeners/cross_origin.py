"""Every page of every site may read what the public side answers: nothing in it depends on who asks.

The CORS protocol of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol). Not for callbacks.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

READABLE_ANYWHERE = {
    "Access-Control-Allow-Origin": "*",
    # Of an answer from elsewhere a script sees few headers unless they are named.
    "Access-Control-Expose-Headers": "x-portal1400-age-seconds, Retry-After, ETag",
}
PREFLIGHT_SECONDS = 86_400
"""How long a browser need not ask again; it has its own, lower limit."""


async def allow_every_origin(_request: web.Request, response: web.StreamResponse) -> None:
    """Say so on every answer of an application, refusals included; hear of each before it is sent."""
    response.headers.update(READABLE_ANYWHERE)
    if response.status == web.HTTPMethodNotAllowed.status_code and "Allow" in response.headers:
        response.headers["Allow"] += ", OPTIONS"


@web.middleware
async def answer_options(request: web.Request, handler: Handler) -> web.StreamResponse:
    """OPTIONS of an address that there is: 204 with its methods, as a browser's preflight wants to hear them."""
    refusal = request.match_info.http_exception
    if request.method != "OPTIONS" or not isinstance(refusal, web.HTTPMethodNotAllowed):
        return await handler(request)
    methods = ", ".join(sorted({*refusal.allowed_methods, "OPTIONS"}))
    return web.Response(
        status=204,
        headers={
            "Allow": methods,
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": "*",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        },
    )
