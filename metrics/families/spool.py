"""Families of the spool: what waits on this machine's disk to be counted."""

from metrics.families.register import Register


class SpoolFamilies:
    """What waits, how long, and whether more could."""

    def __init__(self, register: Register) -> None:
        room = register.room("Spool")
        self.records = room.gauge(
            "portal1400_spool_records",
            "Acknowledged callbacks that wait on this machine's disk",
            unit="callbacks",
            query="sum(portal1400_spool_records)",
        )
        self.oldest_seconds = room.gauge(
            "portal1400_spool_oldest_seconds",
            "Age of the oldest of them, 0 when none waits",
            unit="seconds",
            query="max(portal1400_spool_oldest_seconds)",
        )
        self.size = room.gauge(
            "portal1400_spool_bytes",
            "What they take of this worker's spool",
            unit="bytes",
            query="max(portal1400_spool_bytes / portal1400_spool_max_bytes)",
        )
        self.size_max = room.gauge(
            "portal1400_spool_max_bytes",
            "What this worker's spool may take",
            unit="bytes",
            query="sum(portal1400_spool_max_bytes)",
        )
        self.writable = room.gauge(
            "portal1400_spool_writable",
            "1 while the spool would take a callback, else 0",
            unit="0 or 1",
            query="min(portal1400_spool_writable)",
        )
        self.files_refused = room.gauge(
            "portal1400_spool_files_refused",
            "Spool files of this machine that are damaged or cannot be opened, and so are not replayed; must be 0",
            unit="files",
            query="max(portal1400_spool_files_refused) > 0",
        )
