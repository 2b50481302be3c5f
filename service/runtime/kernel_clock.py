"""Whether the kernel holds this machine's clock for synchronised, as adjtimex(2) tells; asking changes nothing."""

import ctypes
from typing import NamedTuple

STA_UNSYNC = 0x0040
TIME_ERROR = 5


class KernelClock(NamedTuple):
    """`error_seconds_max`: how far the clock may be off at most, as whoever sets it has told the kernel."""

    is_synchronised: bool
    error_seconds_max: float


class _Timex(ctypes.Structure):
    """`struct timex` of Linux, 64 bits (linux/timex.h); the rest is room for what is not read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel_clock() -> KernelClock | None:
    """None where the kernel is not to be asked: another system, or a sandbox that forbids it."""
    asked = _Timex()  # `modes` 0: nothing is set
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (AttributeError, OSError):
        return None
    if state < 0:
        return None
    is_synchronised = state != TIME_ERROR and not asked.status & STA_UNSYNC
    return KernelClock(is_synchronised, asked.maxerror / 1e6)
