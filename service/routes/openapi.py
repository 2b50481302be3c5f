"""OpenAPI 3.1 of the public API, and a page to read it (written next to this file's sibling data)."""

from aiohttp import web


def routes() -> list[web.RouteDef]:
    """Placeholder until the document is written."""
    return []
