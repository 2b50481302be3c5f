"""What pages and API share of proposals: which one is meant, and whose it is to change."""

import re
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from campaigns.book.apply_entries import ApplyFile, ApplyRefused
from campaigns.book.book import Book
from campaigns.lifecycle.proposals import FIRST, Proposal, organisations_of, select_proposals
from service.desk.api import ActRefused
from service.desk.bodies import BodyRefused
from service.desk.door import Visit

OPEN_STATES = ("draft", "proposed")
"""Of a proposal that approving would still change something."""
PLACE = re.compile(r"(open|ended)-([0-9]{1,9})", re.ASCII)


def cursor_of(proposals: Sequence[Proposal]) -> str:
    """Behind the last of a page."""
    is_open, number = proposals[-1].place
    return f"{'open' if is_open else 'ended'}-{number}"


def place_of(cursor: str | None) -> tuple[bool, int]:
    """Where a page begins; the first without a cursor. Raises BodyRefused."""
    if cursor is None:
        return FIRST
    found = PLACE.fullmatch(cursor)
    if found is None:
        raise BodyRefused
    return found[1] == "open", int(found[2])


async def found_in(connection: asyncpg.Connection, given: str, visit: Visit) -> Proposal | None:
    """The one with this number, as far as somebody may see it."""
    if not re.fullmatch(r"[0-9]{1,9}", given, re.ASCII):
        return None
    found = await select_proposals(connection, visit.organisations, int(given))
    return found[0] if found else None


def is_allowed(file: ApplyFile, book: Book, now: datetime, visit: Visit) -> bool:
    """Whether all that a file is about is this person's to change, by the book as it is now."""
    return all(visit.sees(code) for code in organisations_of(file, book, now))


def unfit(refused: ApplyRefused) -> ActRefused:
    """The answer of the API to a file that cannot be applied as things stand."""
    return ActRefused(409, "cannot-be-applied", "the file cannot be applied", why="file", lines=refused.lines("en"))
