"""Proposals by API: the acts of `approvals.py` as JSON; the people and the audit log for those who may see them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import asyncpg
import orjson
from aiohttp import web
from pydantic import AwareDatetime, Field

from campaigns.audit.entries import AuditChoice, select_entries
from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import load
from campaigns.book.book import VIETNAM
from campaigns.book.plan import plan_of
from campaigns.book.store import load_stored
from campaigns.lifecycle.proposals import (
    FILE_NAME,
    Proposal,
    StepRefused,
    approve,
    digest_of,
    make,
    organisations_of,
    select_proposals,
    select_steps,
    take_step,
)
from service.desk.api import (
    PAGED,
    About,
    ActRefused,
    Answered,
    Asked,
    Cursor,
    Reason,
    json_answer,
    not_found,
    page_of,
    reading,
    writing,
)
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.people import select_people
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
    """Those that are open first, then the newest; 200 at most."""

    proposals: list[ProposalObject]


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


class PersonObject(Answered):
    """Somebody of the desk."""

    login: str
    name: str
    role: str
    organisations: list[str]
    created_at: AwareDatetime
    disabled_at: AwareDatetime | None


class PeopleObject(Answered):
    """Everybody, by login."""

    people: list[PersonObject]


class EntryObject(Answered):
    """An entry of the audit log."""

    id: int
    recorded_at: AwareDatetime
    who: str
    role: str | None
    address: str | None
    act: str
    subject: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str | None


class AuditPage(Answered):
    """The newest first."""

    entries: list[EntryObject]
    cursor: Cursor


def api_rows(desk: Desk) -> list[Row]:
    """The addresses."""
    rooms = ProposalsApi(desk)
    path, one = "/proposals", (404,)

    def step(name: str, sentence: str, act: Act, body: type[Asked], taken: str) -> Row:
        return Row("POST", f"{path}/{{id}}/{name}", act, writing(desk, body, rooms.step(taken)),
                   About(f"{name}Proposal", sentence, ProposalDetail, (), body, one))  # fmt: skip

    return [
        Row("GET", path, Act.SEE_PROPOSALS, reading(rooms.listing),
            About("listProposals", "Proposals of changes to campaigns", ProposalPage)),
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
        Row("GET", "/audit", Act.SEE_AUDIT, reading(rooms.audit),
            About("listAudit", "What people did", AuditPage, PAGED)),
        Row("GET", "/people", Act.SEE_PEOPLE, reading(rooms.people),
            About("listPeople", "Who works at the desk", PeopleObject)),
    ]  # fmt: skip


class ProposalsApi:
    """Handlers of proposals, people and audit log."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def listing(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/proposals`."""
        del request
        async with self._desk.borrow() as connection:
            found = await select_proposals(connection, visit.organisations)
        return json_answer({"proposals": [_plain(each) for each in found]})

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
            if not all(visit.sees(code) for code in organisations_of(file, self._desk.book(), now)):
                raise not_found("a campaign or organisation of it is not yours to change")
            plan = plan_of(file, [], await load_stored(connection), now)
        except ApplyRefused as refused:
            raise _unfit(refused) from None
        if not plan.changes.lines:
            raise ActRefused(409, "cannot-be-proposed", "it changes nothing of what there is", why="nothing")
        made = await make(connection, visit.who, file, self._desk.book(), now=now)
        (found,) = await select_proposals(connection, None, made)
        return await self._detail(connection, found)

    async def approve(
        self, connection: asyncpg.Connection, request: web.Request, visit: Visit, asked: PlanAsked
    ) -> Mapping[str, Any]:
        """`POST /api/v1/desk/proposals/{id}/approve`."""
        proposal = await _found(connection, request, visit)
        try:
            await approve(connection, visit.who, proposal.id, now=self._desk.clock(), looked_at=asked.plan)
        except StepRefused as refused:
            raise _refusal(refused) from None
        except ApplyRefused as refused:
            raise _unfit(refused) from None
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
                raise _refusal(refused) from None
            return await self._detail(connection, await _found(connection, request, visit))

        return take

    async def audit(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/audit`."""
        del visit
        limit, before = page_of(request)
        async with self._desk.borrow() as connection:
            found = await select_entries(connection, AuditChoice(before_id=before), limit + 1)
        entries = [
            {
                **each._asdict(),
                "recorded_at": _local(each.recorded_at),
                "before": None if each.before is None else orjson.loads(each.before),
                "after": None if each.after is None else orjson.loads(each.after),
            }
            for each in found[:limit]
        ]
        return json_answer({"entries": entries, "cursor": str(found[limit - 1].id) if len(found) > limit else None})

    async def people(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/people`."""
        del request, visit
        async with self._desk.borrow() as connection:
            found = await select_people(connection)
        return json_answer(
            {
                "people": [
                    {
                        "login": each.login, "name": each.name, "role": each.role.value,
                        "organisations": list(each.organisations), "created_at": _local(each.created_at),
                        "disabled_at": None if each.disabled_at is None else _local(each.disabled_at),
                    }
                    for each in found
                ]
            }
        )  # fmt: skip

    async def _detail(self, connection: asyncpg.Connection, proposal: Proposal) -> dict[str, Any]:
        steps = [
            {**each._asdict(), "recorded_at": _local(each.recorded_at)}
            for each in await select_steps(connection, proposal.id)
        ]
        planned, why_not = None, list[str]()
        if proposal.state in ("draft", "proposed"):
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
    given = request.match_info["id"]
    if not re.fullmatch(r"[0-9]{1,9}", given, re.ASCII):
        raise not_found()
    found = await select_proposals(connection, visit.organisations, int(given))
    if not found:
        raise not_found()
    return found[0]


def _refusal(refused: StepRefused) -> ActRefused:
    return ActRefused(409, "step-refused", f"it was refused and nothing changed: {refused.why}", why=refused.why)


def _unfit(refused: ApplyRefused) -> ActRefused:
    return ActRefused(409, "cannot-be-applied", "the file cannot be applied", why="file", lines=refused.lines("en"))


def _plain(proposal: Proposal) -> dict[str, Any]:
    return {
        **proposal._asdict(),
        "organisations": list(proposal.organisations),
        "made_at": _local(proposal.made_at),
    }


def _local(at: datetime) -> str:
    return at.astimezone(VIETNAM).isoformat()
