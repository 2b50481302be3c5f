"""What every request passes: an error of ours or of the router becomes a problem, never a traceback."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.listeners.problems import problem
from service.runtime.logs import describe_failure

log = structlog.get_logger("http")

TITLES = {
    404: ("not-found", "Not found", "there is nothing at this address; /api/v1/openapi.json lists what there is"),
    405: ("method-not-allowed", "Method not allowed", "the header Allow names the methods of this address"),
    413: ("too-large", "Too large", "the request is larger than this address takes"),
}


@web.middleware
async def errors_as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn aiohttp's own refusals and our bugs into problem details."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        kind, title, detail = TITLES.get(refusal.status, ("refused", refusal.reason, "the request was refused"))
        response = problem(refusal.status, kind, title, detail)
        if "Allow" in refusal.headers:
            response.headers["Allow"] = refusal.headers["Allow"]
        return response
    except (ConnectionResetError, ConnectionAbortedError):
        raise
    except Exception as error:  # noqa: BLE001 -- the one place where a bug becomes a 500
        log.error("request_failed", **describe_failure(error))
        return problem(500, "internal", "Internal error", "this is our fault and was logged; try again later")


async def name_no_software(_request: web.Request, response: web.StreamResponse) -> None:
    """The header Server tells nobody which versions run here."""
    response.headers["Server"] = "portal1400"
