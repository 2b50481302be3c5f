"""What people take along, each of one instant: messages without persons, money lines, totals by time and carrier."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

import asyncpg

from campaigns.totals.rollups import Bucket

ROWS_AT_ONCE = 500


class Kind(Enum):
    """What a column holds, so that a spreadsheet takes numbers for numbers and times for times."""

    TEXT = "text"
    SENDERS = "senders"
    """A text that a sender chose, who may make it of a number: it leaves only without what looks like one."""
    COUNT = "count"
    VND = "vnd"
    MOMENT = "moment"
    """To the microsecond."""
    MINUTE = "minute"
    DAY = "day"


class Choice(NamedTuple):
    """Which rows are meant; None: whichever. `until` is exclusive. `organisations`: of their campaigns alone."""

    campaign: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    organisations: Sequence[str] | None = None


class Export(NamedTuple):
    """A table that is taken along: its columns in order, and how it is read."""

    sql: str
    columns: Mapping[str, Kind]
    bucket: Bucket | None = None

    def arguments(self, choice: Choice) -> tuple[Any, ...]:
        """What the statement takes."""
        organisations = None if choice.organisations is None else list(choice.organisations)
        return (*choice[:-1], organisations, *([self.bucket] if self.bucket else []))


# By their ids, which rise with the time of arrival: the key has them in this order, and nothing is sorted.
EXPORT_MESSAGES = """
SELECT m.id, m.received_at, m.message_at, a.code, m.native_id, m.carrier, m.short_code, c.slug, m.keyword, m.reading,
       m.units, m.amount_vnd, m.claimed_vnd, m.parts, array_to_string(m.flags, ' '), m.book_version
FROM message AS m LEFT JOIN gateway_account AS a ON a.id = m.account_id
LEFT JOIN campaign AS c ON c.id = m.campaign_id
WHERE ($1::text IS NULL OR c.slug = $1) AND ($2::timestamptz IS NULL OR m.received_at >= $2)
    AND ($3::timestamptz IS NULL OR m.received_at < $3) AND ($4::text[] IS NULL OR c.organiser = ANY($4))
ORDER BY m.id
"""
EXPORT_MONEY_LINES = """
SELECT l.gift_id, l.at, c.slug, l.carrier, l.stage, l.cause, l.messages, l.units, l.vnd
FROM money_line AS l LEFT JOIN campaign AS c ON c.id = l.campaign_id
WHERE ($1::text IS NULL OR c.slug = $1) AND ($2::timestamptz IS NULL OR l.at >= $2)
    AND ($3::timestamptz IS NULL OR l.at < $3) AND ($4::text[] IS NULL OR c.organiser = ANY($4))
ORDER BY l.gift_id, l.stage, l.cause
"""
EXPORT_SERIES = """
SELECT date_trunc($5, n.minute, 'Asia/Ho_Chi_Minh') AS at, c.slug, n.carrier, sum(n.messages)::bigint,
       sum(n.units)::bigint, sum(n.pledged_vnd)::bigint
FROM campaign_minute AS n JOIN campaign AS c ON c.id = n.campaign_id
WHERE ($1::text IS NULL OR c.slug = $1) AND ($2::timestamptz IS NULL OR n.minute >= $2)
    AND ($3::timestamptz IS NULL OR n.minute < $3) AND ($4::text[] IS NULL OR c.organiser = ANY($4))
GROUP BY 1, 2, 3 ORDER BY 2, 1, 3
"""
# A total has no time, so that a span is not asked for: the arguments are those of the others.
EXPORT_CARRIERS = """
SELECT c.slug, t.carrier, sum(t.messages)::bigint, sum(t.units)::bigint, sum(t.pledged_vnd)::bigint,
       sum(t.confirmed_vnd)::bigint, sum(t.received_vnd)::bigint, sum(t.disbursed_vnd)::bigint,
       sum(t.reversed_messages)::bigint, sum(t.reversed_vnd)::bigint, sum(t.wrong_syntax)::bigint,
       sum(t.before_open)::bigint, sum(t.after_close)::bigint
FROM campaign_total AS t JOIN campaign AS c ON c.id = t.campaign_id
WHERE ($1::text IS NULL OR c.slug = $1) AND ($2::timestamptz IS NULL OR true) AND ($3::timestamptz IS NULL OR true)
    AND ($4::text[] IS NULL OR c.organiser = ANY($4))
GROUP BY 1, 2 ORDER BY 1, 2
"""

_FIGURES = {"messages": Kind.COUNT, "units": Kind.COUNT, "pledged_vnd": Kind.VND}


def _series(bucket: Bucket, kind: Kind) -> Export:
    return Export(EXPORT_SERIES, {"at": kind, "campaign": Kind.TEXT, "carrier": Kind.TEXT, **_FIGURES}, bucket)


EXPORTS: Mapping[str, Export] = MappingProxyType(
    {
        "messages": Export(
            EXPORT_MESSAGES,
            {
                "id": Kind.TEXT, "received_at": Kind.MOMENT, "message_at": Kind.MOMENT, "account": Kind.TEXT,
                "native_id": Kind.SENDERS, "carrier": Kind.TEXT, "short_code": Kind.TEXT, "campaign": Kind.TEXT,
                "keyword": Kind.TEXT, "reading": Kind.TEXT, "units": Kind.COUNT, "amount_vnd": Kind.VND,
                "claimed_vnd": Kind.VND, "parts": Kind.COUNT, "flags": Kind.TEXT, "book_version": Kind.COUNT,
            },
        ),
        "money-lines": Export(
            EXPORT_MONEY_LINES,
            {
                "gift": Kind.TEXT, "at": Kind.MOMENT, "campaign": Kind.TEXT, "carrier": Kind.TEXT,
                "stage": Kind.TEXT, "cause": Kind.SENDERS, "messages": Kind.COUNT, "units": Kind.COUNT,
                "vnd": Kind.VND,
            },
        ),
        "minutes": _series("minute", Kind.MINUTE),
        "hours": _series("hour", Kind.MINUTE),
        "days": _series("day", Kind.DAY),
        "carriers": Export(
            EXPORT_CARRIERS,
            {
                "campaign": Kind.TEXT, "carrier": Kind.TEXT, **_FIGURES, "confirmed_vnd": Kind.VND,
                "received_vnd": Kind.VND, "disbursed_vnd": Kind.VND, "reversed_messages": Kind.COUNT,
                "reversed_vnd": Kind.VND, "wrong_syntax": Kind.COUNT, "before_open": Kind.COUNT,
                "after_close": Kind.COUNT,
            },
        ),
    }
)  # fmt: skip
"""Every table by its name in addresses and commands. Money is integer VND, buckets are Vietnam's."""
FACTS = frozenset({"messages", "money-lines"})
"""Those of single gifts; the others are sums, which the public sees too."""


async def rows_in_pieces(
    connection: asyncpg.Connection, name: str, choice: Choice
) -> AsyncGenerator[list[tuple[Any, ...]], None]:
    """All rows of a table of EXPORTS, at most ROWS_AT_ONCE at a time, in flat memory and of one instant.

    Raises what the database raises.
    """
    export = EXPORTS[name]
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        cursor = await connection.cursor(export.sql, *export.arguments(choice))
        while rows := await cursor.fetch(ROWS_AT_ONCE):
            yield [tuple(row) for row in rows]
