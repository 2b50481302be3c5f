"""Families of what looks after a running worker: invariants, backups, disks."""

from metrics.families.register import Register


class OperationsFamilies:
    """Whether the figures hold, and whether they could be brought back."""

    def __init__(self, register: Register) -> None:
        room = register.room("Operations")
        # No children before the first check: 0 says "checked and right", and only one process of the cluster checks.
        self.invariant_difference = room.gauge(
            "portal1400_invariant_difference",
            "Rows by which an invariant is broken; must be 0",
            ["invariant"],
            unit="rows",
            query="max by (invariant) (portal1400_invariant_difference) != 0",
        )
        self.invariants_pass = room.gauge(
            "portal1400_invariants_pass_timestamp_seconds",
            "When the last check in turn over everything ended, unix seconds",
            ["subject"],
            unit="unix seconds",
            query="time() - max by (subject) (portal1400_invariants_pass_timestamp_seconds)",
        )
        self.last_backup = room.gauge(
            "portal1400_last_backup_timestamp_seconds",
            "When this machine last made a backup, or passed a drill of one, unix seconds; 0: not known",
            ["act"],
            unit="unix seconds",
            query="(time() - max by (act) (portal1400_last_backup_timestamp_seconds)) / 86400",
        )
        self.disk_free_bytes = room.gauge(
            "portal1400_disk_free_bytes",
            "Free for this service on the disk of its data folder, and of the embedded database's",
            ["folder"],
            unit="bytes",
            query="min by (folder) (portal1400_disk_free_bytes)",
        )
        self.disk_size_bytes = room.gauge(
            "portal1400_disk_size_bytes",
            "Size of these disks",
            ["folder"],
            unit="bytes",
            query="min by (folder) (portal1400_disk_free_bytes / portal1400_disk_size_bytes)",
        )
        self.certificate_expires_at: float | None = None
        room.known(
            "portal1400_certificate_expires_timestamp_seconds",
            "Until when the certificate at PORTAL1400_PUBLIC_URL is good, unix seconds; absent until it was met",
            lambda: self.certificate_expires_at,
            unit="unix seconds",
            query="(min(portal1400_certificate_expires_timestamp_seconds) - time()) / 86400",
        )
