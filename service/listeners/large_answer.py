"""An answer of many megabytes, written in pieces: those who are sent one take turns, and callbacks go in between."""

import asyncio
from collections.abc import Iterable, Mapping

from aiohttp import web

BYTES_PER_SECOND_MIN = 50_000
"""A reader slower than this, on average over the whole answer, is cut off: it keeps the answer in our memory."""
GRACE_SECONDS = 20.0
"""What every reader has besides, whatever the size."""


class LargeAnswers:
    """Those of one worker. Each turn writes one piece, and before it everything else that is ready goes first."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def send(
        self, request: web.Request, pieces: Iterable[bytes], size: int, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Send `pieces`, `size` bytes together, as JSON. The pieces are shared: none is copied for this reader."""
        response = web.StreamResponse(headers=headers)
        response.content_type = "application/json"
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
