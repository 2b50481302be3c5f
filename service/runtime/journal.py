"""Priorities for systemd's journal: lines that begin with `<N>`, so that `journalctl -p warning` finds what matters.

Source: sd-daemon(3) for the prefix, systemd.exec(5) for JOURNAL_STREAM, syslog(3) for the numbers.
"""

import os
from collections.abc import Mapping

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""A level of ours as a priority of the journal."""
PREFIXES = {level: b"<%d>" % number for level, number in PRIORITIES.items()}
STANDARD_ERROR = 2


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether what is written to a descriptor goes to the journal, and not to where somebody has turned it since."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def prefixed(line: bytes, level: str) -> bytes:
    """A line as the journal wants it, which may hold line ends: it takes each for a line of its own."""
    prefix = PREFIXES[level]
    return prefix + line.replace(b"\n", b"\n" + prefix)


def sentence(text: str) -> str:
    """What a refused command says on standard error: an error, where that is the journal."""
    if not is_journal(STANDARD_ERROR, os.environ):
        return text
    return prefixed(text.encode("utf-8", "backslashreplace"), "error").decode()
