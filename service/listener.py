"""The HTTP server itself, with aiohttp's answer to unparsable requests replaced: it would print what was sent."""

import logging
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.problems import problem

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

LINE_BYTES_MAX = 16_384
"""Above the 8 KiB a GET callback may have, so that such a one is answered in its protocol's words."""
BACKLOG = 1024
LINGER_SECONDS = 2.0
"""How long the rest of a body is still taken in after its answer, so that the sender gets to read that answer."""


class _QuietHandler(RequestHandler):
    """A connection that answers a bad request line without repeating it."""

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 -- aiohttp's signature; its text quotes the request
        message: str | None = None,  # noqa: ARG002 -- the same
    ) -> web.StreamResponse:
        """A problem that says nothing about what was sent."""
        response = problem(status, "bad-request", "Bad request", "the request could not be understood as HTTP/1.1")
        response.headers["Server"] = "portal1400"
        response.force_close()
        return response


class _QuietServer(web.Server):
    def __call__(self) -> RequestHandler:
        return _QuietHandler(self, loop=self._loop, **self._kwargs)


class Listener(web.AppRunner):
    """Serves one application. `auto_decompress` is off: a compressed body cannot grow beyond the size limit."""

    def __init__(
        self,
        app: web.Application,
        *,
        shutdown_seconds: float,
        idle_seconds: float = 75.0,
        direct: tuple[str, Handler] | None = None,
    ) -> None:
        """`direct`: a path prefix, and what answers below it without the application's router and middlewares."""
        self._direct = direct
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            logger=logging.getLogger("aiohttp.server"),
            shutdown_timeout=shutdown_seconds,
            keepalive_timeout=idle_seconds,
            lingering_time=LINGER_SECONDS,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            auto_decompress=False,
            handler_cancellation=False,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = made.request_handler
        if self._direct is not None:
            prefix, direct = self._direct
            routed = made.request_handler

            def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
                return direct(request) if request.raw_path.startswith(prefix) else routed(request)

        # aiohttp has no setting for the error answer: its server is made again with our connection class.
        return _QuietServer(handle, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001 -- see above

    async def listen(self, bound: socket.socket) -> None:
        """Begin to serve a bound socket."""
        await self.setup()
        await web.SockSite(self, bound, backlog=BACKLOG).start()


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
