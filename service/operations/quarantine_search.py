"""Which quarantined callbacks hold an id: what could not be understood has no column for it, and is opened."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, quote_plus
from uuid import UUID
from xml.sax.saxutils import escape

import asyncpg
import orjson

from service.runtime.keyring import Keyring, SealBroken

ROWS_MAX = 20_000
BYTES_MAX = 256 * 1024 * 1024
"""What of an account is opened for one search, the newest first."""
CURSOR_ROWS = 100

SELECT_KEPT = "SELECT id, day, sealed FROM quarantine WHERE account_id = $1 ORDER BY id DESC LIMIT $2"


class Search(NamedTuple):
    """The ids of those that hold it, the newest first, and whether all that are kept were looked at."""

    ids: list[UUID]
    is_complete: bool


async def holding(connection: asyncpg.Connection, keyring: Keyring, account_id: int, asked: str) -> Search:
    """The account's quarantined callbacks in which `asked` stands, in any spelling of a request."""
    spellings = b"|".join(re.escape(each) for each in _spellings(asked))
    # Whole: not as a part of a longer id. A percent-encoded character may stand before it.
    whole = re.compile(rb"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))(?:" + spellings + rb")(?![0-9A-Za-z])")
    found: list[UUID] = []
    looked_at = size = 0
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(SELECT_KEPT, account_id, ROWS_MAX, prefetch=CURSOR_ROWS):
            looked_at, size = looked_at + 1, size + len(row["sealed"])
            if size > BYTES_MAX:
                return Search(found, is_complete=False)
            sealer = keyring.day(row["day"]) or await keyring.find_day(connection, row["day"])
            if sealer is None:
                continue
            try:
                plain = sealer.unseal(bytes(row["sealed"]), b"quarantine.sealed:" + row["id"].bytes)
            except SealBroken:
                continue
            if whole.search(plain):
                found.append(row["id"])
    return Search(found, is_complete=looked_at < ROWS_MAX)


def _spellings(asked: str) -> Iterable[bytes]:
    """As it stands in a body of text, XML or JSON, and in a query."""
    written = orjson.dumps(asked).decode()[1:-1]
    for each in {asked, escape(asked), written, quote(asked, safe=""), quote_plus(asked)}:
        yield each.encode()
