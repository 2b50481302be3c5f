"""Processes: what a child may inherit, how it ends with its parent, and that no memory of ours is written to disk.

Light to import: the keeper of the embedded PostgreSQL starts with it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

if sys.platform != "win32":  # there the module must still import, so that a refusal can be a sentence
    import resource

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def clean_environment() -> dict[str, str]:
    """The few variables that tools need: our secrets must not live on in a process that outlives us."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"} | kept


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """For `preexec_fn`: on Linux the kernel sends this signal to the child when its parent is gone.

    Set after the change of user, which clears it. It follows the *thread* that forked: the keeper has only one.
    """
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        library.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return ask


def forbid_core_dumps() -> None:
    """No core file of this process, whose memory holds keys, numbers and texts; nor of its children by the limit.

    On Linux also not through a program that takes cores (`core_pattern` with a pipe), which the limit does not stop:
    the process is marked as not dumpable, so that none but root may attach to it or read its /proc/PID/mem. A child
    that runs another program is dumpable again. Source: prctl(2), core(5).
    """
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
