"""/api/v1/stream: server-sent events. Each viewer gets the newest snapshot, never a queue of old ones."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestHandler

from campaigns.book.book import Book
from metrics.board import Board
from metrics.instruments import Instruments
from service.listeners.cross_origin import READABLE_ANYWHERE
from service.listeners.http_connection import HttpConnection
from service.listeners.problems import problem
from service.live.broadcast import HANDOVER_MILLISECONDS, Broadcaster

# The body ends with the connection, so that every viewer can be given the same bytes.
_READABLE = "".join(f"{name}: {value}\r\n" for name, value in READABLE_ANYWHERE.items()).encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\n"
    b"%b"
    b"Server: portal1400\r\n"
    b"Connection: close\r\n"
    b"Date: %b\r\n\r\n"
)


def _never() -> int:
    return 0


YES = "true"
PARAMETERS = frozenset({"campaign", "state", "lastEventId"})
"""The last is what stand-ins for EventSource send in place of the header, and ignored as that is."""


class Streams:
    """All open streams of this worker: who may join, and their end."""

    def __init__(
        self,
        board: Board,
        book: Callable[[], Book],
        instruments: Instruments,
        *,
        clock: Callable[[], datetime],
        viewers_max: int,
        write_seconds: float,
        level: Callable[[], int] = _never,
        broadcaster: Callable[..., Broadcaster] = Broadcaster,
    ) -> None:
        self._book = book
        self._clock = clock
        self._viewers_max = viewers_max
        self._ending = False
        self.broadcaster = broadcaster(
            board,
            book,
            clock=clock,
            write_seconds=write_seconds,
            level=level,
            changed=instruments.live.stream_viewers.set,
            dropped=instruments.live.viewers_dropped.inc,
        )

    def start(self) -> None:
        """Begin to tell the viewers what is new."""
        self.broadcaster.start()

    def end(self) -> None:
        """Hand every viewer over: each is told to come back soon, when another worker will have it."""
        self._ending = True
        self.broadcaster.end()

    async def stop(self) -> None:
        """Hand over whom nobody has handed over yet, and wait until every viewer is gone: a second or two at most."""
        self.end()
        await self.broadcaster.wait_closed()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """One viewer: asked, checked, seated."""
        asked = dict(request.query)
        if asked.keys() - PARAMETERS or len(request.query) > len(asked) or asked.get("state", YES) != YES:
            return problem(
                400,
                "bad-parameter",
                "Bad parameter",
                "the query parameters here are campaign, state=true and lastEventId, each given once or not at all",
            )
        slug = asked.get("campaign")
        if slug is not None and slug not in self._book().by_slug:
            return problem(
                404, "unknown-campaign", "Unknown campaign", "no campaign has this slug; see /api/v1/campaigns"
            )
        if self._ending:
            return _handed_over()
        if len(self.broadcaster) >= self._viewers_max:
            response: web.StreamResponse = problem(503, "full", "Full", "too many viewers; try again soon")
            response.headers["Retry-After"] = "5"
            return response
        head = HEAD % (_READABLE, format_datetime(self._clock().astimezone(UTC), usegmt=True).encode())
        return _Seated(self.broadcaster, slug, head, hears_state="state" in asked)


def _handed_over() -> web.Response:
    """A stream that ends at once and says when to come back: after a 503 a browser would not come."""
    return web.Response(
        body=b"retry: %d\n\n" % random.randint(*HANDOVER_MILLISECONDS),  # noqa: S311 -- spreads viewers, no secret
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
        },
    )


class _Seated(web.StreamResponse):
    """Instead of an answer: the connection changes hands, and aiohttp's objects for it are let go.

    Kept, they would be most of what a viewer costs: a task, a request with its headers, a parser.
    """

    def __init__(self, broadcaster: Broadcaster, slug: str | None, head: bytes, *, hears_state: bool) -> None:
        super().__init__()
        self._broadcaster = broadcaster
        self._slug = slug
        self._hears_state = hears_state
        self._first_bytes = head

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Hand the connection over."""
        transport = request.transport
        connection: RequestHandler = request.protocol
        # Nobody leaves a stream but by closing, so who has closed its direction before it began is gone.
        is_gone = isinstance(connection, HttpConnection) and connection.is_half_closed
        if transport is not None and not transport.is_closing() and not is_gone:
            # For aiohttp the connection is lost now; what it does not know it does not close.
            connection.transport = None
            connection.connection_lost(None)
            self._broadcaster.subscribe(transport, self._slug, self._first_bytes, hears_state=self._hears_state)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


def routes(streams: Streams) -> list[web.RouteDef]:
    """The address of the stream."""
    return [web.get("/api/v1/stream", streams.follow, allow_head=False)]
