"""From options to callbacks: the messages of an evening or of a replayed drive, on the links of the book."""

import random
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from campaigns.book.book import Book, Grammar
from service.simulator.bundling import bundled
from service.simulator.curve import EVENING_SECONDS, arrivals, endless_arrivals
from service.simulator.forms import counted_text
from service.simulator.links import Link
from service.simulator.message import ON_THE_WAY, Delivery, Planned, cumulated, drawn_fault
from service.simulator.options import DEFAULT_FAULTS, EVENING, Options
from service.simulator.profiles import PROFILES, Profile, replay
from service.simulator.refused import SimulateRefused
from service.simulator.traffic import Evening, SmsWriter

ENDLESS_WINDOW_SECONDS = 86_400.0
"""A campaign that closes sooner is not played by a run without an end."""
RUN_MIN = 10**12


def require_profile(profile: Profile, book: Book) -> None:
    """Raises SimulateRefused where `book` has not the campaign as it was when the figures were published."""
    campaign = book.by_slug.get(profile.campaign)
    if campaign is None:
        raise SimulateRefused(f"{profile.name} needs the campaign {profile.campaign} in the book file: add it")
    route = campaign.routes[0] if campaign.routes else None
    if route is None or (route.grammar, route.unit_vnd, route.max_units) != (Grammar.UNITS, profile.unit_vnd, 100):
        raise SimulateRefused(
            f"{profile.name} needs {profile.campaign} with a first route of grammar units, "
            f"{profile.unit_vnd} VND and 100 units at most"
        )
    if campaign.opens_at > profile.opens_at or campaign.closes_at < profile.published[-1].at:
        raise SimulateRefused(f"{profile.name} needs {profile.campaign} open from its first to its last figure")


def planned_deliveries(book: Book, links: Sequence[Link], options: Options) -> tuple[Iterator[Delivery], str | None]:
    """The callbacks of a run, made as they are asked for, and a note on what they can come to."""
    chance = random.Random(options.seed)  # noqa: S311 -- traffic that can be repeated, no secret
    run = options.run or str(RUN_MIN + secrets.randbelow(9 * RUN_MIN))
    writer = SmsWriter(links, chance, run)
    profile = PROFILES.get(options.profile or "")
    if profile is not None:
        return bundled(_replayed(profile, book, writer, options, chance), chance), None
    seconds = EVENING_SECONDS if options.profile == EVENING else options.seconds
    faults = DEFAULT_FAULTS if options.faults is None else options.faults
    evening = Evening(book, writer, faults, chance, datetime.now(UTC), seconds or ENDLESS_WINDOW_SECONDS)
    moments = (
        endless_arrivals(options.rate, chance)
        if seconds is None
        else arrivals(max(1, round(options.rate * seconds)), seconds, chance)
    )
    return bundled(evening.planned(moments), chance), evening.note


def _replayed(
    profile: Profile, book: Book, writer: SmsWriter, options: Options, chance: random.Random
) -> Iterator[Planned]:
    """The messages of a drive, at an even pace: their own times are in them."""
    route = book.by_slug[profile.campaign].routes[0]
    keyword = route.keywords[0]
    faults = cumulated(options.faults or {}, ON_THE_WAY)
    for position, gift in enumerate(replay(profile, options.scale, chance)):
        carrier, link = writer.carrier_and_link()
        text = counted_text(chance, route, keyword, gift.units)
        sms = writer.sms(carrier, link, route, keyword, text, gift.at, gift.units)
        yield Planned(sms, link, position / options.rate, drawn_fault(faults, chance))
