"""The other workers of this machine, asked at their internal listeners: each has seen only its share."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import orjson

from service.runtime.settings import HostPort
from service.runtime.supervisor import WORKERS_MAX

ASK_SECONDS = 2.0
EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- what is asked for there is ourselves


INSTALLATION_HEADER = "x-portal1400-installation"
DATA = b"data: "


class Siblings:
    """Those whose internal ports stand beside `own_port`, counted from `base`, and that are of our `installation`.

    `installation` tells whose secret key a worker has, and nothing about the key. A port of one's own choice, that is
    not among the ports of workers, has no siblings.
    """

    def __init__(self, base: HostPort, own_port: int, installation: str) -> None:
        self.installation = installation
        host = EVERY_INTERFACE.get(base.host, base.host)
        places = range(base.port, min(base.port + WORKERS_MAX, 65536)) if base.port else range(0)
        others = [port for port in places if port != own_port] if own_port in places else []
        self._addresses = [f"http://{HostPort(host=host, port=port)}" for port in others]

    async def follow(self, path: str, take: Callable[[Mapping[str, Any]], None]) -> list["asyncio.Task[None]"]:
        """A task for each that listens, which hands over the events of its stream at `path`, until it is cancelled.

        One whose stream ends is not followed any more: its successor is met when somebody asks anew.
        """
        tasks: list[asyncio.Task[None]] = []
        for address in self._addresses:
            stack = AsyncExitStack()
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=ASK_SECONDS)
            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            try:
                answer = await stack.enter_async_context(http.get(address + path, allow_redirects=False))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                await stack.aclose()
                if isinstance(error, aiohttp.ClientConnectorError):
                    break
                continue
            if answer.headers.get(INSTALLATION_HEADER) != self.installation:
                await stack.aclose()
                continue
            tasks.append(asyncio.create_task(_hand_over(stack, answer, take)))
        return tasks

    async def ask(self, path: str) -> list[dict[str, Any]]:
        """What each answers at `path`: a JSON object that names our installation. Ends at a port where nobody is."""
        found = []
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            for address in self._addresses:
                try:
                    async with http.get(address + path, allow_redirects=False) as answer:
                        told = await answer.json() if answer.status == 200 else None
                except aiohttp.ClientConnectorError:
                    break
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                    continue
                if isinstance(told, dict) and told.get("installation") == self.installation:
                    found.append(told)
        return found


async def _hand_over(
    stack: AsyncExitStack, answer: aiohttp.ClientResponse, take: Callable[[Mapping[str, Any]], None]
) -> None:
    async with stack:
        try:
            async for line in answer.content:
                if line.startswith(DATA):
                    take(orjson.loads(line.removeprefix(DATA)))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return
