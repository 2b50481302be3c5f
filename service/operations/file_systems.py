"""On what kind of file system a folder lies, and whether what is acknowledged may be kept there.

Source: proc_pid_mountinfo(5).
"""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
FORGETFUL = frozenset({"tmpfs", "ramfs"})
"""In memory: empty after a restart of the machine."""
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre"})
"""Without locks that the kernel frees at a process's end, or without a memory that machines share."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def unfit(folder: Path, mounts: str) -> str | None:
    """Why a data folder should lie elsewhere; None where it lies well, or nobody knows. `mounts`: of MOUNTS."""
    kind = kind_of(folder, mounts)
    if kind in FORGETFUL:
        return (
            f"PORTAL1400_DATA_DIR ({folder}) lies in memory ({kind}): callbacks that were acknowledged from the "
            "spool are lost when the machine or the container restarts; name a folder on a disk"
        )
    if kind in REMOTE:
        return (
            f"PORTAL1400_DATA_DIR ({folder}) lies on another machine ({kind}): locks and logs of the spool need a "
            "local disk; name a folder on one"
        )
    return None


def kind_of(folder: Path, mounts: str) -> str | None:
    """The type of the file system that holds `folder`, which need not be there yet."""
    place = folder.expanduser().resolve()
    longest, kind = -1, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4 and after:
            point = Path(_ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4]))
            # Of two on one point the later one lies over the other.
            if len(point.parts) >= longest and place.is_relative_to(point):
                longest, kind = len(point.parts), after.split(" ")[0]
    return kind


def mounted() -> str:
    """What is mounted, as this process sees it; nothing where the system does not tell."""
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
