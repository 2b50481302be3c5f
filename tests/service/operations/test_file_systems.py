"""A data folder in memory, or on another machine, is told before something is lost there."""

from pathlib import Path

import pytest

from service.operations.file_systems import MOUNTS, kind_of, mounted, unfit

HELD = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /run rw,nosuid shared:2 - tmpfs tmpfs rw,size=1k
31 22 8:1 / /srv/a\\040b rw,relatime - xfs /dev/sda1 rw
32 22 0:40 / /srv/far rw - nfs4 server:/export rw,vers=4.2
33 32 8:2 / /srv/far/near rw - ext4 /dev/sdb1 rw
34 22 8:3 / /twice rw - ext4 /dev/sdc1 rw
35 34 0:50 / /twice rw - tmpfs tmpfs rw
half a line
"""


@pytest.mark.parametrize(
    ("folder", "kind", "word"),
    [
        ("/var/lib/portal1400", "ext4", None),
        ("/run/portal1400", "tmpfs", "in memory"),
        ("/running/portal1400", "ext4", None),
        ("/srv/a b/x", "xfs", None),
        ("/srv/far/x", "nfs4", "another machine"),
        ("/srv/far/near/x", "ext4", None),
        ("/twice", "tmpfs", "in memory"),
    ],
)
def test_the_nearest_mount_decides(folder: str, kind: str, word: str | None) -> None:
    assert kind_of(Path(folder), HELD) == kind
    said = unfit(Path(folder), HELD)
    assert (said is None) == (word is None)
    assert word is None or word in str(said)


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert unfit(Path("/run"), "") is None


@pytest.mark.skipif(not MOUNTS.exists(), reason="the system does not tell")
def test_the_system_s_own_word_is_understood() -> None:
    assert kind_of(Path("/proc/self"), mounted()) == "proc"
