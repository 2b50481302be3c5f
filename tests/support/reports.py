"""Events of an account that counts on report, and what became of a gift, for tests of charges."""

from datetime import datetime, timedelta
from typing import Any

import asyncpg

from campaigns.gifts.sweeping import give_up
from metrics.invariant import check
from metrics.invariants import INVARIANTS
from tests.support.portal import BOOK, Portal, message

REPORT_BOOK = BOOK.replace('charging = "on_message"', 'charging = "on_report"', 1)
"""The book of the other tests, with `hub` counting on report."""
DAY = datetime.fromisoformat("2026-11-21T15:30:00+07:00")


def gift(text: str = "VNN 5", ref: str = "m-1", **changes: Any) -> dict[str, Any]:
    """A `message.received` event."""
    return message(ref, text, operator_time=DAY.isoformat(), **changes)


def charge(
    status: str, charge_id: str = "c-1", ref: str | None = "m-1", amount: int = 100_000, **changes: Any
) -> dict[str, Any]:
    """A `charge.*` event that names its message, unless `ref` is None."""
    data: dict[str, Any] = {"charge_id": charge_id, "amount": amount, "currency": "VND", **changes}
    if ref is not None:
        data["message_id"] = ref
    return {"type": f"charge.{status}", "timestamp": "2026-11-21T08:30:00Z", "data": data}


def taken_back(
    native_id: str, amount: int, ref: str | None = "m-1", minutes: int = 10, **changes: Any
) -> dict[str, Any]:
    """A `charge.reversed` event, so many minutes after the message."""
    at = (DAY + timedelta(minutes=minutes)).isoformat()
    data: dict[str, Any] = {"reversal_id": native_id, "amount": amount, "occurred_at": at, **changes}
    if ref is not None:
        data["message_id"] = ref
    return {"type": "charge.reversed", "timestamp": "2026-11-21T08:30:00Z", "data": data}


def renamed(event: dict[str, Any], label: str) -> dict[str, Any]:
    """The same event with ids of its own, so that many gifts fit one database."""
    ids = ("message_id", "reversal_id", "charge_id")
    data = {name: f"{label}/{value}" if name in ids else value for name, value in event["data"].items()}
    return {**event, "data": data}


# A gift that stands as its message alone made it may have a row of its own or none: as `find` says it, either way.
SELECT_OUTCOME = """
SELECT (SELECT string_agg(coalesce(g.state, CASE WHEN m.reading = 'counted' THEN 'counted' ELSE 'uncounted' END), ','
                          ORDER BY m.native_id)
        FROM message AS m LEFT JOIN gift AS g ON g.message_id = m.id WHERE m.native_id LIKE $1) AS state,
       (SELECT coalesce(jsonb_agg(line ORDER BY line)::text, '') FROM (
            SELECT jsonb_build_array(regexp_replace(l.cause, '^[0-9]+:', ''), sum(l.messages), sum(l.units),
                                     sum(l.vnd), date_trunc('minute', l.at)) AS line
            FROM money_line AS l JOIN message AS m ON m.id = l.gift_id WHERE m.native_id LIKE $1
            GROUP BY regexp_replace(l.cause, '^[0-9]+:', ''), date_trunc('minute', l.at)
            HAVING (sum(l.messages), sum(l.units), sum(l.vnd)) <> (0, 0, 0)
       ) AS net) AS lines,
       (SELECT coalesce(string_agg(e.native_id || ': ' || r.reason, '; ' ORDER BY e.native_id COLLATE "C"), '')
        FROM review AS r JOIN (
            SELECT id, native_id FROM charge_notice UNION ALL SELECT id, native_id FROM reversal
        ) AS e ON e.id = r.event_id WHERE e.native_id LIKE $1) AS listed,
       (SELECT count(*) FROM waiting_event WHERE message_ref LIKE $1) AS waiting
"""


async def outcome(connection: asyncpg.Connection, label: str) -> tuple[Any, ...]:
    """What became of the gifts under `label`: states, money by cause and minute, who is listed, what waits."""
    row = await connection.fetchrow(SELECT_OUTCOME, f"{label}/%")
    assert row is not None
    return tuple(value.replace(f"{label}/", "") if isinstance(value, str) else value for value in row)


MONEY = """
SELECT coalesce(sum(l.messages), 0)::int, coalesce(sum(l.units), 0)::int, coalesce(sum(l.vnd), 0)::bigint
FROM money_line AS l JOIN message AS m ON m.id = l.gift_id WHERE m.native_id LIKE $1
"""


async def require_sound(portal: Portal) -> None:
    """Every invariant holds."""
    async with portal.opened.database.borrow() as connection:
        for invariant in INVARIANTS:
            assert await check(connection, invariant) == [], invariant.name


async def swept(portal: Portal) -> None:
    """As the sweeper does every ten seconds."""
    async with portal.opened.database.borrow() as connection:
        await portal.service.operations.housekeeping.sweep(connection)


async def given_up(portal: Portal, at: datetime) -> None:
    """As housekeeping does now and then."""
    async with portal.opened.database.borrow() as connection:
        await give_up(connection, at)


async def asked(portal: Portal, sql: str) -> list[asyncpg.Record]:
    """Ask the database over a connection that the service has already."""
    async with portal.opened.database.borrow() as connection:
        return list(await connection.fetch(sql))


async def money(portal: Portal) -> tuple[int, int]:
    """Messages and VND in the roll-up."""
    (row,) = await asked(
        portal, "SELECT coalesce(sum(messages), 0)::int, coalesce(sum(pledged_vnd), 0)::bigint FROM campaign_total"
    )
    return row[0], row[1]


async def orphans(portal: Portal) -> tuple[int, int]:
    """Orphan charges and their VND."""
    (row,) = await asked(
        portal,
        "SELECT coalesce(sum(orphan_charges), 0)::int, coalesce(sum(orphan_vnd), 0)::bigint FROM unallocated_total",
    )
    return row[0], row[1]


async def reasons(portal: Portal) -> list[str]:
    """What is listed for a person."""
    return [row["reason"] for row in await asked(portal, "SELECT reason FROM review ORDER BY reason")]


async def numbers_kept(portal: Portal) -> int:
    """Rows that hold a number for matching."""
    (row,) = await asked(
        portal, "SELECT (SELECT count(*) FROM charge_person) + (SELECT count(*) FROM uncharged_person) AS kept"
    )
    return int(row["kept"])
