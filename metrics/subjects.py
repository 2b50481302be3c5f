"""What is checked stretch by stretch, and its SQL. Two subjects, each with its own axis.

`minutes` goes by the time of the money, which decides the minute of the roll-up; `gifts` by the time of receipt, with
which the ids of messages and the keys of their lines begin.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from metrics.fact_checks import LINES_FOLLOW_CAUSES
from metrics.invariant import Invariant
from metrics.stretches import BEGINNING, FOREVER, Subject

MILLISECOND = timedelta(milliseconds=1)
_BEFORE_ALL = datetime(1, 1, 2, tzinfo=UTC)
_GREATEST = UUID(int=2**128 - 1)

# Without ORDER BY at its end, so that it is planned to stop early; it comes in order, and a later minute would do.
CUT_MINUTES = """
SELECT date_trunc('minute', minute) FROM (
    SELECT minute, sum(sum(greatest(messages, 1))) OVER (
        ORDER BY minute ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS messages_before
    FROM campaign_minute WHERE minute >= $1 AND minute < $2 GROUP BY minute
) AS counted
WHERE messages_before >= $3 LIMIT 1
"""
CUT_GIFTS = "SELECT id FROM message WHERE id >= $1 AND id < $2 ORDER BY id OFFSET $3 LIMIT 1"
NEWEST_GIFTS = "SELECT id FROM message WHERE id >= $1 ORDER BY id DESC OFFSET $2 LIMIT 1"

# Nearly all lines are those of messages: in the cause of these no statement looks for a pattern, which costs most.
MINUTES_EQUAL_LINES = """
WITH line AS (
    SELECT campaign_id, date_trunc('minute', at) AS minute, carrier, sum(messages) AS messages, sum(units) AS units,
           sum(vnd) AS vnd
    FROM money_line WHERE at >= $2 AND at < $3 AND stage = 'pledged' GROUP BY 1, 2, 3
), rolled AS (
    SELECT campaign_id, minute, carrier, sum(messages) AS messages, sum(units) AS units, sum(pledged_vnd) AS vnd
    FROM campaign_minute WHERE minute >= $2 AND minute < $3 GROUP BY 1, 2, 3
)
SELECT format('campaign %s, %s, minute %s', campaign_id, carrier, minute) AS place,
       format('%s messages, %s units, %s VND', coalesce(line.messages, 0), coalesce(line.units, 0),
              coalesce(line.vnd, 0)) AS expected,
       format('%s messages, %s units, %s VND', coalesce(rolled.messages, 0), coalesce(rolled.units, 0),
              coalesce(rolled.vnd, 0)) AS found
FROM line FULL JOIN rolled USING (campaign_id, minute, carrier)
WHERE (coalesce(line.messages, 0), coalesce(line.units, 0), coalesce(line.vnd, 0))
    <> (coalesce(rolled.messages, 0), coalesce(rolled.units, 0), coalesce(rolled.vnd, 0))
ORDER BY 1 LIMIT $1
"""
PLEDGED_ONCE = """
WITH waits AS (
    SELECT message_id FROM gift
    WHERE message_id >= $2 AND message_id < $3
        AND (state IN ('received', 'pending', 'failed') OR (state = 'reversed' AND reversed_vnd = 0))
), pledge AS (
    SELECT gift_id, campaign_id, carrier, messages, units, vnd FROM money_line
    WHERE gift_id >= $2 AND gift_id < $3 AND stage = 'pledged' AND cause = 'message'
    UNION ALL
    SELECT gift_id, min(campaign_id) FILTER (WHERE cause = 'charge'), carrier, sum(messages), sum(units), sum(vnd)
    FROM money_line
    WHERE gift_id >= $2 AND gift_id < $3 AND stage = 'pledged' AND cause <> 'message'
        AND (cause = 'charge' OR cause ~ '^[0-9]+:charge$')
    GROUP BY gift_id, carrier HAVING sum(messages) <> 0 OR sum(vnd) <> 0
)
SELECT format('message %s', coalesce(m.id, l.gift_id)) AS place,
       CASE WHEN m.id IS NULL THEN 'no pledge' ELSE format('%s units, %s VND', m.units, m.amount_vnd) END AS expected,
       CASE WHEN l.gift_id IS NULL THEN 'no pledge'
            ELSE format('%s messages, %s units, %s VND', l.messages, l.units, l.vnd) END AS found
FROM (
    SELECT id, campaign_id, carrier, units, amount_vnd FROM message
    WHERE id >= $2 AND id < $3 AND reading = 'counted'
        AND NOT EXISTS (SELECT FROM waits WHERE message_id = message.id)
) AS m FULL JOIN pledge AS l ON l.gift_id = m.id
WHERE m.id IS NULL OR l.gift_id IS NULL OR (m.campaign_id, m.carrier, 1, m.units, m.amount_vnd)
    <> (l.campaign_id, l.carrier, l.messages, l.units, l.vnd)
LIMIT $1
"""
# A charge belongs to a message that one of its notices names, or with which it was matched; OFFSET 0 lets the view be
# asked for one charge at a time.
FOLLOW_CHARGES = """
WITH reported AS MATERIALIZED (
    SELECT g.message_id, g.account_id, g.message_ref, g.state, g.state = 'counted' OR g.reversed_vnd > 0 AS is_pledged
    FROM gift AS g JOIN message AS m ON m.id = g.message_id
    WHERE g.message_id >= $2 AND g.message_id < $3 AND m.id >= $2 AND m.id < $3 AND m.reading = 'counted'
        AND NOT EXISTS (
            SELECT FROM money_line AS l
            WHERE l.gift_id = g.message_id AND l.gift_id >= $2 AND l.gift_id < $3
                AND l.stage = 'pledged' AND l.cause = 'message'
        )
), judged AS (
    SELECT r.message_id, r.state, r.is_pledged, EXISTS (
        SELECT FROM (
            SELECT c.charge_id FROM charge_notice AS c
            WHERE c.account_id = r.account_id AND c.message_ref = r.message_ref
            UNION ALL
            SELECT c.charge_id FROM charge_match AS c
            WHERE c.account_id = r.account_id AND c.message_ref = r.message_ref
        ) AS named CROSS JOIN LATERAL (
            SELECT o.is_succeeded, o.message_ref FROM charge_owner AS o
            WHERE o.account_id = r.account_id AND o.charge_id = named.charge_id OFFSET 0
        ) AS owner
        WHERE owner.is_succeeded AND owner.message_ref = r.message_ref
    ) AS is_charged
    FROM reported AS r
)
SELECT format('gift %s', message_id) AS place, CASE WHEN is_charged THEN 'counted' ELSE 'not counted' END AS expected,
       state AS found
FROM judged WHERE is_pledged <> is_charged
LIMIT $1
"""
NOT_OVERDRAWN = """
WITH taken AS (
    SELECT gift_id, sum(vnd) AS left_vnd,
           -coalesce(sum(vnd) FILTER (WHERE cause <> 'message' AND cause ~ '^([0-9]+:)?reversal:'), 0) AS taken_vnd
    FROM money_line WHERE gift_id >= $2 AND gift_id < $3 AND stage = 'pledged'
    GROUP BY gift_id HAVING bool_or(cause <> 'message')
)
SELECT format('gift %s', coalesce(gift.message_id, taken.gift_id)) AS place,
       format('%s VND taken back', coalesce(gift.reversed_vnd, 0)) AS expected,
       format('%s VND taken back, %s left', coalesce(taken.taken_vnd, 0), coalesce(taken.left_vnd, 0)) AS found
FROM taken FULL JOIN (
    SELECT message_id, reversed_vnd FROM gift WHERE message_id >= $2 AND message_id < $3 AND reversed_vnd > 0
) AS gift ON gift.message_id = taken.gift_id
WHERE coalesce(taken.taken_vnd, 0) <> coalesce(gift.reversed_vnd, 0) OR taken.left_vnd < 0
LIMIT $1
"""
# One step of an index for each line of a reversal or a move, and none for the others.
# The same statement over a part. Were these words not in it, $2 and $3 would have no place, and the database says so.
LINES_FOLLOW = LINES_FOLLOW_CAUSES.replace(
    "FROM money_line AS l LEFT JOIN message AS m",
    "FROM (SELECT * FROM money_line WHERE gift_id >= $2 AND gift_id < $3) AS l "
    "LEFT JOIN (SELECT * FROM message WHERE id >= $2 AND id < $3) AS m",
)
MESSAGES_REFER = """
WITH named AS MATERIALIZED (SELECT DISTINCT account_id, book_version FROM message WHERE id >= $2 AND id < $3)
(SELECT format('message account %s', account_id) AS place, 'known' AS expected, 'unknown' AS found
 FROM (SELECT DISTINCT account_id FROM named) AS m
 WHERE NOT EXISTS (SELECT FROM gateway_account AS a WHERE a.id = m.account_id))
UNION ALL
(SELECT format('book version %s', book_version), 'known', 'unknown'
 FROM (SELECT DISTINCT book_version FROM named WHERE book_version > 0) AS m
 WHERE NOT EXISTS (SELECT FROM book_version AS b WHERE b.version = m.book_version))
LIMIT $1
"""
# Nearly every stretch holds messages that count by themselves, each with its one line, and nothing else: one look at
# both says so, for a fourth of what the five statements cost. Whatever it does not understand it does not call sound.
PLAIN_GIFTS = """
SELECT coalesce(bool_and((lines = counted AND sound = counted AND is_known) IS TRUE), true)
    AND NOT EXISTS (SELECT FROM gift WHERE message_id >= $1 AND message_id < $2)
FROM (
    SELECT lines, counted, sound,
           EXISTS (SELECT FROM gateway_account AS a WHERE a.id = account_id)
               AND (book_version = 0 OR EXISTS (SELECT FROM book_version AS b WHERE b.version = m.book_version))
               AS is_known
    FROM (
        SELECT m.account_id, m.book_version, count(l.gift_id) AS lines,
               count(*) FILTER (WHERE m.reading = 'counted') AS counted,
               count(*) FILTER (
                   WHERE m.reading = 'counted' AND l.cause = 'message' AND l.messages = 1
                       AND (l.campaign_id, l.carrier, l.units, l.vnd, l.at)
                           = (m.campaign_id, m.carrier, m.units, m.amount_vnd, m.message_at)) AS sound
        FROM (SELECT * FROM message WHERE id >= $1 AND id < $2) AS m FULL JOIN (
            SELECT * FROM money_line WHERE gift_id >= $1 AND gift_id < $2 AND stage = 'pledged'
        ) AS l ON l.gift_id = m.id
        GROUP BY m.account_id, m.book_version
    ) AS m
) AS judged
"""


def least_id(at: datetime) -> UUID:
    """The least id of an event received at `at`: ids begin with the milliseconds of their time."""
    if at >= FOREVER:
        return _GREATEST
    return UUID(int=max(0, (at - BEGINNING) // MILLISECOND) << 80)


def instant_of(found: datetime | UUID) -> datetime:
    """The millisecond with which an id begins, FOREVER at most."""
    assert isinstance(found, UUID)  # noqa: S101 -- what CUT_GIFTS selects
    milliseconds = found.int >> 80
    return BEGINNING + milliseconds * MILLISECOND if milliseconds < (FOREVER - BEGINNING) // MILLISECOND else FOREVER


def _minute_bound(at: datetime) -> datetime:
    # A line whose time was made impossible lies in the first stretch.
    return _BEFORE_ALL if at == BEGINNING else at


def _minute_instant(found: datetime | UUID) -> datetime:
    assert isinstance(found, datetime)  # noqa: S101 -- what CUT_MINUTES selects
    return found


MINUTES = Subject(
    "minutes",
    timedelta(minutes=1),
    CUT_MINUTES,
    (
        Invariant(
            "minutes_equal_money_lines",
            "each minute of a campaign per carrier is the sum of its money lines",
            MINUTES_EQUAL_LINES,
        ),
    ),
    _minute_bound,
    _minute_instant,
)
GIFTS = Subject(
    "gifts",
    MILLISECOND,
    CUT_GIFTS,
    (
        Invariant(
            "each_counted_message_is_pledged_once",
            "a counted message has exactly its one pledge, by itself or by its charge; nothing else has one",
            PLEDGED_ONCE,
        ),
        Invariant(
            "reported_gifts_follow_their_charges",
            "a gift that counts on report is counted exactly when a charge of it succeeded",
            FOLLOW_CHARGES,
        ),
        Invariant(
            "no_gift_is_overdrawn",
            "what was taken back from a gift is what its lines say, and never more than it was",
            NOT_OVERDRAWN,
        ),
        Invariant(
            "lines_follow_their_causes",
            "each money line has its cause, and lies where and when that happened",
            LINES_FOLLOW,
        ),
        Invariant("references_hold", "every message belongs to a known account and book version", MESSAGES_REFER),
    ),
    least_id,
    instant_of,
    PLAIN_GIFTS,
)
SUBJECTS = (MINUTES, GIFTS)


async def newest_gifts(connection: asyncpg.Connection, begins_at: datetime, rows: int) -> datetime:
    """Since when the newest `rows` gifts came, `begins_at` at the earliest."""
    found = await connection.fetchval(NEWEST_GIFTS, least_id(begins_at), rows)
    return begins_at if found is None else max(begins_at, min(instant_of(found), FOREVER - MILLISECOND))
