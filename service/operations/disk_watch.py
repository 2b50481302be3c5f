"""The disks under a worker, looked at while nothing is wrong: an outage is too late to learn of no room."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from metrics.instruments import Instruments
from service.operations.file_systems import mounted, unfit
from service.postgres.embedded.data_folder import DataFolder
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("disk")

LOOK_SECONDS = 1.0
"""So old the figure may be that /readyz tells: a call of some microseconds."""
FREE_BYTES_MIN = 1024 * 1024 * 1024
"""Less free than this is told: what the spool of one worker holds by default (a million gifts), and what PostgreSQL's
own log takes between two checkpoints by default (max_wal_size)."""
MEBIBYTE = 1024 * 1024


class DiskWatch:
    """One task. `folders` by their label in the metric; a disk with less than `free_bytes_min` is told of."""

    def __init__(
        self, folders: Mapping[str, Path], instruments: Instruments, *, free_bytes_min: int = FREE_BYTES_MIN
    ) -> None:
        self._folders = folders
        self._instruments = instruments
        self._free_bytes_min = free_bytes_min
        self._troubles: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, so that a start on a full disk says so, or on one of memory, and then now and then."""
        if (sentence := unfit(self._folders["data"], await asyncio.to_thread(mounted))) is not None:
            log.warning("data_folder_unfit", reason=sentence)
        await self.look()
        self._task = repeat("disk", self.look, (LOOK_SECONDS,))

    async def stop(self) -> None:
        """Look no more."""
        await cancel_and_wait(self._task)

    def troubles(self) -> Iterable[str]:
        """A sentence for each disk without enough room."""
        return tuple(self._troubles.values())

    async def look(self) -> None:
        """Measure what is free; each folder's trouble is logged when it begins and when it ends."""
        found: dict[str, str] = {}
        for name in self._folders:
            # A network file system that hangs would keep the event loop.
            if (sentence := await asyncio.to_thread(self._measure, name)) is not None:
                found[name] = sentence
        for name in found.keys() - self._troubles.keys():
            log.error("disk_without_room", folder=name, reason=found[name])
        for name in self._troubles.keys() - found.keys():
            log.warning("disk_has_room_again", folder=name)
        self._troubles = found

    def _measure(self, name: str) -> str | None:
        folder = self._folders[name]
        try:
            disk = os.statvfs(folder)
        except OSError as error:
            return f"the disk of {folder} cannot be looked at ({error.strerror or type(error).__name__})"
        # What is free for this account, without what is reserved for root.
        free = disk.f_bavail * disk.f_frsize
        self._instruments.operations.disk_free_bytes.labels(name).set(free)
        self._instruments.operations.disk_size_bytes.labels(name).set(disk.f_blocks * disk.f_frsize)
        if free >= self._free_bytes_min:
            return None
        return (
            f"the disk of {folder} has {free // MEBIBYTE} MiB free, less than {self._free_bytes_min // MEBIBYTE} "
            "MiB: make room, before an outage or the database needs it"
        )


def folders_of(settings: Settings) -> dict[str, Path]:
    """What to watch: an own database is watched by whoever runs it."""
    folders = {"data": settings.data_dir.expanduser()}
    if settings.database_url is None:
        folders["database"] = DataFolder(folders["data"].resolve()).data
    return folders
