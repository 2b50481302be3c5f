"""What an apply file changes in the stored book: decided here, without a database, before anything is written.

Nothing is deleted, and nothing may change how a stored message was read: windows move only by another decision
and only while their end lies ahead, keywords keep their value, routes are only added.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from campaigns.book.apply_entries import ApplyFile, ApplyProblem, ApplyRefused, CampaignEntry, PreparedGateway
from campaigns.book.book import VIETNAM, Book, Campaign, Decision, Grammar, Organisation, Route
from campaigns.book.overlap import Claim, claims_of, clashes


@dataclass(slots=True)
class Changes:
    """What is to be written, and a line for a person about each change. No lines: nothing changes.

    `gateways` have their `enabled` decided. `shown` are the stored campaigns of whom something changes that
    the public sees.
    """

    lines: list[str] = field(default_factory=list)
    organisations: list[Organisation] = field(default_factory=list)
    new_campaigns: list[CampaignEntry] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    decisions: list[tuple[str, int, Decision]] = field(default_factory=list)
    routes: list[tuple[str, Route]] = field(default_factory=list)
    gateways: list[PreparedGateway] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)


def changes_of(
    file: ApplyFile,
    gateways: Sequence[PreparedGateway],
    book: Book,
    stored_gateways: Mapping[str, PreparedGateway],
    now: datetime,
) -> Changes:
    """What `file` and its prepared `gateways` change at `now`. Raises ApplyRefused with every contradiction."""
    changes, problems = Changes(), list[ApplyProblem]()
    _organisations(file, book, changes)
    organisers = book.organisations.keys() | {each.organisation.code for each in file.organisations}
    for entry in file.campaigns:
        if entry.organiser not in organisers:
            reason = "is no organisation of this file or the database; add an [[organisation]] with this code"
            problems.append(_problem(entry, "organiser", reason))
        stored = book.by_slug.get(entry.slug)
        if stored is None:
            if not entry.routes:
                problems.append(_problem(entry, "route", "is missing; add at least one [[campaign.route]]"))
            _new_campaign(entry, changes)
        else:
            problems.extend(_known_campaign(entry, stored, now, changes))
    problems.extend(clashes(_all_claims(file, book)))
    if problems:
        raise ApplyRefused(file.name, problems)
    for gateway in gateways:
        _gateway(gateway, stored_gateways.get(gateway.code), changes)
    return changes


def comparable(settings: Any) -> Any:
    """`settings` of a gateway without what differs at every sealing: equal when they say the same."""
    if isinstance(settings, Mapping):
        return {
            key: comparable(value) for key, value in settings.items() if key != "sealed" or "digest" not in settings
        }
    return [comparable(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _organisations(file: ApplyFile, book: Book, changes: Changes) -> None:
    for entry in file.organisations:
        wanted = entry.organisation
        stored = book.organisations.get(wanted.code)
        if stored is None:
            changes.organisations.append(wanted)
            changes.lines.append(f"organisation {wanted.code}: added")
            continue
        wanted = replace(wanted, name_en=wanted.name_en or stored.name_en)
        changed = _changed_fields(stored, wanted, ("name_vi", "name_en"))
        if changed:
            changes.organisations.append(wanted)
            changes.lines.append(f"organisation {wanted.code}: changed {', '.join(changed)}")
            changes.shown.update(each.id for each in book.campaigns if each.organiser == wanted.code)


def _new_campaign(entry: CampaignEntry, changes: Changes) -> None:
    changes.new_campaigns.append(entry)
    changes.lines.append(f"campaign {entry.slug}: added, {_window(entry.decision)}")
    changes.decisions.append((entry.slug, 1, entry.decision))
    for each in entry.routes:
        _add_route(entry.slug, each.route, changes)


def _known_campaign(
    entry: CampaignEntry, stored: Campaign, now: datetime, changes: Changes
) -> Iterable[ApplyProblem]:
    lines_before = len(changes.lines)
    wanted = replace(
        stored,
        name_vi=entry.name_vi,
        name_en=entry.name_en or stored.name_en,
        category=entry.category,
        organiser=entry.organiser,
        goal_vnd=entry.goal_vnd or stored.goal_vnd,
    )
    changed = _changed_fields(stored, wanted, ("name_vi", "name_en", "category", "organiser", "goal_vnd"))
    if changed:
        changes.campaigns.append(wanted)
        changes.lines.append(f"campaign {entry.slug}: changed {', '.join(changed)}")
    problems = _decision_problems(entry, stored, now)
    if not problems and _is_another_decision(entry.decision, stored.decisions[-1]):
        number = len(stored.decisions) + 1
        changes.decisions.append((entry.slug, number, entry.decision))
        changes.lines.append(f"campaign {entry.slug}: decision {number}, {_window(entry.decision)}")
    known = {(route.short_code, keyword) for route in stored.routes for keyword in route.keywords}
    for each in entry.routes:
        code = each.route.short_code
        added = tuple(keyword for keyword in each.route.keywords if (code, keyword) not in known)
        if added:
            _add_route(entry.slug, replace(each.route, keywords=added), changes)
    if len(changes.lines) > lines_before:
        changes.shown.add(stored.id)
    return problems


def _is_another_decision(wanted: Decision, newest: Decision) -> bool:
    return _moves_window(wanted, newest) or wanted.number not in (None, newest.number)


def _moves_window(wanted: Decision, newest: Decision) -> bool:
    return (wanted.opens_at, wanted.closes_at) != (newest.opens_at, newest.closes_at)


def _decision_problems(entry: CampaignEntry, stored: Campaign, now: datetime) -> list[ApplyProblem]:
    """Why the file's decision cannot follow the stored ones; none when it says what the newest says."""
    wanted, newest = entry.decision, stored.decisions[-1]
    if not _is_another_decision(wanted, newest):
        return []
    problems: list[ApplyProblem] = []
    if wanted.number is None:
        reason = f"is missing: another window needs another decision; add it, or keep {_window(newest)}"
        problems.append(_problem(entry, "decision", reason))
    elif wanted.number in {each.number for each in stored.decisions}:
        reason = f"was already recorded with its window; name the new decision, or keep the newest: {_window(newest)}"
        problems.append(_problem(entry, "decision", reason))
    moves = (("opens_at", wanted.opens_at, newest.opens_at), ("closes_at", wanted.closes_at, newest.closes_at))
    for key, new, old in moves:
        if new == old:
            continue
        if old <= now:
            reason = f"cannot move: {_time(old)} has passed; write that time, or open another campaign"
            problems.append(_problem(entry, key, reason))
        elif new <= now:
            reason = f"cannot move from {_time(old)} into the past; choose a time to come"
            problems.append(_problem(entry, key, reason))
    return problems


def _add_route(slug: str, route: Route, changes: Changes) -> None:
    changes.routes.append((slug, route))
    value = f"{route.grammar} of {route.unit_vnd} VND"
    if route.grammar is not Grammar.FIXED:
        value += f", 1 to {route.max_units}"
    changes.lines.append(f"campaign {slug}: route {route.short_code} {' | '.join(route.keywords)} added ({value})")


def _all_claims(file: ApplyFile, book: Book) -> Iterable[Claim]:
    """The book as it would be: stored routes first, so that a clash is told at the file's."""
    entries = {entry.slug: entry for entry in file.campaigns}
    for campaign in book.campaigns:
        entry = entries.get(campaign.slug)
        decision = entry.decision if entry else campaign.decisions[-1]
        for route in campaign.routes:
            yield Claim(campaign.slug, decision, route, entry.place if entry else None, is_stored=True)
    yield from claims_of(file.campaigns)


def _gateway(wanted: PreparedGateway, stored: PreparedGateway | None, changes: Changes) -> None:
    if stored is None:
        changes.gateways.append(replace(wanted, enabled=wanted.enabled is not False))
        changes.lines.append(f"gateway {wanted.code}: added (adapter {wanted.adapter}, carrier {wanted.carrier})")
        return
    if wanted.enabled is None:
        wanted = replace(wanted, enabled=stored.enabled)
    changed = _changed_fields(stored, wanted, ("adapter", "carrier", "charging", "networks", "enabled"))
    before, after = comparable(stored.settings), comparable(wanted.settings)
    changed += sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        changes.gateways.append(wanted)
        # Names of keys only: a value may be a secret.
        changes.lines.append(f"gateway {wanted.code}: changed {', '.join(changed)}")


def _changed_fields(before: object, after: object, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def _problem(entry: CampaignEntry, key: str, reason: str) -> ApplyProblem:
    return ApplyProblem(f"{entry.place.toml_path}.{key}", entry.place.line, reason)


def _window(decision: Decision) -> str:
    by = f"decision {decision.number}" if decision.number else "no decision named"
    return f"{_time(decision.opens_at)} to {_time(decision.closes_at)} ({by})"


def _time(at: datetime) -> str:
    return at.astimezone(VIETNAM).isoformat()
