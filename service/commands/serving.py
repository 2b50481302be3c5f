"""What a worker does from its sockets to its end, alone or as one of several."""

import asyncio
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType

import structlog

from service.app import Service
from service.commands.opening import opened, require_live
from service.commands.starting import Rereading, start_serving, unless_stopped
from service.runtime import garbage as collector
from service.runtime import logs
from service.runtime.settings import Settings

log = structlog.get_logger("serve")


async def serve_on(
    settings: Settings,
    public: socket.socket,
    inside: socket.socket,
    stopping: asyncio.Event,
    *,
    accept_older_database: bool = False,
    worker: int | None = None,
    restarts: Mapping[str, int] = MappingProxyType({}),
    rereads_at_hangup: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve two bound sockets until `stopping`, then drain.

    With `rereads_at_hangup` SIGHUP has the secrets of accounts looked up again, and nothing else happens. `ready` is
    called when callbacks can be taken. `worker` is the process's number among several, `restarts` how
    often its forerunners ended, by reason. Raises Refused with every reason in a sentence.
    """
    logs.configure(settings.log_format, worker=worker)
    # Several would say the same.
    progress = None if worker else _tell
    opening = opened(settings, may_migrate=settings.migrate_on_start, may_be_away=True, progress=progress)
    async with AsyncExitStack() as stack:

        async def start() -> Service:
            found = await stack.enter_async_context(opening)
            require_live(found)
            service = await start_serving(
                settings, found, public, inside, accept_older_database=accept_older_database
            )
            log.info(
                "serving",
                database=found.database.description,
                public="{}:{}".format(*public.getsockname()[:2]),
                internal="{}:{}".format(*inside.getsockname()[:2]),
            )
            return service

        service = await unless_stopped(stopping, start())
        if service is not None:
            service.instruments.runtime.count_restarts(restarts)
            collector.tune_garbage_collection()
            rereading = Rereading(service.catalog) if rereads_at_hangup else None
            ready()
            try:
                await stopping.wait()
            finally:
                await service.stop(settings.drain_seconds)
            if rereading is not None:
                await rereading.stop()
    log.info("stopped")


def _tell(sentence: str) -> None:
    print(f"portal1400: {sentence}", file=sys.stderr, flush=True)
