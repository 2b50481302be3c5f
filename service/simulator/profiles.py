"""Real drives, replayed: what was published of them, and messages that sum up to it at those moments exactly.

Each figure stands here with the moment it was published for. Message times are as they were; only the sending
is faster. At `scale` 1,000 a figure is the published one / 1,000, rounded down to whole units and messages.

Source: for 2019 baomoi.net.vn (c31887097); for 2020 suckhoedoisong.vn (launch day), ttvn.toquoc.vn (two days),
cand.com.vn (five days), vietnamnet.vn (seven days), a copy at jenivy.com (29 March), vietnamnews.vn (5 April),
laodong.vn (6 April), a copy of a VietNamNet item (27 April).
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from campaigns.book.book import VIETNAM
from service.simulator.refused import SimulateRefused

UNITS_MAX = 100


@dataclass(frozen=True, slots=True)
class Published:
    """A figure at a moment: everything sent before `at`. `messages` None: only the money was published."""

    at: datetime
    messages: int | None
    vnd: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A drive: its campaign in the book, when it began, and its figures in order of time.

    `next_messages` is the first published number of messages after the last figure that has none, with its
    money: between two such the number of messages is taken to grow with the money.
    """

    name: str
    campaign: str
    opens_at: datetime
    unit_vnd: int
    published: tuple[Published, ...]
    following: Published | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the series must show before `at`. `is_message_count_published`: else it is our interpolation."""

    at: datetime
    messages: int
    units: int
    vnd: int
    is_message_count_published: bool


@dataclass(frozen=True, slots=True)
class Gift:
    """One message of a replay."""

    at: datetime
    units: int


def _at(month: int, day: int, hour: int = 0, minute: int = 0, *, year: int = 2020) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=VIETNAM)


PROFILES: Final[Mapping[str, Profile]] = {
    "launch-2019": Profile(
        "launch-2019",
        "vnn-2019",
        _at(8, 19, year=2019),
        20_000,
        # "1,500 messages, more than 70 million": played as 70 million exactly.
        (Published(_at(8, 19, 0, 1, year=2019), 1_500, 70_000_000),),
    ),
    "covid-2020": Profile(
        "covid-2020",
        "cv-2020",
        _at(3, 19),
        20_000,
        (
            # Launch day, "more than", without an hour: noon.
            Published(_at(3, 19, 12), 34_000, 2_000_000_000),
            Published(_at(3, 21, 16, 11), 600_000, 43_000_000_000),
            # "After five days" and "seven days after the launch", without an hour.
            Published(_at(3, 24), None, 62_400_000_000),
            Published(_at(3, 26), None, 77_000_000_000),
            Published(_at(3, 29, 20), 1_500_000, 96_000_000_000),
            Published(_at(4, 5, 11), 2_100_000, 126_000_000_000),
            # The one exact figure: 6,432,745 units.
            Published(_at(4, 6, 21), None, 128_654_900_000),
        ),
        Published(_at(4, 27), 2_570_000, 150_100_000_000),
    ),
}


def targets(profile: Profile, scale: int) -> tuple[Target, ...]:
    """The cumulative figures at each published moment, 1:`scale`.

    Raises SimulateRefused where so small a scale leaves more units than messages can carry, or fewer.
    """
    made: list[Target] = []
    for position, figure in enumerate(profile.published):
        messages = int(_messages(profile, position) / scale)
        units = figure.vnd // scale // profile.unit_vnd
        made.append(Target(figure.at, messages, units, units * profile.unit_vnd, figure.messages is not None))
    earlier = Target(profile.opens_at, 0, 0, 0, is_message_count_published=True)
    for target in made:
        messages, units = target.messages - earlier.messages, target.units - earlier.units
        if not messages <= units <= UNITS_MAX * messages:
            raise SimulateRefused(
                f"{profile.name} at 1:{scale} leaves no whole messages between two moments: lower --scale"
            )
        earlier = target
    return tuple(made)


def _messages(profile: Profile, position: int) -> Fraction:
    """Messages at a moment; where none were published, between its neighbours in proportion to the money."""
    figure = profile.published[position]
    if figure.messages is not None:
        return Fraction(figure.messages)
    known = [
        each for each in (*profile.published, profile.following) if each is not None and each.messages is not None
    ]
    before = [each for each in known if each.at < figure.at][-1]
    after = next(each for each in known if each.at > figure.at)
    low, high = before.messages or 0, after.messages or 0
    return low + Fraction((high - low) * (figure.vnd - before.vnd), after.vnd - before.vnd)


def replay(profile: Profile, scale: int, chance: random.Random) -> Iterator[Gift]:
    """The messages of `profile` in order of time, which sum up to `targets` exactly."""
    began, messages_before, units_before = profile.opens_at, 0, 0
    for target in targets(profile, scale):
        messages, units = target.messages - messages_before, target.units - units_before
        span = target.at - began
        for position, given in enumerate(shared_out(messages, units, chance)):
            # Whole seconds, as carriers give them; strictly before the moment.
            seconds = int(span.total_seconds() * (position + chance.random()) / messages)
            yield Gift(began + timedelta(seconds=seconds), given)
        began, messages_before, units_before = target.at, target.messages, target.units


def shared_out(messages: int, units: int, chance: random.Random) -> Iterator[int]:
    """`units` over `messages`, each 1 to 100: mostly few, some many, and in the sum exactly.

    Each step draws a small or a large gift so that the mean of what is left stays what it is; the bounds make
    the end come out even.
    """
    small, large = (1, 1, 1, 2), (3, 5, 5, 10)
    small_mean, large_mean = sum(small) / len(small), sum(large) / len(large)
    left = units
    for remaining in range(messages, 0, -1):
        is_large = chance.random() * (large_mean - small_mean) < left / remaining - small_mean
        given = chance.choice(large if is_large else small)
        given = min(max(given, left - UNITS_MAX * (remaining - 1)), UNITS_MAX, left - (remaining - 1))
        left -= given
        yield given
