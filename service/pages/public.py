"""The public application: the API, the stream and the pages, behind one door that sheds load."""

from aiohttp import web

from metrics.instruments import Instruments
from service.catalog.catalog import Catalog
from service.listeners.cross_origin import allow_every_origin, answer_options
from service.listeners.middleware import errors_as_problems, name_no_software
from service.listeners.overload import OverloadMonitor
from service.listeners.request_metrics import measuring
from service.listeners.shedding import shedding
from service.live import openapi, stream, totals_api
from service.live.assembly import LiveParts
from service.pages.pages import Pages, routes
from service.runtime.clock import Clock


def application(
    live: LiveParts,
    catalog: Catalog,
    load: OverloadMonitor,
    instruments: Instruments,
    clock: Clock,
    public_url: str | None,
    described: openapi.Described,
) -> web.Application:
    """What the public listener serves beside the callbacks; `public_url` is how the outside reaches it.

    `described` are the addresses of the desk's API.
    """
    people = Pages(live.board, lambda: catalog.book, live.last_hour.get, live.corrections.get, clock, public_url)
    app = web.Application(
        middlewares=[
            measuring(instruments.listeners.count_request),
            shedding(lambda: load.level, instruments.listeners.count_shed),
            errors_as_problems,
            answer_options,
            people.lead,
        ],
        client_max_size=0,
    )
    app.on_response_prepare.append(name_no_software)
    app.on_response_prepare.append(allow_every_origin)
    app.add_routes(
        totals_api.routes(
            live.board,
            lambda: catalog.book,
            live.series,
            live.corrections.get,
            clock,
            instruments.listeners.count_shed,
        )
    )
    app.add_routes(stream.routes(live.streams))
    app.add_routes(openapi.routes(public_url, described))
    app.add_routes(routes(people))
    return app
