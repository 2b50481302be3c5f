"""portal1400 serve: the service, configured by the environment."""

import argparse
import asyncio
import signal
import socket
import sys

import structlog

from service import collector, logs
from service.app import Service, run_until
from service.commands.opening import CommandRefused, Opened, opened, require_live
from service.listener import bind
from service.settings import HostPort, Settings, read_settings
from service.spool_file import SpoolRefused

log = structlog.get_logger("serve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (for now: 1)")
    parser.add_argument(
        "--accept-older-database",
        action="store_true",
        help="serve a database that is older than what this machine has published, as after a restore",
    )


async def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns 0 after a clean stop."""
    settings = read_settings()
    if arguments.workers != 1:
        raise CommandRefused([f"--workers {arguments.workers}: only 1 is supported for now; start one service"])
    logs.configure(settings.log_format)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with (
        bound("PORTAL1400_LISTEN", settings.listen) as public,
        bound("PORTAL1400_INTERNAL_LISTEN", settings.internal_listen) as inside,
    ):
        async with opened(settings, may_migrate=settings.migrate_on_start, may_be_away=True, progress=_tell) as ready:
            require_live(ready)
            service = service_of(settings, ready, accept_older_database=arguments.accept_older_database)
            await service.start(public, inside)
            collector.calm()
            log.info(
                "serving",
                database=ready.database.description,
                public="{}:{}".format(*public.getsockname()[:2]),
                internal="{}:{}".format(*inside.getsockname()[:2]),
            )
            await run_until(stopping, service)
    log.info("stopped")
    return 0


def service_of(settings: Settings, ready: Opened, *, accept_older_database: bool = False) -> Service:
    """The worker for an opened database. Raises CommandRefused when its spool cannot be used."""
    try:
        return Service(
            settings,
            ready.database,
            ready.keyring,
            kind=ready.kind,
            copy=ready.copy,
            prepare=ready.prepare,
            accept_older_database=accept_older_database,
        )
    except SpoolRefused as refused:
        raise CommandRefused([str(refused)]) from None


def bound(name: str, address: HostPort) -> socket.socket:
    """A bound socket. Raises CommandRefused with the setting's name when the address is taken."""
    try:
        return bind(address.host, address.port)
    except OSError as error:
        raise CommandRefused(
            [f"{name}={address} cannot be used ({error.strerror}): stop what listens there or set another address"]
        ) from None


def _tell(sentence: str) -> None:
    print(f"portal1400: {sentence}", file=sys.stderr)
