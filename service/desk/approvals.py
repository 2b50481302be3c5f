"""Campaigns opened, extended, closed and priced at the desk: proposed by one person, approved by another."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args

from aiohttp import web

from campaigns.book.apply_entries import ApplyFile, ApplyRefused, ApplyWarning, place_in_words
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.apply_tables import Category, GrammarName
from campaigns.book.book import Book
from campaigns.book.grammar import read
from campaigns.book.plan import REPLY_IN_WORDS, Plan
from campaigns.book.recording import IntakeBusy, plan_changes
from campaigns.lifecycle.decision_files import select_files
from campaigns.lifecycle.proposals import (
    FILE_NAME,
    LISTED_MAX,
    Proposal,
    StepRefused,
    approve,
    digest_of,
    make,
    plan_of_proposal,
    select_proposals,
    select_steps,
    select_written,
    take_step,
)
from campaigns.lifecycle.toml_text import tables_of, toml_of
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.neighbours import neighbours
from service.desk.proposal_forms import FIELDS, form_of, tables_in
from service.desk.proposing import OPEN_STATES, cursor_of, found_in, is_allowed, place_of
from service.desk.reply_texts import reply_texts
from service.desk.roles import Act
from service.desk.spoken import label, spoken, spoken_again
from service.desk.templates import EMERGENCIES, emergency_form, form_like
from service.web.words import Language

TEXTS_MAX = 20
REPLIES_TOLD = tuple(template.partition('"')[0] for template in REPLY_IN_WORDS.values())
"""How the plan's own lines about replies begin: the page has a table of them."""
TEXT_LETTERS_MAX = 1_000


def rows(desk: Desk) -> list[Row]:
    """The addresses of proposals."""
    approvals = Approvals(desk)
    return [
        Row("GET", "/proposals", Act.SEE_PROPOSALS, approvals.listing),
        Row("GET", "/proposals/new", Act.PROPOSE, approvals.new),
        Row("POST", "/proposals/new", Act.PROPOSE, approvals.make),
        Row("GET", "/proposals/{id}", Act.SEE_PROPOSALS, approvals.show),
        Row("POST", "/proposals/{id}/try", Act.SEE_PROPOSALS, approvals.rehearse),
        Row("POST", "/proposals/{id}/propose", Act.PROPOSE, approvals.step("proposed")),
        Row("POST", "/proposals/{id}/withdraw", Act.PROPOSE, approvals.step("withdrawn")),
        Row("POST", "/proposals/{id}/refuse", Act.APPROVE, approvals.step("refused")),
        Row("POST", "/proposals/{id}/confirm", Act.APPROVE, approvals.step("confirmed")),
        Row("POST", "/proposals/{id}/approve", Act.APPROVE, approvals.approve),
    ]


class Approvals:
    """Handlers of proposals."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def listing(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/proposals?behind=`: a page at a time."""
        behind = place_of(request.query.get("behind"))
        async with self._desk.borrow() as connection:
            found = await select_proposals(connection, visit.organisations, rows_max=LISTED_MAX + 1, behind=behind)
        shown = found[:LISTED_MAX]
        return await self._desk.page(
            "desk_proposals.html", visit, proposals=[(each, _title(each)) for each in shown],
            older=cursor_of(shown) if len(found) > LISTED_MAX else None,
        )  # fmt: skip

    async def new(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/proposals/new`: an empty form; with `?campaign=` what that campaign is now, to be changed; with
        `?template=` an emergency's or a former campaign's form, to be opened anew; with `?proposal=` what that says.
        """
        template, now = request.query.get("template", ""), self._desk.clock()
        if template in EMERGENCIES:
            return await self.form(visit, emergency_form(template, now))
        former = self._desk.book().by_slug.get(template)
        if former is not None and visit.sees(former.organiser):
            return await self.form(visit, form_like(former, now))
        campaign = self._desk.book().by_slug.get(request.query.get("campaign", ""))
        if campaign is not None and visit.sees(campaign.organiser):
            return await self._filled(visit, {"campaign": [tables_of(campaign)]})
        if proposal := await self.numbered(request.query.get("proposal", ""), visit):
            try:
                return await self._filled(visit, proposal.file.tables)
            except ApplyRefused:
                # By the rules of today it is none any more: it is corrected as a text.
                return await self.form(visit, {"text": proposal.content})
        return await self.form(visit, {})

    async def _filled(self, visit: Visit, tables: Mapping[str, Any]) -> web.StreamResponse:
        """The form that says what these tables say, or else the text that does."""
        form = form_of(tables)
        if form is None:
            return await self.form(visit, {"text": toml_of(tables)})
        is_stored = form.get("slug") in self._desk.book().by_slug
        return await self.form(visit, {**form, "changes": form["slug"]} if is_stored else form)

    async def make(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/proposals/new`: look at it first (`look`), or keep what was looked at (`keep`, its digest) as a
        draft; nothing counts by it yet. What was typed since is looked at first, and not lost.
        """
        del request
        form = visit.form
        slug, is_form = form.get("slug", "").strip(), not form.get("text", "").strip()
        if is_form and not form.get("decision", "").strip():
            return await self.form(visit, form, 422, "proposal_decision_wanted")
        if is_form and slug in self._desk.book().by_slug and slug != form.get("changes"):
            # Else what was meant as a new campaign would change one that counts.
            return await self.form(visit, form, 422, "proposal_slug_taken")
        content = form.get("text", "").strip() or toml_of(tables_in(form))
        try:
            file = load(content.encode(), FILE_NAME)
            require_campaigns_alone(file)
            # First of all: what refuses a file may tell of a campaign that is somebody else's.
            if not self.is_allowed(file, visit):
                return await self.form(visit, form, 403, "proposal_not_yours")
            async with self._desk.borrow() as connection:
                plan = await plan_changes(connection, file, [], now=self._desk.clock())
                if not plan.changes.lines:
                    return await self.form(visit, form, 422, "proposal_nothing")
                is_looking = bool(form.get("look"))
                if is_looking or form.get("keep") != seen_of(content):
                    status, problem = (200, None) if is_looking else (409, "propose_changed")
                    return await self.form(visit, form, status, problem, plan=plan, content=content, file=file)
                async with connection.transaction():
                    made = await make(connection, visit.who, file, self._desk.book(), now=self._desk.clock())
        except ApplyRefused as refused:
            is_typed = bool(form.get("text", "").strip())
            lines = refused.lines(language_of(visit)) if is_typed else _lines_of_form(refused, visit)
            return await self.form(visit, form, 422, "proposal_refused", lines=lines)
        except GatewaysNamed:
            return await self.form(visit, form, 422, "proposal_gateways")
        return see_other(f"/desk/proposals/{made}")

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/proposals/{id}`."""
        return await self.shown(request, visit)

    async def rehearse(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/proposals/{id}/try`: how typed texts would be read. Nothing is kept of them."""
        proposal = await self.found(request, visit)
        if proposal is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        typed = [line for line in visit.form.get("texts", "").splitlines() if line.strip()]
        if len(typed) > TEXTS_MAX:
            return await self.shown(request, visit, 422, "try_too_many")
        try:
            found = rehearsed(proposal.file, self._desk.book(), visit.form.get("code", "").strip(), typed)
        except ApplyRefused:
            return await self.shown(request, visit, 409, "proposal_refused")
        return await self.shown(request, visit, tried=found)

    def step(self, step: str) -> Any:
        """The handler that takes a step."""

        async def take(request: web.Request, visit: Visit) -> web.StreamResponse:
            proposal = await self.found(request, visit)
            if proposal is None:
                return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
            reason = visit.reason or None
            if step == "refused" and reason is None:
                return await self.shown(request, visit, 422, "reason_wanted")
            try:
                async with self._desk.borrow() as connection:
                    await take_step(connection, visit.who, proposal.id, step, reason)
            except StepRefused as refused:
                if await self._is_done(proposal.id, step, visit, refused):
                    return see_other(f"/desk/proposals/{proposal.id}")
                return await self.shown(request, visit, 409, f"step_{refused.why}")
            return see_other(f"/desk/proposals/{proposal.id}")

        return take

    async def approve(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/proposals/{id}/approve`: the book is written, and every worker reads by it within a second."""
        proposal = await self.found(request, visit)
        if proposal is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        looked_at = visit.form.get("plan", "")
        try:
            # The book may have come to hold what it takes texts from since it was made.
            if not self.is_allowed(proposal.file, visit):
                return await self.shown(request, visit, 403, "proposal_not_yours")
            async with self._desk.borrow() as connection:
                await approve(connection, visit.who, proposal.id, now=self._desk.clock(), looked_at=looked_at)
        except StepRefused as refused:
            if await self._is_done(proposal.id, "approved", visit, refused):
                return see_other(f"/desk/proposals/{proposal.id}")
            return await self.shown(request, visit, 409, f"step_{refused.why}")
        except ApplyRefused:
            return await self.shown(request, visit, 409, "proposal_refused")
        except IntakeBusy:
            return await self.shown(request, visit, 503, "step_busy")
        return see_other(f"/desk/proposals/{proposal.id}")

    async def _is_done(self, number: int, step: str, visit: Visit, refused: StepRefused) -> bool:
        """Whether a step was refused because this person has taken it already: by a double click, or in two tabs."""
        if refused.why != "ended":
            return False
        async with self._desk.borrow() as connection:
            taken = await select_steps(connection, number)
        return bool(taken) and (taken[-1].step, taken[-1].who) == (step, visit.person.login)

    async def found(self, request: web.Request, visit: Visit) -> Proposal | None:
        """The proposal of the address, within what the person may see."""
        return await self.numbered(request.match_info["id"], visit)

    async def numbered(self, given: str, visit: Visit) -> Proposal | None:
        """The proposal of a number, within what the person may see."""
        async with self._desk.borrow() as connection:
            return await found_in(connection, given, visit)

    async def shown(
        self,
        request: web.Request,
        visit: Visit,
        status: int = 200,
        problem: str | None = None,
        tried: "Sequence[Tried]" = (),
    ) -> web.StreamResponse:
        """The page of the proposal of the address, with what went wrong."""
        proposal = await self.found(request, visit)
        if proposal is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        plan, lines = None, list[str]()
        async with self._desk.borrow() as connection:
            steps = await select_steps(connection, proposal.id)
            written = [spoken_again(each, visit.words) for each in await select_written(connection, proposal.id)]
            files = await select_files(connection, proposal.id)
            if proposal.state in OPEN_STATES:
                try:
                    plan = await plan_of_proposal(connection, proposal, self._desk.clock())
                except ApplyRefused as refused:
                    lines = lines_of_proposal(refused, visit)
        return await self._desk.page(
            "desk_proposal.html", visit, status, proposal=proposal, title=_title(proposal), steps=steps,
            written=written, problem=problem, lines=lines, files=files,
            **_plan_words(plan, visit, proposal.file if plan else None, self._desk.book()),
            pages=[each.slug for each in proposal.file.campaigns] if plan else [],
            is_own=visit.person.login in proposal.others, tried=tried, form=visit.form, codes=_codes(proposal),
        )  # fmt: skip

    async def form(
        self,
        visit: Visit,
        form: Mapping[str, str],
        status: int = 200,
        problem: str | None = None,
        *,
        lines: list[str] | None = None,
        plan: Plan | None = None,
        content: str = "",
        file: ApplyFile | None = None,
    ) -> web.StreamResponse:
        """The page on which a proposal is written: as far as it was, with what went wrong or what it would change."""
        book = self._desk.book()
        return await self._desk.page(
            "desk_propose.html", visit, status, form=form, problem=problem, lines=lines or [], content=content,
            seen=seen_of(content),
            emergencies=EMERGENCIES, categories=get_args(Category), grammars=get_args(GrammarName),
            organisations=[each for code, each in book.organisations.items() if visit.sees(code)],
            campaigns=[each for each in book.campaigns if visit.sees(each.organiser)],
            **_plan_words(plan, visit, file, book),
        )  # fmt: skip

    def is_allowed(self, file: ApplyFile, visit: Visit) -> bool:
        """Whether all that a file is about is this person's to change."""
        return is_allowed(file, self._desk.book(), self._desk.clock(), visit)


def seen_of(content: str) -> str:
    """Tells what was looked at from what was typed since."""
    return hashlib.sha256(content.encode()).hexdigest()


class Tried(NamedTuple):
    """A text as it was typed, and what it would be: an outcome of the grammar, with units and VND where it counts."""

    text: str
    outcome: str
    campaign: str | None
    amount_vnd: int | None


def rehearsed(file: ApplyFile, book: Book, code: str, texts: Sequence[str]) -> list[Tried]:
    """How `texts` to `code` would be read by `book` once `file` is applied, while its campaigns are open."""
    proposed = book_from_file(file)
    gone = {*proposed.by_slug, *(each.slug for each in file.withdrawn)}
    # Ids tell campaigns apart and mean nothing here; those of the file follow those of the book.
    kept = [each for each in book.campaigns if each.slug not in gone]
    behind = max((each.id for each in kept), default=0)
    new = [replace(each, id=behind + each.id) for each in proposed.campaigns]
    merged = Book(book.version + 1, [*kept, *new], book.organisations.values())
    at = max((each.opens_at for each in proposed.campaigns), default=datetime.now(UTC))
    found = [read(merged, code, text[:TEXT_LETTERS_MAX], at) for text in texts]
    return [
        Tried(text, str(each.outcome), each.campaign, each.amount_vnd)
        for text, each in zip(texts, found, strict=True)
    ]


def _codes(proposal: Proposal) -> list[str]:
    """The short codes that a proposal names."""
    try:
        return sorted({each.route.short_code for entry in proposal.file.campaigns for each in entry.routes})
    except ApplyRefused:
        return []


class GatewaysNamed(Exception):
    """A proposal is about campaigns; gateways hold secrets and are applied by the command."""


def require_campaigns_alone(file: ApplyFile) -> None:
    """Raises GatewaysNamed for a file with gateways."""
    if file.gateways:
        raise GatewaysNamed


def language_of(visit: Visit) -> Any:
    """In which language an apply file's problems are told."""
    return "vi" if visit.words.language is Language.VI else "en"


def _plan_words(plan: Plan | None, visit: Visit, file: ApplyFile | None, book: Book) -> dict[str, Any]:
    """A plan in the visitor's language, and the digest by which it is known again."""
    if plan is None or file is None:
        return {"plan": None, "changes": [], "told": [], "unusual": [], "neighbours": [], "replies": []}

    return {
        "plan": digest_of(plan),
        "changes": [spoken(each, visit.words) for each in plan.changes.lines],
        "told": [spoken(each, visit.words) for each in plan.told if not each.startswith(REPLIES_TOLD)],
        "replies": reply_texts(file, book),
        "unusual": [f"{_place_of(each, file, visit)}: {spoken(each.reason, visit.words)}" for each in plan.warnings],
        "neighbours": neighbours(file, book),
    }


def _place_of(warning: ApplyWarning, file: ApplyFile, visit: Visit) -> str:
    """Which field of which campaign is meant."""
    slugs = {each.place.toml_path: each.slug for each in file.campaigns}
    slug = slugs.get(warning.toml_path.split(".")[0])
    label = _label(warning.toml_path, visit)
    return label if slug is None else f"{slug}, {label}"


def _lines_of_form(refused: ApplyRefused, visit: Visit) -> list[str]:
    """What is wrong, by the form's own labels: whoever filled it in sees no lines and no keys."""
    return [f"{_label(each.toml_path, visit)}: {spoken(each.reason, visit.words)}" for each in refused.problems]


def lines_of_proposal(refused: ApplyRefused, visit: Visit) -> list[str]:
    """The same of what may be about several campaigns: each is numbered as the proposal has it."""
    tables = [each.toml_path.partition(".")[0] for each in refused.problems]
    lines = _lines_of_form(refused, visit)
    if len(set(tables)) <= 1:
        return lines
    return [f"{place_in_words(each, language_of(visit))}, {line}" for each, line in zip(tables, lines, strict=True)]


def _label(toml_path: str, visit: Visit) -> str:
    """`campaign[0].route[0].keywords[1]` as the form calls it."""
    key = re.sub(r"\[[0-9]+\]$", "", toml_path).rsplit(".", 1)[-1]
    if key not in FIELDS:
        return place_in_words(toml_path, language_of(visit))
    return label(key, visit.words)


def _title(proposal: Proposal) -> str:
    try:
        file = proposal.file
    except ApplyRefused:
        return "?"
    return ", ".join([each.name_vi for each in file.campaigns] + [each.slug for each in file.withdrawn]) or "–"
