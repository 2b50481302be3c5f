"""The HTTP server itself: sockets, what is refused before a request is looked at, and its end."""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion10, HttpVersion11, web

from service.listeners.bad_http import HttpFault
from service.listeners.connection_limit import ConnectionLimit
from service.listeners.http_connection import LINGER_SECONDS, HttpConnection, PublicServer, bad_request
from service.listeners.turned_away import TurnedAway

DirectHandler = Callable[[web.BaseRequest, Callable[[], None]], Awaitable[web.StreamResponse]]
"""Answers a request, and calls what it is given when it knows that a carrier sent it."""

AUTHORITY = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
LINE_BYTES_MAX = 16_384
"""Above the 8 KiB a GET callback may have, so that such a one is answered in its protocol's words."""
FIELD_BYTES_MAX = 8_192
HEADERS_MAX = 100
LEADS_NOWHERE = frozenset({404, 405})
ACCEPT_AT_ONCE = 4
"""Connections taken from the queue in one go: the rest is left to the other workers, so that each has its share."""
DRAIN_POLL_SECONDS = 0.02
CUT_SECONDS = 1.0
"""What still runs when the time of a stop is over gets this long to notice."""


def origin_form(target: str) -> str:
    """A request target as path and query, also where it is a whole address (RFC 9112, section 3.2.2)."""
    return target if target.startswith("/") else AUTHORITY.sub("", target, count=1) or "/"


def _faulty_framing(request: web.BaseRequest) -> tuple[int, HttpFault] | None:
    """The refusal of a request whose end another server on the way may see elsewhere than the parser does.

    The parser takes HTTP/2.0 in a request line, chunks in HTTP/1.0 (RFC 9112, section 6.1: faulty), and other
    codings before the chunks, which nobody here would undo. None for every other request.
    """
    version = request.version
    if version != HttpVersion11 and version != HttpVersion10:
        return 505, HttpFault.VERSION
    if "Transfer-Encoding" in request.headers:
        if version == HttpVersion10:
            return 400, HttpFault.OLD_CHUNKS
        if request.headers["Transfer-Encoding"].strip().lower() != "chunked":
            return 501, HttpFault.CODING
    return None


class Listener(web.AppRunner):
    """Serves one application. `auto_decompress` is off: a compressed body cannot grow beyond the size limit."""

    def __init__(
        self,
        app: web.Application,
        *,
        idle_seconds: float = 75.0,
        head_read_seconds: float = 10.0,
        write_seconds: float = 10.0,
        direct: tuple[str, DirectHandler] | None = None,
        connection_limit: ConnectionLimit | None = None,
        turned_away: TurnedAway | None = None,
        astray: Callable[[web.BaseRequest], None] | None = None,
    ) -> None:
        """`direct`: a path prefix, and what answers below it without the application's router and middlewares.

        `turned_away` is told of what is no HTTP, `astray` of a request that leads nowhere in the application.
        `write_seconds`: who takes nothing of an answer for so long is cut off.
        """
        self._direct = direct
        self._head_read_seconds = head_read_seconds
        self._write_seconds = write_seconds
        self._connection_limit = connection_limit
        self._turned_away = turned_away
        self._astray = astray
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
        chosen = self._direct

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            if (refusal := _faulty_framing(request)) is not None:
                status, fault = refusal
                if isinstance(connection, HttpConnection):
                    connection.see(fault)
                return bad_request(status, fault.value)
            if chosen is None or not isinstance(connection, HttpConnection):
                return await routed(request)
            prefix, direct = chosen
            if not origin_form(request.raw_path).startswith(prefix):
                answer = await routed(request)
                if answer.status in LEADS_NOWHERE and self._astray is not None:
                    self._astray(request)
                return answer
            answer = await direct(request, connection.trust)
            if not connection.is_trusted:
                await connection.pace(request.content.total_bytes)
            return answer

        # aiohttp has no setting for the error answer: its server is made again with our connection class.
        server = PublicServer(
            handle,
            request_factory=made.request_factory,
            head_read_seconds=self._head_read_seconds,
            write_seconds=self._write_seconds,
            **made._kwargs,  # noqa: SLF001 -- see above
        )
        server.connection_limit = self._connection_limit
        server.turned_away = self._turned_away
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
        if not isinstance(server, PublicServer):
            return  # never started, or ended before
        server.is_draining = True
        idle_until = time.monotonic() + idle_seconds
        # The pause comes first: a connection accepted just now appears among the others a moment later.
        await asyncio.sleep(DRAIN_POLL_SECONDS)
        while server.connections and time.monotonic() < until:
            if time.monotonic() >= idle_until:
                for connection in server.connections:
                    if isinstance(connection, HttpConnection) and connection.is_between_requests:
                        connection.force_close()
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        await self.cleanup()
