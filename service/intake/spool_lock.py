"""The lock file beside a spool file: who holds it owns the file, and in it stands what the file must hold at least.

A write-ahead log that is cut short, deleted or damaged in its middle looks like one that was never longer, and
SQLite takes it as that. So the numbers of records taken and let go are kept here as well, after each commit: a file
that holds less has lost something. The mark is written without waiting for the disk, which costs microseconds. A
killed process leaves it exact; after a loss of power it may be about a second old, which asks for less, never more.
"""

import fcntl
import os
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MAGIC = b"p1400sp1"
LAYOUT = struct.Struct(">8sQQ")
CHECKSUM = struct.Struct(">I")
SYNC_SECONDS = 1.0
"""How old the mark may be after a loss of power; waiting for the disk more often would slow the records down."""


class MarkBroken(Exception):
    """The mark is there and does not say anything."""


class Mark(NamedTuple):
    """How many records a file has taken since it was made, and how many of them it has let go."""

    taken: int
    let_go: int


def read_mark(path: Path) -> Mark | None:
    """The mark in the lock file at `path`, whoever holds it. Returns and raises as `SpoolLock.read` does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return SpoolLock(descriptor).read()
    finally:
        os.close(descriptor)


class SpoolLock:
    """A held lock, freed by the kernel when this process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._synced_at = 0.0

    @classmethod
    def claim(cls, path: Path) -> "SpoolLock | None":
        """The lock at `path`, made if need be; None when somebody has it. Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def read(self) -> Mark | None:
        """The mark; None when none was ever written. Raises MarkBroken, OSError."""
        held = os.pread(self._descriptor, LAYOUT.size + CHECKSUM.size + 1, 0)
        # Zeros: made in the moment the power went, when a file may have its length and not yet its content.
        if not held.strip(b"\0"):
            return None
        body, checksum = held[: LAYOUT.size], held[LAYOUT.size :]
        if checksum != CHECKSUM.pack(zlib.crc32(body)) or not body.startswith(MAGIC):
            raise MarkBroken
        _, taken, let_go = LAYOUT.unpack(body)
        return Mark(taken, let_go)

    def write(self, mark: Mark) -> None:
        """Keep `mark`; on disk within SYNC_SECONDS of the next one. A disk that refuses it leaves the one before."""
        body = LAYOUT.pack(MAGIC, *mark)
        with suppress(OSError):
            os.pwrite(self._descriptor, body + CHECKSUM.pack(zlib.crc32(body)), 0)
            if time.monotonic() - self._synced_at >= SYNC_SECONDS:
                os.fsync(self._descriptor)
                self._synced_at = time.monotonic()

    @property
    def has_mark(self) -> bool:
        """Whether the file beside it was made and not deleted since."""
        return os.fstat(self._descriptor).st_size > 0

    def clear(self) -> None:
        """No mark any more, on disk when this returns: the file is about to be deleted. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)

    def free(self) -> None:
        """Let somebody else have it. The lock file stays: deleting one is a race."""
        os.close(self._descriptor)
