"""A small disk for the service's local files, which can be filled up and can lose its power.

An ext4 image on a loop device. `cut_power` uses the kernel's own test ioctl (EXT4_IOC_SHUTDOWN without a log
flush, as xfstests' `godown`): from that instant nothing more reaches the image, and what was not synced before
is gone after the next mount. Killing a process alone loses nothing that it wrote: the page cache survives it.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

SIZE_MIB = 48
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
# So that the file system's own five-second commit does not do what a missing fsync left undone.
_MOUNT_OPTIONS = "loop,commit=600"
FILLER = "filler"
WHY_NOT = "needs root, mkfs.ext4 and loop devices: the spool's disk is neither filled up nor cut off"


class SmallDisk:
    """`folder` is where local files go. Without the rights to mount it is an ordinary folder, and `is_real` False."""

    def __init__(self, place: Path) -> None:
        self._image = place / "disk.img"
        self.folder = place / "disk"
        self.folder.mkdir()
        self.is_real = False
        with suppress(OSError, subprocess.CalledProcessError):
            with self._image.open("wb") as file:
                file.truncate(SIZE_MIB * 1024 * 1024)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
            self._mount()
            self.is_real = True

    def fill(self) -> None:
        """Take every block that is left."""
        with (self.folder / FILLER).open("wb") as file, suppress(OSError):
            step = 1024 * 1024
            while step >= 1024:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError:
                    step //= 2

    def free(self) -> None:
        """Give back what `fill` took."""
        with suppress(FileNotFoundError):
            (self.folder / FILLER).unlink()

    def cut_power(self) -> None:
        """Nothing more reaches the disk, and what was not synced is lost. Mount anew with `power_up`."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def power_up(self) -> None:
        """Mount what the disk holds. Whoever had files open there must be gone."""
        self._unmount()
        self._mount()

    def close(self) -> None:
        """Leave nothing mounted."""
        if self.is_real:
            self._unmount()
            self.is_real = False

    def copy_to(self, place: Path) -> None:
        """Keep the local files, for a person to look at."""
        shutil.copytree(self.folder, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FILLER, "lost+found"))

    def _mount(self) -> None:
        _run("mount", "-o", _MOUNT_OPTIONS, str(self._image), str(self.folder))

    def _unmount(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                _run("umount", str(self.folder))
            except subprocess.CalledProcessError:
                # A process that was killed a moment ago may still hold a file.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
