"""When messages of a televised evening arrive: a peak at the launch, then a decay onto a steady rest.

The shape is the project's assumption about a gala of three hours: a quarter of its messages come in the best
ten minutes. `1 + AMPLITUDE * exp(-t / DECAY_SECONDS)` has that property, and its first second is about nine
times the mean, twice the mean of those ten minutes.
"""

import math
import random
from collections.abc import Iterator

EVENING_SECONDS = 10_800.0
DECAY_SECONDS = 300.0
AMPLITUDE = 11.385
ENDLESS_SECONDS = 600.0
"""A run without an end plays the first ten minutes of an evening again and again."""

_PRECISION_SECONDS = 1e-4


def height(seconds: float) -> float:
    """How dense messages are `seconds` after the launch; 1 is the steady rest."""
    return 1.0 + AMPLITUDE * math.exp(-seconds / DECAY_SECONDS)


def area(seconds: float) -> float:
    """The integral of `height` from the launch to `seconds`."""
    return seconds + AMPLITUDE * DECAY_SECONDS * -math.expm1(-seconds / DECAY_SECONDS)


def arrivals(count: int, seconds: float, chance: random.Random) -> Iterator[float]:
    """`count` ascending moments within the first `seconds` of an evening, in seconds from the launch.

    So the mean rate is exactly `count / seconds`, whatever the curve: `chance` moves each moment within its
    own share of the messages only.
    """
    total, at = area(seconds), 0.0
    for position in range(count):
        wanted = total * (position + chance.random()) / count
        # Newton from the left: the curve bends downwards, so that it never steps over what it seeks.
        while (step := (wanted - area(at)) / height(at)) > _PRECISION_SECONDS:
            at += step
        yield at


def endless_arrivals(rate: float, chance: random.Random) -> Iterator[float]:
    """Moments at a mean of `rate` a second without an end: one evening's beginning after another."""
    began = 0.0
    count = max(1, round(rate * ENDLESS_SECONDS))
    seconds = count / rate
    while True:
        for at in arrivals(count, seconds, chance):
            yield began + at
        began += seconds
