"""Decisions' files by API: kept and taken along by their SHA-256, so that who sends one again changes nothing."""

import hashlib
import re
from datetime import date
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from pydantic import AwareDatetime, Field

from campaigns.lifecycle.decision_files import (
    FILE_BYTES_MAX,
    DecisionFile,
    FileRefused,
    keep_file,
    select_content_by,
    select_files,
)
from campaigns.lifecycle.proposals import Proposal
from metrics.board import local
from service.desk.api import About, ActRefused, Answered, bad_parameter, json_answer, not_found, query, reading
from service.desk.bodies import BodyRefused, read_body
from service.desk.decisions import ENDINGS, NUMBER_LETTERS_MAX, TAKEN_AT_ONCE, day_of, is_number, sent
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.limits import Room
from service.desk.proposing import found_in
from service.desk.roles import Act
from service.desk.uploads import UPLOAD_SECONDS

HEX = re.compile(r"[0-9a-f]{64}")
SHA256 = {
    "name": "sha256",
    "in": "path",
    "required": True,
    "description": "of the file's bytes, in small letters",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
DESCRIBED = (
    SHA256,
    {**query("decision", "its number", type="string", minLength=1, maxLength=NUMBER_LETTERS_MAX), "required": True},
    {**query("decided_on", "its day", type="string", pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"), "required": True},
)


class FileObject(Answered):
    """A written decision that is kept with its proposal, for ever."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    decision: str
    decided_on: Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    media_type: str
    size_bytes: int
    who: str
    recorded_at: AwareDatetime


class FileList(Answered):
    """The files of a proposal, the oldest first."""

    files: list[FileObject]


BY_API = {
    "hash": "The SHA-256 of the address is not that of the file that came. Send it again.",
    "twice": "This file is kept with the proposal already, for a decision of another number or day.",
}
"""What is refused here alone, or for more than by a page."""


def api_rows(desk: Desk) -> list[Row]:
    """The addresses."""
    rooms = DecisionsApi(desk)
    path, one = "/proposals/{id}/files", (404,)
    return [
        Row("GET", path, Act.SEE_PROPOSALS, reading(rooms.listing),
            About("listDecisionFiles", "The written decisions of a proposal", FileList, (), None, one)),
        Row("GET", f"{path}/{{sha256}}", Act.SEE_PROPOSALS, reading(rooms.take),
            About("getDecisionFile", "One of them, as it was kept", tuple(ENDINGS), (SHA256,), None, one)),
        Row("PUT", f"{path}/{{sha256}}", Act.PROPOSE, reading(rooms.keep),
            About("keepDecisionFile", "Keep a written decision: PDF, PNG or JPEG of 5 MiB at most", FileObject,
                  DESCRIBED, None, (404, 409, 413), takes_file=True)),
    ]  # fmt: skip


class DecisionsApi:
    """Handlers of the files."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._room = Room(TAKEN_AT_ONCE)

    async def listing(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/proposals/{id}/files`."""
        async with self._desk.borrow() as connection:
            proposal = await _found(connection, request, visit)
            return json_answer({"files": [_plain(each) for each in await select_files(connection, proposal.id)]})

    async def take(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/proposals/{id}/files/{sha256}`."""
        sha256 = _sha256(request)
        with self._room.entered():
            async with self._desk.borrow() as connection:
                proposal = await _found(connection, request, visit)
                found = await select_content_by(connection, proposal.id, bytes.fromhex(sha256))
            if found is None:
                raise not_found()
            return await sent(request, f"portal1400-{proposal.id}-{sha256[:12]}", *found)

    async def keep(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`PUT /api/v1/desk/proposals/{id}/files/{sha256}?decision=&decided_on=`: the same again changes nothing."""
        desk, sha256 = self._desk, _sha256(request)
        async with desk.borrow() as connection:
            await _found(connection, request, visit)
        decision, decided_on = request.query.get("decision", ""), day_of(request.query.get("decided_on", ""))
        if not is_number(decision):
            raise bad_parameter("decision")
        if decided_on is None:
            raise bad_parameter("decided_on")
        with self._room.entered():
            return json_answer(await self._kept(request, visit, sha256, decision, decided_on))

    async def _kept(
        self, request: web.Request, visit: Visit, sha256: str, decision: str, decided_on: date
    ) -> dict[str, Any]:
        desk = self._desk
        try:
            seconds = max(desk.settings.body_read_seconds, UPLOAD_SECONDS)
            content = await read_body(request, seconds, FILE_BYTES_MAX)
        except BodyRefused:
            raise ActRefused(413, "too-large", "the file is larger than 5 MiB, or came too slowly") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _refusal("hash", visit)
        async with desk.borrow() as connection, connection.transaction():
            proposal = await _found(connection, request, visit)
            try:
                await keep_file(
                    connection, visit.who, proposal.id, decision=decision, decided_on=decided_on, content=content
                )
            except FileRefused as refused:
                if refused.why not in ("twice", "many"):
                    raise _refusal(refused.why, visit) from None
            kept = [each for each in await select_files(connection, proposal.id) if each.sha256.hex() == sha256]
        if not kept:
            raise _refusal("many", visit)
        if (kept[0].decision, kept[0].decided_on) != (decision, decided_on):
            raise _refusal("twice", visit)
        return _plain(kept[0])


async def _found(connection: asyncpg.Connection, request: web.Request, visit: Visit) -> Proposal:
    found = await found_in(connection, request.match_info["id"], visit)
    if found is None:
        raise not_found()
    return found


def _sha256(request: web.Request) -> str:
    given = request.match_info["sha256"]
    if not HEX.fullmatch(given):
        raise not_found()
    return given


def _refusal(why: str, visit: Visit) -> ActRefused:
    return ActRefused(409, "cannot-be-kept", BY_API.get(why) or visit.words(f"file_{why}"), why=why)


def _plain(file: DecisionFile) -> dict[str, Any]:
    return {
        "sha256": file.sha256.hex(), "decision": file.decision, "decided_on": file.decided_on.isoformat(),
        "media_type": file.media_type, "size_bytes": file.size_bytes, "who": file.who,
        "recorded_at": local(file.recorded_at),
    }  # fmt: skip
