"""Reading the roll-ups: totals of all campaigns in one SELECT, series of one campaign by bucket."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple, Self, get_args

import asyncpg

from campaigns.totals.totals import (
    FIGURE_MAX,
    UNALLOCATED_REASONS,
    CampaignTotals,
    CarrierTotals,
    UnallocatedTotals,
    in_carrier_order,
)

# Version and figures come from one snapshot: equal version, equal figures. What the reader has at its newest version
# is left out, for hundreds of campaigns are read five times a second, and few of them change.
SELECT_TOTALS = """
WITH newest AS MATERIALIZED (
    SELECT c.id, coalesce(sum(t.version), 0)::bigint AS version
    FROM campaign AS c LEFT JOIN campaign_total AS t ON t.campaign_id = c.id
    GROUP BY c.id
)
SELECT c.id, c.slug, c.goal_vnd, c.applied_at, t.carrier,
       coalesce(sum(t.version), 0)::bigint AS version, max(t.as_of) AS as_of,
       coalesce(sum(t.lines), 0)::bigint AS lines,
       coalesce(sum(t.messages), 0)::bigint AS messages, coalesce(sum(t.units), 0)::bigint AS units,
       coalesce(sum(t.pledged_vnd), 0)::bigint AS pledged_vnd,
       sum(t.confirmed_vnd)::bigint AS confirmed_vnd, sum(t.received_vnd)::bigint AS received_vnd,
       sum(t.disbursed_vnd)::bigint AS disbursed_vnd,
       coalesce(sum(t.reversed_messages), 0)::bigint AS reversed_messages,
       coalesce(sum(t.reversed_vnd), 0)::bigint AS reversed_vnd,
       coalesce(sum(t.wrong_syntax), 0)::bigint AS wrong_syntax,
       coalesce(sum(t.before_open), 0)::bigint AS before_open,
       coalesce(sum(t.after_close), 0)::bigint AS after_close
FROM newest JOIN campaign AS c ON c.id = newest.id
    LEFT JOIN campaign_total AS t ON t.campaign_id = c.id
    LEFT JOIN unnest($1::integer[], $2::bigint[]) AS known (id, version) ON known.id = c.id
WHERE known.version IS DISTINCT FROM newest.version
GROUP BY c.id, t.carrier ORDER BY c.id
"""


async def select_totals(connection: asyncpg.Connection, known: Iterable[CampaignTotals] = ()) -> list[CampaignTotals]:
    """The totals of every campaign, in the order they were applied.

    `known` is what was read over the same connection before: of it only what has another version is read again.
    """
    totals = {each.campaign_id: each for each in known}
    by_campaign: dict[int, list[asyncpg.Record]] = defaultdict(list)
    versions = [each.version for each in totals.values()]
    for row in await connection.fetch(SELECT_TOTALS, list(totals), versions):
        by_campaign[row["id"]].append(row)
    totals.update((campaign_id, _sum_up(rows)) for campaign_id, rows in by_campaign.items())
    return [totals[campaign_id] for campaign_id in sorted(totals)]


def _sum_up(rows: list[asyncpg.Record]) -> CampaignTotals:
    first = rows[0]
    shares = [
        CarrierTotals(row["carrier"], row["messages"], row["units"], row["pledged_vnd"])
        for row in rows
        if row["lines"]
    ]
    return CampaignTotals(
        campaign=first["slug"],
        campaign_id=first["id"],
        version=sum(row["version"] for row in rows),
        as_of=max([row["as_of"] for row in rows if row["as_of"]], default=first["applied_at"]),
        messages=sum(row["messages"] for row in rows),
        units=sum(row["units"] for row in rows),
        pledged_vnd=sum(row["pledged_vnd"] for row in rows),
        confirmed_vnd=_stage(rows, "confirmed_vnd"),
        received_vnd=_stage(rows, "received_vnd"),
        disbursed_vnd=_stage(rows, "disbursed_vnd"),
        goal_vnd=first["goal_vnd"],
        reversed=(sum(row["reversed_messages"] for row in rows), sum(row["reversed_vnd"] for row in rows)),
        by_carrier=in_carrier_order(shares),
        uncounted=(
            sum(row["wrong_syntax"] for row in rows),
            sum(row["before_open"] for row in rows),
            sum(row["after_close"] for row in rows),
        ),
    )


def _stage(rows: list[asyncpg.Record], name: str) -> int | None:
    """The VND of a stage; None while nothing has recorded it for this campaign."""
    recorded = [row[name] for row in rows if row[name] is not None]
    return sum(recorded) if recorded else None


# Summed as numeric, which does not overflow: one of these figures sums what senders claim.
SELECT_UNALLOCATED = """
SELECT coalesce(sum(version), 0) AS version,
       coalesce(max(as_of), (SELECT created_at FROM installation)) AS as_of,
       coalesce(sum(unknown_keyword), 0) AS unknown_keyword,
       coalesce(sum(unknown_short_code), 0) AS unknown_short_code, coalesce(sum(empty_text), 0) AS empty_text,
       coalesce(sum(orphan_charges), 0) AS orphan_charges, coalesce(sum(orphan_vnd), 0) AS orphan_vnd
FROM unallocated_total
"""


class FigureUnreadable(Exception):
    """A stored figure is no number that can be shown: a hand, or damage, made it so."""


async def select_unallocated(connection: asyncpg.Connection) -> UnallocatedTotals:
    """What belongs to no campaign. Raises FigureUnreadable."""
    row = await connection.fetchrow(SELECT_UNALLOCATED)
    assert row is not None  # noqa: S101 -- an aggregate always has a row
    version, *counts = (_figure(row[name]) for name in ("version", *UNALLOCATED_REASONS, "orphan_charges"))
    try:
        orphan_vnd = _figure(row["orphan_vnd"])
    except FigureUnreadable:
        orphan_vnd = None
    return UnallocatedTotals(version, row["as_of"], (counts[0], counts[1], counts[2]), counts[3], orphan_vnd)


def _figure(summed: Decimal) -> int:
    """A sum as it is shown. A numeric can also be NaN, which compares with nothing."""
    if not summed.is_finite() or abs(summed) > FIGURE_MAX:
        raise FigureUnreadable("a sum is beyond what can be shown")
    return int(summed)


@dataclass(frozen=True, slots=True)
class Point:
    """The sum of one bucket. `at` is its first instant."""

    at: datetime
    messages: int
    units: int
    pledged_vnd: int
    by_carrier: tuple[CarrierTotals, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Sums per bucket, not cumulative; empty buckets are left out."""

    version: int
    points: tuple[Point, ...]
    held: tuple[datetime, datetime] | None = None
    """The first and the last minute of the campaign that have a figure, whatever was asked for; None: none has."""


class TooManyPoints(Exception):
    """The answer would have more points than allowed."""


Bucket = Literal["minute", "hour", "day"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
MINUTE = timedelta(minutes=1)


class Question(NamedTuple):
    """What a series is asked for: sums per `bucket` (of Asia/Ho_Chi_Minh) of a campaign, by full minutes.

    `since` is inclusive, `until` exclusive. Where it `reaches_back` or `reaches_ahead`, that end is the latest first
    or the earliest last one: what lies beyond it is in the series too, which so sums to the totals of its version.
    Money given back lies in the minute its carrier names, which may be years before a campaign opened (that of a gift
    moved to it) or some minutes ahead of our clock.
    """

    campaign_id: int
    bucket: Bucket
    since: datetime
    until: datetime
    reaches_back: bool = False
    reaches_ahead: bool = False

    def reaching(self, held: tuple[datetime, datetime] | None) -> Self:
        """The same with the ends it has where a campaign's first and last minute are these."""
        if held is None:
            return self
        since = min(self.since, held[0]) if self.reaches_back else self.since
        until = max(self.until, held[1] + MINUTE) if self.reaches_ahead else self.until
        return self._replace(since=since, until=until)


# Ordered as the primary key is: the server need not sort what it hands out in pieces.
SELECT_SERIES = """
SELECT date_trunc($2, minute, 'Asia/Ho_Chi_Minh') AS at, carrier, sum(messages)::bigint AS messages,
       sum(units)::bigint AS units, sum(pledged_vnd)::bigint AS pledged_vnd
FROM campaign_minute
WHERE campaign_id = $1 AND minute >= $3 AND minute < $4
GROUP BY 1, 2 ORDER BY 1
"""
COUNT_BUCKETS = """
SELECT count(*) FROM (
  SELECT date_trunc($2, minute, 'Asia/Ho_Chi_Minh') FROM campaign_minute
  WHERE campaign_id = $1 AND minute >= $3 AND minute < $4 GROUP BY 1 LIMIT $5
) AS buckets
"""
SELECT_HEAD = """
SELECT (SELECT coalesce(sum(version), 0)::bigint FROM campaign_total WHERE campaign_id = $1) AS version,
       (SELECT min(minute) FROM campaign_minute WHERE campaign_id = $1) AS first,
       (SELECT max(minute) FROM campaign_minute WHERE campaign_id = $1) AS last
"""
BUCKET_LENGTHS: dict[Bucket, timedelta] = {
    "minute": MINUTE, "hour": timedelta(hours=1), "day": timedelta(days=1),
}  # fmt: skip
SERIES_ROWS_AT_ONCE = 500
"""Rows that are decoded and summed in one go: about two milliseconds of the event loop."""


async def series_in_pieces(
    connection: asyncpg.Connection, question: Question, points_max: int
) -> AsyncGenerator[Series, None]:
    """The series that answers `question`.

    At least one piece comes, all have the same version and are of one snapshot; whoever takes them decides how fast.
    Raises TooManyPoints beyond `points_max` buckets, before the first piece.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchrow(SELECT_HEAD, question.campaign_id)
        assert head is not None  # noqa: S101 -- a question without FROM always has a row
        version, held = head["version"], (head["first"], head["last"]) if head["first"] is not None else None
        campaign_id, bucket, since, until, *_ = question.reaching(held)
        asked = (campaign_id, bucket, since, until)
        # A span that cannot have so many buckets need not be counted; its ends may lie inside of two more.
        if (until - since) // BUCKET_LENGTHS[bucket] + 2 > points_max:
            buckets = await connection.fetchval(COUNT_BUCKETS, *asked, points_max + 1)
            if buckets > points_max:
                raise TooManyPoints
        cursor = await connection.cursor(SELECT_SERIES, *asked)
        at: datetime | None = None
        shares: list[CarrierTotals] = []
        while rows := await cursor.fetch(SERIES_ROWS_AT_ONCE):
            points = []
            for row in rows:
                if row["at"] != at:
                    if at is not None:
                        points.append(_point(at, shares))
                    at, shares = row["at"], []
                shares.append(CarrierTotals(row["carrier"], row["messages"], row["units"], row["pledged_vnd"]))
            if points:
                yield Series(version, tuple(points), held)
        yield Series(version, (_point(at, shares),) if at is not None else (), held)


def _point(at: datetime, shares: list[CarrierTotals]) -> Point:
    return Point(
        at,
        sum(share.messages for share in shares),
        sum(share.units for share in shares),
        sum(share.pledged_vnd for share in shares),
        in_carrier_order(shares),
    )
