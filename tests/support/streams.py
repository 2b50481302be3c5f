"""A viewer of the event stream, frame by frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tests.support.portal import Portal


class Frames:
    """An open stream: its headers, and its frames one by one."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self._rest = b""

    async def next(self, seconds: float = 20.0) -> bytes:
        """The next frame, comments and retry lines included, without its empty line."""
        async with asyncio.timeout(seconds):
            while b"\n\n" not in self._rest:
                chunk = await self.answer.content.readany()
                if not chunk:
                    raise EOFError
                self._rest += chunk
        frame, _, self._rest = self._rest.partition(b"\n\n")
        return frame

    async def state(self, seconds: float = 20.0) -> dict[str, Any]:
        """The data of the next `state` event."""
        while not (frame := await self.next(seconds)).startswith(b"event: state\n"):
            pass
        return dict(orjson.loads(frame.partition(b"data: ")[2]))

    async def totals(self, seconds: float = 20.0) -> tuple[int, bytes]:
        """The next `totals` event: its id and its data as bytes."""
        while not (frame := await self.next(seconds)).startswith(b"event: totals\n"):
            pass
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
        assert list(fields) == [b"event", b"id", b"data"]
        return int(fields[b"id"]), fields[b"data"]


@asynccontextmanager
async def following(portal: Portal, query: str = "", **headers: str) -> AsyncIterator[Frames]:
    """Follow the stream."""
    async with portal.http.get(f"{portal.base}/api/v1/stream{query}", headers=headers, timeout=None) as answer:
        assert answer.status == 200
        yield Frames(answer)
