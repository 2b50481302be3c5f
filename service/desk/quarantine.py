"""Callbacks of the quarantine tried and replayed at the desk: what would count is looked at first."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Protocol
from uuid import UUID

import asyncpg
from aiohttp import web
from pydantic import Field

from campaigns.audit.entries import record
from campaigns.gifts.quarantined import Actor, Choice, Quarantined, Replayed, Sums, select_quarantined
from service.desk.api import (
    About,
    ActRefused,
    Answered,
    Asked,
    Reason,
    bad_parameter,
    json_answer,
    query,
    reading,
    writing,
)
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.roles import Act

CALLBACKS_MAX = 100
"""Tried and replayed together: so many are looked over by a person."""
DESK = "desk"
"""In the place of an account of the operating system."""


class Replaying(Protocol):
    """What replays over a connection of its own."""

    async def rehearse(self, rows: Sequence[Quarantined], *, is_source_trusted: bool = False) -> list[Replayed]:
        """What `replay` of all of them would do; nothing of it stays."""

    async def replay(self, row: Quarantined, who: Actor, *, is_source_trusted: bool = False) -> Replayed:
        """One callback, in one transaction with the record of this act."""


Replays = Callable[[], AbstractAsyncContextManager[tuple[asyncpg.Connection, Replaying]]]


class SumsObject(Answered):
    """By what a campaign's total grows."""

    messages: int
    units: int
    vnd: int


class ReplayedObject(Answered):
    """How one callback ended, or would end. `found` holds no value that was sent."""

    id: UUID
    account: str | None
    outcome: str
    found: str
    stored: bool
    counted: dict[str, SumsObject]


class TriedObject(Answered):
    """What a replay of these would do now. `seen` tells it from any other."""

    seen: str
    callbacks: list[ReplayedObject]
    counted: dict[str, SumsObject]


class ReplayedPage(Answered):
    """What was done; what is not stored lies in quarantine still."""

    callbacks: list[ReplayedObject]
    counted: dict[str, SumsObject]


class ReplayAsked(Asked):
    """Which callbacks, and what their trial said."""

    ids: Annotated[list[Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]],
                   Field(min_length=1, max_length=CALLBACKS_MAX)]  # fmt: skip
    seen: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="of `tryReplay`")]
    reason: Reason


class SeenOtherwise(Exception):
    """What replaying would do is not what was looked at."""


def rows(desk: Desk, replays: Replays) -> list[Row]:
    """The pages."""
    room = QuarantineRoom(desk, replays)
    return [
        Row("GET", "/quarantine", Act.REPLAY, room.tried),
        Row("POST", "/quarantine", Act.REPLAY, room.replayed),
    ]


def api_rows(desk: Desk, replays: Replays) -> list[Row]:
    """The same as JSON."""
    room = QuarantineRoom(desk, replays)
    ids = query("ids", f"up to {CALLBACKS_MAX} ids of requests, with commas between", type="string", minLength=36,
                maxLength=37 * CALLBACKS_MAX)  # fmt: skip
    return [
        Row("GET", "/quarantine/trial", Act.REPLAY, reading(room.try_json),
            About("tryReplay", "What replaying quarantined callbacks would count", TriedObject, (ids,))),
        Row("POST", "/quarantine/replay", Act.REPLAY, writing(desk, ReplayAsked, room.replay_json),
            About("replayQuarantined", "Replay quarantined callbacks", ReplayedPage, (), ReplayAsked)),
    ]  # fmt: skip


class QuarantineRoom:
    """Handlers of trials and replays."""

    def __init__(self, desk: Desk, replays: Replays) -> None:
        self._desk = desk
        self._replays = replays
        self._turn = asyncio.Lock()

    async def tried(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/quarantine?ids=&account=&reason=`: what a replay of them would do now."""
        given = request.query
        account, reason = given.get("account", "").strip() or None, given.get("reason", "").strip() or None
        ids = ids_of(given.getall("ids", []))
        ended = await self._try(Choice(ids or None, account, reason))
        return await self._page(visit, ended, query={"account": account, "reason": reason})

    async def replayed(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/quarantine`: replay what was tried, when it would still do what was looked at."""
        del request
        form = visit.form
        reason = visit.reason
        ids = ids_of(form.get("ids", "").split())
        if not reason or not ids:
            return await self._page(visit, await self._try(Choice(ids or None)), 422, "move_reason")
        try:
            ended = await self._replay(visit, ids, form.get("seen", ""), reason)
        except SeenOtherwise:
            return await self._page(visit, await self._try(Choice(ids)), 409, "replay_changed")
        return await self._page(visit, ended, is_done=True)

    async def try_json(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/quarantine/trial?ids=`."""
        del visit
        given = request.query.get("ids", "").split(",")
        ids = ids_of(given)
        # One that was left out would be taken for tried.
        if len(ids) != len(given):
            raise bad_parameter("ids")
        ended = await self._try(Choice(ids))
        return json_answer({"seen": seen_in(ended), **_plain(ended)})

    async def replay_json(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: ReplayAsked
    ) -> Mapping[str, Any]:
        """`POST /api/v1/desk/quarantine/replay`. Each is a transaction of its own; what is stored is so for ever."""
        del connection, request
        try:
            return _plain(await self._replay(visit, ids_of(asked.ids), asked.seen, asked.reason))
        except SeenOtherwise:
            raise ActRefused(
                409, "cannot-be-replayed", "replaying would not do what the trial said: try it again", why="changed"
            ) from None

    async def _try(self, choice: Choice) -> list[Replayed]:
        async with self._turn, self._replays() as (connection, work):
            found = await select_quarantined(connection, choice, CALLBACKS_MAX)
            return await work.rehearse(found)

    async def _replay(self, visit: Visit, ids: Sequence[UUID], seen: str, reason: str) -> list[Replayed]:
        who = Actor(DESK, visit.person.login, reason)
        ended = []
        async with self._turn, self._replays() as (connection, work):
            found = await select_quarantined(connection, Choice(ids), CALLBACKS_MAX)
            if seen_in(await work.rehearse(found)) != seen:
                raise SeenOtherwise
            for row in found:
                async with connection.transaction():
                    ended.append(await work.replay(row, who))
                    after = {"outcome": ended[-1].outcome, "counted": _sums(ended[-1:])}
                    await record(connection, visit.who, "quarantine.replay", str(row.id), after=after, reason=reason)
        return ended

    async def _page(
        self, visit: Visit, ended: Sequence[Replayed], status: int = 200, problem: str | None = None, **more: Any
    ) -> web.StreamResponse:
        return await self._desk.page(
            "desk_quarantine.html", visit, status, ended=ended, sums=_sums(ended), seen=seen_in(ended),
            problem=problem, callbacks_max=CALLBACKS_MAX, **{"is_done": False, "query": {}, **more},
        )  # fmt: skip


def ids_of(given: Sequence[str]) -> list[UUID]:
    """Ids of requests; what is none is left out."""
    found = []
    for each in given[:CALLBACKS_MAX]:
        try:
            found.append(UUID(each.strip()))
        except ValueError:
            continue
    return found


def seen_in(ended: Sequence[Replayed]) -> str:
    """Tells whether replaying would still do what was looked at."""
    lines = [
        (str(each.row.id), each.outcome, sorted((k, tuple(v)) for k, v in each.counted.items())) for each in ended
    ]
    return hashlib.sha256(repr(lines).encode()).hexdigest()


def _sums(ended: Sequence[Replayed]) -> dict[str, dict[str, int]]:
    sums: dict[str, Sums] = {}
    for each in ended:
        for slug, counted in each.counted.items():
            sums[slug] = sums.get(slug, Sums()).plus(*counted)
    return {slug: each._asdict() for slug, each in sorted(sums.items())}


def _plain(ended: Sequence[Replayed]) -> dict[str, Any]:
    listed = [
        {
            "id": str(each.row.id), "account": each.row.account, "outcome": each.outcome, "found": each.found,
            "stored": each.is_stored, "counted": _sums([each]),
        }
        for each in ended
    ]  # fmt: skip
    return {"callbacks": listed, "counted": _sums(ended)}
