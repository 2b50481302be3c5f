"""The stream of callbacks of a seed: who sends what, when, and what goes wrong on the sender's side.

The same seed, rate and length give the same deliveries in the same order with the same ids and due times.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from campaigns.book.book import Book
from gateways.sender import Sms
from service.simulator.forms import counted_text, units_texted, unknown_text, wrong_text
from service.simulator.links import Link
from tests.torture.events import ON_REPORT, Clerk, Event, is_counted

ACCOUNT_WEIGHTS: Mapping[str, int] = {
    "hub": 45, "viettel": 20, "reports": 15, "vina": 10, "soap": 10, "vas": 8, "appota": 8,
    "sdp": 8, "sao-mai": 8, "jas": 5, "esms": 5, "vcom": 5, "get": 5, "oneapi": 5, "onepay": 5,
}  # fmt: skip
CONTENT_WEIGHTS: Mapping[str, int] = {"counted": 88, "wrong": 6, "unknown": 4, "closed": 2}
BATCH_SHARE = 0.12
BATCH_MAX = 12
DUPLICATES, CONFLICTS, REVERSALS, MALFORMED, BROKEN_OFF = 0.06, 0.02, 0.04, 0.01, 0.01
"""Shares of all messages; the rest is ordinary."""
FLOODED_CONFLICTS = 0.6
"""The same share in an account that floods with conflicts, which one has in some third of the seeds."""
CLOCKS: Mapping[timedelta, int] = {
    timedelta(0): 90,
    timedelta(minutes=20): 4,
    timedelta(seconds=240): 3,
    timedelta(hours=-50): 3,
}
"""How far a carrier's clock stands from ours, with weights: some of it is flagged, some makes an attempt stale."""
FRESHNESS = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback. `skew` is the sender's clock at its first attempt; after a refusal for it, it is set right."""

    number: int
    due: float
    account: str
    events: tuple[Event, ...]
    skew: timedelta = timedelta(0)
    damage: str = ""
    """How the callback is unreadable; it must be refused and nothing of it kept as an event."""
    is_broken_off: bool = False
    """The sender breaks the connection off before the answer, then sends again."""


class Stream:
    """Draws the deliveries of one seed."""

    def __init__(self, seed: int, book: Book, links: list[Link], *, rate: float, seconds: float) -> None:
        self._seed = seed
        self._chance = random.Random(f"stream {seed}")
        self._book = book
        self.clerk = Clerk(book, links)
        self._rate, self._seconds = rate, seconds
        # Chance of its own: the other callbacks of the seed stay what they are.
        self._flooding = random.Random(f"flood {seed}").choice(("", "", "", "", "hub", "viettel"))
        self._count = 0
        # Whole days before now, so that the texts' times are the same in a repetition on the same day.
        self._today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)

    def deliveries(self) -> list[Delivery]:
        """All of them, by due time."""
        made = [*self._draw()]
        made.sort(key=lambda each: each.due)
        return [replace(each, number=number) for number, each in enumerate(made)]

    def _draw(self) -> Iterator[Delivery]:
        chance, left = self._chance, int(self._rate * self._seconds)
        accounts = [account for account in ACCOUNT_WEIGHTS if account in self.clerk.links]
        weights = [ACCOUNT_WEIGHTS[account] for account in accounts]
        while left > 0:
            account = chance.choices(accounts, weights)[0]
            is_standard = self.clerk.links[account].protocol == "standard"
            size = chance.randint(2, BATCH_MAX) if is_standard and chance.random() < BATCH_SHARE else 1
            due = chance.uniform(0, self._seconds)
            skew = chance.choices(list(CLOCKS), list(CLOCKS.values()))[0] if is_standard else timedelta(0)
            events = tuple(each for _ in range(size) for each in self._with_charge(self._message(account)))
            left -= size
            if is_standard and chance.random() < MALFORMED:
                yield Delivery(0, due, account, events, damage=chance.choice(tuple(DAMAGES)))
                continue
            is_broken_off = chance.random() < BROKEN_OFF
            yield Delivery(0, due, account, events, skew, is_broken_off=is_broken_off)
            if chance.random() < DUPLICATES:
                again = self._some(events) if is_standard else events
                yield Delivery(0, due + chance.choice((0.0, 0.0, 0.5, 3.0)), account, again)
            if is_standard:
                yield from self._belonging(account, events, due)
            elif chance.random() < CONFLICTS:
                other = self._with_charge(self._other_content(account, events[0]))
                yield Delivery(0, self._near(due), account, other)

    def _with_charge(self, message: Event) -> tuple[Event, ...]:
        """A message with all that comes in its callback."""
        link = self.clerk.links[message.account]
        if message.account in ON_REPORT and link.sender().charges_at_once:
            return message, self.clerk.charge_with(message)
        return (message,)

    def _some(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """The same events again; of a batch sometimes only a part, in another order."""
        if len(events) == 1 or self._chance.random() < 0.5:
            return events
        return tuple(self._chance.sample(events, self._chance.randint(1, len(events))))

    def _near(self, due: float) -> float:
        return max(0.0, due + self._chance.choice((-1.5, -0.2, 0.0, 0.0, 0.3, 2.0)))

    def _belonging(self, account: str, events: tuple[Event, ...], due: float) -> Iterator[Delivery]:
        """Charges, reversals and conflicts of what was just drawn, before, with or after it."""
        chance = self._chance
        for event in events:
            about: list[Event] = []
            if account == "reports":
                about += self._charges(event)
            drawn = chance.random()
            conflicts = FLOODED_CONFLICTS if account == self._flooding else CONFLICTS
            # A gift whose content is in doubt is not reversed: what is left would be in doubt too.
            if drawn < conflicts:
                about.append(self._other_content(account, event))
            elif drawn < conflicts + REVERSALS and is_counted(event):
                about += self._reversals(event, is_reported=account in ON_REPORT)
            for each in about:
                yield Delivery(0, self._near(due), account, (each,))
                if chance.random() < DUPLICATES:
                    yield Delivery(0, self._near(due), account, (each,))

    def _charges(self, event: Event) -> list[Event]:
        vnd, charge_id = event.meaning.vnd or 20_000, f"{event.native_id}-c"
        clerk = self.clerk
        made = [clerk.charge(event, charge_id, "pending", vnd)] if self._chance.random() < 0.3 else []
        drawn = self._chance.random()
        if drawn < 0.75:
            return [*made, clerk.charge(event, charge_id, "succeeded", vnd)]
        if drawn < 0.9:
            return [*made, clerk.charge(event, charge_id, "failed", vnd)]
        return made

    def _reversals(self, event: Event, *, is_reported: bool) -> list[Event]:
        vnd = event.meaning.vnd or 0
        if is_reported or self._chance.random() < 0.5:
            return [self.clerk.reversal(event, f"{event.native_id}-r", vnd, "total")]
        part = vnd // 2
        return [self.clerk.reversal(event, f"{event.native_id}-r{number}", part, "partial") for number in (1, 2)]

    def _message(self, account: str) -> Event:
        chance = self._chance
        content = chance.choices(list(CONTENT_WEIGHTS), list(CONTENT_WEIGHTS.values()))[0]
        is_closed = content == "closed"
        campaign = self._book.by_slug["mien-trung-2019"] if is_closed else chance.choice(self._book.campaigns[:3])
        route = campaign.routes[0]
        keyword = chance.choice(route.keywords)
        if content == "wrong":
            text = wrong_text(chance, route, keyword)
        elif content == "unknown":
            text = unknown_text(chance, route, keyword)
        else:
            text = counted_text(chance, route, keyword, units_texted(chance, route))
        # Half of what names the closed campaign is a replay from its time, and counts.
        since = campaign.opens_at if is_closed and chance.random() < 0.5 else self._today
        return self.clerk.message(self._sms(account, route.short_code, keyword, text, since), account)

    def _sms(self, account: str, short_code: str, keyword: str, text: str, since: datetime) -> Sms:
        chance, link = self._chance, self.clerk.links[account]
        carrier = chance.choice(sorted(link.carriers))
        self._count += 1
        at = since + timedelta(seconds=chance.randrange(86_400))
        if link.is_timed and chance.random() < 0.02:
            # A clock an hour or more ahead: flagged and not believed.
            at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
        return Sms(
            number=self._count,
            native_id=f"t{self._seed}-{account}-{self._count}",
            msisdn=f"8495{chance.randrange(10_000_000):07d}",
            short_code=short_code,
            text=text,
            keyword=keyword,
            carrier=carrier,
            said=link.carriers[carrier],
            at=at if link.is_timed else None,
        )

    def _other_content(self, account: str, event: Event) -> Event:
        """The same id with another text that means something else."""
        assert event.sms is not None
        number = event.meaning.units or 0
        text, route = f"VNN {number % 90 + 7}", self._book.campaigns[0].routes[0]
        return self.clerk.message(replace(event.sms, short_code=route.short_code, text=text), account)


def damaged(documents: list[dict[str, Any]], damage: str) -> list[dict[str, Any]]:
    """The events with the last of them made unreadable."""
    last = documents[-1]
    return [*documents[:-1], {**last, "data": {**last["data"], **DAMAGES[damage]}}]


DAMAGES: Mapping[str, Mapping[str, Any]] = {
    "no text": {"text": None},
    "a number that is none": {"msisdn": "12"},
    "an id with a control character": {"message_id": "t\u0000"},
    "an id too long": {"message_id": "t" * 201},
    "a short code that is none": {"short_code": "14-08"},
}
