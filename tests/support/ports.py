"""Ports for processes that tests start: each test process has a range to itself, so that none takes another's."""

import atexit
import contextlib
import functools
import itertools
import os
import socket

FIRST, LAST = 20_000, 32_000
"""Below the ports that the system gives to outgoing connections, which may be taken at any moment."""
RANGE = 400
STEP = 8
"""From one answer to the next: room for workers, which listen on neighbours."""
_asked = itertools.count()


@functools.cache
def _claimed() -> int:
    """Where this process's range begins: who holds its first port has the rest, whichever run it belongs to."""
    ranges = (LAST - FIRST) // RANGE
    for number in range(ranges):
        start = FIRST + (os.getpid() + number) % ranges * RANGE
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", start))
        except OSError:
            claim.close()
            continue
        atexit.register(claim.close)
        return start
    raise AssertionError(f"{ranges} test processes have all ports from {FIRST} to {LAST}")


def free_ports(count: int = 1) -> int:
    """The first of `count` neighbouring ports, `STEP` at most, that nobody has now and that were not given lately."""
    assert count <= STEP
    start = _claimed()
    steps = RANGE // STEP
    for _ in range(steps):
        # The first step holds the claim.
        first = start + (1 + next(_asked) % (steps - 1)) * STEP
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no ports are free")
