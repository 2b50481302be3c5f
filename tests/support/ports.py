"""Ports for processes that tests start: each test process has a range of its own, so that none takes another's."""

import contextlib
import itertools
import os
import socket

FIRST, LAST = 20_000, 32_000
"""Below the ports that the system gives to outgoing connections, which may be taken at any moment."""
RANGE = 1_500
_asked = itertools.count()


def _start() -> int:
    """Where this process's range begins: by its number among those that run tests side by side, else by its pid."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    return FIRST + (int(number) if number.isdecimal() else os.getpid()) % ((LAST - FIRST) // RANGE) * RANGE


def free_ports(count: int = 1) -> int:
    """The first of `count` neighbouring ports that nobody has now and that were not handed out lately."""
    start = _start()
    step = max(count, 8)
    for _ in range(RANGE // step):
        first = start + next(_asked) * step % (RANGE - step)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no ports are free")
