"""The wall clock, which is handed to whatever needs it: a test has its own."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives an aware time."""


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)
