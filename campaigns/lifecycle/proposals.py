"""Proposals: draft, proposed, then approved by somebody else, refused or withdrawn. The database sees that it is two.

What is proposed is an apply file; approving it writes the book by `book/recording`, which stays its one writer, in
the transaction of the approval.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

import asyncpg

from campaigns.audit.entries import AuditAct, Who, record
from campaigns.book.apply_entries import ApplyFile
from campaigns.book.apply_file import load
from campaigns.book.book import Book, Campaign
from campaigns.book.changes import Changes
from campaigns.book.grammar import ReadingOutcome, read
from campaigns.book.plan import Plan
from campaigns.book.recording import AppliedBy, apply_changes, plan_changes
from campaigns.book.store import load_book
from campaigns.lifecycle.toml_text import toml_of
from campaigns.schema.locks import DRAFT_LOCK

OPEN_STATES = frozenset({"draft", "proposed", "emergency"})
LISTED_MAX = 50
"""Of a page."""
FIRST = (True, 2**31 - 1)
"""Before every place in the list."""
FILE_NAME = "proposal"
TAKEN_RESTS = ("", "5", "K", "5K", "0K")
"""What may stand behind a longer keyword in a text that a shorter one counts today."""
DESK = "desk"
"""In the place of an account of the operating system."""


class StepRefused(Exception):
    """A step that cannot be taken; `why` is one of: same_person, ended, not_proposed, plan_changed, nothing."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Proposal(NamedTuple):
    """A proposal with its state: draft, proposed, approved, refused, withdrawn, emergency or confirmed."""

    id: int
    kind: str
    content: str
    organisations: tuple[str, ...]
    made_by: str
    reason: str | None
    made_at: datetime
    state: str
    proposed_by: str | None

    @property
    def file(self) -> ApplyFile:
        """What it says. Raises ApplyRefused where a later release reads it differently."""
        return load(self.content.encode(), FILE_NAME)

    @property
    def others(self) -> list[str]:
        """Who must not approve it."""
        return sorted({self.made_by, *([self.proposed_by] if self.proposed_by else [])})

    @property
    def place(self) -> tuple[bool, int]:
        """Where it stands in the list."""
        return self.state in OPEN_STATES, self.id


class Step(NamedTuple):
    """A step that was taken."""

    step: str
    who: str
    reason: str | None
    book_version: int | None
    recorded_at: datetime


INSERT_PROPOSAL = """
INSERT INTO proposal (kind, content, sha256, organisations, made_by, reason) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id
"""
SELECT_PROPOSALS = """
SELECT p.id, p.kind, p.content, p.organisations, p.made_by, p.reason, p.made_at,
       coalesce(last.step, CASE p.kind WHEN 'emergency' THEN 'emergency' ELSE 'draft' END) AS state,
       (SELECT s.who FROM proposal_step AS s WHERE s.proposal_id = p.id AND s.step = 'proposed') AS proposed_by
FROM proposal AS p LEFT JOIN LATERAL (
    SELECT s.step FROM proposal_step AS s WHERE s.proposal_id = p.id ORDER BY s.number DESC LIMIT 1
) AS last ON true
CROSS JOIN LATERAL (SELECT last.step IS NULL OR last.step = 'proposed' AS it_is) AS is_open
WHERE ($1::integer IS NULL OR p.id = $1) AND ($2::text[] IS NULL OR p.organisations <@ $2)
    AND (is_open.it_is, p.id) < ($4::boolean, $5::integer)
ORDER BY is_open.it_is DESC, p.id DESC LIMIT $3
"""
SELECT_STEPS = """
SELECT step, who, reason, book_version, recorded_at FROM proposal_step WHERE proposal_id = $1 ORDER BY number
"""
SELECT_WRITTEN = """
SELECT unnest(v.changes) AS line FROM book_version AS v, proposal AS p
WHERE p.id = $1 AND CASE p.kind
    WHEN 'emergency' THEN v.applied_at = p.made_at
    ELSE v.version IN (SELECT s.book_version FROM proposal_step AS s WHERE s.proposal_id = p.id)
END
"""
"""An emergency is kept in the transaction of its version, so both have its time."""
SELECT_SAME_OPEN = """
SELECT min(p.id) FROM proposal AS p WHERE p.kind = 'proposal' AND p.sha256 = $1 AND NOT EXISTS (
    SELECT FROM proposal_step AS s WHERE s.proposal_id = p.id AND s.step IN ('approved', 'refused', 'withdrawn')
)
"""
INSERT_STEP = """
INSERT INTO proposal_step (proposal_id, number, step, who, others, reason, book_version)
SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6 FROM proposal_step WHERE proposal_id = $1
"""
LOCK_DRAFTS = "SELECT pg_advisory_xact_lock($1)"
LOCK_PROPOSAL = "SELECT id FROM proposal WHERE id = $1 FOR UPDATE"
SELECT_BOOK_VERSION = "SELECT coalesce(max(version), 0) FROM book_version"


def needs_two(changes: Changes) -> bool:
    """Whether something changes that moves money or a public figure: opening, window, goal, price, keyword."""
    return bool(
        changes.new_campaigns
        or changes.decisions
        or changes.routes
        or changes.withdrawn_decisions
        or changes.withdrawn_routes
        or changes.goals
    )


def organisations_of(file: ApplyFile, book: Book, now: datetime) -> list[str]:
    """Whose campaigns a file is about: those it names, those that have them now, and those it takes texts from."""
    found = {each.organisation.code for each in file.organisations} | {each.organiser for each in file.campaigns}
    for slug in [*(each.slug for each in file.campaigns), *(each.slug for each in file.withdrawn)]:
        stored = book.by_slug.get(slug)
        if stored is not None:
            found.add(stored.organiser)
    return sorted(found | set(_taken_from(file, book, now)))


def _taken_from(file: ApplyFile, book: Book, now: datetime) -> Iterator[str]:
    """Whose gifts a longer keyword of the file would take: "VNN 5" takes those of five units from "VNN", at once and
    whatever its own window is, for the longest keyword is meant.
    """
    held: dict[str, list[Campaign]] = {}
    for campaign in book.campaigns:
        for code in {each.short_code for each in campaign.routes} if campaign.closes_at > now else ():
            held.setdefault(code, []).append(campaign)
    for route in (each.route for entry in file.campaigns for each in entry.routes):
        for campaign in held.get(route.short_code, ()):
            if any(_takes(keyword, route.short_code, campaign, book) for keyword in route.keywords):
                yield campaign.organiser


def _takes(keyword: str, code: str, campaign: Campaign, book: Book) -> bool:
    for rest in TAKEN_RESTS:
        found = read(book, code, keyword + rest, campaign.opens_at)
        if found.outcome is ReadingOutcome.COUNTED and found.campaign == campaign.slug and found.keyword is not None:
            return len(found.keyword.replace(" ", "")) < len(keyword.replace(" ", ""))
    return False


def digest_of(plan: Plan) -> str:
    """Tells whether a plan is still the one that somebody looked at."""
    seen = "\n".join([*plan.changes.lines, *plan.told, *(each.reason for each in plan.warnings)])
    return hashlib.sha256(seen.encode()).hexdigest()


async def make(
    connection: asyncpg.Connection,
    who: Who,
    file: ApplyFile,
    book: Book,
    *,
    now: datetime,
    emergency: str | None = None,
) -> int:
    """Keep the campaigns of `file` as a draft, or with a reason as an emergency that was applied; returns its id.
    `book` is the one before.

    A draft that says the same and is still open is that one. Call it in a transaction.
    """
    content = toml_of(file.tables)
    sha256 = hashlib.sha256(content.encode()).digest()
    if emergency is None:
        # Who keeps the same at this moment waits here, and then finds it.
        await connection.execute(LOCK_DRAFTS, DRAFT_LOCK)
        same = await connection.fetchval(SELECT_SAME_OPEN, sha256)
        if same is not None:
            return int(same)
    kind = "proposal" if emergency is None else "emergency"
    act: AuditAct = "proposal.make" if emergency is None else "emergency.make"
    organisations = organisations_of(file, book, now)
    made = await connection.fetchval(INSERT_PROPOSAL, kind, content, sha256, organisations, who.login, emergency)
    await record(connection, who, act, str(made), after={"sha256": sha256.hex()}, reason=emergency)
    return int(made)


async def select_proposals(
    connection: asyncpg.Connection,
    organisations: Sequence[str] | None = None,
    proposal_id: int | None = None,
    *,
    rows_max: int = LISTED_MAX,
    behind: tuple[bool, int] = FIRST,
) -> list[Proposal]:
    """Those that are open first, then the newest. `organisations`: only what is about these alone. `behind`: those
    after the one with this place.
    """
    only = None if organisations is None else list(organisations)
    found = await connection.fetch(SELECT_PROPOSALS, proposal_id, only, rows_max, *behind)
    return [
        Proposal(
            row["id"], row["kind"], row["content"], tuple(row["organisations"]), row["made_by"], row["reason"],
            row["made_at"], row["state"], row["proposed_by"],
        )
        for row in found
    ]  # fmt: skip


async def select_steps(connection: asyncpg.Connection, proposal_id: int) -> list[Step]:
    """What was done with a proposal, in order."""
    return [Step(*row) for row in await connection.fetch(SELECT_STEPS, proposal_id)]


async def select_written(connection: asyncpg.Connection, proposal_id: int) -> list[str]:
    """What a proposal that was applied changed of organisations and campaigns, as the book's history says it."""
    lines = [str(row["line"]) for row in await connection.fetch(SELECT_WRITTEN, proposal_id)]
    return [line for line in lines if line.startswith(("organisation ", "campaign "))]


async def plan_of_proposal(connection: asyncpg.Connection, proposal: Proposal, now: datetime) -> Plan:
    """What approving it now would mean. Raises ApplyRefused."""
    return await plan_changes(connection, proposal.file, [], now=now)


async def take_step(
    connection: asyncpg.Connection, who: Who, proposal_id: int, step: str, reason: str | None = None
) -> None:
    """Propose, refuse, withdraw or confirm. Whoever made or proposed it withdraws it and does not refuse it, which
    would read as a second person's word. Raises StepRefused.
    """
    async with connection.transaction():
        proposal = await _locked(connection, proposal_id, STEPS_FROM[step])
        if step == "refused" and who.login in proposal.others:
            raise StepRefused("same_person")
        await _insert(connection, who, proposal, step, reason, None)


async def approve(
    connection: asyncpg.Connection, who: Who, proposal_id: int, *, now: datetime, looked_at: str
) -> Plan:
    """Approve what somebody else proposed, and write the book by it. `looked_at` is the digest of the plan shown.

    Raises StepRefused, ApplyRefused, IntakeBusy; then nothing has changed.
    """

    def accept(plan: Plan) -> None:
        if digest_of(plan) != looked_at:
            raise StepRefused("plan_changed")

    async with connection.transaction():
        proposal = await _locked(connection, proposal_id, STEPS_FROM["approved"])
        if who.login in proposal.others:
            raise StepRefused("same_person")
        applied_by = AppliedBy(DESK, f"{proposal.proposed_by}, approved by {who.login}")
        plan = await apply_changes(connection, proposal.file, [], now=now, who=applied_by, accept=accept)
        version = await connection.fetchval(SELECT_BOOK_VERSION) if plan.changes.lines else None
        await _insert(connection, who, proposal, "approved", None, version)
    return plan


async def act_at_once(
    connection: asyncpg.Connection, who: Who, file: ApplyFile, *, now: datetime, reason: str, looked_at: str
) -> int:
    """Write the book by `file` on one person's word. It waits as an emergency until somebody else confirms it.

    Returns its id. `looked_at` is the digest of the plan shown.

    Raises StepRefused, ApplyRefused, IntakeBusy; then nothing has changed.
    """

    def accept(plan: Plan) -> None:
        if not plan.changes.lines:
            # It would wait for a second person for ever, and there is nothing to confirm.
            raise StepRefused("nothing")
        if digest_of(plan) != looked_at:
            raise StepRefused("plan_changed")

    async with connection.transaction():
        before = await load_book(connection)
        applied_by = AppliedBy(DESK, f"{who.login}, in an emergency")
        plan = await apply_changes(connection, file, [], now=now, who=applied_by, accept=accept)
        changes = [str(line) for line in plan.changes.lines]
        await record(connection, who, "book.apply", after={"changes": changes}, reason=reason)
        return await make(connection, who, file, before, now=now, emergency=reason)


async def put_into_force(
    connection: asyncpg.Connection, who: Who, proposal_id: int, *, now: datetime, reason: str, looked_at: str
) -> int:
    """Write the book by a draft or proposal on one person's word: it becomes an emergency, whose id is returned.

    The draft ends as withdrawn, with the reason and that number. Raises what `act_at_once` does.
    """
    async with connection.transaction():
        proposal = await _locked(connection, proposal_id, STEPS_FROM["withdrawn"])
        made = await act_at_once(connection, who, proposal.file, now=now, reason=reason, looked_at=looked_at)
        await _insert(connection, who, proposal, "withdrawn", f"{reason} → {made}", None)
    return made


STEPS_FROM = {
    "proposed": frozenset({"draft"}),
    "approved": frozenset({"proposed"}),
    "refused": frozenset({"proposed"}),
    "withdrawn": frozenset({"draft", "proposed"}),
    "confirmed": frozenset({"emergency"}),
}
"""From which states each step may be taken."""
ENTERED_AS: Mapping[str, AuditAct] = MappingProxyType(
    {
        "proposed": "proposal.proposed",
        "approved": "proposal.approved",
        "refused": "proposal.refused",
        "withdrawn": "proposal.withdrawn",
        "confirmed": "proposal.confirmed",
    }
)
"""What each is called in the audit log."""


async def _locked(connection: asyncpg.Connection, proposal_id: int, states: Iterable[str]) -> Proposal:
    await connection.fetchval(LOCK_PROPOSAL, proposal_id)
    found = await select_proposals(connection, None, proposal_id)
    if not found or found[0].state not in states:
        raise StepRefused("not_proposed" if found and found[0].state == "draft" else "ended")
    return found[0]


async def _insert(
    connection: asyncpg.Connection,
    who: Who,
    proposal: Proposal,
    step: str,
    reason: str | None,
    version: int | None,
) -> None:
    try:
        async with connection.transaction():
            await connection.execute(INSERT_STEP, proposal.id, step, who.login, proposal.others, reason, version)
    except asyncpg.CheckViolationError as error:
        if error.constraint_name != "proposal_needs_two":
            raise
        raise StepRefused("same_person") from None
    except asyncpg.UniqueViolationError:
        raise StepRefused("ended") from None
    after = None if version is None else {"book_version": version}
    await record(connection, who, ENTERED_AS[step], str(proposal.id), after=after, reason=reason)
