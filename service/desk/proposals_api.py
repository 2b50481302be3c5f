"""Proposals by API: the acts of `approvals.py` as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import asyncpg
from aiohttp import web
from pydantic import AwareDatetime, Field

from campaigns.book.apply_entries import ApplyFile, ApplyRefused
from campaigns.book.apply_file import load
from campaigns.book.plan import plan_of
from campaigns.book.store import load_stored
from campaigns.lifecycle.proposals import (
    FILE_NAME,
    Proposal,
    StepRefused,
    approve,
    digest_of,
    make,
    select_proposals,
    select_steps,
    take_step,
)
from metrics.board import local
from service.desk.api import (
    PAGED,
    About,
    ActRefused,
    Answered,
    Asked,
    Cursor,
    Reason,
    bad_parameter,
    json_answer,
    limit_of,
    not_found,
    reading,
    writing,
)
from service.desk.bodies import BodyRefused
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.proposing import OPEN_STATES, cursor_of, found_in, is_allowed, place_of, unfit
from service.desk.reply_texts import reply_texts
from service.desk.roles import Act


class StepObject(Answered):
    """A step that was taken."""

    step: str
    who: str
    reason: str | None
    book_version: int | None
    recorded_at: AwareDatetime


class ProposalObject(Answered):
    """A change of the book that waits, or was decided. `content` is the apply file."""

    id: int
    kind: str
    content: str
    organisations: list[str]
    made_by: str
    reason: str | None
    made_at: AwareDatetime
    state: str
    proposed_by: str | None


class ReplyObject(Answered):
    """An SMS that donors of a campaign would be answered with, at its longest."""

    campaign: str
    kind: Literal["thank_you", "wrong_form", "closed"]
    text: str
    encoding: Literal["GSM-7"]
    septets: int
    septets_max: int
    messages: int


class ProposalPlan(Answered):
    """What approving it would do now, as `apply` says it. `plan` tells it from any other."""

    plan: str
    changes: list[str]
    told: list[str]
    replies: list[ReplyObject]
    unusual: list[str]


class ProposalDetail(ProposalObject):
    """The same with its steps, and as long as it is open with what approving it would do, or why it cannot be."""

    steps: list[StepObject]
    plan: ProposalPlan | None
    why_not: list[str]


class ProposalPage(Answered):
    """Those that are open first, then the newest."""

    proposals: list[ProposalObject]
    cursor: Cursor


class ProposalAsked(Asked):
    """An apply file without gateways."""

    content: Annotated[str, Field(min_length=1, description="TOML")]


class PlanAsked(Asked):
    """The plan that was looked at."""

    plan: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class WhyAsked(Asked):
    """Why."""

    reason: Reason


class NothingAsked(Asked):
    """Nothing more."""


def api_rows(desk: Desk) -> list[Row]:
    """The addresses."""
    rooms = ProposalsApi(desk)
    path, one = "/proposals", (404,)

    def step(name: str, sentence: str, act: Act, body: type[Asked], taken: str) -> Row:
        return Row("POST", f"{path}/{{id}}/{name}", act, writing(desk, body, rooms.step(taken)),
                   About(f"{name}Proposal", sentence, ProposalDetail, (), body, one))  # fmt: skip

    return [
        Row("GET", path, Act.SEE_PROPOSALS, reading(rooms.listing),
            About("listProposals", "Proposals of changes to campaigns", ProposalPage, PAGED)),
        Row("GET", f"{path}/{{id}}", Act.SEE_PROPOSALS, reading(rooms.show),
            About("getProposal", "One proposal, and what approving it would do", ProposalDetail, (), None, one)),
        Row("POST", path, Act.PROPOSE, writing(desk, ProposalAsked, rooms.make),
            About("makeProposal", "Keep a draft", ProposalDetail, (), ProposalAsked, one)),
        Row("POST", f"{path}/{{id}}/approve", Act.APPROVE, writing(desk, PlanAsked, rooms.approve),
            About("approveProposal", "Approve what somebody else proposed", ProposalDetail, (), PlanAsked, one)),
        step("propose", "Propose a draft for approval", Act.PROPOSE, NothingAsked, "proposed"),
        step("withdraw", "Withdraw it", Act.PROPOSE, WhyAsked, "withdrawn"),
        step("refuse", "Refuse what somebody else proposed", Act.APPROVE, WhyAsked, "refused"),
        step("confirm", "Confirm an emergency of somebody else", Act.APPROVE, NothingAsked, "confirmed"),
    ]  # fmt: skip


class ProposalsApi:
    """Handlers of proposals."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def listing(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/proposals?limit=&cursor=`."""
        limit = limit_of(request)
        try:
            behind = place_of(request.query.get("cursor"))
        except BodyRefused:
            raise bad_parameter("cursor") from None
        async with self._desk.borrow() as connection:
            found = await select_proposals(connection, visit.organisations, rows_max=limit + 1, behind=behind)
        shown = found[:limit]
        cursor = cursor_of(shown) if len(found) > limit else None
        return json_answer({"proposals": [_plain(each) for each in shown], "cursor": cursor})

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/proposals/{id}`."""
        async with self._desk.borrow() as connection:
            return json_answer(await self._detail(connection, await _found(connection, request, visit)))

    async def make(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: ProposalAsked
    ) -> Mapping[str, Any]:
        """`POST /api/v1/desk/proposals`: a draft; one that says the same and is open is that one."""
        del request
        try:
            now = self._desk.clock()
            file = load(asked.content.encode(), FILE_NAME)
            if file.gateways:
                raise ActRefused(409, "cannot-be-proposed", "gateways hold secrets: portal1400 apply", why="gateways")
            self._require_allowed(file, now, visit)
            plan = plan_of(file, [], await load_stored(connection), now)
        except ApplyRefused as refused:
            raise unfit(refused) from None
        if not plan.changes.lines:
            raise ActRefused(409, "cannot-be-proposed", "it changes nothing of what there is", why="nothing")
        made = await make(connection, visit.who, file, self._desk.book(), now=now)
        (found,) = await select_proposals(connection, None, made)
        return await self._detail(connection, found)

    async def approve(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: PlanAsked
    ) -> Mapping[str, Any]:
        """`POST /api/v1/desk/proposals/{id}/approve`."""
        proposal, now = await _found(connection, request, visit), self._desk.clock()
        try:
            # The book may have come to hold what it takes texts from since it was made.
            self._require_allowed(proposal.file, now, visit)
            await approve(connection, visit.who, proposal.id, now=now, looked_at=asked.plan)
        except StepRefused as refused:
            raise _refusal(refused, visit) from None
        except ApplyRefused as refused:
            raise unfit(refused) from None
        return await self._detail(connection, await _found(connection, request, visit))

    def step(self, step: str) -> Any:
        """What takes a step."""

        async def take(
            connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: Asked
        ) -> Mapping[str, Any]:
            proposal = await _found(connection, request, visit)
            try:
                await take_step(connection, visit.who, proposal.id, step, getattr(asked, "reason", None))
            except StepRefused as refused:
                raise _refusal(refused, visit) from None
            return await self._detail(connection, await _found(connection, request, visit))

        return take

    def _require_allowed(self, file: ApplyFile, now: datetime, visit: Visit) -> None:
        if not is_allowed(file, self._desk.book(), now, visit):
            raise not_found("a campaign or organisation of it is not yours to change")

    async def _detail(self, connection: asyncpg.Connection, proposal: Proposal) -> dict[str, Any]:
        steps = [
            {**each._asdict(), "recorded_at": local(each.recorded_at)}
            for each in await select_steps(connection, proposal.id)
        ]
        planned, why_not = None, list[str]()
        if proposal.state in OPEN_STATES:
            try:
                # Also inside a write, whose transaction has not the isolation of `plan_changes`.
                stored = await load_stored(connection)
                plan = plan_of(proposal.file, [], stored, self._desk.clock())
                planned = {
                    "plan": digest_of(plan),
                    "changes": [str(each) for each in plan.changes.lines],
                    "told": [str(each) for each in plan.told],
                    "replies": [each._asdict() for each in reply_texts(proposal.file, stored.book)],
                    "unusual": [str(each.reason) for each in plan.warnings],
                }
            except ApplyRefused as refused:
                why_not = refused.lines("en")
        return {**_plain(proposal), "steps": steps, "plan": planned, "why_not": why_not}


async def _found(connection: asyncpg.Connection, request: web.Request, visit: Visit) -> Proposal:
    found = await found_in(connection, request.match_info["id"], visit)
    if found is None:
        raise not_found()
    return found


def _refusal(refused: StepRefused, visit: Visit) -> ActRefused:
    return ActRefused(409, "step-refused", visit.words(f"step_{refused.why}"), why=refused.why)


def _plain(proposal: Proposal) -> dict[str, Any]:
    return {
        **proposal._asdict(),
        "organisations": list(proposal.organisations),
        "made_at": local(proposal.made_at),
    }
