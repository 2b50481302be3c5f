"""What commands about single callbacks share: times and ids as they are asked for and shown."""

import argparse
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from campaigns.book.book import VIETNAM

ROWS_MAX = 50
ROWS_LIMIT_MAX = 100_000


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


def row_count(given: str) -> int:
    """How many rows are shown. Raises ArgumentTypeError."""
    if not given.isdecimal() or not 1 <= int(given) <= ROWS_LIMIT_MAX:
        raise argparse.ArgumentTypeError(f"want a number of 1 to {ROWS_LIMIT_MAX}")
    return int(given)


def add_listing(parser: argparse.ArgumentParser) -> None:
    """The options of every list."""
    parser.add_argument("--account", metavar="CODE", help="of this gateway alone")
    parser.add_argument("--since", metavar="TIME", type=moment, help="received then or later, RFC 3339")
    parser.add_argument("--limit", metavar="N", type=row_count, default=ROWS_MAX, help=f"rows (default {ROWS_MAX})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def as_json(shown: Mapping[str, Any]) -> str:
    """One line; times are Vietnam's, ids as text, and ids of senders without what is shaped like a number."""
    return visible(json.dumps(shown, ensure_ascii=False, default=_plain))


def visible(line: str) -> str:
    """A line for a terminal: what does not print is written as JSON escapes it.

    What a sender chose could otherwise move the cursor, begin a line or turn its direction, and be taken for ours.
    """
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


def _plain(value: object) -> str:
    return as_local(value) if isinstance(value, datetime) else str(value)


def as_local(at: datetime) -> str:
    """RFC 3339 in Vietnam's zone, to the second."""
    return at.astimezone(VIETNAM).isoformat(timespec="seconds")
