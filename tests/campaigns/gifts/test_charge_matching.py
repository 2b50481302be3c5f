"""Charges matched by number: as the plain rule says, and at a cost that thousands of unmatched ones do not raise."""

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.gifts.charge_matching import (
    APART_MAX,
    NEAR_MAX,
    SELECT_CHARGES_NEAR,
    SELECT_MESSAGES_NEAR,
    SELECT_NEAR_ARRIVALS,
    SELECT_NEAR_NEW_MESSAGES,
    Match,
    WaitingMessage,
    find_matches,
    match_arrivals,
    paired,
)
from tests.support.rows import NOW, charge_row, message_row

WAITING = 4_000
NUMBER = b"a donor's number, hashed"
FAR = timedelta(minutes=40)
# As many of both, of one number, code and amount; the messages 40 minutes later than the charges.
FILL_CHARGES = """
INSERT INTO charge_person (charge_notice_id, account_id, charge_id, msisdn_hash, short_code, amount_vnd, occurred_at,
                           received_at)
SELECT gen_random_uuid(), 1, 'old-' || n, $1, '1408', 100000, $2::timestamptz + n * interval '1 millisecond', $2
FROM generate_series(1, $3::integer) AS n
"""
FILL_MESSAGES = """
INSERT INTO uncharged_person (message_id, account_id, message_ref, msisdn_hash, short_code, campaign_id, amount_vnd,
                              message_at, received_at)
SELECT gen_random_uuid(), 1, $4::text || n, $1, '1408', 1, 100000, $2::timestamptz + n * interval '1 millisecond', $2
FROM generate_series(1, $3::integer) AS n
"""


def plainly(charges: dict[str, datetime], messages: set[WaitingMessage]) -> list[Match]:
    """The rule, each charge against each message: the earliest that is near, unless they are of two campaigns."""
    waiting = sorted(messages)
    found = []
    for at, charge_id in sorted((at, charge_id) for charge_id, at in charges.items()):
        near = [each for each in waiting if abs(each.at - at) <= APART_MAX]
        if len({each.campaign_id for each in near}) == 1:
            waiting.remove(near[0])
            found.append(Match(1, charge_id, near[0].ref))
    return found


MINUTES = st.integers(0, 60).map(lambda minutes: NOW + timedelta(minutes=minutes))
CHARGES = st.lists(MINUTES, max_size=12).map(lambda times: {f"c-{place}": at for place, at in enumerate(times)})
MESSAGES = st.lists(st.tuples(MINUTES, st.sampled_from([1, 1, 1, 2])), max_size=12).map(
    lambda each: {WaitingMessage(at, f"m-{place}", campaign) for place, (at, campaign) in enumerate(each)}
)


@given(CHARGES, MESSAGES)
def test_one_pass_matches_what_each_against_each_would(
    charges: dict[str, datetime], messages: set[WaitingMessage]
) -> None:
    assert paired(1, charges, messages) == plainly(charges, messages)


async def fill_charges(connection: asyncpg.Connection, at: datetime, count: int) -> None:
    """Charges of one number that nobody matched, a millisecond apart."""
    await connection.execute(FILL_CHARGES, NUMBER, at, count)
    await connection.execute("ANALYZE charge_person")


async def fill_messages(connection: asyncpg.Connection, at: datetime, count: int, prefix: str = "m-") -> None:
    """Messages of that number without a charge, a millisecond apart."""
    await connection.execute(FILL_MESSAGES, NUMBER, at, count, prefix)
    await connection.execute("ANALYZE uncharged_person")


async def rows_touched(connection: asyncpg.Connection, sql: str, *arguments: object) -> int:
    """Rows that the nodes of a plan gave or removed, all loops together."""
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)

    def touched(node: dict[str, Any]) -> float:
        own = node["Actual Rows"] + sum(node.get(name, 0) for name in node if name.startswith("Rows Removed"))
        return float(own * node["Actual Loops"]) + sum(touched(each) for each in node.get("Plans", ()))

    return round(touched(orjson.loads(explained)[0]["Plan"]))


def arrival(at: datetime, charge_id: str = "new") -> Any:
    """A notice of that number that names no message."""
    return charge_row(charge_id, None, at=at, short_code="1408", msisdn_hash=NUMBER)


def message_of(at: datetime, ref: str = "new") -> Any:
    """A counted message of that number."""
    return message_row(ref, at=at, msisdn_hash=NUMBER)


async def near_arrival(connection: asyncpg.Connection, at: datetime, sql: str) -> int:
    """Rows touched for one arrival."""
    return await rows_touched(
        connection, sql, [1], [NUMBER], ["1408"], [100_000], [at], APART_MAX, ["new"], NEAR_MAX + 1
    )


@pytest.mark.parametrize("minutes", [0, 20, 40], ids=["near the charges", "near neither", "near the messages"])
async def test_thousands_of_unmatched_ones_make_no_arrival_dearer(
    connection: asyncpg.Connection, minutes: int
) -> None:
    await fill_charges(connection, NOW, WAITING)
    await fill_messages(connection, NOW + FAR, WAITING)
    at = NOW + timedelta(minutes=minutes)
    for sql in (SELECT_NEAR_ARRIVALS, SELECT_NEAR_NEW_MESSAGES):
        assert await near_arrival(connection, at, sql) <= 5 * (NEAR_MAX + 1)
    assert await match_arrivals(connection, [arrival(at)], []) == frozenset()
    assert await match_arrivals(connection, [], [message_of(at)]) == frozenset()


async def test_the_sweep_reads_each_once_and_compares_none_with_all(connection: asyncpg.Connection) -> None:
    await fill_charges(connection, NOW, WAITING)
    await fill_messages(connection, NOW + FAR, WAITING)
    for sql in (SELECT_CHARGES_NEAR, SELECT_MESSAGES_NEAR):
        assert await rows_touched(connection, sql, None, APART_MAX) <= 4 * WAITING
    assert await find_matches(connection, None) == []
    await fill_messages(connection, NOW, WAITING, "near-")
    for sql in (SELECT_CHARGES_NEAR, SELECT_MESSAGES_NEAR):
        assert await rows_touched(connection, sql, None, APART_MAX) <= 8 * WAITING
    assert len(await find_matches(connection, None)) == WAITING


async def test_a_notice_is_matched_at_once_where_that_is_plain_and_left_to_the_sweep_where_not(
    connection: asyncpg.Connection,
) -> None:
    await fill_messages(connection, NOW, 2)
    assert await match_arrivals(connection, [arrival(NOW), arrival(NOW, "second")], []) == {(1, "new"), (1, "second")}
    # An older charge near the same message might want it too.
    later = NOW + timedelta(hours=2)
    await fill_charges(connection, later, 1)
    await fill_messages(connection, later, 1, "l-")
    assert await match_arrivals(connection, [arrival(later, "third")], []) == frozenset()
    assert [match.charge_id for match in await find_matches(connection, [1])] == ["old-1"]


async def test_a_message_is_matched_at_once_where_that_is_plain_and_left_to_the_sweep_where_not(
    connection: asyncpg.Connection,
) -> None:
    await fill_charges(connection, NOW, 2)
    assert await match_arrivals(connection, [], [message_of(NOW), message_of(NOW, "second")]) == {
        (1, "old-1"), (1, "old-2"),
    }  # fmt: skip
    # An older message near the same charge might be its own.
    later = NOW + timedelta(hours=2)
    await fill_messages(connection, later, 1, "l-")
    await connection.execute("DELETE FROM charge_person")
    await fill_charges(connection, later, 1)
    assert await match_arrivals(connection, [], [message_of(later, "third")]) == frozenset()
    assert [match.message_ref for match in await find_matches(connection, [1])] == ["l-1"]
