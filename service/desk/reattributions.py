"""Gifts of the wrong campaign, moved at the desk: proposed by one person, looked at and approved by another."""

import re
from collections.abc import Mapping, Sequence

import asyncpg
from aiohttp import web

from campaigns.book.recording import IntakeBusy
from campaigns.gifts import reattribution
from campaigns.gifts.move_plan import GIFTS_MAX, MovePlan, MoveRefused, plan_of
from campaigns.gifts.reattribution import GROUNDS, LISTED_MAX, Reattribution
from service.desk.bodies import BodyRefused
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.roles import Act
from service.runtime.phone_numbers import without_numbers

ID_LETTERS_MAX = 200
TOLD_MAX = 10
"""Of the gifts that are the reason of a refusal, so many are named."""


def rows(desk: Desk) -> list[Row]:
    """The addresses of re-attributions."""
    moves = Reattributions(desk)
    return [
        Row("GET", "/reattributions", Act.SEE_PROPOSALS, moves.listing),
        Row("GET", "/reattributions/new", Act.PROPOSE, moves.new),
        Row("POST", "/reattributions/new", Act.PROPOSE, moves.make),
        Row("GET", "/reattributions/{id}", Act.SEE_PROPOSALS, moves.show),
        Row("POST", "/reattributions/{id}/approve", Act.APPROVE, moves.approve),
        Row("POST", "/reattributions/{id}/refuse", Act.APPROVE, moves.refuse),
        Row("POST", "/reattributions/{id}/withdraw", Act.PROPOSE, moves.withdraw),
    ]


class Reattributions:
    """Handlers of re-attributions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def listing(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/reattributions?before=`: the newest first, a page at a time."""
        before = request.query.get("before")
        if before and not re.fullmatch(r"[0-9]{1,9}", before, re.ASCII):
            raise BodyRefused
        async with self._desk.borrow() as connection:
            found = await reattribution.select_reattributions(
                connection, visit.organisations, before=int(before) if before else None, rows_max=LISTED_MAX + 1
            )
        older = found[LISTED_MAX - 1].id if len(found) > LISTED_MAX else None
        return await self._desk.page("desk_reattributions.html", visit, moves=found[:LISTED_MAX], older=older)

    async def new(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/reattributions/new`, with `?account=` and `?id=` filled in."""
        given = {name: request.query.get(name, "") for name in ("account", "ids", "taker", "ground")}
        return await self._form(visit, given)

    async def make(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/reattributions/new`: look at it first (`look`), or propose it."""
        del request
        form = visit.form
        reason = visit.reason
        try:
            async with self._desk.borrow() as connection:
                plan = await plan_of(
                    connection, form.get("account", "").strip(), ids_in(form.get("ids", "")), form.get("taker", ""),
                    now=self._desk.clock(), organisations=visit.organisations,
                )  # fmt: skip
                if form.get("look"):
                    return await self._form(visit, form, plan=plan)
                async with connection.transaction():
                    made = await reattribution.propose(connection, visit.who, plan, form.get("ground", ""), reason)
        except MoveRefused as refused:
            return await self._form(visit, form, 422, refused)
        return see_other(f"/desk/reattributions/{made}")

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/reattributions/{id}`."""
        return await self._show(request, visit)

    async def approve(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/reattributions/{id}/approve`: both totals change at once, and both public pages say so."""
        found = await self._found(request, visit)
        if found is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        seen = visit.form.get("plan", "")
        try:
            async with self._desk.borrow() as connection:
                await reattribution.approve(connection, visit.who, found.id, now=self._desk.clock(), looked_at=seen)
        except MoveRefused as refused:
            return await self._not_ended(request, visit, found.id, "approved", refused)
        except IntakeBusy:
            return await self._show(request, visit, 503, MoveRefused("busy"))
        return see_other(f"/desk/reattributions/{found.id}")

    async def refuse(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/reattributions/{id}/refuse`: with a reason."""
        if not visit.reason:
            return await self._show(request, visit, 422, MoveRefused("reason"))
        return await self._end(request, visit, "refused")

    async def withdraw(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/reattributions/{id}/withdraw`."""
        return await self._end(request, visit, "withdrawn")

    async def _end(
        self, request: web.Request, visit: Visit, step: reattribution.EndedOtherwise
    ) -> web.StreamResponse:
        found = await self._found(request, visit)
        if found is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        reason = visit.reason or None
        try:
            async with self._desk.borrow() as connection:
                await reattribution.end(connection, visit.who, found.id, step, reason)
        except MoveRefused as refused:
            return await self._not_ended(request, visit, found.id, step, refused)
        return see_other(f"/desk/reattributions/{found.id}")

    async def _not_ended(
        self, request: web.Request, visit: Visit, number: int, step: str, refused: MoveRefused
    ) -> web.StreamResponse:
        """Why not; but what this person has done already, by a double click or in two tabs, is done."""
        move = await self._found(request, visit) if refused.why == "ended" else None
        if move is not None and (move.state, move.ended_by) == (step, visit.person.login):
            return see_other(f"/desk/reattributions/{number}")
        return await self._show(request, visit, 409, refused)

    async def _found(self, request: web.Request, visit: Visit) -> Reattribution | None:
        """That of the address, within what the person may see."""
        async with self._desk.borrow() as connection:
            return await found_in(connection, request.match_info["id"], visit)

    async def _show(
        self, request: web.Request, visit: Visit, status: int = 200, refused: MoveRefused | None = None
    ) -> web.StreamResponse:
        move = await self._found(request, visit)
        if move is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        plan: MovePlan | None = None
        async with self._desk.borrow() as connection:
            gifts = await reattribution.select_gifts_of(connection, move.id)
            if move.state == "proposed":
                try:
                    plan = await reattribution.plan_of_proposal(connection, move, self._desk.clock())
                except MoveRefused as now:
                    refused = refused or now
        book = self._desk.book()
        return await self._desk.page(
            "desk_reattribution.html", visit, status, move=move, plan=plan, gifts=gifts, refused=_told(refused),
            names={slug: book.by_slug[slug] for slug in (move.giver, move.taker) if slug in book.by_slug},
            is_own=visit.person.login == move.made_by, shown=without_numbers,
        )  # fmt: skip

    async def _form(
        self,
        visit: Visit,
        form: Mapping[str, str],
        status: int = 200,
        refused: MoveRefused | None = None,
        *,
        plan: MovePlan | None = None,
    ) -> web.StreamResponse:
        campaigns = [each for each in self._desk.book().campaigns if visit.sees(each.organiser)]
        return await self._desk.page(
            "desk_reattribute.html", visit, status, form=form, plan=plan, gifts=plan.gifts if plan else (),
            refused=_told(refused), campaigns=campaigns, grounds=GROUNDS, gifts_max=GIFTS_MAX, shown=without_numbers,
        )  # fmt: skip


async def found_in(connection: asyncpg.Connection, given: str, visit: Visit) -> Reattribution | None:
    """The one with this number, as far as somebody may see it."""
    if not re.fullmatch(r"[0-9]{1,9}", given, re.ASCII):
        return None
    found = await reattribution.select_reattributions(connection, visit.organisations, int(given))
    return found[0] if found else None


def ids_in(typed: str) -> list[str]:
    """The senders' ids in a field: one a line. What is too long for an id stays, cut: it is told as unknown."""
    return [line.strip()[: ID_LETTERS_MAX + 1] for line in typed.splitlines() if line.strip()]


def _told(refused: MoveRefused | None) -> tuple[str, Sequence[str], int] | None:
    """Why something was refused: the key of its sentence, the gifts that are the reason, and how many more."""
    if refused is None:
        return None
    told = [without_numbers(each) for each in refused.about[:TOLD_MAX]]
    return f"move_{refused.why}", told, len(refused.about) - len(told)
