"""RFC 9457 problem details: every error outside /gw/ in one shape, with a stable `type`."""

import orjson
from aiohttp import web

PROBLEM_BASE = "urn:portal1400:problem:"
"""Identifiers, not addresses: RFC 9457, section 3.1.1, wants them stable, not reachable."""


def problem(status: int, kind: str, title: str, detail: str, **members: object) -> web.Response:
    """A problem response. `kind` names the type, `detail` says what, where and what to do."""
    body = {"type": PROBLEM_BASE + kind, "title": title, "status": status, "detail": detail, **members}
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/problem+json",
        # A cache may keep a 404 for as long as it likes unless it is told.
        headers={"Cache-Control": "no-store"},
    )
