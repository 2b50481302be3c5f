"""What systemd is told of a service of `Type=notify`: that it serves, that it stops, that it still lives.

A datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. Without that variable nothing is sent.
Source: sd_notify(3) and sd_watchdog_enabled(3).
"""

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

WATCHDOG_SHARE = 3
"""A sign of life is sent this often within the time that the manager waits for one."""


class ServiceManager:
    """The manager that started this process, or nobody. What cannot be sent is not missed: it asks no question."""

    def __init__(self, address: str | None = None, watchdog_seconds: float = 0.0) -> None:
        """`address` is a path, or @ and a name of the abstract namespace; 0 seconds: no sign of life is wanted."""
        self._address = address
        self._pause_seconds = watchdog_seconds / WATCHDOG_SHARE
        self._alive_at = -self._pause_seconds

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "ServiceManager":
        """From the environment, which loses these variables: children are not the ones who speak for us."""
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = pid in ("", str(os.getpid()))
        is_number = microseconds.isascii() and microseconds.isdigit()
        return cls(address, int(microseconds) / 1_000_000 if is_ours and is_number else 0.0)

    def ready(self) -> None:
        """Callbacks can be taken."""
        self._send("READY=1")

    def stopping(self) -> None:
        """We are draining."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """We live; may be called as often as one likes."""
        now = time.monotonic()
        if self._pause_seconds and now - self._alive_at >= self._pause_seconds:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def _send(self, line: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A manager that does not read must not hold the event loop.
            sender.setblocking(False)
            sender.sendto(line.encode(), address)
