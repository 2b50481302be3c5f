"""/api/v1/stream: server-sent events. Each viewer gets the newest snapshot, never a queue of old ones."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from campaigns.book import Book, CampaignState
from metrics.board import Board, Snapshot, Viewer
from metrics.instruments import Instruments
from service.problems import problem

HEARTBEAT_SECONDS = 10.0
RETRY_MILLISECONDS = 2_000
SEND_BUFFER_BYTES = 64 * 1024


class Streams:
    """All open streams of this worker: their limit, their heartbeat and their end."""

    def __init__(
        self,
        board: Board,
        book: Callable[[], Book],
        instruments: Instruments,
        *,
        clock: Callable[[], datetime],
        viewers_max: int,
        write_seconds: float,
    ) -> None:
        self._board = board
        self._book = book
        self._instruments = instruments
        self._clock = clock
        self._viewers_max = viewers_max
        self._write_seconds = write_seconds
        self._ending = False

    def end(self) -> None:
        """Let every viewer go; each is told to come back soon."""
        self._ending = True
        self._board.wake_all()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """One viewer, from the first snapshot to its end."""
        if set(request.query) - {"campaign"} or len(request.query) > 1:
            return problem(
                400,
                "bad-parameter",
                "Bad parameter",
                "the only query parameter here is campaign, given once or not at all",
            )
        slug = request.query.get("campaign")
        if slug is not None and slug not in self._book().by_slug:
            return problem(
                404, "unknown-campaign", "Unknown campaign", "no campaign has this slug; see /api/v1/campaigns"
            )
        if self._ending or self._board.viewers >= self._viewers_max:
            response: web.StreamResponse = problem(503, "full", "Full", "too many viewers; try again soon")
            response.headers["Retry-After"] = "5"
            return response
        stream = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                "Access-Control-Allow-Origin": "*",
            }
        )
        viewer = self._board.join()
        self._instruments.stream_viewers.set(self._board.viewers)
        try:
            await stream.prepare(request)
            transport = request.transport
            if transport is not None:
                # A viewer that does not read is noticed early, and costs little memory until then.
                transport.set_write_buffer_limits(high=SEND_BUFFER_BYTES)
            await self._serve(stream, viewer, slug)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._board.leave(viewer)
            self._instruments.stream_viewers.set(self._board.viewers)
        return stream

    async def _serve(self, stream: web.StreamResponse, viewer: Viewer, slug: str | None) -> None:
        sent: dict[str, int] = {}
        await stream.write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
        while not self._ending:
            viewer.wake.clear()
            frames = [
                each.frame for each in self._wanted(slug) if sent.get(each.totals.campaign, -1) < each.totals.version
            ]
            for each in self._wanted(slug):
                sent[each.totals.campaign] = each.totals.version
            async with asyncio.timeout(self._write_seconds):
                await stream.write(b"".join(frames) or b": still here\n\n")
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await viewer.wake.wait()
            except TimeoutError:
                continue
        await stream.write(b"retry: %d\n\n" % RETRY_MILLISECONDS)

    def _wanted(self, slug: str | None) -> list[Snapshot]:
        if slug is not None:
            snapshot = self._board.get(slug)
            return [snapshot] if snapshot else []
        book, now = self._book(), self._clock()
        return [
            each
            for each in self._board.snapshots
            if each.totals.campaign in book.by_slug
            and book.by_slug[each.totals.campaign].state_at(now) is not CampaignState.CLOSED
        ]


def routes(streams: Streams) -> list[web.RouteDef]:
    """The address of the stream."""
    return [web.get("/api/v1/stream", streams.follow, allow_head=False)]
