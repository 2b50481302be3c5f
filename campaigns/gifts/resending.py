"""What a carrier should send again: ids that are missing between those that came, and times in which nothing did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import asyncpg

from campaigns.schema.ids import least_id

RUN_GAP_MAX = 10_000
"""Ids that lie further apart do not belong to one run: a message of long ago begins one of its own."""
NUMBERED_MIN = 50
"""Fewer ids than that do not show whether they are counted up."""
DENSE_SHARE = 0.8
"""Ids of which this share follows on another are counted up for us alone: what is between them is missing."""
RANGES_MAX = 1_000
EXPECTED_MIN = 20.0
"""A time without a message is told where so many should have come in it: by chance that happens once in 2e-9."""

# An id with a zero in front is no number that was counted up.
SELECT_RUNS = """
WITH came AS (
    SELECT DISTINCT CASE WHEN native_id ~ '^[1-9][0-9]{0,17}$' THEN native_id::bigint END AS n
    FROM message WHERE account_id = $1 AND id >= $2 AND id < $3
), gap AS (SELECT n, n - lag(n) OVER (ORDER BY n) AS step FROM came WHERE n IS NOT NULL)
SELECT count(*) AS came, count(*) FILTER (WHERE step = 1) AS following FROM gap
"""
# What is missing in the time asked about may have come before or behind it: then it is not missing.
SELECT_MISSING = """
WITH came AS (
    SELECT DISTINCT CASE WHEN native_id ~ '^[1-9][0-9]{0,17}$' THEN native_id::bigint END AS n
    FROM message WHERE account_id = $1 AND id >= $2 AND id < $3
), gap AS (SELECT n, lag(n) OVER (ORDER BY n) AS before FROM came WHERE n IS NOT NULL),
absent AS (
    SELECT asked.n FROM gap, generate_series(gap.before + 1, gap.n - 1) AS asked (n)
    WHERE gap.n - gap.before BETWEEN 2 AND $4
        AND NOT EXISTS (SELECT FROM message AS m WHERE m.account_id = $1 AND m.native_id = asked.n::text)
), island AS (SELECT n, n - row_number() OVER (ORDER BY n) AS start FROM absent)
SELECT min(n) AS first, max(n) AS last FROM island GROUP BY start ORDER BY first LIMIT $5
"""
SELECT_MINUTES = """
SELECT date_trunc('minute', received_at) AS minute, count(*) FILTER (WHERE account_id = $1) AS own,
       count(*) FILTER (WHERE account_id <> $1) AS others
FROM message WHERE id >= $2 AND id < $3 GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class IdRange:
    """Ids that did not come, both ends with them."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Silence:
    """Whole minutes without a message of the account, and how many its share of all says should have come."""

    begins_at: datetime
    ends_at: datetime
    expected: float


@dataclass(frozen=True, slots=True)
class Resend:
    """What is to be sent again. `is_counted_up`: whether the account's ids can show what is missing at all.

    `is_complete`: there are no more than RANGES_MAX ranges.
    """

    is_counted_up: bool
    ranges: Sequence[IdRange]
    silences: Sequence[Silence]
    is_complete: bool = True


async def select_resend(connection: asyncpg.Connection, account_id: int, since: datetime, until: datetime) -> Resend:
    """What is missing of what was received from `since` to before `until`. Reads that time's messages."""
    place = account_id, least_id(since), least_id(until)
    runs = await connection.fetchrow(SELECT_RUNS, *place)
    assert runs is not None  # noqa: S101 -- an aggregate
    is_counted_up = runs["came"] >= NUMBERED_MIN and runs["following"] >= runs["came"] * DENSE_SHARE
    found = await connection.fetch(SELECT_MISSING, *place, RUN_GAP_MAX, RANGES_MAX + 1) if is_counted_up else []
    ranges = [IdRange(row["first"], row["last"]) for row in found[:RANGES_MAX]]
    minutes = await connection.fetch(SELECT_MINUTES, *place)
    silences = silences_of([(row["minute"], row["own"], row["others"]) for row in minutes])
    return Resend(is_counted_up, ranges, silences, len(found) <= RANGES_MAX)


def silences_of(minutes: Sequence[tuple[datetime, int, int]]) -> list[Silence]:
    """The times in which an account should have sent EXPECTED_MIN messages and sent none.

    `minutes`: those in which anybody sent, in order, with the account's own messages and those of others. Its share
    is that of the minutes in which it did send, so that a long silence is not taken for its habit.
    """
    spoken = [(own, others) for _, own, others in minutes if own]
    of_others = sum(others for _, others in spoken)
    ratio = sum(own for own, _ in spoken) / of_others if of_others else 0.0
    found = []
    for is_silent, group in groupby(minutes, key=lambda minute: minute[1] == 0):
        stretch = list(group)
        expected = ratio * sum(others for _, _, others in stretch)
        if is_silent and expected >= EXPECTED_MIN:
            found.append(Silence(stretch[0][0], stretch[-1][0] + timedelta(minutes=1), round(expected, 1)))
    return found
