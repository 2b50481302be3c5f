"""What an apply file changes in the stored book: decided here, without a database, before anything is written.

Nothing is deleted, and nothing may change how a stored message was read: what no message was read by may be
corrected or withdrawn, everything else follows the rules for decisions (campaign_changes.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from campaigns.book.apply_entries import (
    ApplyFile,
    ApplyProblem,
    CampaignEntry,
    PreparedGateway,
    RouteEntry,
    SourcePosition,
    WithdrawnCampaign,
)
from campaigns.book.book import Book, Campaign, Decision, Organisation, Route
from campaigns.book.sentences import Sentence, say

ReadKeyword = tuple[int, str, str]
"""Campaign id, short code, folded keyword: some message was read by it, whatever came of it."""


IS_TEST = "gateway {code} is a test account: what it sends is answered and never counted"
IS_REAL = "gateway {code} is a real account: what it sends from now on is money"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file is held against. `withdrawn`: the ids of campaigns that once were in the book, by slug.

    `has_messages`: the ids of campaigns of which some message is counted or told uncounted.
    """

    book: Book
    gateways: Mapping[str, PreparedGateway]
    withdrawn: Mapping[str, int]
    read: frozenset[ReadKeyword]
    has_messages: frozenset[int]

    def is_read(self, campaign: Campaign) -> bool:
        """Whether some message was read by the campaign."""
        return campaign.id in self.has_messages or any(each[0] == campaign.id for each in self.read)


@dataclass(slots=True)
class Changes:
    """What is to be written, and a line for a person about each change. No lines: nothing changes.

    `shown` are the stored campaigns of whom something changes that the public sees. Of `decisions`, `routes` and
    what is withdrawn, the withdrawals are written first.
    """

    lines: list[Sentence] = field(default_factory=list)
    organisations: list[Organisation] = field(default_factory=list)
    new_campaigns: list[CampaignEntry] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    routes: list[tuple[str, Route, RouteEntry | None]] = field(default_factory=list)
    """With the table of the file, None for what is left of a route that was split."""
    withdrawn_decisions: list[tuple[int, int | None]] = field(default_factory=list)
    """Campaign id, and how many of its newest decisions; None: all of them, the campaign is withdrawn."""
    withdrawn_routes: list[tuple[int, Route]] = field(default_factory=list)
    gateways: list[PreparedGateway] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)
    goals: set[str] = field(default_factory=set)
    """The slugs of campaigns with another goal."""

    @property
    def taken_back(self) -> frozenset[int]:
        """The campaigns of which something leaves the book, so that nothing may be read by it any more."""
        return frozenset(each for each, _ in (*self.withdrawn_decisions, *self.withdrawn_routes))


def organisation_changes(file: ApplyFile, book: Book, changes: Changes) -> None:
    """What the `[[organisation]]` tables change."""
    for entry in file.organisations:
        wanted = entry.organisation
        stored = book.organisations.get(wanted.code)
        if stored is None:
            changes.organisations.append(wanted)
            changes.lines.append(say("organisation {code}: added", code=wanted.code))
            continue
        told = differences(stored, wanted, ("name_vi", "name_en"))
        if told:
            changes.organisations.append(wanted)
            changes.lines += [say("organisation {code}: {change}", code=wanted.code, change=each) for each in told]
            changes.shown.update(each.id for each in book.campaigns if each.organiser == wanted.code)


def organiser_problems(file: ApplyFile, book: Book) -> Iterator[ApplyProblem]:
    """Every campaign whose organiser is nowhere."""
    known = sorted(book.organisations.keys() | {each.organisation.code for each in file.organisations})
    for entry in file.campaigns:
        if entry.organiser in known:
            continue
        near = get_close_matches(entry.organiser, known, n=1)
        reason = say("is no organisation of this file or the database; add an [[organisation]] with this code")
        if near:
            reason = say('is no organisation of this file or the database; did you mean "{code}"?', code=near[0])
        yield problem_at(entry, "organiser", reason)


def gateway_changes(gateways: Sequence[PreparedGateway], stored: Stored, changes: Changes) -> None:
    """What the prepared `[[gateway]]` tables change, and which of them are off or on by it."""
    for wanted in gateways:
        before = stored.gateways.get(wanted.code)
        if before is None:
            changes.gateways.append(wanted)
            changes.lines.append(
                say(
                    "gateway {code}: added (adapter {adapter}, carrier {carrier})",
                    code=wanted.code,
                    adapter=wanted.adapter,
                    carrier=wanted.carrier,
                )
            )
            if wanted.test:
                changes.lines.append(say(IS_TEST, code=wanted.code))
        else:
            told = differences(before, wanted, ("adapter", "carrier", "charging", "networks", "enabled", "test"))
            old, new = comparable(before.settings), comparable(wanted.settings)
            # Names of keys only: a value may be a secret.
            told += [
                say("{key} changed", key=key)
                for key in sorted(old.keys() | new.keys())
                if old.get(key) != new.get(key)
            ]
            if not told:
                continue
            changes.gateways.append(wanted)
            changes.lines += [say("gateway {code}: {change}", code=wanted.code, change=each) for each in told]
            if wanted.test != before.test:
                changes.lines.append(say(IS_TEST if wanted.test else IS_REAL, code=wanted.code))
        if wanted.enabled != (before is None or before.enabled):
            template = "gateway {code} is on" if wanted.enabled else "gateway {code} is off: it takes no callbacks"
            changes.lines.append(say(template, code=wanted.code))


def comparable(settings: Any) -> Any:
    """`settings` of a gateway without what differs at every sealing: equal when they say the same."""
    if isinstance(settings, Mapping):
        return {
            key: comparable(value) for key, value in settings.items() if key != "sealed" or "digest" not in settings
        }
    return [comparable(value) for value in settings] if isinstance(settings, list | tuple) else settings


def differences(before: object, after: object, names: Iterable[str]) -> list[Sentence]:
    """`key from -> to` for each of the fields `names` that differs."""
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return [
        say("{key} {old} -> {new}", key=name, old=written(old), new=written(new))
        for name, old, new in pairs
        if old != new
    ]


def written(value: object) -> str:
    """A value as it stands in an apply file."""
    if value is None:
        return say("none")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    return f'"{value}"'


def problem_at(entry: CampaignEntry | WithdrawnCampaign, key: str, reason: Sentence) -> ApplyProblem:
    """A problem at a key of a campaign's table."""
    return problem_of(entry.place, key, reason)


def problem_of(place: SourcePosition, key: str, reason: Sentence) -> ApplyProblem:
    """A problem at a key of the table at `place`."""
    return ApplyProblem(f"{place.toml_path}.{key}", place.of(key), reason)
