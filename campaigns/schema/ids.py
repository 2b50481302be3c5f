"""Ids of events: UUIDs of version 7, which begin with the milliseconds of the time of arrival (RFC 9562, 5.7)."""

from datetime import datetime
from uuid import UUID


def least_id(at: datetime) -> UUID:
    """The least id of an event received at `at`."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
