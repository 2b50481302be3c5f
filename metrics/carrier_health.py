"""How each account's link does, kept in memory by each worker: how much came, how old, with which ids.

Counted per minute for the last hour, so that several workers' figures can be added up (`carrier_verdicts.py` does,
and judges). Nothing here is a number or a text; of ids only the greatest of each minute, where they are numbers.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from campaigns.book.book import VIETNAM
from metrics.families.intake import UNKNOWN_ACCOUNT
from metrics.families.register import Family, Register

MINUTES = 60
"""How much is remembered, in minutes: what is told of a link is at most an hour old."""
DELAYS = (
    -28800.0, -21600.0, -3600.0, -600.0, -60.0, -10.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
    3600.0, 21600.0, 28800.0, 86400.0,
)  # fmt: skip
"""Upper ends of the classes of delay, in seconds; below zero the carrier's clock is ahead of ours. The two of six to
eight hours show a clock without Vietnam's time zone as the seven hours that it is off."""
ID_DIGITS_MAX = 18
"""A longer id of digits is no number that was counted up."""
HOURS = 24
NEWEST_DAY = 0.3
"""What the newest day weighs in what is usual: after a week nine tenths of it are of that week."""
HEARD = frozenset({"accepted", "duplicate", "conflict", "unallocated", "rejected_policy", "malformed"})
"""Outcomes of callbacks that passed every factor: only they show that a link is alive."""


Counts = Mapping[str, Mapping[str, int]]
"""Callbacks by account and outcome since the process began."""


def callback_counts(registry: CollectorRegistry) -> Counts:
    """As the registry has them."""
    found: dict[str, dict[str, int]] = {}
    for family in registry.restricted_registry(["portal1400_callbacks_total"]).collect():
        for sample in family.samples:
            if sample.labels["account"] != UNKNOWN_ACCOUNT:
                found.setdefault(sample.labels["account"], {})[sample.labels["outcome"]] = int(sample.value)
    return found


def last_callbacks(registry: CollectorRegistry) -> dict[str, float]:
    """When each account that ever did last sent a genuine callback, unix seconds."""
    name = "portal1400_last_callback_timestamp_seconds"
    families = registry.restricted_registry([name]).collect()
    return {sample.labels["account"]: sample.value for family in families for sample in family.samples}


def accounts_for_tests(registry: CollectorRegistry) -> frozenset[str]:
    """The accounts that are for tests: nobody misses what they do not send, nor is measured by what they do."""
    families = registry.restricted_registry(["portal1400_account_test"]).collect()
    return frozenset(sample.labels["account"] for each in families for sample in each.samples if sample.value)


@dataclass(slots=True)
class Minute:
    """What one account sent in one minute: callbacks by outcome, messages by class of delay, and its numbered ids."""

    outcomes: Counter[str] = field(default_factory=Counter)
    delays: list[int] = field(default_factory=lambda: [0] * (len(DELAYS) + 1))
    highest: int = 0
    numbered: int = 0

    @property
    def heard(self) -> int:
        """Callbacks that were genuine."""
        return sum(count for outcome, count in self.outcomes.items() if outcome in HEARD)


@dataclass(slots=True)
class Link:
    """One account: its minutes, oldest first, the last still open, and what is usual for it by hour of day."""

    minutes: deque[Minute]
    delays: list[int] = field(default_factory=lambda: [0] * (len(DELAYS) + 1))
    """Since the start, for Prometheus."""
    usual: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    """Genuine callbacks in each hour of a day in Vietnam, as a mean that forgets old days."""
    this_hour: int = 0


DELAY = Family(
    name="portal1400_message_delay_seconds",
    kind="histogram",
    unit="seconds",
    labels=("account",),
    meaning="From the time that a message bears to its arrival; below zero the carrier's clock is ahead",
    query="histogram_quantile(0.5, sum by (account, le) (rate(portal1400_message_delay_seconds_bucket[15m])))",
    room="Accounts",
)


class CarrierHealth(Collector):
    """One per worker. Callbacks are not counted again: what the counters of `register` grew by is taken over.

    Memory: 60 minutes of some 30 small numbers for each account. Time: a message costs a class and a comparison.
    """

    def __init__(self, register: Register, clock: Callable[[], datetime]) -> None:
        self._registry = register.registry
        self._clock = clock
        self._links: dict[str, Link] = {}
        self._counted: Counts = {}
        now = clock()
        self._began = now.timestamp()
        self._minute = int(now.timestamp()) // 60
        self._hour = now.astimezone(VIETNAM).hour
        register.room(DELAY.room).collector(self, DELAY)

    def see_message(self, account: str, native_id: str, delay_seconds: float | None) -> None:
        """A message that was stored; `delay_seconds` from its own time to its arrival, None where it bears none."""
        link = self._links.get(account) or self._new(account)
        minute = link.minutes[-1]
        if delay_seconds is not None:
            place = bisect_left(DELAYS, delay_seconds)
            minute.delays[place] += 1
            link.delays[place] += 1
        if native_id.isdecimal() and native_id.isascii() and len(native_id) <= ID_DIGITS_MAX:
            number = int(native_id)
            if number > minute.highest:
                minute.highest = number
            minute.numbered += 1

    def counts(self) -> Counts:
        """What the counters say now. Takes a tenth of a millisecond for each account, and may run in a thread."""
        return callback_counts(self._registry)

    def roll(self, counts: Counts) -> None:
        """Take over what was counted since the last time. Called now and then, and before anything is told."""
        now = self._clock()
        for account, outcomes in counts.items():
            before = self._counted.get(account, {})
            link = self._links.get(account) or self._new(account)
            minute = link.minutes[-1]
            heard = minute.heard
            for outcome, count in outcomes.items():
                if grown := count - before.get(outcome, 0):
                    minute.outcomes[outcome] += grown
            link.this_hour += minute.heard - heard
        self._counted = counts
        self._turn(now)

    def _turn(self, now: datetime) -> None:
        """Open the minutes and the hour that have begun. A clock that is set back opens nothing."""
        begun = int(now.timestamp()) // 60 - self._minute
        if begun <= 0:
            return
        self._minute += begun
        for link in self._links.values():
            link.minutes.extend(Minute() for _ in range(min(begun, MINUTES)))
        hour = now.astimezone(VIETNAM).hour
        if hour == self._hour:
            return
        # An hour in which nobody spoke, or that we slept through, says nothing of what is usual.
        is_known = begun <= MINUTES and any(link.this_hour for link in self._links.values())
        for link in self._links.values():
            if is_known:
                before = link.usual[self._hour]
                link.usual[self._hour] = before + (link.this_hour - before) * (NEWEST_DAY if before else 1.0)
            link.this_hour = 0
        self._hour = hour

    def _new(self, account: str) -> Link:
        link = self._links[account] = Link(deque((Minute() for _ in range(MINUTES)), MINUTES))
        return link

    def told(self, counts: Counts) -> dict[str, object]:
        """All of it but test accounts, as one JSON object, to be added to what other workers tell."""
        self.roll(counts)
        tests = accounts_for_tests(self._registry)
        return {
            "minute": self._minute,
            "began": self._began,
            "last": last_callbacks(self._registry),
            "accounts": {
                code: {
                    "usual": link.usual[self._hour],
                    "minutes": [
                        [dict(each.outcomes), each.delays if any(each.delays) else [], each.highest, each.numbered]
                        for each in link.minutes
                    ],
                }
                for code, link in self._links.items()
                if code not in tests
            },
        }

    def usual(self) -> dict[str, list[float]]:
        """What is to be known again after a restart."""
        return {code: list(link.usual) for code, link in self._links.items() if any(link.usual)}

    def remember(self, usual: Mapping[str, list[float]]) -> None:
        """Begin with what was usual before the restart."""
        for code, hours in usual.items():
            if len(hours) == HOURS and all(isinstance(each, int | float) for each in hours):
                (self._links.get(code) or self._new(code)).usual = [float(each) for each in hours]

    def collect(self) -> Iterator[Metric]:
        """The histogram of delays; asked at each scrape."""
        family = HistogramMetricFamily(
            DELAY.name,
            DELAY.meaning,
            labels=DELAY.labels,
        )
        for code, link in list(self._links.items()):
            reached, buckets = 0, []
            for place, end in enumerate((*(str(each) for each in DELAYS), "+Inf")):
                reached += link.delays[place]
                buckets.append((end, float(reached)))
            # Without a sum, which has no meaning where there are classes below zero.
            family.add_metric([code], buckets, None)
        yield family
