"""portal1400 serve: the service, configured by the environment."""

import argparse
import asyncio
import functools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from types import MappingProxyType

import structlog

from service.app import Service
from service.commands.opening import CommandRefused, opened, require_live
from service.commands.starting import Rereading, start_serving, unless_stopped
from service.listeners.listener import bind
from service.runtime import garbage as collector
from service.runtime import logs
from service.runtime.service_manager import ServiceManager
from service.runtime.settings import HostPort, Settings, read_settings
from service.runtime.supervisor import WORKERS_MAX, Supervisor
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("serve")

ACCEPT_OLDER = "--accept-older-database"
BIND_SECONDS = 5.0
"""How long an address may still be taken: by the workers of a supervisor that was killed, which are about to end."""
BIND_PAUSE_SECONDS = 0.1
ALIVE_SECONDS = 0.5
"""Between looks whether the service manager waits for a sign of life."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="worker processes under a supervisor that restarts them, and at SIGHUP replaces them one by one, 1 to "
        f"{WORKERS_MAX} (without: one process alone)",
    )
    parser.add_argument(
        ACCEPT_OLDER,
        action="store_true",
        help="serve a database that is older than what this machine has published, as after a restore",
    )


async def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns 0 after a clean stop."""
    manager = ServiceManager.of(os.environ)
    settings = read_settings()
    if arguments.workers is not None:
        options = [ACCEPT_OLDER] if arguments.accept_older_database else []
        return await supervise(settings, arguments.workers, options, manager)
    stopping = asyncio.Event()
    stop_at_signals(stopping, signal.SIGINT, signal.SIGTERM, also=manager.stopping)
    # In front of a terminal it is an end like the others: the terminal was closed.
    is_at_terminal = sys.stdin is not None and sys.stdin.isatty()
    if is_at_terminal:
        stop_at_signals(stopping, signal.SIGHUP, also=manager.stopping)
    else:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with (
        bound("PORTAL1400_LISTEN", settings.listen) as public,
        bound("PORTAL1400_INTERNAL_LISTEN", settings.internal_listen) as inside,
    ):
        alive = repeat("watchdog", functools.partial(_sign, manager), (ALIVE_SECONDS,))
        try:
            await serve_on(
                settings,
                public,
                inside,
                stopping,
                accept_older_database=arguments.accept_older_database,
                rereads_at_hangup=not is_at_terminal,
                ready=manager.ready,
            )
        finally:
            await cancel_and_wait(alive)
    return 0


async def _sign(manager: ServiceManager) -> None:
    manager.alive()


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
    often its forerunners ended, by reason. Raises CommandRefused with every reason in a sentence.
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
            service.instruments.count_restarts(restarts)
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


async def supervise(settings: Settings, workers: int, options: Sequence[str], manager: ServiceManager) -> int:
    """Keep `workers` processes serving until SIGTERM or SIGINT; SIGHUP replaces them one after the other.

    `options` are handed to each worker; `manager` is told how we are.
    """
    if not 1 <= workers <= WORKERS_MAX:
        raise CommandRefused([f"--workers {workers}: want 1 to {WORKERS_MAX} worker processes"])
    settings.require_secret_key()
    base = settings.internal_listen
    if base.port and base.port + workers - 1 > 65535:
        raise CommandRefused(
            [f"PORTAL1400_INTERNAL_LISTEN={base}: {workers} workers need as many ports from it on; set a lower one"]
        )
    logs.configure(settings.log_format)
    with ExitStack() as sockets:
        public = sockets.enter_context(await _bound_patiently("PORTAL1400_LISTEN", settings.listen))
        insides = []
        for index in range(workers):
            address = HostPort(host=base.host, port=base.port + index if base.port else 0)
            insides.append(sockets.enter_context(await _bound_patiently("PORTAL1400_INTERNAL_LISTEN", address)))
        supervisor = Supervisor(
            public, insides, shutdown_seconds=settings.shutdown_seconds, options=options, manager=manager
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, supervisor.stop)
        loop.add_signal_handler(signal.SIGHUP, supervisor.roll)
        if refused := await supervisor.run():
            raise CommandRefused(refused)
    log.info("all_workers_stopped")
    return 0


def stop_at_signals(
    stopping: asyncio.Event, *numbers: signal.Signals, also: Callable[[], None] = lambda: None
) -> None:
    """Set `stopping` when one of these signals comes, and call `also`."""

    def stop() -> None:
        stopping.set()
        also()

    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, stop)


def bound(name: str, address: HostPort) -> socket.socket:
    """A bound socket. Whoever comes during the start waits in its queue.

    Raises CommandRefused with the setting's name when the address is taken.
    """
    try:
        return bind(address.host, address.port)
    except OSError as error:
        raise CommandRefused(
            [f"{name}={address} cannot be used ({error.strerror}): stop what listens there or set another address"]
        ) from None


async def _bound_patiently(name: str, address: HostPort) -> socket.socket:
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            return bound(name, address)
        except CommandRefused:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(BIND_PAUSE_SECONDS)


def _tell(sentence: str) -> None:
    print(f"portal1400: {sentence}", file=sys.stderr, flush=True)
