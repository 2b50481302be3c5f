"""What an apply file changes in a campaign: new, corrected, moved by a decision, withdrawn.

Until a message was read by it, a keyword with its price may be corrected or withdrawn, and so may the whole campaign;
its window and the number of its decision while its opening lies ahead. After that a window and a goal move by another
decision alone, and a keyword keeps its value.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from campaigns.book.apply_entries import (
    ApplyFile,
    ApplyProblem,
    ApplyRefused,
    CampaignEntry,
    PreparedGateway,
    RouteEntry,
    SourcePosition,
    WithdrawnCampaign,
    WithdrawnRoute,
)
from campaigns.book.book import VIETNAM, Campaign, Decision, Grammar, Route
from campaigns.book.changes import (
    Changes,
    Stored,
    differences,
    gateway_changes,
    organisation_changes,
    organiser_problems,
    problem_at,
    problem_of,
)
from campaigns.book.overlap import Claim, claims_of, clashes
from campaigns.book.replies import SMS_LETTERS_MAX, ReplyKind, is_too_long, key_of, longest, template_of
from campaigns.book.sentences import Sentence, say, vnd

FIELDS = ("name_vi", "name_en", "category", "organiser", "goal_vnd")
REPLY_FIELDS = ("hotline", "reply_thank_you", "reply_wrong_form", "reply_closed")


def changes_of(file: ApplyFile, gateways: Sequence[PreparedGateway], stored: Stored, now: datetime) -> Changes:
    """What `file` and its prepared `gateways` change at `now`. Raises ApplyRefused with every contradiction."""
    changes = Changes()
    organisation_changes(file, stored.book, changes)
    problems = list(organiser_problems(file, stored.book))
    for entry in file.campaigns:
        campaign = stored.book.by_slug.get(entry.slug)
        problems.extend(_length_problems(entry, campaign))
        if campaign is not None:
            problems.extend(_KnownCampaign(entry, campaign, stored, changes).judged(now))
            continue
        if not entry.routes:
            reason = say("is missing; add at least one [[campaign.route]]")
            problems.append(problem_at(entry, "route", reason))
        _added(entry, stored.withdrawn.get(entry.slug), changes)
    for each in file.withdrawn:
        campaign = stored.book.by_slug.get(each.slug)
        if campaign is not None:
            problems.extend(_withdrawn(each, campaign, stored, changes))
    problems.extend(clashes(_all_claims(file, stored, changes)))
    if problems:
        raise ApplyRefused(file.name, problems)
    gateway_changes(gateways, stored, changes)
    return changes


def _length_problems(entry: CampaignEntry, campaign: Campaign | None) -> Iterator[ApplyProblem]:
    """The texts that would take two SMS, by what the file says and by what the book has of the campaign already."""
    routes = [each.route for each in entry.routes]
    routes += campaign.routes if campaign is not None else ()
    for kind in ReplyKind:
        template = template_of(entry.replies, kind)
        if template is not None and is_too_long(text := longest(template, entry.replies, routes)):
            reason = say(
                'takes more than one SMS at its longest values, {length} letters of {max}: "{text}"; shorten it',
                length=len(text), max=SMS_LETTERS_MAX, text=text,
            )  # fmt: skip
            yield problem_at(entry, key_of(kind), reason)


def _added(entry: CampaignEntry, known_id: int | None, changes: Changes) -> None:
    """A campaign that is not in the book: new, or back after a withdrawal (`known_id`) with what the file says."""
    if known_id is None:
        changes.new_campaigns.append(entry)
    else:
        back = Campaign(
            known_id,
            entry.slug,
            entry.name_vi,
            entry.name_en,
            entry.category,
            entry.organiser,
            entry.goal_vnd,
            (),
            (),
            entry.replies,
        )
        changes.campaigns.append(back)
        changes.shown.add(known_id)
    changes.goals.add(entry.slug)
    changes.lines.append(say("campaign {slug}: added, {window}", slug=entry.slug, window=window(entry.decision)))
    changes.decisions.append((entry.slug, entry.decision))
    for each in entry.routes:
        _add_route(entry.slug, each.route, each, changes)


def _withdrawn(
    entry: WithdrawnCampaign, campaign: Campaign, stored: Stored, changes: Changes
) -> Iterator[ApplyProblem]:
    if stored.is_read(campaign):
        reason = say("is too late: messages were read by this campaign; close it by another decision")
        yield problem_at(entry, "withdrawn", reason)
        return
    changes.withdrawn_decisions.append((campaign.id, None))
    changes.withdrawn_routes += [(campaign.id, route) for route in campaign.routes]
    changes.shown.add(campaign.id)
    line = say("campaign {slug}: withdrawn, {window}", slug=campaign.slug, window=window(campaign.decisions[-1]))
    changes.lines.append(line)


class _KnownCampaign:
    """A campaign of the file that the book has, under judgement."""

    def __init__(self, entry: CampaignEntry, campaign: Campaign, stored: Stored, changes: Changes) -> None:
        self._entry = entry
        self._campaign = campaign
        self._stored = stored
        self._changes = changes
        self._is_read = stored.is_read(campaign)
        self._dropped: dict[Route, set[str]] = {}
        self._added: list[tuple[Route, RouteEntry]] = []

    def judged(self, now: datetime) -> list[ApplyProblem]:
        """Add to the changes; returns what contradicts the stored campaign."""
        lines_before = len(self._changes.lines)
        problems = [*self._window_problems(now), *self._field_problems(), *self._route_problems()]
        self._write_routes()
        if len(self._changes.lines) > lines_before:
            self._changes.shown.add(self._campaign.id)
        self._write_fields()
        return problems

    def _field_problems(self) -> Iterator[ApplyProblem]:
        entry, campaign = self._entry, self._campaign
        wanted = replace(campaign, **{name: getattr(entry, name) for name in FIELDS})
        told = differences(campaign, wanted, FIELDS)
        if wanted.goal_vnd != campaign.goal_vnd:
            self._changes.goals.add(entry.slug)
            if self._is_read and not _is_another_number(entry.decision, campaign.decisions):
                reason = say(
                    "changes after messages were read by this campaign: name the decision that orders it, or keep "
                    "{goal}",
                    goal=vnd(campaign.goal_vnd) if campaign.goal_vnd else say("none"),
                )
                yield problem_at(entry, "goal_vnd", reason)
        self._changes.lines += [say("campaign {slug}: {change}", slug=entry.slug, change=each) for each in told]

    def _write_fields(self) -> None:
        """What the file says of the campaign itself. Replies are shown nowhere: they raise no version."""
        entry, campaign = self._entry, self._campaign
        told = differences(campaign.replies, entry.replies, REPLY_FIELDS)
        self._changes.lines += [say("campaign {slug}: {change}", slug=entry.slug, change=each) for each in told]
        wanted = replace(campaign, replies=entry.replies, **{name: getattr(entry, name) for name in FIELDS})
        if wanted != campaign:
            self._changes.campaigns.append(wanted)

    def _window_problems(self, now: datetime) -> list[ApplyProblem]:
        wanted, newest = self._entry.decision, self._campaign.decisions[-1]
        if not _is_another_decision(wanted, newest):
            return []
        slug, changes = self._entry.slug, self._changes
        moves = _moves_window(wanted, newest)
        is_another = _is_another_number(wanted, self._campaign.decisions)
        if not self._is_read and now < newest.opens_at and not (moves and is_another):
            # A slip in the window or in the number, of which nobody has texted yet.
            corrected = replace(wanted, number=wanted.number or newest.number)
            changes.withdrawn_decisions.append((self._campaign.id, 1))
            changes.decisions.append((slug, corrected))
            changes.lines.append(
                say(
                    "campaign {slug}: corrected, {old} -> {new}",
                    slug=slug,
                    old=window(newest),
                    new=window(corrected),
                )
            )
            return []
        problems = list(self._decision_problems(wanted, newest, now))
        if not problems:
            changes.decisions.append((slug, wanted))
            changes.lines.append(
                say(
                    "campaign {slug}: decision {number}, {old} -> {new}",
                    slug=slug,
                    number=len(self._campaign.decisions) + 1,
                    old=window(newest),
                    new=window(wanted),
                )
            )
        return problems

    def _decision_problems(self, wanted: Decision, newest: Decision, now: datetime) -> Iterator[ApplyProblem]:
        """Why the file's decision cannot follow the stored ones."""
        if wanted.number is None:
            reason = say(
                "is missing: another window needs another decision; add it, or keep {window}", window=window(newest)
            )
            yield problem_at(self._entry, "decision", reason)
        elif not _is_another_number(wanted, self._campaign.decisions):
            reason = say(
                "was already recorded with its window; name the new decision, or keep the newest: {window}",
                window=window(newest),
            )
            yield problem_at(self._entry, "decision", reason)
        for key in ("opens_at", "closes_at"):
            new, old = getattr(wanted, key), getattr(newest, key)
            if new == old:
                continue
            if old <= now:
                reason = say(
                    "cannot move: {time} has passed; write that time, or open another campaign", time=_time(old)
                )
                yield problem_at(self._entry, key, reason)
            elif new <= now:
                reason = say("cannot move from {time} into the past; choose a time to come", time=_time(old))
                yield problem_at(self._entry, key, reason)

    def _route_problems(self) -> Iterator[ApplyProblem]:
        known = {(route.short_code, keyword): route for route in self._campaign.routes for keyword in route.keywords}
        for gone in self._entry.withdrawn_routes:
            leaving = [(known.get((gone.short_code, keyword)), keyword) for keyword in gone.keywords]
            yield from self._drop(gone, leaving)
        for each in self._entry.routes:
            code = each.route.short_code
            added = tuple(keyword for keyword in each.route.keywords if (code, keyword) not in known)
            corrected = tuple(
                keyword
                for keyword in each.route.keywords
                if (code, keyword) in known and terms(known[code, keyword]) != terms(each.route)
            )
            yield from self._drop(each, [(known[code, keyword], keyword) for keyword in corrected])
            for keywords in (added, corrected):
                if keywords:
                    self._added.append((replace(each.route, keywords=keywords), each))
        is_left = any(set(route.keywords) - self._dropped.get(route, set()) for route in self._campaign.routes)
        if not is_left and not self._added:
            reason = say("leaves the campaign without a keyword; withdraw the campaign itself, or name another")
            yield problem_of(self._entry.withdrawn_routes[-1].place, "withdrawn", reason)

    def _drop(
        self, entry: RouteEntry | WithdrawnRoute, leaving: Sequence[tuple[Route | None, str]]
    ) -> Iterator[ApplyProblem]:
        """Keywords leave their stored routes, unless some message was read by one of them."""
        stored = [(route, keyword) for route, keyword in leaving if route is not None]
        read = [each for each in stored if (self._campaign.id, each[0].short_code, each[1]) in self._stored.read]
        if read:
            if isinstance(entry, WithdrawnRoute):
                key = "withdrawn"
                template = (
                    'is too late: messages were read by "{keyword}" on {code}; close the campaign by another decision'
                )
            else:
                key = "keywords"
                template = (
                    '"{keyword}" on {code} keeps its grammar, unit_vnd and max_units: messages were read by it; '
                    "write {terms}, or choose another keyword"
                )
            keywords, route = " | ".join(keyword for _, keyword in read), read[0][0]
            reason = say(template, keyword=keywords, code=route.short_code, terms=value_of(route))
            yield problem_of(entry.place, key, reason)
            return
        for route, keyword in stored:
            self._dropped.setdefault(route, set()).add(keyword)
            if isinstance(entry, WithdrawnRoute):
                line = say(
                    "campaign {slug}: route {code} {keyword} withdrawn ({value})",
                    slug=self._entry.slug, code=route.short_code, keyword=keyword, value=value_of(route),
                )  # fmt: skip
                self._changes.lines.append(line)

    def _write_routes(self) -> None:
        changes, slug = self._changes, self._entry.slug
        before = {(each.short_code, keyword): each for each, gone in self._dropped.items() for keyword in gone}
        for route, gone in self._dropped.items():
            changes.withdrawn_routes.append((self._campaign.id, route))
            left = tuple(keyword for keyword in route.keywords if keyword not in gone)
            if left:
                changes.routes.append((slug, replace(route, keywords=left), None))
        for route, entry in self._added:
            old = before.get((route.short_code, route.keywords[0]))
            if old is None:
                _add_route(slug, route, entry, changes)
                continue
            changes.routes.append((slug, route, entry))
            line = say(
                "campaign {slug}: route {code} {keyword} corrected, {old} -> {new}",
                slug=slug, code=route.short_code, keyword=" | ".join(route.keywords), old=value_of(old),
                new=value_of(route),
            )  # fmt: skip
            changes.lines.append(line)


def _is_another_decision(wanted: Decision, newest: Decision) -> bool:
    return _moves_window(wanted, newest) or wanted.number not in (None, newest.number)


def _is_another_number(wanted: Decision, decisions: Iterable[Decision]) -> bool:
    return wanted.number is not None and wanted.number not in {each.number for each in decisions}


def _moves_window(wanted: Decision, newest: Decision) -> bool:
    return (wanted.opens_at, wanted.closes_at) != (newest.opens_at, newest.closes_at)


def _add_route(slug: str, route: Route, entry: RouteEntry, changes: Changes) -> None:
    changes.routes.append((slug, route, entry))
    changes.lines.append(
        say(
            "campaign {slug}: route {code} {keyword} added ({value})",
            slug=slug,
            code=route.short_code,
            keyword=" | ".join(route.keywords),
            value=value_of(route),
        )
    )


def _all_claims(file: ApplyFile, stored: Stored, changes: Changes) -> Iterator[Claim]:
    """The book as it would be: stored routes first, so that a clash is told at the file's."""
    entries: dict[str, CampaignEntry] = {entry.slug: entry for entry in file.campaigns}
    gone = set(changes.withdrawn_routes)
    for campaign in stored.book.campaigns:
        entry = entries.get(campaign.slug)
        decision = entry.decision if entry else campaign.decisions[-1]
        place: SourcePosition | None = entry.place if entry else None
        for route in campaign.routes:
            if (campaign.id, route) not in gone:
                yield Claim(campaign.slug, decision, route, place, is_stored=True)
        for slug, route, table in changes.routes:
            if slug == campaign.slug and table is None:
                yield Claim(slug, decision, route, place, is_stored=True)
    yield from claims_of(file.campaigns)


def terms(route: Route) -> tuple[str, int, int]:
    """What a keyword is worth: grammar, value of a unit, how many at most."""
    return route.grammar, route.unit_vnd, route.max_units


def value_of(route: Route) -> Sentence:
    """`terms` in words."""
    unit = vnd(route.unit_vnd)
    if route.grammar is Grammar.FIXED:
        return say("{grammar} of {unit}", grammar=route.grammar, unit=unit)
    return say("{grammar} of {unit}, 1 to {max}", grammar=route.grammar, unit=unit, max=route.max_units)


def window(decision: Decision) -> Sentence:
    """A decision with its window, in Vietnam's time."""
    by = say("decision {number}", number=decision.number) if decision.number else say("no decision named")
    return say(
        "{opens_at} to {closes_at} ({by})",
        opens_at=_time(decision.opens_at), closes_at=_time(decision.closes_at), by=by,
    )  # fmt: skip


def _time(at: datetime) -> str:
    return at.astimezone(VIETNAM).isoformat()
