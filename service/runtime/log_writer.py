"""Log lines on their way out: taken at once, written behind by a thread. Whoever logs neither waits nor fails.

A reader that went away, one that stalls and a full disk cost lines, which are counted, and nothing else.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

LINES_MAX = 20_000
"""Lines that wait to be written: some 5 MB, which is several seconds of the busiest night."""
LINE_BYTES_MAX = 16 * 1024
"""A longer line is cut."""
CHUNK_BYTES = 64 * 1024
"""Written at once: what a pipe holds."""
GATHER_SECONDS = 0.02
"""How long the first line waits for others: the thread wakes fifty times a second and not for every callback."""
FAILED_PAUSE_SECONDS = 0.5
"""After a write that failed."""
STUCK_SECONDS = 5.0
"""A write that takes longer has a reader that does not read."""
RECENT_SECONDS = 60.0
"""How long a loss is told after it ended."""
CLOSE_SECONDS = 1.0
"""What the end of a process waits for its last lines."""


class LogWriter:
    """The queue and the thread of one file descriptor, of which it takes a copy.

    `lost_line` renders the line that says, once writing succeeds again, how many were lost before it.
    """

    def __init__(self, descriptor: int, lost_line: Callable[[int], bytes], *, lines_max: int = LINES_MAX) -> None:
        self._descriptor = os.dup(descriptor)
        self._lost_line = lost_line
        self._lines_max = lines_max
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._losing = threading.Lock()
        self._lost = 0
        self._lost_told = 0
        self._lost_in_chunk = 0
        self._lost_at = float("-inf")
        self._writing_since: float | None = None
        self._is_cut = False
        self._is_closed = False
        # A daemon: a write that never returns must not keep the process.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many lines were lost since the start."""
        return self._lost

    @property
    def waiting(self) -> int:
        """How many lines are not written yet."""
        return len(self._lines)

    def troubles(self) -> Iterator[str]:
        """Whether lines are being lost, or are about to be."""
        since = self._writing_since
        if time.monotonic() - self._lost_at < RECENT_SECONDS:
            yield f"log lines are being lost ({self._lost} so far): what reads the log is gone, full or too slow"
        elif since is not None and time.monotonic() - since > STUCK_SECONDS:
            yield "the log is not being read: lines wait, and will be lost"

    def write(self, line: bytes) -> None:
        """Take one line without its line end. Waits for nothing and raises nothing; from any thread."""
        if len(self._lines) >= self._lines_max:
            self._lose(1)
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, for `seconds` at most. A second time: nothing; the number may be another file's now."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        if not self._thread.is_alive() and not self._is_closed:
            self._is_closed = True
            with suppress(OSError):
                os.close(self._descriptor)

    def _lose(self, count: int) -> None:
        with self._losing:
            self._lost += count
        self._lost_at = time.monotonic()

    def _run(self) -> None:
        while self._lines or not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(GATHER_SECONDS)
            while chunk := self._next_chunk():
                if not self._write(chunk):
                    if self._closing.is_set():
                        return
                    self._closing.wait(FAILED_PAUSE_SECONDS)

    def _next_chunk(self) -> bytes:
        taken: list[bytes] = []
        size = 0
        if self._lines and self._lost > self._lost_told:
            self._lost_in_chunk = self._lost
            taken.append(self._lost_line(self._lost_in_chunk - self._lost_told))
        while self._lines and size < CHUNK_BYTES:
            line = self._lines.popleft()[:LINE_BYTES_MAX]
            taken.append(line)
            size += len(line) + 1
        return b"".join(line + b"\n" for line in taken)

    def _write(self, chunk: bytes) -> bool:
        """Whether all of it was written; what was not is lost."""
        # A line that was cut short is ended, or the next would be unreadable as well.
        rest = memoryview(b"\n" + chunk if self._is_cut else chunk)
        self._writing_since = time.monotonic()
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    select.select((), (self._descriptor,), (), FAILED_PAUSE_SECONDS)
        except OSError:
            self._is_cut = len(rest) < len(chunk) or (self._is_cut and len(rest) > len(chunk))
            self._lose(min(bytes(rest).count(b"\n"), chunk.count(b"\n")))
            return False
        finally:
            self._writing_since = None
        self._is_cut = False
        self._lost_told = self._lost_in_chunk
        return True
