"""What several workers tell of a link, added up and judged: silence, clock, repeats, errors, missing ids."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import inf
from types import MappingProxyType
from typing import Any

from metrics.carrier_health import DELAYS, HEARD, MINUTES

WINDOW_MINUTES = 15
"""Clock, repeats, errors and ids are judged over so long."""
USUAL_MIN = 100
"""Callbacks of all accounts in an hour of day from which on its shares are believed; else the last hour's are."""
EXPECTED_MIN = 20.0
"""So many callbacks must be missing before an account is called silent: by chance it happens once in 2e-9."""
SILENT_SECONDS_MIN = 120.0
STILL_COMING_MINUTES = 2
NUMBERED_MIN = 50
"""Fewer ids than that do not show whether they are counted up."""
DENSE_SHARE = 0.8
"""Ids of which this share of their range came are counted up for us alone: what is between them is missing."""
ERROR_SHARE_MAX = 0.01
CLOCK_AHEAD_SECONDS = 60.0
CLOCK_BEHIND_SECONDS = 300.0
ERRORS = frozenset({"malformed", "unauthenticated", "stale", "too_large", "overloaded", "unavailable"})
OURS = frozenset({"overloaded", "unavailable"})


NOBODY: Mapping[str, str] = MappingProxyType({})
STATES = ("silent", "failing", "clock", "gaps", "good", "quiet", "never", "test", "off")
"""What is worst first. `quiet`: nothing in the window, and nothing is missed. The last two are not judged."""
NOT_AWAITED = frozenset({"test", "off"})


@dataclass(slots=True)
class LinkMinutes:
    """One account's minutes, of all workers together."""

    last: float | None = None
    """When its last genuine callback came, unix seconds."""
    began: float = inf
    """Since when anybody listens, unix seconds: the eldest worker's start. Infinite where no worker tells."""
    usual: float = 0.0
    heard: list[int] = field(default_factory=lambda: [0] * MINUTES)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of the window, as the delays."""
    delays: list[int] = field(default_factory=lambda: [0] * (len(DELAYS) + 1))
    highest: list[int] = field(default_factory=lambda: [0] * MINUTES)
    numbered: list[int] = field(default_factory=lambda: [0] * MINUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHealth:
    """What is known of one link. Shares are 0 to 1, times unix seconds, all of the last 15 minutes but the silence.

    `expected_callbacks`: how many should have come since its last one, by its usual share of this hour of day and by
    what the other accounts sent meanwhile; 0 while it speaks. `missing_ids`: how many of its consecutive ids did not
    come, None where its ids are not counted up for us alone.
    """

    account: str
    state: str
    last_callback_at: float | None
    silent_seconds: float | None
    expected_callbacks: float
    usual_hourly_callbacks: float
    callbacks: int
    outcomes: Mapping[str, int]
    duplicate_share: float | None
    error_share: float | None
    our_error_share: float | None
    delay_p50_seconds: float | None
    delay_p99_seconds: float | None
    missing_ids: int | None


def added(told: Iterable[Mapping[str, Any]]) -> dict[str, LinkMinutes]:
    """What workers tell (`CarrierHealth.told`), added up; minutes are set beside each other by the newest."""
    told = list(told)
    newest = max((each["minute"] for each in told), default=0)
    links: dict[str, LinkMinutes] = {}
    for worker in told:
        behind = newest - worker["minute"]
        for code, link in worker["accounts"].items():
            into = links.setdefault(code, LinkMinutes())
            into.usual += link["usual"]
            into.began = min(into.began, worker.get("began", inf))
            if (last := worker["last"].get(code)) is not None:
                into.last = last if into.last is None else max(into.last, last)
            for place, (outcomes, delays, highest, numbered) in enumerate(link["minutes"]):
                at = place - behind
                if at < 0:
                    continue
                into.heard[at] += sum(count for outcome, count in outcomes.items() if outcome in HEARD)
                into.highest[at] = max(into.highest[at], highest)
                into.numbered[at] += numbered
                if at < MINUTES - WINDOW_MINUTES:
                    continue
                into.outcomes.update(outcomes)
                # A worker of another release, while they are replaced, may have other classes.
                if len(delays) == len(into.delays):
                    into.delays = [ours + theirs for ours, theirs in zip(into.delays, delays, strict=True)]
    return links


def judged(links: Mapping[str, LinkMinutes], now: float, aside: Mapping[str, str] = NOBODY) -> list[LinkHealth]:
    """The health of each account, the worst first. `now`: unix seconds.

    `aside`: accounts that nobody waits for, with the state to tell. By what they send no other account is measured.
    """
    awaited = {code: link for code, link in links.items() if code not in aside}
    found = [_judged(code, awaited, now) for code in awaited]
    found += [
        replace(_judged(code, {code: links[code]}, now), state=aside[code]) for code in links.keys() & aside.keys()
    ]
    return sorted(found, key=lambda each: (STATES.index(each.state), each.account))


def _judged(code: str, links: Mapping[str, LinkMinutes], now: float) -> LinkHealth:
    link = links[code]
    last = link.last
    callbacks = link.outcomes.total()
    silent = None if last is None else max(0.0, now - last)
    # Who has not spoken since the workers began may have been silent before: what is usual is known from then.
    unheard = max(0.0, now - link.began) if silent is None else silent
    expected = _expected(code, links, unheard)
    heard = sum(link.outcomes[outcome] for outcome in HEARD)
    errors = sum(link.outcomes[outcome] for outcome in ERRORS)
    missing = _missing(link)
    p50, p99 = _quantile(link.delays, 0.5), _quantile(link.delays, 0.99)
    is_silent = unheard >= SILENT_SECONDS_MIN and expected >= EXPECTED_MIN
    if is_silent:
        state = "silent"
    elif callbacks and errors / callbacks > ERROR_SHARE_MAX:
        state = "failing"
    elif p50 is not None and not -CLOCK_AHEAD_SECONDS <= p50 <= CLOCK_BEHIND_SECONDS:
        state = "clock"
    elif missing:
        state = "gaps"
    elif last is None:
        state = "never"
    else:
        state = "good" if callbacks else "quiet"
    return LinkHealth(
        account=code,
        state=state,
        last_callback_at=last,
        silent_seconds=silent,
        expected_callbacks=round(expected, 1),
        usual_hourly_callbacks=round(link.usual, 1),
        callbacks=callbacks,
        outcomes=dict(link.outcomes),
        duplicate_share=link.outcomes["duplicate"] / heard if heard else None,
        error_share=errors / callbacks if callbacks else None,
        our_error_share=sum(link.outcomes[outcome] for outcome in OURS) / callbacks if callbacks else None,
        delay_p50_seconds=p50,
        delay_p99_seconds=p99,
        missing_ids=missing,
    )


def _expected(code: str, links: Mapping[str, LinkMinutes], silent_seconds: float) -> float:
    """How many callbacks are missed: what the others sent since, times the account's share against theirs."""
    since = min(MINUTES, int(silent_seconds // 60))
    if since == 0:
        return 0.0
    others = sum(sum(link.heard[-since:]) for other, link in links.items() if other != code)
    usual = {other: link.usual for other, link in links.items()}
    if sum(usual.values()) < USUAL_MIN:
        usual = {other: float(sum(link.heard[: MINUTES - since])) for other, link in links.items()}
    of_others = sum(usual.values()) - usual[code]
    return others * usual[code] / of_others if of_others else 0.0


def _missing(link: LinkMinutes) -> int | None:
    """How many ids did not come between the greatest of the window's first minute and that of its last but two.

    The newest ids may still be on their way. One that comes late is counted when it comes and moves no greatest, so
    that order and replays of old messages find nothing that is not missing.
    """
    minutes = range(MINUTES - WINDOW_MINUTES, MINUTES - STILL_COMING_MINUTES)
    numbered = [at for at in minutes if link.numbered[at]]
    if not numbered:
        return None
    came = sum(link.numbered[at] for at in numbered[1:])
    grown = max(link.highest[at] for at in numbered) - link.highest[numbered[0]]
    if came < NUMBERED_MIN or came < grown * DENSE_SHARE:
        return None
    return max(0, grown - came)


def _quantile(delays: list[int], share: float) -> float | None:
    """Where `share` of the messages are younger, evenly within a class; of the outer classes their inner ends."""
    reached = list(accumulate(delays))
    if not reached[-1]:
        return None
    wanted = share * reached[-1]
    place = min(bisect_right(reached, wanted), len(DELAYS))
    while place < len(DELAYS) and not delays[place]:
        place += 1
    if place == 0:
        return DELAYS[0]
    if place == len(DELAYS):
        return DELAYS[-1]
    begins, ends = DELAYS[place - 1], DELAYS[place]
    before = reached[place - 1]
    return round(begins + (ends - begins) * (wanted - before) / delays[place], 1)
