"""HTTP as carriers speak it: callbacks out, answers back, again under the same id where none came."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from gateways.sender import Reply, Request, Sender, Sms, Verdict
from service.simulator.refused import SimulateRefused

ATTEMPT_SECONDS = 15.0
PAUSE_SECONDS = 0.2
PAUSE_SECONDS_MAX = 3.0
DOCUMENT_SECONDS = 10.0


class Poster:
    """One pool of connections to one target. `retry_seconds`: how long a callback is repeated before giving up."""

    def __init__(self, target: str, connections: int, retry_seconds: float) -> None:
        self.target = target.rstrip("/")
        self._retry_seconds = retry_seconds
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self.attempts = 0
        self.retries: Counter[str] = Counter()

    async def __aenter__(self) -> "Poster":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._require_session().close()

    async def post(self, sender: Sender[Any], messages: Sequence[Sms]) -> tuple[Verdict, Reply | None]:
        """Send until there is an answer that ends it, as a person at the sender's would with its filed messages.

        The verdict is LATER where none came within the time; the reply is then the last one, or None.
        """
        return await self._until_answered(
            lambda: sender.request(messages, datetime.now(UTC)), lambda reply: sender.judge(messages, reply)
        )

    async def report(self, sender: Sender[Any], sms: Sms, message_ref: str) -> Verdict:
        """The same with the report that the charge of `sms` succeeded."""
        verdict, _ = await self._until_answered(
            lambda: sender.report(sms, message_ref, datetime.now(UTC)), lambda reply: sender.judge_report(sms, reply)
        )
        return verdict

    async def _until_answered(
        self, made: Callable[[], Request], judged: Callable[[Reply], Verdict]
    ) -> tuple[Verdict, Reply | None]:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._retry_seconds, PAUSE_SECONDS
        while True:
            reply = await self.attempt(made())
            verdict = Verdict.LATER if reply is None else judged(reply)
            if verdict is not Verdict.LATER:
                return verdict, reply
            wait = min(PAUSE_SECONDS_MAX, (reply and reply.retry_after_seconds) or pause)
            if loop.time() + wait > until:
                return verdict, reply
            self.retries["no answer" if reply is None else str(reply.status)] += 1
            await asyncio.sleep(wait)
            pause = min(PAUSE_SECONDS_MAX, pause * 2)

    async def attempt(self, request: Request) -> Reply | None:
        """Send `request` once; None where nobody answered in time."""
        self.attempts += 1
        session = self._require_session()
        try:
            async with session.request(
                request.method,
                # Encoded already: how a sender writes its query is part of its protocol.
                URL(self.target + request.address, encoded=True),
                data=request.body or None,
                headers=request.headers,
                # A redirect is no answer to a carrier, and must not lead the money of a simulation elsewhere.
                allow_redirects=False,
            ) as response:
                body = await response.read()
                return Reply(response.status, response.content_type, body, _seconds(response.headers))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def cut(self, request: Request, linger_seconds: float) -> None:
        """Send `request` over a connection of its own and break that off before the answer."""
        self.attempts += 1
        address = urlsplit(self.target)
        port = address.port or (443 if address.scheme == "https" else 80)
        context = ssl.create_default_context() if address.scheme == "https" else None
        head = [f"{request.method} {address.path}{request.address} HTTP/1.1", f"Host: {address.netloc}"]
        head += [f"{name}: {value}" for name, value in request.headers.items()]
        head += [f"Content-Length: {len(request.body)}"] if request.method == "POST" else []
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ATTEMPT_SECONDS):
                _, writer = await asyncio.open_connection(address.hostname, port, ssl=context)
                try:
                    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + request.body)
                    await writer.drain()
                    await asyncio.sleep(linger_seconds)
                finally:
                    writer.transport.abort()

    async def document(self, address: str) -> Any:
        """The JSON at `address` of the public API. Raises SimulateRefused where there is none."""
        session = self._require_session()
        timeout = aiohttp.ClientTimeout(total=DOCUMENT_SECONDS)
        try:
            async with session.get(self.target + address, timeout=timeout, allow_redirects=False) as response:
                if response.status != 200:
                    raise SimulateRefused(
                        f"{self.target}{address} answers {response.status}: is this a portal's public listener?"
                    )
                return json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise SimulateRefused(f"{self.target} cannot be reached: is the service running there?") from None
        except ValueError:
            raise SimulateRefused(
                f"{self.target}{address} is not JSON: is this a portal's public listener?"
            ) from None

    def _require_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("a Poster is used inside `async with`")
        return self._session


def _seconds(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() else None
