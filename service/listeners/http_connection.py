"""One public connection: aiohttp's, without what it would say about a request, and with limits of time and trust.

aiohttp's answer to a request that it cannot parse would print what was sent, and it waits for heads and for readers
for ever.
"""

import asyncio
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.listeners.bad_http import HttpFault, fault_of
from service.listeners.connection_limit import ConnectionLimit
from service.listeners.cross_origin import READABLE_ANYWHERE
from service.listeners.problems import problem
from service.listeners.refusal_pace import RefusalPace
from service.listeners.turned_away import TurnedAway
from service.runtime.logs import describe_failure

log = structlog.get_logger("http")

HEAD_BYTES_MAX = 64 * 1024
"""Of a request line with its headers that comes in pieces; what one read brings is looked at whole."""
LINGER_SECONDS = 2.0
"""How long the rest of a body is still taken in after its answer, so that the sender gets to read that answer."""
DEAF_SECONDS = 0.25
"""How long a connection stays open of whose body no more is taken in: enough for the answer to cross the world."""
WRITE_BYTES_MIN = 64 * 1024
"""What a reader takes at least of its answer in the time it has, unless that is the rest of it."""


class PublicServer(web.Server):
    """aiohttp's server with connections of ours."""

    is_draining = False
    connection_limit: ConnectionLimit | None = None
    turned_away: TurnedAway | None = None

    def __init__(self, *arguments: Any, head_read_seconds: float, write_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_read_seconds = head_read_seconds
        self._write_seconds = write_seconds
        self.refusal_pace = RefusalPace()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """One more connection, within the bound."""
        super().connection_made(handler, transport)
        if self.connection_limit is not None and isinstance(handler, HttpConnection):
            self.connection_limit.enter(handler)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """One less."""
        super().connection_lost(handler, exc)
        if self.connection_limit is not None and isinstance(handler, HttpConnection):
            self.connection_limit.leave(handler)

    def __call__(self) -> RequestHandler:
        return HttpConnection(
            self,
            loop=self._loop,
            head_read_seconds=self._head_read_seconds,
            write_seconds=self._write_seconds,
            **self._kwargs,
        )


class HttpConnection(RequestHandler):
    """A connection that answers a bad request line without repeating it, waits for no head for ever, and can end
    without losing a request.

    A head is waited for from the moment of connecting, and after an answer from its first byte on; in between the
    connection is idle, which aiohttp's own timer ends. An answer that is not taken is cut off. A sender that closes
    its own direction behind a request (RFC 9293, section 3.6) hears the answer first.
    """

    def __init__(
        self, server: PublicServer, *, head_read_seconds: float, write_seconds: float, **options: Any
    ) -> None:
        super().__init__(server, **options)
        self._server = server
        self._head_read_seconds = head_read_seconds
        self._write_seconds = write_seconds
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._is_paced = False
        self.is_half_closed = False
        """Whether the other side has said that it sends no more, and still hears what it asked for."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A head is expected from now on."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is expected any more."""
        self._forget_head()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
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
            self.see(HttpFault.HEAD_LATE)
            self.transport.write(_refusal(status))
            self._watch_writing()
        self.force_close()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own: a bool
        """The other side sends no more. True keeps the connection open for the answers that are due."""
        current = self._current_request
        if current is not None:
            self.is_half_closed = current.content.is_eof()
        elif self._waiter is not None:
            self.is_half_closed = bool(self._messages) and self._messages[0][1].is_eof()
        else:
            # A request is in hand all the same: on the way to its handler, or its answer is being written.
            self.is_half_closed = True
        return self.is_half_closed

    def pause_writing(self) -> None:
        """More is to be written than the other side takes."""
        super().pause_writing()
        if self._current_request is None:
            # An answer is being sent. What writes while its request is in hand has limits of its own.
            self._watch_writing()

    def _watch_writing(self) -> None:
        transport = self.transport
        if self._write_timer is None and transport is not None and (left := transport.get_write_buffer_size()):
            self._write_timer = self._loop.call_later(self._write_seconds, self._look_at_writing, transport, left)

    def _look_at_writing(self, transport: asyncio.Transport, before: int) -> None:
        self._write_timer = None
        left = transport.get_write_buffer_size()
        if left > max(0, before - WRITE_BYTES_MIN):
            # Not `close`, which would wait until everything was taken.
            transport.abort()
        elif left:
            self._write_timer = self._loop.call_later(self._write_seconds, self._look_at_writing, transport, left)

    @property
    def remote_address(self) -> str:
        """The address of the other side, as the system writes it; empty where there is none."""
        name = self.peername
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._messages

    @property
    def is_stuck(self) -> bool:
        """Whether a request in hand costs nothing but its place: it waits for the rest of its body, for its answer to
        be taken, or for a stranger's turn to be answered.
        """
        if self._is_paced:
            return True
        current = self._current_request
        if current is not None:
            return not current.content.is_eof()
        return self._is_deaf or self._write_timer is not None

    @property
    def is_between_requests(self) -> bool:
        """Whether it waits for a request of which nothing has been read."""
        is_reading = self._head_timer is not None and self._head_bytes > 0
        return self._waiter is not None and not self._messages and not is_reading

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; while the server drains it is the connection's last, and says so."""
        self._end_with(resp)
        ended = await super().finish_response(request, resp, start_time)
        # The other side may have closed its direction while it was sent.
        self._end_with(resp)
        self._watch_writing()
        if self._is_deaf:
            await asyncio.sleep(DEAF_SECONDS)
        return ended

    def read_no_more(self, request: web.BaseRequest) -> None:
        """Leave the rest of the body where it is: the answer, which must be the last one, gets a time to be read.

        To take the rest in and throw it away, as is done elsewhere so that no sender loses its answer, would let
        whoever sends large bodies have most of the processor's time without being heard.
        """
        self._is_deaf = True
        self._lingering_time = 0.0
        # What has come is let go now.
        request.content.read_nowait()
        if self.transport is not None:
            self.transport.pause_reading()

    def _end_with(self, answer: web.StreamResponse) -> None:
        """Make `answer` the connection's last where nothing is to come behind it."""
        if self._server.is_draining or (self.is_half_closed and not self._messages):
            answer.force_close()

    def trust(self) -> None:
        """A callback was verified on this connection: it is a carrier's, for a while."""
        limit = self._server.connection_limit
        if limit is not None:
            limit.trust(self)

    @property
    def is_trusted(self) -> bool:
        """Whether a callback was verified on it, lately or in this very request."""
        limit = self._server.connection_limit
        return limit is None or limit.is_carrier(self)

    async def pace(self, bytes_read: int) -> None:
        """Before a stranger is answered: wait while strangers have had their share of the worker's time."""
        seconds = self._server.refusal_pace.wait_seconds(bytes_read)
        if seconds and not self._server.is_draining:
            self._is_paced = True
            await asyncio.sleep(seconds)
            self._is_paced = False

    def see(self, fault: HttpFault) -> None:
        """Count and log bytes that are no request."""
        if self._server.turned_away is not None:
            self._server.turned_away.see_bad_http(fault, self.remote_address)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 -- aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A problem that repeats nothing: a fault of the other side, or from 500 on a bug of ours."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # Whoever breaks off hears nothing, and it is no bug.
            if exc is not None and not isinstance(exc, ConnectionError):
                log.error("request_failed", **describe_failure(exc))
            return bad_request(status, "this is our fault and was logged; try again later")
        fault = fault_of(message)
        self.see(fault)
        return bad_request(status, f"the request could not be understood as HTTP/1.1: {fault.value}")


def _refusal(status: HTTPStatus) -> bytes:
    """A whole answer for a connection that brought no whole request."""
    response = bad_request(status, HttpFault.HEAD_LATE.value)
    body = response.body
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {response.content_type}\r\n"
        f"Content-Length: {response.content_length}\r\nCache-Control: no-store\r\nServer: portal1400\r\n"
        f"Date: {formatdate(usegmt=True)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if isinstance(body, bytes) else b"")


def bad_request(status: int, detail: str) -> web.Response:
    """A refusal that repeats nothing and ends the connection."""
    response = problem(status, "bad-request", "Bad request", detail)
    response.headers.update({"Cache-Control": "no-store", "Server": "portal1400", **READABLE_ANYWHERE})
    response.force_close()
    return response
