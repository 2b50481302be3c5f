"""An answer of many megabytes, written in pieces: those who are sent one take turns, and callbacks go in between."""

import asyncio
from collections.abc import Mapping, Sequence

from aiohttp import web

from service.listeners.entity import Entity, answer, has_it, headers_of

LARGE_BYTES = 32 * 1024
"""Up to this an answer is written at once."""
PIECE_BYTES = 64 * 1024
"""In how large pieces a compressed one is written."""
BYTES_PER_SECOND_MIN = 50_000
"""A reader slower than this, on average over the whole answer, is cut off: it keeps the answer in our memory."""
GRACE_SECONDS = 20.0
"""What every reader has besides, whatever the size."""


class LargeAnswers:
    """Those of one worker. Each turn writes one piece, and before it everything else that is ready goes first."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def send(self, request: web.Request, entity: Entity, headers: Mapping[str, str]) -> web.StreamResponse:
        """As `answer`, but piece by piece; the pieces are shared, and none is copied for this reader."""
        if entity.size <= LARGE_BYTES or has_it(request, entity.tag):
            return await answer(request, entity, headers)
        chosen = headers_of(request, entity, headers)
        pieces: Sequence[bytes | memoryview] = entity.pieces
        if "Content-Encoding" in chosen:
            whole = memoryview(await entity.gzipped())
            pieces = [whole[at : at + PIECE_BYTES] for at in range(0, len(whole), PIECE_BYTES)]
        size = sum(map(len, pieces))
        response = web.StreamResponse(headers=chosen)
        response.content_length = size
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            async with asyncio.timeout(GRACE_SECONDS + size / BYTES_PER_SECOND_MIN):
                for piece in pieces:
                    async with self._turn:
                        await asyncio.sleep(0)
                    await response.write(piece)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return response
