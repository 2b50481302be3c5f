"""What the workers that run on this machine say of themselves, asked at their internal listeners."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from service.runtime.settings import HostPort, Settings
from service.runtime.supervisor import WORKERS_MAX

ASK_SECONDS = 2.0
LOAD_SECONDS = 5.0
"""A book that was applied is taken up within a second."""
PAUSE_SECONDS = 0.1
EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- what is asked for there is ourselves


@dataclass(frozen=True, slots=True)
class Running:
    """A worker that listens at its internal address."""

    index: int
    is_ready: bool
    degraded: tuple[str, ...] = ()
    book_version: int = 0
    secret_keys: int = 0
    is_silent: bool = False
    """It listens, and answered nothing in ASK_SECONDS."""


async def running_workers(settings: Settings) -> list[Running]:
    """Every worker of this machine: at the internal address, and at the ports after it, until nobody listens."""
    workers: list[Running] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as http:
        for index in range(WORKERS_MAX):
            worker = await _ask(http, settings, index)
            if worker is None:
                break
            workers.append(worker)
    return workers


async def wanting(settings: Settings, book_version: int, here: Sequence[str]) -> list[str]:
    """A sentence for each thing that a running worker's accounts lack. Waits until all read by `book_version`.

    Where none runs nobody else tells: then it is what lacks `here`, in the environment of this command.
    """
    deadline = time.monotonic() + LOAD_SECONDS
    workers = await running_workers(settings)
    while any(each.is_ready and each.book_version < book_version for each in workers) and time.monotonic() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
        workers = await running_workers(settings)
    if not workers:
        return [f"no worker runs here yet; by the environment of this command {each}" for each in here]
    return [
        f"running worker {worker.index}: {each}"
        for worker in workers
        for each in worker.degraded
        if each.startswith("gateway ")
    ]


def address_of(settings: Settings, index: int) -> HostPort:
    """Where the internal listener of a worker is asked."""
    address = settings.internal_listen
    host = EVERY_INTERFACE.get(address.host, address.host)
    return address.model_copy(update={"host": host, "port": address.port + index})


async def _ask(http: aiohttp.ClientSession, settings: Settings, index: int) -> Running | None:
    """What a worker says of itself; None where nobody listens, or somebody who is no worker of ours."""
    if not settings.internal_listen.port or settings.internal_listen.port + index > 65535:
        return None
    asked = address_of(settings, index)
    try:
        async with http.get(f"http://{asked}/readyz") as answer:
            state = await answer.json()
            is_ready = answer.status == 200
    except (aiohttp.ServerDisconnectedError, TimeoutError):
        return Running(index, is_ready=False, is_silent=True)
    except (aiohttp.ClientError, OSError, ValueError):
        return None
    if not isinstance(state, dict) or "book_version" not in state:
        return None
    degraded = tuple(str(each) for each in state.get("degraded", ()))
    return Running(index, is_ready, degraded, int(state["book_version"]), int(state.get("secret_keys", 1)))
