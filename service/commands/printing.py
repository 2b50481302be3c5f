"""What commands about single callbacks share: times and ids as they are asked for and shown."""

import argparse
from datetime import datetime
from uuid import UUID

from campaigns.book.book import VIETNAM


def moment(given: str) -> datetime:
    """A time of the command line; without a zone it is Vietnam's. Raises ArgumentTypeError."""
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise argparse.ArgumentTypeError("want RFC 3339, for example 2026-10-17T20:00:00+07:00") from None
    return at if at.tzinfo else at.replace(tzinfo=VIETNAM)


def request_id(given: str) -> UUID:
    """An id of ours. Raises ArgumentTypeError."""
    try:
        return UUID(given)
    except ValueError:
        raise argparse.ArgumentTypeError(
            "want a request's id, as the header x-portal1400-request and the log have it"
        ) from None


def as_local(at: datetime) -> str:
    """RFC 3339 in Vietnam's zone, to the second."""
    return at.astimezone(VIETNAM).isoformat(timespec="seconds")
