"""Files that are there whole or not at all, also after a power cut."""

import os
import threading
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` in one step, readable by this account alone; on disk when this returns. Raises OSError.

    The new content waits in a file that bears this thread's number, which no other thread of any process has:
    several may write at once, and what the last to end wrote is kept.
    """
    new = path.with_name(f"{path.name}.{threading.get_native_id()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
