"""The one look at a stretch that calls it sound calls nothing sound that the statements would find broken."""

import asyncpg

from metrics.stretches import BEGINNING, FOREVER
from metrics.subjects import GIFTS
from tests.bench.stored import store
from tests.support.portal import Portal
from tests.support.rounds import keep, put_back
from tests.support.tampering import PAST_THE_LOCKS

NOT_PLAIN = (
    "UPDATE money_line SET campaign_id = campaign_id + 1 WHERE gift_id = ONE",
    "UPDATE money_line SET carrier = 'vnpt' WHERE gift_id = ONE",
    "UPDATE money_line SET messages = 2 WHERE gift_id = ONE",
    "UPDATE money_line SET units = units + 1 WHERE gift_id = ONE",
    "UPDATE money_line SET vnd = vnd + 1 WHERE gift_id = ONE",
    "UPDATE money_line SET at = at + interval '1 minute' WHERE gift_id = ONE",
    "UPDATE money_line SET cause = 'charge' WHERE gift_id = ONE",
    "UPDATE money_line SET stage = 'confirmed' WHERE gift_id = ONE",
    "DELETE FROM money_line WHERE gift_id = ONE",
    (
        "INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)"
        " SELECT gift_id, stage, '2:charge', campaign_id, carrier, 0, 0, 0, at FROM money_line WHERE gift_id = ONE"
    ),
    "UPDATE message SET reading = 'wrong_syntax', units = NULL, amount_vnd = NULL WHERE id = ONE",
    # As many lines as messages that count, one of them of another.
    (
        "UPDATE message SET reading = 'wrong_syntax', units = NULL, amount_vnd = NULL WHERE id = ONE;"
        " INSERT INTO message SELECT (jsonb_populate_record(m, jsonb_build_object("
        "'id', gen_random_uuid(), 'native_id', 'x'))).* FROM message AS m WHERE id <> ONE ORDER BY id LIMIT 1"
    ),
    "UPDATE message SET account_id = 0 WHERE id = ONE",
    "UPDATE message SET book_version = 999 WHERE id = ONE",
    "DELETE FROM message WHERE id = ONE",
    (
        "INSERT INTO gift (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd,"
        " reversed_vnd) SELECT id, account_id, native_id, 'counted', campaign_id, carrier, units, amount_vnd, 0"
        " FROM message WHERE id = ONE"
    ),
)
ONE = "(SELECT id FROM message ORDER BY id OFFSET 4 LIMIT 1)"


async def test_messages_with_their_one_line_are_plain_and_nothing_else_is(portal: Portal) -> None:
    assert GIFTS.plain is not None
    whole = GIFTS.bound(BEGINNING), GIFTS.bound(FOREVER)
    connection = await asyncpg.connect(portal.dsn)
    try:
        await connection.execute(PAST_THE_LOCKS)
        assert await connection.fetchval(GIFTS.plain, *whole)
        await store(portal.dsn, 1, 10, 10)
        assert await connection.fetchval(GIFTS.plain, *whole)
        await keep(connection)
        for change in NOT_PLAIN:
            async with put_back(connection):
                await connection.execute(change.replace("ONE", ONE))
                assert await connection.fetchval(GIFTS.plain, *whole) is False, change
    finally:
        await connection.close()
