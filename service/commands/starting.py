"""From settings to a worker that serves: may be interrupted at any moment, and says what is in its way."""

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from service.app import Service
from service.catalog.catalog import Catalog
from service.catalog.last_good import find_last_good
from service.commands.opening import Opened, refusal_of
from service.postgres.database import DATABASE_ERRORS, is_away
from service.runtime import logs
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("serve")

UNWIND_SECONDS = 1.2
"""What an interrupted start may take to let go of what it has; a stop is to take no longer than 2 s."""
Done = TypeVar("Done")


async def unless_stopped(stopping: asyncio.Event, work: Coroutine[Any, Any, Done]) -> Done | None:
    """What `work` gives; None when `stopping` came first. Then it is cancelled.

    A start that waits for a server which does not answer cannot always be cancelled. Nothing was acknowledged yet,
    and the kernel frees locks and sockets: such a process ends here, with exit code 0.
    """
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        stopped.cancel()
        task.cancel()
    unwound, _ = await asyncio.wait({task}, timeout=UNWIND_SECONDS)
    if not unwound:
        log.warning("start_abandoned")
        logs.close()
        os._exit(0)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("start_interrupted", error=type(error).__name__)
    return None


async def start_serving(
    settings: Settings,
    found: Opened,
    public: socket.socket,
    inside: socket.socket,
    *,
    accept_older_database: bool = False,
) -> Service:
    """A worker that serves the two sockets. A database that is lost meanwhile is no reason where a copy lies.

    Raises Refused with what is in the way.
    """
    service = service_of(settings, found, accept_older_database=accept_older_database)
    try:
        await service.start(public, inside)
    except DATABASE_ERRORS as error:
        copy = find_last_good(settings.data_dir, found.keyring.local) if is_away(error) else None
        if found.copy is not None or copy is None:
            raise refusal_of(error) from None
        log.warning("database_lost_at_start", error=type(error).__name__)
        found = Opened(found.database, found.keyring, copy.kind, found.prepare, copy)
        service = service_of(settings, found, accept_older_database=accept_older_database)
        await service.start(public, inside)
    return service


def service_of(settings: Settings, ready: Opened, *, accept_older_database: bool = False) -> Service:
    """The worker for an opened database. Raises SpoolRefused when its spool cannot be used."""
    return Service(
        settings,
        ready.database,
        ready.keyring,
        kind=ready.kind,
        copy=ready.copy,
        prepare=ready.prepare,
        accept_older_database=accept_older_database,
    )


class Rereading:
    """Looks up the secrets of accounts again whenever SIGHUP comes; one time after the other."""

    def __init__(self, catalog: Catalog) -> None:
        self._asked = asyncio.Event()
        self._catalog = catalog
        self._task = repeat("rereading", self._reread, (0.0,))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)

    async def _reread(self) -> None:
        await self._asked.wait()
        self._asked.clear()
        if await self._catalog.reread_secrets():
            log.info("secrets_read_again")

    async def stop(self) -> None:
        """Look no more."""
        await cancel_and_wait(self._task)
