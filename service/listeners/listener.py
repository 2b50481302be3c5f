"""The HTTP server itself, with aiohttp's answer to unparsable requests replaced: it would print what was sent."""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

from service.listeners.connection_limit import ConnectionLimit
from service.listeners.cross_origin import READABLE_ANYWHERE
from service.listeners.problems import problem

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

LINE_BYTES_MAX = 16_384
"""Above the 8 KiB a GET callback may have, so that such a one is answered in its protocol's words."""
FIELD_BYTES_MAX = 8_192
HEADERS_MAX = 100
HEAD_BYTES_MAX = 64 * 1024
"""Of a request line with its headers that comes in pieces; what one read brings (256 KiB) is looked at whole."""
BACKLOG = 1024
ACCEPT_AT_ONCE = 4
"""Connections taken from the queue in one go: the rest is left to the other workers, so that each has its share."""
DRAIN_POLL_SECONDS = 0.02
CUT_SECONDS = 1.0
"""What still runs when the time of a stop is over gets this long to notice."""
LINGER_SECONDS = 2.0
"""How long the rest of a body is still taken in after its answer, so that the sender gets to read that answer."""


class ListeningSocket(socket.socket):
    """A listening socket whose queue is always BACKLOG long.

    asyncio knows one number for the queue's length and for how many connections it takes from it at once; the
    second must be small where several workers accept from one queue.
    """

    def listen(self, _backlog: int = BACKLOG, /) -> None:
        """Listen, with the queue this service wants."""
        super().listen(BACKLOG)


class _QuietHandler(RequestHandler):
    """A connection that answers a bad request line without repeating it, waits for no head for ever, and can end
    without losing a request.

    A head is waited for from the moment of connecting, and after an answer from its first byte on; in between the
    connection is idle, which aiohttp's own timer ends.
    """

    def __init__(self, server: "_QuietServer", *, head_read_seconds: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._head_read_seconds = head_read_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A head is expected from now on."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is expected any more."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand `data` to the parser; see whether it ended a head, began one, or only makes one longer."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            if self._head_timer is not None:
                self._forget_head()
            return
        if self._head_timer is None:
            # Only while the next request is waited for do bytes belong to a head; before, to a body.
            if self._waiter is None or self._waiter.done():
                return
            self._expect_head()
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._end_without_head(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self._loop.call_later(
            self._head_read_seconds, self._end_without_head, HTTPStatus.REQUEST_TIMEOUT
        )

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_without_head(self, status: HTTPStatus) -> None:
        """No request is in hand: nothing else writes to this connection."""
        self._forget_head()
        if self.transport is not None and self._head_bytes:
            self.transport.write(_refusal(status))
        self.force_close()

    is_carrier = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None

    @property
    def is_between_requests(self) -> bool:
        """Whether it waits for a request of which nothing has been read."""
        is_reading = self._head_timer is not None and self._head_bytes > 0
        return self._waiter is not None and not self._messages and not is_reading

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; while the server drains it is the connection's last, and says so."""
        if self._server.is_draining:
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 -- aiohttp's signature; its text quotes the request
        message: str | None = None,  # noqa: ARG002 -- the same
    ) -> web.StreamResponse:
        """A problem that says nothing about what was sent."""
        return _bad_request(status, "the request could not be understood as HTTP/1.1")


def _refusal(status: HTTPStatus) -> bytes:
    """A whole answer for a connection that brought no whole request."""
    response = _bad_request(status, "the head of the request did not arrive within the limits of time and size")
    body = response.body
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {response.content_type}\r\n"
        f"Content-Length: {response.content_length}\r\nCache-Control: no-store\r\nServer: portal1400\r\n"
        f"Date: {formatdate(usegmt=True)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if isinstance(body, bytes) else b"")


def _bad_request(status: int, detail: str) -> web.Response:
    response = problem(status, "bad-request", "Bad request", detail)
    response.headers.update({"Cache-Control": "no-store", "Server": "portal1400", **READABLE_ANYWHERE})
    response.force_close()
    return response


def _faulty_framing(request: web.BaseRequest) -> web.Response | None:
    """The refusal of a request whose end another server on the way may see elsewhere than the parser does.

    The parser takes HTTP/2.0 in a request line, chunks in HTTP/1.0 (RFC 9112, section 6.1: faulty), and other
    codings before the chunks, which nobody here would undo. None for every other request.
    """
    version = request.version
    if version != HttpVersion11 and version != HttpVersion10:
        return _bad_request(505, "the service speaks HTTP/1.1")
    if "Transfer-Encoding" in request.headers:
        if version == HttpVersion10:
            return _bad_request(400, "HTTP/1.0 has no Transfer-Encoding")
        if request.headers["Transfer-Encoding"].strip().lower() != "chunked":
            return _bad_request(501, "the only Transfer-Encoding understood is chunked")
    return None


class _QuietServer(web.Server):
    is_draining = False
    connection_limit: ConnectionLimit | None = None

    def __init__(self, *arguments: Any, head_read_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_read_seconds = head_read_seconds

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """One more connection, within the bound."""
        super().connection_made(handler, transport)
        if self.connection_limit is not None and isinstance(handler, _QuietHandler):
            known = self._connections
            self.connection_limit.enter(
                handler, (each for each in known if isinstance(each, _QuietHandler)), len(known)
            )

    def __call__(self) -> RequestHandler:
        return _QuietHandler(self, loop=self._loop, head_read_seconds=self._head_read_seconds, **self._kwargs)


class Listener(web.AppRunner):
    """Serves one application. `auto_decompress` is off: a compressed body cannot grow beyond the size limit."""

    def __init__(
        self,
        app: web.Application,
        *,
        idle_seconds: float = 75.0,
        head_read_seconds: float = 10.0,
        direct: tuple[str, Handler] | None = None,
        connection_limit: ConnectionLimit | None = None,
    ) -> None:
        """`direct`: a path prefix, and what answers below it without the application's router and middlewares."""
        self._direct = direct
        self._head_read_seconds = head_read_seconds
        self._connection_limit = connection_limit
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            logger=logging.getLogger("aiohttp.server"),
            shutdown_timeout=CUT_SECONDS,
            keepalive_timeout=idle_seconds,
            lingering_time=LINGER_SECONDS,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            handler_cancellation=False,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        routed = made.request_handler
        prefix, direct = self._direct or ("", routed)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            refusal = _faulty_framing(request)
            if refusal is not None:
                return refusal
            if not request.raw_path.startswith(prefix):
                return await routed(request)
            if isinstance(request.protocol, _QuietHandler):
                request.protocol.is_carrier = True
            return await direct(request)

        # aiohttp has no setting for the error answer: its server is made again with our connection class.
        server = _QuietServer(
            handle,
            request_factory=made.request_factory,
            head_read_seconds=self._head_read_seconds,
            **made._kwargs,  # noqa: SLF001 -- see above
        )
        server.connection_limit = self._connection_limit
        return server

    async def listen(self, bound: socket.socket) -> None:
        """Begin to serve a bound socket."""
        await self.setup()
        await web.SockSite(self, bound, backlog=ACCEPT_AT_ONCE).start()

    async def stop_accepting(self) -> None:
        """Close this process's hold on the socket; whoever shares it goes on accepting."""
        for site in self.sites:
            await site.stop()

    async def drain(self, idle_seconds: float, until: float) -> None:
        """Answer what comes over the open connections, each with its last answer; then end.

        An idle connection is closed after `idle_seconds`, one that works when it has answered, and everything at
        `until` (monotonic seconds).
        """
        await self.stop_accepting()
        server = self.server
        if not isinstance(server, _QuietServer):
            return  # never started, or ended before
        server.is_draining = True
        idle_until = time.monotonic() + idle_seconds
        # The pause comes first: a connection accepted just now appears among the others a moment later.
        await asyncio.sleep(DRAIN_POLL_SECONDS)
        while server.connections and time.monotonic() < until:
            if time.monotonic() >= idle_until:
                for connection in server.connections:
                    if isinstance(connection, _QuietHandler) and connection.is_between_requests:
                        connection.force_close()
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        await self.cleanup()


def bind(host: str, port: int) -> ListeningSocket:
    """A bound TCP socket that listens; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = ListeningSocket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        # Two sockets may be bound to one address as long as neither listens: only now it is known to be ours.
        bound.listen()
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
