"""Gifts that are moved to the campaign they belong to, by API: the acts of `reattributions.py` as JSON."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from pydantic import AwareDatetime, Field

from campaigns.gifts import reattribution
from campaigns.gifts.move_plan import GIFTS_MAX, Figures, MovePlan, MoveRefused, plan_of
from campaigns.gifts.reattribution import EndedOtherwise, Ground
from metrics.board import local
from service.desk.api import (
    PAGED,
    About,
    ActRefused,
    Answered,
    Asked,
    Cursor,
    Reason,
    Word,
    json_answer,
    not_found,
    page_of,
    reading,
    writing,
)
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.reattributions import found_in
from service.desk.roles import Act
from service.runtime.phone_numbers import without_numbers


class FiguresObject(Answered):
    """Messages, units and integer VND."""

    messages: int
    units: int
    vnd: int


class SideObject(Answered):
    """A campaign's figures now, and after the move."""

    campaign: str
    before: FiguresObject
    after: FiguresObject


class PlanObject(Answered):
    """What approving would do now. `plan` tells it from any other."""

    plan: str
    giver: SideObject
    taker: SideObject
    moved: FiguresObject


class GiftObject(Answered):
    """A gift of the proposal, as it is held now; what is shaped like a number is masked in its id."""

    account: str
    native_id: str
    carrier: str
    message_at: AwareDatetime
    messages: int
    units: int
    vnd: int


class ReattributionObject(Answered):
    """A proposal to move gifts, and how it ended."""

    id: int
    giver: Annotated[str, Field(description="the campaign they were counted for")]
    taker: Annotated[str, Field(description="the campaign they belong to")]
    ground: Ground
    reason: str
    made_by: str
    made_at: AwareDatetime
    gifts: int
    state: Annotated[str, Field(pattern="^(proposed|approved|refused|withdrawn)$")]
    ended_by: str | None
    ended_at: AwareDatetime | None
    end_reason: str | None
    moved: FiguresObject


class ReattributionDetail(ReattributionObject):
    """The same with its gifts, and as long as it waits with what approving it would do, or why it cannot be."""

    listed: list[GiftObject]
    plan: PlanObject | None
    why_not: str | None


class ReattributionPage(Answered):
    """The newest first."""

    reattributions: list[ReattributionObject]
    cursor: Cursor


class ReattributionAsked(Asked):
    """Which messages of which account belong to which campaign, and why."""

    account: Word
    native_ids: Annotated[list[Word], Field(min_length=1, max_length=GIFTS_MAX)]
    taker: Word
    ground: Annotated[Ground, Field(description="what the public is told")]
    reason: Reason


class ApprovalAsked(Asked):
    """The plan that was looked at."""

    plan: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="of the proposal's `plan`")]


class RefusalAsked(Asked):
    """Why."""

    reason: Reason


def api_rows(desk: Desk) -> list[Row]:
    """The addresses."""
    acts = ReattributionActs(desk)
    path = "/reattributions"
    return [
        Row("GET", path, Act.SEE_PROPOSALS, reading(acts.listing),
            About("listReattributions", "Proposals to move gifts", ReattributionPage, PAGED)),
        Row("GET", f"{path}/{{id}}", Act.SEE_PROPOSALS, reading(acts.show),
            _about_one("getReattribution", "One proposal, and what approving it would do")),
        Row("POST", path, Act.PROPOSE, writing(desk, ReattributionAsked, acts.propose),
            About("proposeReattribution", "Propose to move gifts", ReattributionObject, (), ReattributionAsked)),
        Row("POST", f"{path}/{{id}}/approve", Act.APPROVE, writing(desk, ApprovalAsked, acts.approve),
            _about_one("approveReattribution", "Move what somebody else proposed", ApprovalAsked)),
        Row("POST", f"{path}/{{id}}/refuse", Act.APPROVE, writing(desk, RefusalAsked, acts.ending("refused")),
            _about_one("refuseReattribution", "Refuse it", RefusalAsked)),
        Row("POST", f"{path}/{{id}}/withdraw", Act.PROPOSE, writing(desk, RefusalAsked, acts.ending("withdrawn")),
            _about_one("withdrawReattribution", "Withdraw it", RefusalAsked)),
    ]  # fmt: skip


def _about_one(name: str, sentence: str, body: type[Asked] | None = None) -> About:
    return About(name, sentence, ReattributionDetail, (), body, (404,))


class ReattributionActs:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def listing(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """Proposals, the newest first."""
        limit, before = page_of(request)
        async with self._desk.borrow() as connection:
            found = await reattribution.select_reattributions(
                connection, visit.organisations, before=before, rows_max=limit + 1
            )
        cursor = str(found[limit - 1].id) if len(found) > limit else None
        return json_answer({"reattributions": [_plain(each) for each in found[:limit]], "cursor": cursor})

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """One of them, with its gifts."""
        async with self._desk.borrow() as connection:
            return json_answer(await _detail(connection, self._desk, request, visit))

    async def propose(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: ReattributionAsked
    ) -> Mapping[str, Any]:
        """Propose to move gifts."""
        del request
        try:
            plan = await plan_of(
                connection, asked.account, asked.native_ids, asked.taker, now=self._desk.clock(),
                organisations=visit.organisations,
            )  # fmt: skip
            made = await reattribution.propose(connection, visit.who, plan, asked.ground, asked.reason)
        except MoveRefused as refused:
            raise _refusal(refused, visit) from None
        (found,) = await reattribution.select_reattributions(connection, None, made)
        return _plain(found)

    async def approve(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: ApprovalAsked
    ) -> Mapping[str, Any]:
        """Move what somebody else proposed."""
        number = await _number(connection, request, visit)
        try:
            await reattribution.approve(connection, visit.who, number, now=self._desk.clock(), looked_at=asked.plan)
        except MoveRefused as refused:
            raise _refusal(refused, visit) from None
        return await _detail(connection, self._desk, request, visit)

    def ending(self, step: EndedOtherwise) -> Any:
        """The handler that ends a proposal without moving anything."""

        async def end(
            connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: RefusalAsked
        ) -> Mapping[str, Any]:
            number = await _number(connection, request, visit)
            try:
                await reattribution.end(connection, visit.who, number, step, asked.reason)
            except MoveRefused as refused:
                raise _refusal(refused, visit) from None
            return await _detail(connection, self._desk, request, visit)

        return end


async def _number(connection: asyncpg.Connection, request: web.Request, visit: Visit) -> int:
    found = await found_in(connection, request.match_info["id"], visit)
    if found is None:
        raise not_found()
    return found.id


def _refusal(refused: MoveRefused, visit: Visit) -> ActRefused:
    about = [without_numbers(each) for each in refused.about]
    # Some sentences of the page go on with the ids.
    detail = re.sub(":$", ": see `native_ids`", visit.words(f"move_{refused.why}"))
    return ActRefused(409, "cannot-be-moved", detail, why=refused.why, native_ids=about)


async def _detail(connection: asyncpg.Connection, desk: Desk, request: web.Request, visit: Visit) -> dict[str, Any]:
    found = await found_in(connection, request.match_info["id"], visit)
    if found is None:
        raise not_found()
    plan, why_not = None, None
    if found.state == "proposed":
        try:
            plan = _planned(await reattribution.plan_of_proposal(connection, found, desk.clock()))
        except MoveRefused as refused:
            why_not = refused.why
    gifts = [
        {
            "account": each.account, "native_id": without_numbers(each.native_id), "carrier": each.carrier,
            "message_at": local(each.message_at), "messages": each.messages, "units": each.units, "vnd": each.vnd,
        }
        for each in await reattribution.select_gifts_of(connection, found.id)
    ]  # fmt: skip
    return {**_plain(found), "listed": gifts, "plan": plan, "why_not": why_not}


def _planned(plan: MovePlan) -> dict[str, Any]:
    def side(campaign: str, before: Figures, after: Figures) -> dict[str, Any]:
        return {"campaign": campaign, "before": before._asdict(), "after": after._asdict()}

    return {
        "plan": plan.digest,
        "giver": side(plan.giver.slug, plan.giver_before, plan.giver_after),
        "taker": side(plan.taker.slug, plan.taker_before, plan.taker_after),
        "moved": plan.moved._asdict(),
    }


def _plain(move: reattribution.Reattribution) -> dict[str, Any]:
    return {
        **move._asdict(),
        "made_at": local(move.made_at),
        "ended_at": None if move.ended_at is None else local(move.ended_at),
        "moved": move.moved._asdict(),
    }
