"""One worker of `serve --workers N`. Only the supervisor starts it, over sockets and pipes that it inherits."""

import argparse
import asyncio
import functools
import os
import select
import signal

import orjson

from service.commands.serve import ACCEPT_OLDER, stop_at_signals
from service.commands.serving import serve_on
from service.listeners.listening_socket import ListeningSocket
from service.runtime.refusals import Refused
from service.runtime.settings import read_settings
from service.runtime.tasks import cancel_and_wait, repeat
from service.runtime.worker_process import HEARTBEAT_SECONDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments: its number, the descriptors it inherits, and how its forerunners ended."""
    parser.add_argument(ACCEPT_OLDER, action="store_true")
    for name in ("index", "public", "internal", "report", "alive", "died", "hung"):
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
    heartbeat = repeat("heartbeat", functools.partial(_beat, arguments.report), (HEARTBEAT_SECONDS,))
    try:
        with ListeningSocket(fileno=arguments.public) as public, ListeningSocket(fileno=arguments.internal) as inside:
            await serve_on(
                read_settings(),
                public,
                inside,
                stopping,
                accept_older_database=arguments.accept_older_database,
                worker=arguments.index,
                rereads_at_hangup=True,
                restarts={"died": arguments.died, "hung": arguments.hung},
                ready=lambda: _report(arguments.report, {"ready": True}),
            )
    except Refused as refused:
        _report(arguments.report, {"refused": refused.problems})
        return 1
    finally:
        await cancel_and_wait(heartbeat)
    return 0


async def _beat(descriptor: int) -> None:
    # A supervisor that does not read is suspended, and must not hold us up: then there is no room in the pipe.
    if select.select([], [descriptor], [], 0)[1]:
        _report(descriptor, {})


def _orphaned(alive: int, stopping: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(alive)
    stopping.set()


def _report(descriptor: int, told: dict[str, object]) -> None:
    try:
        os.write(descriptor, orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    except BrokenPipeError:
        return  # the supervisor has just ended, which the other pipe tells too
