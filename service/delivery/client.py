"""The HTTP client of replies: connections of its own, bounded, and a word on whether a call can have arrived."""

import asyncio
from types import TracebackType

import aiohttp

from gateways.replier import Call, Fate, Judgement

CONNECTIONS_MAX = 200
"""Of a worker, to all hubs together: what the carriers' callbacks and the public have are others."""
CONNECTIONS_PER_HOST_MAX = 100
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
KEPT_SECONDS = 2.0
"""How long an idle connection is kept: shorter than hubs keep theirs, so that a call seldom meets one that closes."""
ANSWER_BYTES_MAX = 64 * 1024

NOT_REACHED = Judgement(Fate.LATER, reason="the hub cannot be reached")
UNREACHED: tuple[tuple[type[Exception], Judgement], ...] = (
    (aiohttp.ClientConnectorCertificateError, Judgement(Fate.LATER, reason="the hub's certificate is not believed")),
    (
        aiohttp.ClientSSLError,
        Judgement(Fate.LATER, reason="no TLS with the hub: another port, or version"),
    ),
    (aiohttp.ClientConnectorDNSError, Judgement(Fate.LATER, reason="the name of the hub leads nowhere")),
)
"""What is said where it is known why; the first that fits. Nothing of the call has left us in any of them."""
NO_ANSWER = Judgement(Fate.UNKNOWN, reason="no whole answer came")


class HubClient:
    """Use as `async with HubClient()`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "HubClient":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, limit_per_host=CONNECTIONS_PER_HOST_MAX, keepalive_timeout=KEPT_SECONDS
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, call: Call) -> tuple[int, bytes] | Judgement:
        """Status and body, or what there is to say where there are none: not reached, or nobody knows."""
        assert self._session is not None  # noqa: S101 -- only used inside its own block
        try:
            async with self._session.post(
                call.url, data=call.body, headers=call.headers, allow_redirects=False
            ) as answer:
                return answer.status, await _whole(answer.content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            return next((judged for kind, judged in UNREACHED if isinstance(error, kind)), NOT_REACHED)
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError, ValueError):
            return NO_ANSWER


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """The body, as far as it is judged: what has come so far may be its first packet. Raises TimeoutError."""
    body = b""
    async with asyncio.timeout(ANSWER_SECONDS):
        while len(body) < ANSWER_BYTES_MAX and (piece := await content.read(ANSWER_BYTES_MAX - len(body))):
            body += piece
    return body
