"""What a proof of everything looks at beside the invariants: too much to be watched while the service runs."""

from collections.abc import AsyncIterator

import asyncpg

from campaigns.gifts.event_rows import Key
from campaigns.gifts.events import Charges, select_gifts
from campaigns.gifts.projection import changes_of
from metrics.invariant import DIFFERENCES_MAX, Difference, Invariant, check
from metrics.invariants import INVARIANTS

GIFTS_AT_ONCE = 1_000
"""Gifts that are folded again together: what is held in memory."""

MESSAGELESS_WAIT = """
SELECT format('event %s', e.id) AS place, 'waits' AS expected, 'neither joined nor waiting' AS found
FROM (
    SELECT id, account_id, message_ref FROM charge_notice WHERE message_ref IS NOT NULL
    UNION ALL
    SELECT id, account_id, message_ref FROM reversal WHERE message_ref IS NOT NULL
) AS e
WHERE NOT EXISTS (SELECT FROM message AS m WHERE m.account_id = e.account_id AND m.native_id = e.message_ref)
    AND NOT EXISTS (SELECT FROM waiting_event AS w WHERE w.event_id = e.id)
LIMIT $1
"""
# Of the days since which none is missing: an old one may be made again for a callback that came very late.
# to_regclass sees what is there now, as the scan of the partitions does, and not what the snapshot saw.
RAWS_ARE_HELD = """
WITH event AS MATERIALIZED (
    SELECT id, raw_id, (received_at AT TIME ZONE 'UTC')::date AS day FROM message
    UNION ALL SELECT id, raw_id, (received_at AT TIME ZONE 'UTC')::date FROM charge_notice
    UNION ALL SELECT id, raw_id, (received_at AT TIME ZONE 'UTC')::date FROM reversal
), held AS (
    SELECT day FROM (SELECT DISTINCT day FROM event) AS d
    WHERE NOT EXISTS (
        SELECT FROM generate_series(
            d.day, greatest(d.day, (now() AT TIME ZONE 'UTC')::date), interval '1 day'
        ) AS later
        WHERE to_regclass('raw_callback_' || to_char(later, 'YYYYMMDD')) IS NULL
    )
)
SELECT format('event %s', e.id) AS place, 'its callback as it came' AS expected, 'none' AS found
FROM event AS e JOIN held USING (day)
WHERE NOT EXISTS (SELECT FROM raw_callback AS r WHERE r.received_on = e.day AND r.id = e.raw_id)
LIMIT $1
"""
PERSONS_HAVE_MESSAGES = """
SELECT format('person of message %s', p.message_id) AS place, 'a message' AS expected, 'none' AS found
FROM message_person AS p WHERE NOT EXISTS (SELECT FROM message AS m WHERE m.id = p.message_id)
LIMIT $1
"""
# What was kept is counted by account, outcome and day, as its bound needs it. A replay is of a callback that is here,
# and one that was no mere repeat has left an event.
QUARANTINE_IS_HELD = """
SELECT * FROM (
    SELECT format('quarantine of account %s, %s, %s', e.account_id, e.kind, e.day) AS place,
           format('%s callbacks', e.callbacks) AS expected, format('%s', coalesce(q.callbacks, 0)) AS found
    FROM evidence_day AS e LEFT JOIN (
        SELECT account_id, outcome AS kind, day, count(*) AS callbacks FROM quarantine GROUP BY 1, 2, 3
    ) AS q USING (account_id, kind, day)
    WHERE e.kind IN ('malformed', 'unauthenticated') AND e.callbacks > coalesce(q.callbacks, 0)
    UNION ALL
    SELECT format('replay of callback %s', t.quarantine_id), 'its callback', 'none' FROM quarantine_act AS t
    WHERE NOT EXISTS (SELECT FROM quarantine AS q WHERE q.id = t.quarantine_id)
    UNION ALL
    SELECT format('replay of callback %s', t.quarantine_id), 'an event of it', 'none' FROM quarantine_act AS t
    WHERE t.is_stored AND t.outcome IN ('accepted', 'unallocated', 'rejected_policy')
        AND NOT EXISTS (SELECT FROM message AS m WHERE m.raw_id = t.quarantine_id)
        AND NOT EXISTS (SELECT FROM charge_notice AS c WHERE c.raw_id = t.quarantine_id)
        AND NOT EXISTS (SELECT FROM reversal AS r WHERE r.raw_id = t.quarantine_id)
) AS broken
LIMIT $1
"""
# The first event of a callback bears the callback's own id, wherever it is kept.
TESTS_ARE_NO_FACTS = """
SELECT format('callback %s', t.id) AS place, 'a test and nothing else' AS expected, 'an event is stored' AS found
FROM test_callback AS t
WHERE EXISTS (SELECT FROM message AS m WHERE m.id = t.id)
    OR EXISTS (SELECT FROM charge_notice AS c WHERE c.id = t.id)
    OR EXISTS (SELECT FROM reversal AS r WHERE r.id = t.id)
LIMIT $1
"""
# Every message of which another event speaks; a gift that its message alone made is proved by SQL.
SELECT_JOINED = """
SELECT account_id, message_ref FROM (
    SELECT account_id, message_ref FROM gift
    UNION SELECT account_id, message_ref FROM charge_notice
    UNION SELECT account_id, message_ref FROM charge_match
    UNION SELECT account_id, message_ref FROM reversal
) AS named
WHERE message_ref IS NOT NULL
"""

PROOFS = (
    *INVARIANTS,
    Invariant("what_has_no_message_waits", "each event whose message has not come waits for it", MESSAGELESS_WAIT),
    Invariant(
        "raw_callbacks_are_held", "each event's callback is kept as it came, for as long as its day is", RAWS_ARE_HELD
    ),
    Invariant(
        "quarantine_is_held",
        "what was kept for a person is still there, and what was replayed into the store is stored",
        QUARANTINE_IS_HELD,
    ),
    Invariant("tests_are_no_facts", "no callback of a test account is stored as a gift", TESTS_ARE_NO_FACTS),
    Invariant("persons_have_messages", "nobody's number is kept without a message", PERSONS_HAVE_MESSAGES),
)
GIFTS_FOLLOW_EVENTS = "gifts_follow_their_events"
SENTENCE = "each gift's state, money lines and questions are what all of its events make of it"


async def prove(connection: asyncpg.Connection) -> AsyncIterator[tuple[str, str, list[Difference]]]:
    """Every invariant and proof: its name, its sentence, and what breaks it. In the caller's snapshot."""
    for each in PROOFS:
        yield each.name, each.sentence, await check(connection, each)
    yield GIFTS_FOLLOW_EVENTS, SENTENCE, await refold(connection)


async def refold(connection: asyncpg.Connection) -> list[Difference]:
    """Fold every gift of several events again, and compare with what is written; needs a transaction."""
    differences: list[Difference] = []
    cursor = await connection.cursor(SELECT_JOINED)
    while len(differences) < DIFFERENCES_MAX and (rows := await cursor.fetch(GIFTS_AT_ONCE)):
        keys: set[Key] = {(row["account_id"], row["message_ref"]) for row in rows}
        gifts = await select_gifts(connection, keys)
        charges = Charges()
        await charges.add_those_of(connection, gifts)
        changes = await changes_of(connection, gifts, charges)
        for row, folded in changes.gifts:
            differences.append(
                Difference(
                    f"gift {row.id}",
                    f"{folded.gift.state}, {folded.gift.reversed_vnd} VND taken back",
                    f"{row.state or 'no row'}, {row.reversed_vnd} VND taken back",
                )
            )
        for line in changes.lines:
            expected = f"{line.messages:+} messages, {line.units:+} units, {line.vnd:+} VND more"
            differences.append(Difference(f"gift {line.gift_id}", expected, "what is written"))
        differences += [Difference(f"event {event}", "listed", "not listed") for event in changes.listed]
        differences += [Difference(f"event {event}", "not listed", "listed") for event in changes.unlisted]
    return differences[:DIFFERENCES_MAX]
