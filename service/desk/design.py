"""The design language made visible, in a demo: docs/design.md says what this page shows."""

from aiohttp import web

from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.roles import Act

COLOURS = (
    "paper", "card", "ink", "soft", "line", "mark", "bar", "warn-paper", "warn-ink", "good",
    "line-1", "line-2", "line-3", "line-4",
)  # fmt: skip
"""The custom properties of page.css that are colours."""


def rows(desk: Desk) -> list[Row]:
    """The address of the page."""

    async def show(request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/design`."""
        del request
        return await desk.page("desk_design.html", visit, colours=COLOURS)

    return [Row("GET", "/design", Act.OWN_ACCOUNT, show)]
