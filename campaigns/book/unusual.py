"""What a file may mean and seldom does: each is told, and applied only when a person says so."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from campaigns.book.apply_entries import ApplyFile, ApplyWarning, CampaignEntry, PreparedGateway, RouteEntry
from campaigns.book.book import VIETNAM, Book, Grammar, Route
from campaigns.book.changes import Changes, Stored
from campaigns.book.grammar import fold
from campaigns.book.replies import ReplyKind, key_of, template_of
from campaigns.book.sentences import Sentence, say, vnd

DONATION_CODES = range(1402, 1410)
"""The short codes of portal 1400 that take gifts."""
UNIT_VND = range(5_000, 20_001)
"""The values of a unit that drives have had, and some below."""
UNITS_MAX = {Grammar.UNITS: 100, Grammar.THOUSANDS: 2_000}
"""The most units of a message that drives have had: two million dong either way."""
GOAL_VND = range(100_000_000, 1_000_000_000_001)
WINDOW_MAX = timedelta(days=366)
WINDOW_MIN = timedelta(days=1)
AHEAD_MAX = timedelta(days=366)
END_AHEAD_MAX = timedelta(days=5 * 366)
PAST_MAX = timedelta(days=31)
"""Of an opening that is new: an appeal that began before its decision did so lately."""
GOAL_TIMES = 1_000
"""Of another campaign's goal; so many times as much is a zero too many more often than it is meant."""
OWN_GOAL_TIMES = 10
"""Of the campaign's goal so far."""


@dataclass(frozen=True, slots=True)
class _Window:
    """The window that a campaign gets, and that which it had, if it had one."""

    opens_at: datetime
    closes_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    now: datetime


def _is_utc_midnight(at: datetime) -> bool:
    return at.astimezone(UTC).time() == time()


WINDOW_RULES: tuple[tuple[str, Callable[[_Window], bool], str], ...] = (
    ("closes_at", lambda w: w.closes_at <= w.now, "has passed: nothing texted from now on would count"),
    (
        "closes_at",
        lambda w: w.closes_at - w.now > END_AHEAD_MAX,
        "lies more than five years ahead: is the year right?",
    ),
    (
        "closes_at",
        lambda w: w.closes_at - w.opens_at > WINDOW_MAX and w.closes_at - w.now <= END_AHEAD_MAX,
        "lies more than a year after the opening",
    ),
    ("closes_at", lambda w: w.closes_at - w.opens_at < WINDOW_MIN, "lies less than a day after the opening"),
    ("opens_at", lambda w: w.opens_at - w.now > AHEAD_MAX, "lies more than a year ahead"),
    (
        "opens_at",
        lambda w: w.opens_at != w.opened_at and w.now - w.opens_at > PAST_MAX and w.closes_at > w.now,
        "lies more than a month back: is the year right?",
    ),
    (
        "closes_at",
        lambda w: w.closes_at.astimezone(VIETNAM).strftime("%H:%M") == "23:59",
        (
            "is the first instant that no longer counts, so the last minute or second of the day would be lost; "
            "write 00:00 of the next day"
        ),
    ),
    *(
        (key, is_so, "is midnight of UTC and 07:00 in Vietnam; midnight in Vietnam is written 00:00:00+07:00")
        for key, is_so in (
            ("opens_at", lambda w: _is_utc_midnight(w.opens_at)),
            ("closes_at", lambda w: _is_utc_midnight(w.closes_at)),
        )
    ),
    (
        "closes_at",
        lambda w: w.closed_at is not None and w.closes_at < w.closed_at,
        "closes the campaign earlier than was decided; once it has passed, it cannot be opened again",
    ),
)
"""Key, whether it is so, and the sentence."""

KEYWORD_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"[^\w ]|_"),
        '"{keyword}" holds punctuation, which donors would have to text as it stands; several keywords are a list',
    ),
    (
        re.compile(r"[^\W_\x00-\x7f]"),
        (
            '"{keyword}" holds letters that a phone in Vietnam does not type, though they may look like A to Z; '
            "type the keyword anew"
        ),
    ),
    (
        re.compile(r"[0-9]$"),
        '"{keyword}" ends in a number: a donor would take it for the number of units',
    ),
    (
        re.compile(r"(?: |^)(?:N|GUI(?: ?[0-9]+)?)$"),
        '"{keyword}" ends in N or GUI, which stand in advertisements for a number and for "send to"',
    ),
)
"""By the folded keyword."""


UNCOUNTED_REPLIES = (ReplyKind.WRONG_FORM, ReplyKind.CLOSED)
NOT_CHARGED = re.compile(
    r"\b(?:(?:CHUA|KHONG)(?: BI)? (?:TRU|TINH|THU|MAT)(?: (?:TIEN|PHI|CUOC))?|MIEN PHI|NOT (?:BEEN )?CHARGED|FREE)\b"
)
"""In the folded text: that a message costs its donor nothing."""


def warnings_of(file: ApplyFile, stored: Stored, changes: Changes, now: datetime) -> list[ApplyWarning]:
    """What is unusual among the changes. What a file only repeats is not told again."""
    entries = {entry.slug: entry for entry in file.campaigns}
    found: list[ApplyWarning] = []
    moved = {slug for slug, _ in changes.decisions}
    for slug in dict.fromkeys([*moved, *sorted(changes.goals)]):
        entry = entries[slug]
        if slug in moved:
            before = stored.book.by_slug.get(slug)
            opened_at, closed_at = (before.opens_at, before.closes_at) if before else (None, None)
            window = _Window(entry.decision.opens_at, entry.decision.closes_at, opened_at, closed_at, now)
            found += [_at(entry, key, say(text)) for key, is_so, text in WINDOW_RULES if is_so(window)]
        if slug in changes.goals and entry.goal_vnd is not None:
            found += [_at(entry, "goal_vnd", each) for each in _goal_reasons(slug, entry.goal_vnd, stored.book)]
    others = list(_keywords(stored, changes))
    for slug, route, table in changes.routes:
        if table is not None:
            found += [_at(table, key, reason) for key, reason in _route_reasons(slug, route, others)]
    found += _promises(file, stored, changes)
    found += _without_secrets(file, changes, now)
    tested = {
        each.code
        for each in changes.gateways
        if each.test and each.code in stored.gateways and not stored.gateways[each.code].test
    }
    off = {each.code for each in changes.gateways if not each.enabled}
    for gateway in file.gateways:
        if gateway.raw.get("code") in off:
            reason = say("takes the gateway off: every callback of it will be refused")
            found.append(ApplyWarning(f"{gateway.place.toml_path}.enabled", gateway.place.of("enabled"), reason))
        if gateway.raw.get("code") in tested:
            reason = say("makes a test account of one whose messages were money: gifts over it will not be counted")
            found.append(ApplyWarning(f"{gateway.place.toml_path}.test", gateway.place.of("test"), reason))
    # Of two keywords of one route each is told of the other, in the same words.
    return sorted(dict.fromkeys(found), key=lambda each: each.line or 0)


def _goal_reasons(slug: str, goal: int, book: Book) -> Iterator[Sentence]:
    """Why a goal may be mistyped: by itself, beside the campaign's own so far, beside the usual one of the others."""
    goals = {each.slug: each.goal_vnd for each in book.campaigns if each.goal_vnd}
    own = goals.pop(slug, None)
    if goal not in GOAL_VND:
        yield say("would be {goal}; count its zeros", goal=vnd(goal))
    elif own is not None and goal >= OWN_GOAL_TIMES * own:
        yield say("would be {times} times what it was; count its zeros", times=goal // own)
    elif goals:
        usual = sorted(goals, key=lambda each: goals[each])[(len(goals) - 1) // 2]
        if goal >= GOAL_TIMES * goals[usual]:
            times = goal // goals[usual]
            yield say("would be {times} times that of campaign {other}; count its zeros", times=times, other=usual)


def _promises(file: ApplyFile, stored: Stored, changes: Changes) -> Iterator[ApplyWarning]:
    """Texts to donors that nothing was charged, where the message itself is the charge."""
    after = {**stored.gateways, **{each.code: each for each in changes.gateways}}
    charging = sorted(code for code, each in after.items() if each.is_live and _charges_uncounted(each))
    if not charging:
        return
    new = [code for code in charging if code not in stored.gateways or not _is_as_before(stored.gateways[code])]
    for entry in file.campaigns:
        campaign = stored.book.by_slug.get(entry.slug)
        for kind in UNCOUNTED_REPLIES:
            template = template_of(entry.replies, kind)
            is_known = campaign is not None and template_of(campaign.replies, kind) == template
            words = None if is_known and not new else _promise_in(template)
            if words is not None:
                reason = say(
                    'tells donors "{words}", but over gateway {code} the message itself is charged, in whatever form '
                    "it is and whenever it comes, unless its hub gives that back",
                    words=words, code=charging[0],
                )  # fmt: skip
                yield _at(entry, key_of(kind), reason)
    yield from _promises_of_others(file, stored, new)


def _promises_of_others(file: ApplyFile, stored: Stored, new: Collection[str]) -> Iterator[ApplyWarning]:
    """The same of campaigns that the file does not name: one for each at the first gateway that makes it untrue."""
    named = {entry.slug for entry in file.campaigns} | {entry.slug for entry in file.withdrawn}
    gateway = next((each for each in file.gateways if each.raw.get("code") in new), None)
    if gateway is None:
        return
    for campaign in stored.book.campaigns:
        promises = (_promise_in(template_of(campaign.replies, kind)) for kind in UNCOUNTED_REPLIES)
        words = next(filter(None, promises), None)
        if words is not None and campaign.slug not in named:
            reason = say(
                "charges donors by the message itself, in whatever form it is and whenever it comes, but campaign "
                '{slug} tells them "{words}"; unless the hub gives that back, correct the campaign first',
                slug=campaign.slug, words=words,
            )  # fmt: skip
            yield ApplyWarning(f"{gateway.place.toml_path}.charging", gateway.place.of("charging"), reason)


def _promise_in(template: str | None) -> str | None:
    found = None if template is None else NOT_CHARGED.search(fold(template))
    return None if found is None else found[0]


def _charges_uncounted(gateway: PreparedGateway) -> bool:
    # Of what is stored the file's judgement is not known, and a call of ours is all that its settings tell.
    return gateway.charges_uncounted or (gateway.charging == "on_message" and "reply_url" in gateway.settings)


def _is_as_before(gateway: PreparedGateway) -> bool:
    return gateway.is_live and gateway.charging == "on_message"


def _without_secrets(file: ApplyFile, changes: Changes, now: datetime) -> Iterator[ApplyWarning]:
    """Live accounts with a key of which every secret is over, or has not begun: they would take nothing."""
    live = {each.code: each.settings for each in changes.gateways if each.is_live}
    for gateway in file.gateways:
        for key, value in live.get(str(gateway.raw.get("code")), {}).items():
            secrets = value if isinstance(value, list) else [value]
            if secrets and all(_is_out_of_time(each, now) for each in secrets):
                reason = say("has no secret whose time it is: everything over this gateway would be turned away")
                yield ApplyWarning(f"{gateway.place.toml_path}.{key}", gateway.place.of(key), reason)


def _is_out_of_time(stored: Any, now: datetime) -> bool:
    """Whether it is a stored secret with a window, and `now` lies outside."""
    if not isinstance(stored, Mapping):
        return False
    begins, ends = (stored.get(each) for each in ("not_before", "not_after"))
    return (begins is not None and now < datetime.fromisoformat(begins)) or (
        ends is not None and datetime.fromisoformat(ends) <= now
    )


def _route_reasons(slug: str, route: Route, others: Iterable["_Held"]) -> Iterator[tuple[str, Sentence]]:
    if not (route.short_code.isdecimal() and int(route.short_code) in DONATION_CODES):
        reason = say(
            "is none of the codes that take gifts, {first} to {last}",
            first=DONATION_CODES[0],
            last=DONATION_CODES[-1],
        )
        yield "short_code", reason
    if route.grammar is not Grammar.THOUSANDS and route.unit_vnd not in UNIT_VND:
        reason = say(
            "would charge {unit} for a unit; usual are {first} to {last}",
            unit=vnd(route.unit_vnd), first=vnd(UNIT_VND[0]), last=vnd(UNIT_VND[-1]),
        )  # fmt: skip
        yield "unit_vnd", reason
    if route.grammar is not Grammar.FIXED and route.max_units > UNITS_MAX[route.grammar]:
        most, usual = (vnd(each * route.unit_vnd) for each in (route.max_units, UNITS_MAX[route.grammar]))
        yield "max_units", say("would let one message give {most}; usual is {usual} at most", most=most, usual=usual)
    for keyword in route.keywords:
        for pattern, text in KEYWORD_RULES:
            if pattern.search(keyword):
                yield "keywords", say(text, keyword=keyword)
        for other in others:
            if other.code != route.short_code or (other.slug, other.keyword) == (slug, keyword):
                continue
            longer, shorter = sorted((keyword, other.keyword), key=_length, reverse=True)
            # Every blank of a keyword may be left out of a text.
            if re.fullmatch(rf"{re.escape(shorter.replace(' ', ''))}[0-9]+K?", longer.replace(" ", "")):
                yield "keywords", say(
                    '"{longer}" is "{shorter}" with a number: who texts that number of units to "{shorter}" would '
                    "give to the other",
                    longer=longer, shorter=shorter,
                )  # fmt: skip


def _length(keyword: str) -> int:
    return len(keyword.replace(" ", ""))


@dataclass(frozen=True, slots=True)
class _Held:
    """A keyword that the book would have."""

    slug: str
    code: str
    keyword: str


def _keywords(stored: Stored, changes: Changes) -> Iterator[_Held]:
    gone = set(changes.withdrawn_routes)
    for campaign in stored.book.campaigns:
        for route in campaign.routes:
            if (campaign.id, route) not in gone:
                yield from (_Held(campaign.slug, route.short_code, each) for each in route.keywords)
    for slug, route, _ in changes.routes:
        yield from (_Held(slug, route.short_code, each) for each in route.keywords)


def _at(entry: CampaignEntry | RouteEntry, key: str, reason: Sentence) -> ApplyWarning:
    return ApplyWarning(f"{entry.place.toml_path}.{key}", entry.place.of(key), reason)
