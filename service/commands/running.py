"""What the workers that run on this machine lack, asked from their internal listeners: for `apply` and `check`."""

import asyncio
import time
from typing import Any

import aiohttp

from service.runtime.settings import Settings
from service.runtime.supervisor import WORKERS_MAX

ASK_SECONDS = 2.0
LOAD_SECONDS = 5.0
"""A book that was applied is taken up within a second."""
PAUSE_SECONDS = 0.1
EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- what is asked for there is ourselves


async def wanting(settings: Settings, book_version: int = 0) -> list[str]:
    """A sentence for each thing that a running worker's accounts lack. Waits until they read by `book_version`.

    Nothing where no worker runs: at the internal address, and at the ports after it, nobody answers.
    """
    sentences: list[str] = []
    deadline = time.monotonic() + LOAD_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as http:
        for index in range(WORKERS_MAX):
            state = await _state(http, settings, index)
            while state and state.get("book_version", 0) < book_version and time.monotonic() < deadline:
                await asyncio.sleep(PAUSE_SECONDS)
                state = await _state(http, settings, index)
            if not state:
                break
            accounts = [each for each in state.get("degraded", ()) if str(each).startswith("gateway ")]
            sentences += [f"running worker {index}: {each}" for each in accounts]
    return sentences


async def _state(http: aiohttp.ClientSession, settings: Settings, index: int) -> dict[str, Any]:
    """What a worker says of itself; empty where none answers."""
    address = settings.internal_listen
    if not address.port or address.port + index > 65535:
        return {}
    host = EVERY_INTERFACE.get(address.host, address.host)
    asked = address.model_copy(update={"host": host, "port": address.port + index})
    try:
        async with http.get(f"http://{asked}/readyz") as answer:
            state = await answer.json()
    except (aiohttp.ClientError, OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and "book_version" in state else {}
