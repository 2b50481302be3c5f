"""portal1400 serve: the service, configured by the environment."""

import argparse
import asyncio
import functools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import structlog

from service.listeners.listening_socket import bind
from service.runtime import logs
from service.runtime.garbage import importing
from service.runtime.refusals import Refused
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
    # A supervisor serves nothing itself: it starts sooner, and stays smaller, without the modules of a worker.
    with importing():
        from service.commands.serving import serve_on

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


async def supervise(settings: Settings, workers: int, options: Sequence[str], manager: ServiceManager) -> int:
    """Keep `workers` processes serving until SIGTERM or SIGINT; SIGHUP replaces them one after the other.

    `options` are handed to each worker; `manager` is told how we are.
    """
    if not 1 <= workers <= WORKERS_MAX:
        raise Refused([f"--workers {workers}: want 1 to {WORKERS_MAX} worker processes"])
    settings.require_secret_key()
    base = settings.internal_listen
    if base.port and base.port + workers - 1 > 65535:
        raise Refused(
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
            raise Refused(refused)
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

    Raises Refused with the setting's name when the address is taken.
    """
    try:
        return bind(address.host, address.port)
    except OSError as error:
        raise Refused(
            [f"{name}={address} cannot be used ({error.strerror}): stop what listens there or set another address"]
        ) from None


async def _bound_patiently(name: str, address: HostPort) -> socket.socket:
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            return bound(name, address)
        except Refused:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(BIND_PAUSE_SECONDS)
