"""Viewers: they follow the stream or ask again and again, and complain when a figure goes back or differs."""

import asyncio
import hashlib
from collections import defaultdict
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from tests.torture.clock import SeedClock

RECONNECT_SECONDS = 0.2
POLL_SECONDS = 0.15
SILENCE_SECONDS = 12.0
GONE = (aiohttp.ClientError, OSError, TimeoutError)
COMPLAINTS_MAX = 20


class Viewers:
    """Some viewers of each kind, from `start` to `stop`."""

    def __init__(self, target: str, slugs: list[str], clock: SeedClock, *, streams: int, pollers: int) -> None:
        self._target = target
        self._slugs = slugs
        self._clock = clock
        self._counts = streams, pollers
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: dict[tuple[str, int], bytes] = {}
        self.highest: defaultdict[str, int] = defaultdict(int)
        self.complaints: list[str] = []
        self.frames = 0
        self.connections = 0

    def start(self) -> None:
        """Let them come."""
        streams, pollers = self._counts
        self._tasks = [asyncio.create_task(self._follow()) for _ in range(streams)]
        self._tasks += [asyncio.create_task(self._poll(number)) for number in range(pollers)]

    async def stop(self) -> None:
        """Let them go."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                self._complain(f"a viewer met {type(result).__name__}: {result}")

    def _look(self, body: bytes, shown: dict[str, int]) -> None:
        """One totals object. `shown`: the versions this connection has shown, by campaign."""
        self.frames += 1
        self._clock.answered()
        totals: dict[str, Any] = orjson.loads(body)
        slug, version = str(totals["campaign"]), int(totals["version"])
        before = shown.get(slug, -1)
        if version < before:
            self._complain(f"{slug} went back from version {before} to {version} on one connection")
        shown[slug] = version
        self.highest[slug] = max(self.highest[slug], version)
        digest = hashlib.sha256(body).digest()
        if self._seen.setdefault((slug, version), digest) != digest:
            self._complain(f"{slug} version {version} was shown with different bytes")

    def _complain(self, sentence: str) -> None:
        if len(self.complaints) < COMPLAINTS_MAX and sentence not in self.complaints:
            self.complaints.append(sentence)

    async def _follow(self) -> None:
        """The stream; comes back when it ends, to whichever worker takes it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=SILENCE_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                with suppress(*GONE):
                    async with http.get(f"{self._target}/api/v1/stream") as answer:
                        self.connections += 1
                        shown: dict[str, int] = {}
                        async for line in answer.content:
                            if line.startswith(b"data:"):
                                self._look(line.removeprefix(b"data:").strip(), shown)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _poll(self, number: int) -> None:
        """One keep-alive connection, asked for one campaign after another."""
        while True:
            shown: dict[str, int] = {}
            trace = aiohttp.TraceConfig()

            async def anew(*_: object, shown: dict[str, int] = shown) -> None:
                # Another connection may meet another worker, which may be behind.
                shown.clear()

            trace.on_connection_create_end.append(anew)
            connector = aiohttp.TCPConnector(limit=1)
            timeout = aiohttp.ClientTimeout(total=5)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[trace]) as http:
                self.connections += 1
                with suppress(*GONE):
                    for turn in range(200):
                        slug = self._slugs[(turn + number) % len(self._slugs)]
                        async with http.get(f"{self._target}/api/v1/campaigns/{slug}/totals") as answer:
                            body = await answer.read()
                            if answer.status == 200:
                                self._look(body, shown)
                        await asyncio.sleep(POLL_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)
