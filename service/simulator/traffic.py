"""What arrives in an evening: who texts what to which campaign, over which carrier, with which fault.

Everything is drawn from one seeded source: the same seed, book and start give the same messages. Ids carry the
run's own name, so that a second run is new messages and not repeats of the first.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from campaigns.book.book import Book, Campaign, CampaignState, Route
from campaigns.book.grammar import ReadingOutcome, read
from gateways.sender import Sms
from service.simulator.forms import COUNTED, counted_text, filled, units_texted, unknown_text, wrong_text
from service.simulator.links import Link
from service.simulator.message import OF_THE_DONOR, ON_THE_WAY, Fault, Planned, cumulated, drawn_fault
from service.simulator.refused import SimulateRefused

CARRIER_SHARES: Mapping[str, float] = {
    "viettel": 0.4755,
    "mobifone": 0.2935,
    "vinaphone": 0.214,
    "vietnamobile": 0.011,
    "gmobile": 0.006,
}
"""The mean of the two drives whose carriers were published, 2009 (final) and 2014 (after three days)."""

NUMBERS = 10_000_000
"""The numbers 84 95 xxxxxxx, a range whose network closed down."""
FAITHFUL_NUMBERS = 50
FAITHFUL_SHARE = 0.08
"""Some donors text again and again, the same text too; each is a gift of its own."""
NUMBER_FORMS = ("84", "84", "84", "+84", "0")

NEAR = timedelta(hours=1)
DRAWS_MAX = 50

OUTSIDE: Mapping[Fault, tuple[ReadingOutcome, str]] = {
    Fault.LATE: (ReadingOutcome.AFTER_CLOSE, "the book file has no campaign that has closed"),
    Fault.EARLY: (ReadingOutcome.BEFORE_OPEN, "the book file has no campaign to be too early for"),
}
"""What a message at a wrong time must become, and what is missing where there is none."""


class SmsWriter:
    """Turns what somebody texts into a message on a link: number, id, and the words for its carrier."""

    def __init__(self, links: Sequence[Link], chance: random.Random, run: str) -> None:
        self._chance = chance
        self._run = run
        self._count = 0
        self._faithful = [chance.randrange(NUMBERS) for _ in range(FAITHFUL_NUMBERS)]
        served: dict[str, list[Link]] = {}
        for link in links:
            for carrier in link.carriers:
                served.setdefault(carrier, []).append(link)
        self._served = served
        self.is_timed = any(link.is_timed for link in links)
        # Where only carriers without a published share are linked, all are alike.
        shares = {carrier: CARRIER_SHARES.get(carrier, 0.0) for carrier in served}
        self._carriers = tuple(shares)
        self._weights = tuple(shares.values()) if sum(shares.values()) else (1.0,) * len(shares)

    def carrier_and_link(self) -> tuple[str, Link]:
        """Whose customer texts, and over which of that carrier's links it comes."""
        carrier = self._chance.choices(self._carriers, self._weights)[0]
        return carrier, self._chance.choice(self._served[carrier])

    def sms(
        self, carrier: str, link: Link, route: Route, keyword: str, text: str, at: datetime | None, units: int = 1
    ) -> Sms:
        """The next message of the run, charged for `units`. `at` is dropped where the link tells no time."""
        chance, number = self._chance, self._count
        self._count += 1
        is_faithful = chance.random() < FAITHFUL_SHARE
        donor = chance.choice(self._faithful) if is_faithful else chance.randrange(NUMBERS)
        if link.needs_own_numbers:
            donor = (int(self._run) + number) % NUMBERS
        return Sms(
            number=number,
            native_id=f"{self._run}{number:09d}",
            msisdn=f"{chance.choice(NUMBER_FORMS)}95{donor:07d}",
            short_code=route.short_code,
            text=text,
            keyword=keyword,
            carrier=carrier,
            said=link.carriers[carrier],
            # Whole seconds are what every protocol can say.
            at=at.replace(microsecond=0) if at is not None and link.is_timed else None,
            amount_vnd=units * route.unit_vnd,
        )


@dataclass(frozen=True, slots=True)
class Aim:
    """A campaign's keyword, and the message times at which it is texted: from `since`, in the pace of the run."""

    route: Route
    keyword: str
    since: datetime


Aims = tuple[Aim, ...]
"""The keywords of one campaign."""


class Evening:
    """Messages for the campaigns of a book that are open, else (replayed) for those that have closed.

    `started_at` is aware; `seconds` is how long the run may last. Raises SimulateRefused where a fault that has
    a share cannot be played with this book.
    """

    def __init__(
        self,
        book: Book,
        writer: SmsWriter,
        shares: Mapping[Fault, float],
        chance: random.Random,
        started_at: datetime,
        seconds: float,
    ) -> None:
        self._book, self._writer, self._chance, self._started_at = book, writer, chance, started_at
        self._on_the_way = cumulated(shares, ON_THE_WAY)
        self._of_the_donor = cumulated(shares, OF_THE_DONOR)
        self._aims, self.note = _aims(book, started_at, seconds)
        if not self._aims:
            raise SimulateRefused("the book file has no campaign with a route: add one, nothing could be texted")
        self._outside = {fault: _outside(book, fault, started_at) for fault in OUTSIDE}
        for fault in self._outside:
            if shares.get(fault) and not self._is_playable(fault):
                raise SimulateRefused(
                    f"--faults {fault}: {OUTSIDE[fault][1]}, or has no link that tells when a message was sent; "
                    "leave it out"
                )

    def planned(self, moments: Iterable[float]) -> Iterator[Planned]:
        """A message for each of `moments` (seconds from the start, ascending)."""
        for due in moments:
            fault = drawn_fault(self._of_the_donor, self._chance)
            if fault is not None and fault in OUTSIDE:
                sms, link = self._outside_window(fault)
            else:
                sms, link = self._inside_window(fault, due)
            yield Planned(sms, link, due, drawn_fault(self._on_the_way, self._chance))

    def _inside_window(self, fault: Fault | None, due: float) -> tuple[Sms, Link]:
        carrier, link = self._writer.carrier_and_link()
        aim = self._chance.choice(self._chance.choice(self._aims))
        at, units = aim.since + timedelta(seconds=due), 1
        if fault is Fault.WRONG:
            text = wrong_text(self._chance, aim.route, aim.keyword)
        elif fault is Fault.UNKNOWN:
            text = unknown_text(self._chance, aim.route, aim.keyword)
        else:
            units = units_texted(self._chance, aim.route)
            text = counted_text(self._chance, aim.route, aim.keyword, units)
        return self._writer.sms(carrier, link, aim.route, aim.keyword, text, at, units), link

    def _outside_window(self, fault: Fault) -> tuple[Sms, Link]:
        """A right text at a wrong time; drawn anew where a campaign would take it, or the link tells no time."""
        for _ in range(DRAWS_MAX):
            carrier, link = self._writer.carrier_and_link()
            aim = self._chance.choice(self._chance.choice(self._outside[fault]))
            text = counted_text(self._chance, aim.route, aim.keyword, units_texted(self._chance, aim.route))
            at = aim.since + self._chance.random() * min(NEAR, self._started_at - aim.since)
            when = at if link.is_timed else self._started_at
            if read(self._book, aim.route.short_code, text, when).outcome is OUTSIDE[fault][0]:
                break
        return self._writer.sms(carrier, link, aim.route, aim.keyword, text, at), link

    def _is_playable(self, fault: Fault) -> bool:
        aims = [aim for aims in self._outside[fault] for aim in aims]
        if self._writer.is_timed:
            return bool(aims)
        texts = ((aim.route, filled(COUNTED[aim.route.grammar][0][0], aim.route, aim.keyword, 1)) for aim in aims)
        readings = (read(self._book, route.short_code, text, self._started_at) for route, text in texts)
        return any(reading.outcome is OUTSIDE[fault][0] for reading in readings)


def _aims(book: Book, started_at: datetime, seconds: float) -> tuple[tuple[Aims, ...], str | None]:
    """The campaigns to be texted: those open during the whole run, else the closed, else all; and a note on that."""
    end = started_at + timedelta(seconds=seconds) + NEAR
    is_open = [each for each in book.campaigns if each.opens_at <= started_at and end < each.closes_at]
    if is_open:
        return _keywords(is_open, {each.slug: started_at for each in is_open}), None
    since = {each.slug: min(each.opens_at, started_at) for each in book.campaigns}
    closed = [each for each in book.campaigns if each.state_at(started_at) is CampaignState.CLOSED]
    if closed:
        # As a recovery would bring them; links that tell no time come too late.
        note = "no campaign of the book file is open for the whole run: closed ones are texted, as in their time"
    else:
        note = "no campaign of the book file is open yet: nothing will count"
    return _keywords(closed or book.campaigns, since), note


def _outside(book: Book, fault: Fault, started_at: datetime) -> tuple[Aims, ...]:
    """What may be texted too late or too early, none of it in the future: carriers' clocks there are not believed."""
    if fault is Fault.LATE:
        closed = [each for each in book.campaigns if each.state_at(started_at) is CampaignState.CLOSED]
        return _keywords(closed, {each.slug: each.closes_at for each in closed})
    since = {each.slug: min(each.opens_at - NEAR, started_at) for each in book.campaigns}
    return _keywords(book.campaigns, since)


def _keywords(campaigns: Iterable[Campaign], since: Mapping[str, datetime]) -> tuple[Aims, ...]:
    """Campaign by campaign, so that one with many spellings is not texted more than another."""
    made = (
        tuple(Aim(route, keyword, since[campaign.slug]) for route in campaign.routes for keyword in route.keywords)
        for campaign in campaigns
    )
    return tuple(aims for aims in made if aims)
