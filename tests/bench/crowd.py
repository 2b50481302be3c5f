"""Many viewers in one process, as light as Python allows: one epoll, one shared buffer, some of them read closely.

Reads commands from stdin, a line each: `deaf` (every second viewer stops reading), `stop`. Tells on stdout, a line
of JSON each: how many were seated; at the end what the sampled viewers saw.
"""

import argparse
import json
import re
import select
import socket
import sys
import time

MESSAGES = re.compile(rb'"as_of":"[^"]+","messages":(\d+)')
"""A campaign's figure, not a carrier's share."""
AT_ONCE = 200
AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 180.0
DEAF_BUFFER_BYTES = 4096


class RefusedForNow(Exception):
    """The service is busy, or full, and says so: come again."""


class Viewer:
    """One connection. A sampled one keeps when it saw which number of messages."""

    def __init__(self, port: int, path: str, *, is_sampled: bool, may_turn_deaf: bool) -> None:
        self.socket = socket.socket()
        if may_turn_deaf:
            # Small from the start: what a deaf viewer's own machine would buffer is not what is measured here.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_BUFFER_BYTES)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        self.socket.setblocking(False)
        self.may_turn_deaf = may_turn_deaf
        self.is_seated = False
        self.seen: list[tuple[float, int]] | None = [] if is_sampled else None

    def read(self, buffer: bytearray) -> bool:
        """Take what came; False at the end of the stream."""
        try:
            size = self.socket.recv_into(buffer)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not self.is_seated:
            if buffer.startswith(b"HTTP/1.1 503 "):
                raise RefusedForNow
            if not buffer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"not seated: {bytes(buffer[:200])!r}")
            self.is_seated = True
        if self.seen is not None and size:
            now = time.perf_counter()
            self.seen.extend((now, int(found)) for found in MESSAGES.findall(buffer, 0, size))
        return size > 0


class Crowd:
    """All of them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._viewers: dict[int, Viewer] = {}
        self._buffer = bytearray(1 << 18)
        self.ended = 0
        self.refused = 0

    def gather(self, port: int, path: str, count: int, sampled: int) -> None:
        """Take seats, some at once."""
        self._port, self._path = port, path
        every = max(2, count // max(1, sampled) // 2 * 2)
        for number in range(count):
            # Sampled ones have even numbers, those that will turn deaf odd ones.
            self._ask(is_sampled=number % every == 0, may_turn_deaf=number % 2 == 1)
            if number % AT_ONCE == AT_ONCE - 1 or number == count - 1:
                self._until_seated()

    def _ask(self, *, is_sampled: bool, may_turn_deaf: bool) -> None:
        viewer = Viewer(self._port, self._path, is_sampled=is_sampled, may_turn_deaf=may_turn_deaf)
        self._viewers[viewer.socket.fileno()] = viewer
        self._epoll.register(viewer.socket, select.EPOLLIN)

    def _ask_again(self, refused: list[Viewer]) -> None:
        self.refused += len(refused)
        for viewer in refused:
            self._forget(viewer)
        if refused:
            time.sleep(AGAIN_SECONDS)
        for viewer in refused:
            self._ask(is_sampled=viewer.seen is not None, may_turn_deaf=viewer.may_turn_deaf)

    def _forget(self, viewer: Viewer) -> None:
        self._epoll.unregister(viewer.socket)
        del self._viewers[viewer.socket.fileno()]
        viewer.socket.close()

    def _until_seated(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(viewer.is_seated for viewer in self._viewers.values()):
            if time.monotonic() > deadline:
                raise TimeoutError("the service does not seat its viewers")
            self.read(0.1)

    def read(self, seconds: float) -> None:
        """Take what comes, and wait for it `seconds` at most."""
        refused = []
        for number, _ in self._epoll.poll(seconds):
            viewer = self._viewers[number]
            try:
                if not viewer.read(self._buffer):
                    self.ended += 1
                    self._forget(viewer)
            except RefusedForNow:
                refused.append(viewer)
        self._ask_again(refused)

    def turn_deaf(self) -> None:
        """Every second viewer stops reading, and keeps its connection."""
        for number, viewer in self._viewers.items():
            if viewer.may_turn_deaf:
                self._epoll.unregister(number)

    @property
    def seen(self) -> list[list[tuple[float, int]]]:
        """What the sampled viewers saw."""
        return [viewer.seen for viewer in self._viewers.values() if viewer.seen]


def main() -> None:
    """Watch until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--viewers", type=int, required=True)
    parser.add_argument("--sampled", type=int, default=100)
    chosen = parser.parse_args()
    crowd = Crowd()
    crowd.gather(chosen.port, chosen.path, chosen.viewers, chosen.sampled)
    print(json.dumps({"seated": chosen.viewers}), flush=True)
    commands = select.poll()
    commands.register(sys.stdin, select.POLLIN)
    while True:
        crowd.read(0.05)
        if commands.poll(0):
            command = sys.stdin.readline().strip()
            if command == "deaf":
                crowd.turn_deaf()
            else:
                print(json.dumps({"ended": crowd.ended, "refused": crowd.refused, "seen": crowd.seen}), flush=True)
                return


if __name__ == "__main__":
    main()
