"""Decisions' files at the desk: brought to a proposal by who may propose, taken along by who may see it."""

import re
from collections.abc import AsyncIterator
from datetime import date

from aiohttp import web

from campaigns.book.book import VIETNAM
from campaigns.lifecycle.decision_files import FILE_BYTES_MAX, FileRefused, keep_file, select_content
from service.desk.approvals import Approvals
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.downloads import headers_of, send
from service.desk.limits import Room
from service.desk.roles import Act

NUMBER_LETTERS_MAX = 100
TAKEN_AT_ONCE = 8
"""Each is in memory, whole, until whoever takes it has it."""
PIECE_BYTES = 64 * 1024
ENDINGS = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}


def rows(desk: Desk) -> list[Row]:
    """The addresses."""
    decisions = Decisions(desk)
    path = "/proposals/{id}/files"
    return [
        Row("POST", path, Act.PROPOSE, decisions.bring, file_bytes_max=FILE_BYTES_MAX),
        Row("GET", path + "/{file}", Act.SEE_PROPOSALS, decisions.take),
    ]


class Decisions:
    """Handlers of the files."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._approvals = Approvals(desk)
        self._room = Room(TAKEN_AT_ONCE)

    async def bring(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/proposals/{id}/files`: the decision's number and day, and its file; kept for ever."""
        proposal = await self._approvals.found(request, visit)
        if proposal is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        decision, decided_on = visit.form.get("decision", "").strip(), day_of(visit.form.get("decided_on", ""))
        if not is_number(decision) or decided_on is None:
            return await self._approvals.shown(request, visit, 422, "file_undescribed")
        if decided_on > self._desk.clock().astimezone(VIETNAM).date():
            return await self._approvals.shown(request, visit, 422, "file_not_yet")
        try:
            async with self._desk.borrow() as connection:
                await keep_file(
                    connection, visit.who, proposal.id, decision=decision, decided_on=decided_on, content=visit.upload
                )
        except FileRefused as refused:
            return await self._approvals.shown(request, visit, 422, f"file_{refused.why}")
        return see_other(f"/desk/proposals/{proposal.id}")

    async def take(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/proposals/{id}/files/{file}`."""
        with self._room.entered():
            return await self._take(request, visit)

    async def _take(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        proposal, given = await self._approvals.found(request, visit), request.match_info["file"]
        found = None
        if proposal is not None and re.fullmatch(r"[0-9]{1,9}", given, re.ASCII):
            async with self._desk.borrow() as connection:
                found = await select_content(connection, proposal.id, int(given))
        if proposal is None or found is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        return await sent(request, f"portal1400-{proposal.id}-{given}", *found)


async def sent(request: web.Request, name: str, media_type: str, content: bytes) -> web.StreamResponse:
    """The file, to be kept under a name of ours."""
    return await send(request, headers_of(media_type, f"{name}.{ENDINGS[media_type]}"), _pieces(content))


def is_number(decision: str) -> bool:
    """Whether it can be the number of a decision."""
    return 1 <= len(decision) <= NUMBER_LETTERS_MAX and decision.isprintable() and decision == decision.strip()


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


def day_of(given: str) -> date | None:
    """The day of a decision; None for what is none, or none of this century."""
    try:
        day = date.fromisoformat(given)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2100 else None
