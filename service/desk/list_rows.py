"""One row of the lists that people work: what is stored of it, without numbers and texts, and what people noted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from aiohttp import web
from pydantic import AwareDatetime, Field

from campaigns.book.book import VIETNAM
from campaigns.gifts.notes import NOTE_LETTERS_MAX, RowFound, add_note, select_notes, select_row
from service.desk.api import SEEN_LINE, About, ActRefused, Answered, Asked, json_answer, not_found, reading, writing
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.roles import Act
from service.runtime.phone_numbers import without_numbers, without_numbers_of_people

SENT = frozenset({"native_id", "message", "charge", "charge_id"})
"""What senders chose themselves, who may make ids of numbers."""
HIDDEN = frozenset({"id", "gift_id", "event_id"})
PARTS = ("messages", "charges", "reversals", "lines", "reviews", "conflicts")


class NoteObject(Answered):
    """Who noted what, and when."""

    who: str
    note: str
    noted_at: AwareDatetime


class RowObject(Answered):
    """What is stored of a row by kind, and its notes, the oldest first."""

    request: UUID
    parts: dict[str, list[dict[str, Any]]]
    notes: list[NoteObject]


class NoteAsked(Asked):
    """What to note."""

    note: Annotated[str, Field(min_length=1, max_length=NOTE_LETTERS_MAX, pattern=SEEN_LINE)]


def _problem_of(note: str) -> str | None:
    """Why a note, without blanks around it, is not kept; None: it is. What is kept for ever holds no number."""
    if not note or len(note) > NOTE_LETTERS_MAX or not note.isprintable():
        return "note_unfit"
    return "note_number" if without_numbers_of_people(note) != note else None


def rows(desk: Desk) -> list[Row]:
    """The pages."""
    room = ListRows(desk)
    return [
        Row("GET", "/rows/{request}", Act.SEE_LISTS, room.show),
        Row("POST", "/rows/{request}", Act.SEE_LISTS, room.note),
    ]


def api_rows(desk: Desk) -> list[Row]:
    """The same as JSON."""
    room = ListRows(desk)
    place = ({"name": "request", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},)
    return [
        Row("GET", "/rows/{request}", Act.SEE_LISTS, reading(room.as_json),
            About("getRow", "A row of a list, and its notes", RowObject, place, None, (404,))),
        Row("POST", "/rows/{request}/notes", Act.SEE_LISTS, writing(desk, NoteAsked, room.note_json),
            About("noteRow", "Note something about a row", RowObject, place, NoteAsked, (404,))),
    ]  # fmt: skip


class ListRows:
    """Handlers of single rows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/rows/{request}`."""
        return await self._page(request, visit)

    async def note(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/rows/{request}`: `note`."""
        note = visit.form.get("note", "").strip()
        if problem := _problem_of(note):
            return await self._page(request, visit, 422, problem)
        async with self._desk.borrow() as connection, connection.transaction():
            place, found = await _seen(connection, request, visit)
            if found is not None:
                await add_note(connection, visit.who, place, note)
        if found is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        return see_other(f"/desk/rows/{place}")

    async def as_json(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/rows/{request}`."""
        async with self._desk.borrow() as connection:
            return json_answer(await self._plain(connection, request, visit))

    async def note_json(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: NoteAsked
    ) -> Mapping[str, Any]:
        """`POST /api/v1/desk/rows/{request}/notes`."""
        place, found = await _seen(connection, request, visit)
        if found is None:
            raise not_found()
        note = asked.note.strip()
        if problem := _problem_of(note):
            errors = [{"path": "note", "reason": problem}]
            raise ActRefused(400, "bad-body", visit.words(problem), errors=errors)
        await add_note(connection, visit.who, place, note)
        return await self._plain(connection, request, visit)

    async def _plain(self, connection: asyncpg.Connection, request: web.Request, visit: Visit) -> dict[str, Any]:
        place, found = await _seen(connection, request, visit)
        if found is None:
            raise not_found()
        notes = [
            {"who": each.who, "note": each.note, "noted_at": _told(each.noted_at)}
            for each in await select_notes(connection, place)
        ]
        return {"request": str(place), "parts": parts_of(found), "notes": notes}

    async def _page(
        self, request: web.Request, visit: Visit, status: int = 200, problem: str | None = None
    ) -> web.StreamResponse:
        async with self._desk.borrow() as connection:
            place, found = await _seen(connection, request, visit)
            notes = await select_notes(connection, place) if found is not None else []
        if found is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        return await self._desk.page(
            "desk_row.html", visit, status, place=place, stored=parts_of(found), notes=notes, problem=problem,
            note_max=NOTE_LETTERS_MAX, form=visit.form,
        )  # fmt: skip


def parts_of(found: RowFound) -> dict[str, list[dict[str, Any]]]:
    """What is stored, as everybody sees it: nothing of a person, ids without what is shaped like a number."""
    parts: dict[str, Sequence[Mapping[str, Any]]] = {name: getattr(found.found, name) for name in PARTS}
    if found.quarantined is not None:
        parts["quarantined"] = [found.quarantined]
    return {
        name: [
            {key: _told(value, key) for key, value in each.items() if key not in HIDDEN and value is not None}
            for each in rows
        ]
        for name, rows in parts.items()
        if rows
    }


async def _seen(connection: asyncpg.Connection, request: web.Request, visit: Visit) -> tuple[UUID, RowFound | None]:
    """The row of the address, as far as this person may see it: a manager those of their own campaigns."""
    try:
        place = UUID(request.match_info["request"])
    except ValueError:
        return UUID(int=0), None
    found = await select_row(connection, place)
    if found is not None and visit.organisations is not None and not visit.sees(found.organiser or ""):
        return place, None
    return place, found


def _told(value: Any, key: str = "") -> Any:
    if isinstance(value, datetime):
        return value.astimezone(VIETNAM).isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [_told(each) for each in value]
    # The cause of a reversal's line bears its sender's id.
    return without_numbers(value) if isinstance(value, str) and (key in SENT or key == "cause") else value
