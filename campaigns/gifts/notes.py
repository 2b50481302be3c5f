"""What people note about a row of the lists they work: append-only, and it stays when the row leaves its list."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from campaigns.audit.entries import Who, record
from campaigns.gifts.finding import Found, find

NOTE_LETTERS_MAX = 500


class Note(NamedTuple):
    """Who noted what, and when."""

    who: str
    note: str
    noted_at: datetime


INSERT_NOTE = "INSERT INTO worklist_note (request, who, note) VALUES ($1, $2, $3)"
SELECT_NOTES = "SELECT who, note, noted_at FROM worklist_note WHERE request = $1 ORDER BY id"
SELECT_KEY = """
SELECT m.account_id, m.native_id, c.organiser
FROM message AS m LEFT JOIN campaign AS c ON c.id = m.campaign_id WHERE m.id = $1
"""
SELECT_QUARANTINED_ROW = """
SELECT q.id AS request, q.received_at, a.code AS account, q.adapter, q.outcome, q.reason
FROM quarantine AS q LEFT JOIN gateway_account AS a ON a.id = q.account_id WHERE q.id = $1
"""


class RowFound(NamedTuple):
    """A row of a list with all that is stored of it. `organiser`: whose campaign its message named, if any."""

    found: Found
    quarantined: dict[str, Any] | None
    organiser: str | None


async def select_row(connection: asyncpg.Connection, request: UUID) -> RowFound | None:
    """What a list shows under `request`: a message, or what came with a callback; None where there is nothing."""
    key = await connection.fetchrow(SELECT_KEY, request)
    if key is not None:
        return RowFound(await find(connection, key["account_id"], key["native_id"]), None, key["organiser"])
    found = await find(connection, 0, str(request))
    row = await connection.fetchrow(SELECT_QUARANTINED_ROW, request)
    if not found and row is None:
        return None
    return RowFound(found, None if row is None else dict(row), None)


async def add_note(connection: asyncpg.Connection, who: Who, request: UUID, note: str) -> None:
    """Note something about a row. Call it in a transaction."""
    await connection.execute(INSERT_NOTE, request, who.login, note)
    await record(connection, who, "list.note", str(request))


async def select_notes(connection: asyncpg.Connection, request: UUID) -> list[Note]:
    """What was noted, in order."""
    return [Note(*row) for row in await connection.fetch(SELECT_NOTES, request)]
