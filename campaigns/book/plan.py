"""What applying a file would mean, for who applies it: changes, what donors are told, what stays, what is unusual."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from campaigns.book.apply_entries import ApplyFile, ApplyWarning, CampaignEntry, PreparedGateway, RouteEntry
from campaigns.book.book import VIETNAM, CampaignState, Grammar, Route
from campaigns.book.campaign_changes import changes_of
from campaigns.book.changes import Changes, Stored
from campaigns.book.grammar import AMOUNT_RULES
from campaigns.book.replies import SMS_LETTERS_MAX, ReplyKind, longest, template_of
from campaigns.book.sentences import Sentence, say, vnd
from campaigns.book.unusual import warnings_of

LEFT_OUT = "(secret, left out)"
REPLY_IN_WORDS = {
    ReplyKind.THANK_YOU: '  a gift is answered "{text}" ({length} of {max} letters)',
    ReplyKind.WRONG_FORM: '  a wrong form is answered "{text}" ({length} of {max} letters)',
    ReplyKind.CLOSED: '  a text after the end is answered "{text}" ({length} of {max} letters)',
}
KEYWORD_STAYS = 'stays: keyword "{keyword}" on {code} of campaign {slug}; withdrawn = true takes it away'
KEYWORD_STAYS_READ = (
    'stays: keyword "{keyword}" on {code} of campaign {slug}; messages were read by it, so it counts until the '
    "campaign closes"
)
STAYS = {
    (True, False): "stays: gateway {code}, on",
    (False, False): "stays: gateway {code}, off",
    (True, True): "stays: gateway {code}, on, a test account",
    (False, True): "stays: gateway {code}, off, a test account",
}
"""By whether it is on, and whether it is a test account."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`told`: what donors will be told of what changes. `stays`: what the book has and the file does not name.

    `kept_file`: what the file says, as JSON, secrets left out.
    """

    changes: Changes
    told: tuple[Sentence, ...]
    stays: tuple[Sentence, ...]
    warnings: tuple[ApplyWarning, ...]
    kept_file: str


def plan_of(file: ApplyFile, gateways: Sequence[PreparedGateway], stored: Stored, now: datetime) -> Plan:
    """What applying `file` would mean at `now`. Raises ApplyRefused with every contradiction."""
    changes = changes_of(file, gateways, stored, now)
    return Plan(
        changes,
        tuple(_told(file, stored, changes)),
        tuple(_staying(file, gateways, stored, now)),
        tuple(warnings_of(file, stored, changes, now)),
        _kept(file, gateways),
    )


def _told(file: ApplyFile, stored: Stored, changes: Changes) -> Iterator[Sentence]:
    changed = {slug for slug, _ in changes.decisions} | {slug for slug, _, _ in changes.routes} | changes.goals
    changed |= {each.slug for each in changes.campaigns}
    for entry in file.campaigns:
        if entry.slug in changed:
            campaign = stored.book.by_slug.get(entry.slug)
            yield from _campaign_in_words(entry)
            yield from _replies_in_words(entry, () if campaign is None else campaign.routes)
    for each in file.withdrawn:
        if each.slug in stored.book.by_slug:
            yield say("{slug}: no longer shown anywhere; its keywords are free", slug=each.slug)


def _campaign_in_words(entry: CampaignEntry) -> Iterator[Sentence]:
    last = entry.decision.closes_at - timedelta(seconds=1)
    yield say("{slug}: {name}", slug=entry.slug, name=entry.name_vi)
    yield say(
        "  texts count from {first} to {last} inclusive, Vietnam time",
        first=_moment(entry.decision.opens_at), last=_moment(last),
    )  # fmt: skip
    yield say("  goal: {goal}", goal=vnd(entry.goal_vnd) if entry.goal_vnd else say("none"))
    for each in entry.routes:
        yield from _route_in_words(each)


def _replies_in_words(entry: CampaignEntry, known: Sequence[Route]) -> Iterator[Sentence]:
    """Each text at its longest values, and how much of one SMS that is."""
    for kind, template in REPLY_IN_WORDS.items():
        text = template_of(entry.replies, kind)
        if text is not None:
            text = longest(text, entry.replies, [*(each.route for each in entry.routes), *known])
            yield say(template, text=text, length=len(text), max=SMS_LETTERS_MAX)


def _route_in_words(entry: RouteEntry) -> Iterator[Sentence]:
    route = entry.route
    for keyword, written in zip(route.keywords, entry.written or route.keywords, strict=True):
        for rest, units in _examples(route.grammar, route.max_units):
            text = f"{keyword} {rest}".strip()
            amount = vnd(units * route.unit_vnd)
            yield say('  "{text}" to {code} gives {amount}', text=text, code=route.short_code, amount=amount)
        if written.strip() != keyword:
            yield say('  "{written}" in the file is texted as {keyword}', written=written, keyword=keyword)


def _examples(grammar: Grammar, max_units: int) -> Iterator[tuple[str, int]]:
    """What may follow a keyword, with its units: alone, the grammar's own example, the most."""
    rule = AMOUNT_RULES[grammar]
    if rule.units_when_empty is not None:
        yield "", rule.units_when_empty
    rest, units = rule.example
    if rest and units < max_units:
        yield rest, units
    if rest:
        yield rest.replace(str(units), str(max_units)), max_units


def _staying(
    file: ApplyFile, gateways: Sequence[PreparedGateway], stored: Stored, now: datetime
) -> Iterator[Sentence]:
    entries = {entry.slug: entry for entry in file.campaigns}
    withdrawn = {each.slug for each in file.withdrawn}
    for campaign in stored.book.campaigns:
        if campaign.slug in withdrawn or campaign.state_at(now) is CampaignState.CLOSED:
            continue
        entry = entries.get(campaign.slug)
        if entry is None:
            yield say("stays: campaign {slug}", slug=campaign.slug)
            continue
        named = {(each.route.short_code, keyword) for each in entry.routes for keyword in each.route.keywords}
        named |= {(each.short_code, keyword) for each in entry.withdrawn_routes for keyword in each.keywords}
        for route in campaign.routes:
            for keyword in route.keywords:
                if (route.short_code, keyword) not in named:
                    is_read = (campaign.id, route.short_code, keyword) in stored.read
                    yield say(
                        KEYWORD_STAYS_READ if is_read else KEYWORD_STAYS,
                        keyword=keyword, code=route.short_code, slug=campaign.slug,
                    )  # fmt: skip
    in_file = {each.code for each in gateways}
    for code, gateway in stored.gateways.items():
        if code not in in_file:
            yield say(STAYS[gateway.enabled, gateway.test], code=code)


def _kept(file: ApplyFile, gateways: Sequence[PreparedGateway]) -> str:
    said = {
        **file.tables,
        "gateway": [
            {
                "code": each.code,
                "adapter": each.adapter,
                "carrier": each.carrier,
                "charging": each.charging,
                "networks": each.networks,
                "enabled": each.enabled,
                "test": each.test,
                **_without_secrets(each.settings),
            }
            for each in gateways
        ],
    }
    return json.dumps(said, ensure_ascii=False, indent=1, default=str)


def _without_secrets(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        if "sealed" in settings:
            return LEFT_OUT
        return {key: _without_secrets(value) for key, value in settings.items()}
    return [_without_secrets(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _moment(at: datetime) -> str:
    return at.astimezone(VIETNAM).strftime("%H:%M:%S %d/%m/%Y")
