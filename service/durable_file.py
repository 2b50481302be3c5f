"""Files that are there whole or not at all, also after a power cut."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` in one step, readable by this account alone. Raises OSError.

    The new content waits in `path` + `.new`: only one writer at a time, by a lock of the caller's.
    """
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
