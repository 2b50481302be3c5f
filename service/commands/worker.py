"""One worker of `serve --workers N`. Only the supervisor starts it, over sockets and pipes that it inherits."""

import argparse
import asyncio
import os
import signal

import orjson

from service.commands.serve import ACCEPT_OLDER, serve_on, stop_at_signals
from service.listeners.listener import ListeningSocket
from service.runtime.refusals import Refused
from service.runtime.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments: its number, and the descriptors it inherits."""
    parser.add_argument(ACCEPT_OLDER, action="store_true")
    for name in ("index", "public", "internal", "report", "alive"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="N")


async def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop or until the supervisor is gone, then drain. What is refused is reported to it."""
    # A closed terminal says it to everyone in front of it; a rolling restart is the supervisor's to order.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for descriptor in (arguments.public, arguments.internal, arguments.report, arguments.alive):
        os.set_inheritable(descriptor, False)
    stopping = asyncio.Event()
    stop_at_signals(stopping, signal.SIGINT, signal.SIGTERM)
    # Nobody writes into this pipe: it becomes readable when the supervisor, which holds its other end, has ended.
    asyncio.get_running_loop().add_reader(arguments.alive, _orphaned, arguments.alive, stopping)
    try:
        with ListeningSocket(fileno=arguments.public) as public, ListeningSocket(fileno=arguments.internal) as inside:
            await serve_on(
                read_settings(),
                public,
                inside,
                stopping,
                accept_older_database=arguments.accept_older_database,
                worker=arguments.index,
                ready=lambda: _report(arguments.report, {"ready": True}),
            )
    except Refused as refused:
        _report(arguments.report, {"refused": refused.problems})
        return 1
    return 0


def _orphaned(alive: int, stopping: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(alive)
    stopping.set()


def _report(descriptor: int, told: dict[str, object]) -> None:
    try:
        os.write(descriptor, orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    except BrokenPipeError:
        return  # the supervisor has just ended, which the other pipe tells too
