"""Checking the invariants of one stretch of time: what holds of all facts holds of those of any ten minutes.

Both sides of a comparison are cut at the same two instants and read in one snapshot, so a late message or a reversal
of an old gift changes neither or both. What it costs grows with the stretch's rows and not with what is stored.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from metrics.invariant import DIFFERENCES_MAX, Difference, Invariant

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every instant that an event may have (2000 to 2100): a stretch from here has no lower bound."""
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""After every instant: a stretch to here has no upper bound."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `begins_at` (inclusive) to `ends_at` (exclusive), on full minutes or milliseconds of its subject."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked stretch by stretch: where a stretch of so many rows ends, and its invariants.

    `cut` is given two bounds and a number of rows; every invariant a limit and two bounds. `plain`, if there is one,
    is given two bounds, and true only if all invariants hold between them; else they say what is broken, if anything.
    """

    name: str
    grain: timedelta
    cut: str
    invariants: tuple[Invariant, ...]
    bound: Callable[[datetime], datetime | UUID]
    instant: Callable[[datetime | UUID], datetime]
    plain: str | None = None


async def cut(connection: asyncpg.Connection, subject: Subject, whole: Stretch, rows: int) -> Stretch:
    """The first piece of `whole`: about `rows` rows, or one grain of time with more; what is empty is cut nowhere."""
    begins, ends = subject.bound(whole.begins_at), subject.bound(whole.ends_at)
    found = await connection.fetchval(subject.cut, begins, ends, rows)
    if found is None:
        return whole
    at_least = whole.begins_at + subject.grain
    return Stretch(whole.begins_at, min(whole.ends_at, max(at_least, subject.instant(found))))


async def check_stretch(
    connection: asyncpg.Connection, subject: Subject, stretch: Stretch
) -> dict[str, list[Difference]]:
    """What breaks the invariants of `subject` in `stretch`, by name, at most DIFFERENCES_MAX rows of each."""
    begins, ends = subject.bound(stretch.begins_at), subject.bound(stretch.ends_at)
    if subject.plain is not None and await connection.fetchval(subject.plain, begins, ends):
        return {}
    found = {}
    for invariant in subject.invariants:
        rows = await connection.fetch(invariant.sql, DIFFERENCES_MAX, begins, ends)
        if rows:
            found[invariant.name] = [Difference(row["place"], row["expected"], row["found"]) for row in rows]
    return found


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time in as few stretches as it takes, in order."""
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda stretch: stretch.begins_at):
        if found and each.begins_at <= found[-1].ends_at:
            found[-1] = Stretch(found[-1].begins_at, max(found[-1].ends_at, each.ends_at))
        else:
            found.append(each)
    return found
