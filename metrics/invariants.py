"""What must always hold between facts and roll-ups: each by name, with the rows that break it.

`INVARIANTS` are watched while the service runs; `metrics/proofs.py` has what only a proof of everything looks at.
"""

from metrics.fact_checks import FACT_CHECKS
from metrics.invariant import Invariant

INVARIANTS = (
    Invariant(
        "totals_equal_money_lines",
        "each campaign's totals per carrier are the sum of its money lines",
        """
        WITH line AS (
            SELECT campaign_id, carrier, count(*) AS lines, sum(messages) AS messages, sum(units) AS units,
                   sum(vnd) AS vnd
            FROM money_line WHERE stage = 'pledged' GROUP BY campaign_id, carrier
        ), total AS (
            SELECT campaign_id, carrier, sum(lines) AS lines, sum(messages) AS messages, sum(units) AS units,
                   sum(pledged_vnd) AS vnd
            FROM campaign_total GROUP BY campaign_id, carrier
        )
        SELECT format('campaign %s, %s', coalesce(line.campaign_id, total.campaign_id),
                      coalesce(line.carrier, total.carrier)) AS place,
               format('%s lines, %s messages, %s units, %s VND', coalesce(line.lines, 0), coalesce(line.messages, 0),
                      coalesce(line.units, 0), coalesce(line.vnd, 0)) AS expected,
               format('%s lines, %s messages, %s units, %s VND', coalesce(total.lines, 0),
                      coalesce(total.messages, 0), coalesce(total.units, 0), coalesce(total.vnd, 0)) AS found
        FROM line FULL JOIN total USING (campaign_id, carrier)
        WHERE (coalesce(line.lines, 0), coalesce(line.messages, 0), coalesce(line.units, 0), coalesce(line.vnd, 0))
            <> (coalesce(total.lines, 0), coalesce(total.messages, 0), coalesce(total.units, 0),
                coalesce(total.vnd, 0))
        ORDER BY 1 LIMIT $1
        """,
    ),
    Invariant(
        "later_stages_equal_money_lines",
        "confirmed, received and disbursed totals are the sum of their money lines",
        """
        WITH line AS (
            SELECT campaign_id, carrier, sum(vnd) FILTER (WHERE stage = 'confirmed') AS confirmed,
                   sum(vnd) FILTER (WHERE stage = 'received') AS received,
                   sum(vnd) FILTER (WHERE stage = 'disbursed') AS disbursed
            FROM money_line WHERE stage <> 'pledged' GROUP BY campaign_id, carrier
        ), total AS (
            SELECT campaign_id, carrier, sum(confirmed_vnd) AS confirmed, sum(received_vnd) AS received,
                   sum(disbursed_vnd) AS disbursed
            FROM campaign_total GROUP BY campaign_id, carrier
        )
        SELECT format('campaign %s, %s', campaign_id, carrier) AS place,
               format('%s, %s, %s VND', coalesce(line.confirmed, 0), coalesce(line.received, 0),
                      coalesce(line.disbursed, 0)) AS expected,
               format('%s, %s, %s VND', coalesce(total.confirmed, 0), coalesce(total.received, 0),
                      coalesce(total.disbursed, 0)) AS found
        FROM line FULL JOIN total USING (campaign_id, carrier)
        WHERE (coalesce(line.confirmed, 0), coalesce(line.received, 0), coalesce(line.disbursed, 0))
            <> (coalesce(total.confirmed, 0), coalesce(total.received, 0), coalesce(total.disbursed, 0))
        ORDER BY 1 LIMIT $1
        """,
    ),
    Invariant(
        "reversed_equal_money_lines",
        "what each campaign gave back of a gift is what the lines of its reversals took there, or nothing",
        """
        WITH line AS (
            SELECT campaign_id, carrier, sum(messages) AS messages, sum(vnd) AS vnd FROM (
                SELECT campaign_id, carrier, greatest(-sum(messages), 0) AS messages, greatest(-sum(vnd), 0) AS vnd
                FROM money_line WHERE stage = 'pledged' AND cause ~ '^([0-9]+:)?reversal:'
                GROUP BY gift_id, campaign_id, carrier
            ) AS given GROUP BY campaign_id, carrier
        ), total AS (
            SELECT campaign_id, carrier, sum(reversed_messages) AS messages, sum(reversed_vnd) AS vnd
            FROM campaign_total GROUP BY campaign_id, carrier
        )
        SELECT format('campaign %s, %s', campaign_id, carrier) AS place,
               format('%s messages, %s VND', coalesce(line.messages, 0), coalesce(line.vnd, 0)) AS expected,
               format('%s messages, %s VND', coalesce(total.messages, 0), coalesce(total.vnd, 0)) AS found
        FROM line FULL JOIN total USING (campaign_id, carrier)
        WHERE (coalesce(line.messages, 0), coalesce(line.vnd, 0))
            <> (coalesce(total.messages, 0), coalesce(total.vnd, 0))
        ORDER BY 1 LIMIT $1
        """,
    ),
    Invariant(
        "minutes_equal_money_lines",
        "each minute of a campaign per carrier is the sum of its money lines",
        """
        WITH line AS (
            SELECT campaign_id, date_trunc('minute', at) AS minute, carrier, sum(messages) AS messages,
                   sum(units) AS units, sum(vnd) AS vnd
            FROM money_line WHERE stage = 'pledged' GROUP BY 1, 2, 3
        ), rolled AS (
            SELECT campaign_id, minute, carrier, sum(messages) AS messages, sum(units) AS units,
                   sum(pledged_vnd) AS vnd
            FROM campaign_minute GROUP BY 1, 2, 3
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
        """,
    ),
    Invariant(
        "uncounted_equal_messages",
        "each campaign's uncounted figures are the number of its messages with that reading",
        """
        WITH fact AS (
            SELECT campaign_id, carrier, count(*) FILTER (WHERE reading = 'wrong_syntax') AS wrong_syntax,
                   count(*) FILTER (WHERE reading = 'before_open') AS before_open,
                   count(*) FILTER (WHERE reading = 'after_close') AS after_close
            FROM message WHERE campaign_id IS NOT NULL GROUP BY campaign_id, carrier
        ), total AS (
            SELECT campaign_id, carrier, sum(wrong_syntax) AS wrong_syntax, sum(before_open) AS before_open,
                   sum(after_close) AS after_close
            FROM campaign_total GROUP BY campaign_id, carrier
        )
        SELECT format('campaign %s, %s', campaign_id, carrier) AS place,
               format('%s wrong syntax, %s before, %s after', coalesce(fact.wrong_syntax, 0),
                      coalesce(fact.before_open, 0), coalesce(fact.after_close, 0)) AS expected,
               format('%s wrong syntax, %s before, %s after', coalesce(total.wrong_syntax, 0),
                      coalesce(total.before_open, 0), coalesce(total.after_close, 0)) AS found
        FROM fact FULL JOIN total USING (campaign_id, carrier)
        WHERE (coalesce(fact.wrong_syntax, 0), coalesce(fact.before_open, 0), coalesce(fact.after_close, 0))
            <> (coalesce(total.wrong_syntax, 0), coalesce(total.before_open, 0), coalesce(total.after_close, 0))
        ORDER BY 1 LIMIT $1
        """,
    ),
    Invariant(
        "unallocated_equal_messages",
        "the unallocated figures are the number of messages without a campaign",
        """
        WITH fact AS (
            SELECT count(*) FILTER (WHERE reading = 'unknown_keyword') AS unknown_keyword,
                   count(*) FILTER (WHERE reading = 'unknown_short_code') AS unknown_short_code,
                   count(*) FILTER (WHERE reading = 'empty_text') AS empty_text
            FROM message WHERE campaign_id IS NULL
        ), total AS (
            SELECT coalesce(sum(unknown_keyword), 0) AS unknown_keyword,
                   coalesce(sum(unknown_short_code), 0) AS unknown_short_code,
                   coalesce(sum(empty_text), 0) AS empty_text
            FROM unallocated_total
        )
        SELECT 'unallocated messages' AS place, fact::text AS expected, total::text AS found
        FROM fact, total
        WHERE (fact.unknown_keyword, fact.unknown_short_code, fact.empty_text)
            <> (total.unknown_keyword, total.unknown_short_code, total.empty_text)
        LIMIT $1
        """,
    ),
    Invariant(
        "orphans_equal_charges",
        "the orphan figures are the succeeded charges whose message has not come",
        """
        WITH fact AS (
            SELECT count(*) AS count, coalesce(sum(c.succeeded_vnd), 0) AS vnd
            FROM charge_owner AS c WHERE c.is_succeeded AND NOT EXISTS (
                SELECT FROM message AS m WHERE m.account_id = c.account_id AND m.native_id = c.message_ref
            )
        ), total AS (
            SELECT coalesce(sum(orphan_charges), 0) AS count, coalesce(sum(orphan_vnd), 0) AS vnd
            FROM unallocated_total
        )
        SELECT 'orphan charges' AS place, fact::text AS expected, total::text AS found
        FROM fact, total WHERE (fact.count, fact.vnd) <> (total.count, total.vnd)
        LIMIT $1
        """,
    ),
    Invariant(
        "each_counted_message_is_pledged_once",
        "a counted message has exactly its one pledge, by itself or by its charge; nothing else has one",
        """
        WITH waits AS (
            SELECT message_id FROM gift
            WHERE state IN ('received', 'pending', 'failed') OR (state = 'reversed' AND reversed_vnd = 0)
        ), pledge AS (
            SELECT gift_id, campaign_id, carrier, messages, units, vnd FROM money_line
            WHERE stage = 'pledged' AND cause = 'message'
            UNION ALL
            SELECT gift_id, min(campaign_id) FILTER (WHERE cause = 'charge'), carrier, sum(messages), sum(units),
                   sum(vnd)
            FROM money_line WHERE stage = 'pledged' AND (cause = 'charge' OR cause ~ '^[0-9]+:charge$')
            GROUP BY gift_id, carrier HAVING sum(messages) <> 0 OR sum(vnd) <> 0
        )
        SELECT format('message %s', coalesce(m.id, l.gift_id)) AS place,
               CASE WHEN m.id IS NULL THEN 'no pledge'
                    ELSE format('%s units, %s VND', m.units, m.amount_vnd) END AS expected,
               CASE WHEN l.gift_id IS NULL THEN 'no pledge'
                    ELSE format('%s messages, %s units, %s VND', l.messages, l.units, l.vnd) END AS found
        FROM (
            SELECT id, campaign_id, carrier, units, amount_vnd FROM message
            WHERE reading = 'counted' AND NOT EXISTS (SELECT FROM waits WHERE message_id = message.id)
        ) AS m FULL JOIN pledge AS l ON l.gift_id = m.id
        WHERE m.id IS NULL OR l.gift_id IS NULL OR (m.campaign_id, m.carrier, 1, m.units, m.amount_vnd)
            <> (l.campaign_id, l.carrier, l.messages, l.units, l.vnd)
        LIMIT $1
        """,
    ),
    Invariant(
        "reported_gifts_follow_their_charges",
        "a gift that counts on report is counted exactly when a charge of it succeeded",
        """
        WITH reported AS (
            SELECT g.message_id, g.account_id, g.message_ref, g.state,
                   g.state = 'counted' OR g.reversed_vnd > 0 AS is_pledged
            FROM gift AS g JOIN message AS m ON m.id = g.message_id
            WHERE m.reading = 'counted' AND NOT EXISTS (
                SELECT FROM money_line AS l
                WHERE l.gift_id = g.message_id AND l.stage = 'pledged' AND l.cause = 'message'
            )
        ), charged AS (
            SELECT DISTINCT account_id, message_ref FROM charge_owner WHERE is_succeeded
        )
        SELECT format('gift %s', r.message_id) AS place,
               CASE WHEN c.message_ref IS NULL THEN 'not counted' ELSE 'counted' END AS expected, r.state AS found
        FROM reported AS r LEFT JOIN charged AS c USING (account_id, message_ref)
        WHERE r.is_pledged <> (c.message_ref IS NOT NULL)
        LIMIT $1
        """,
    ),
    Invariant(
        "no_gift_is_overdrawn",
        "what was taken back from a gift is what its lines say, and never more than it was",
        """
        WITH taken AS (
            SELECT gift_id, sum(vnd) AS left_vnd,
                   -coalesce(sum(vnd) FILTER (WHERE cause ~ '^([0-9]+:)?reversal:'), 0) AS taken_vnd
            FROM money_line WHERE stage = 'pledged' AND gift_id IN (
                SELECT gift_id FROM money_line WHERE stage = 'pledged' AND cause <> 'message'
            ) GROUP BY gift_id
        )
        SELECT format('gift %s', coalesce(gift.message_id, taken.gift_id)) AS place,
               format('%s VND taken back', coalesce(gift.reversed_vnd, 0)) AS expected,
               format('%s VND taken back, %s left', coalesce(taken.taken_vnd, 0),
                      coalesce(taken.left_vnd, 0)) AS found
        FROM taken FULL JOIN (SELECT message_id, reversed_vnd FROM gift WHERE reversed_vnd > 0) AS gift
            ON gift.message_id = taken.gift_id
        WHERE coalesce(taken.taken_vnd, 0) <> coalesce(gift.reversed_vnd, 0) OR taken.left_vnd < 0
        LIMIT $1
        """,
    ),
    Invariant(
        "nothing_waits_for_what_is_here",
        "no event waits for a message that is stored",
        """
        SELECT format('event %s', w.event_id) AS place, 'joined' AS expected, 'waiting' AS found
        FROM waiting_event AS w JOIN message AS m ON m.account_id = w.account_id AND m.native_id = w.message_ref
        LIMIT $1
        """,
    ),
    Invariant(
        "references_hold",
        "every message, line and total has its account, campaign and book version, and every conflict its callback",
        """
        (SELECT format('message account %s', account_id) AS place, 'known' AS expected, 'unknown' AS found
         FROM (SELECT DISTINCT account_id FROM message) AS m
         WHERE NOT EXISTS (SELECT FROM gateway_account AS a WHERE a.id = m.account_id))
        UNION ALL
        (SELECT format('campaign %s', campaign_id), 'known', 'unknown'
         FROM (SELECT campaign_id FROM campaign_total UNION SELECT campaign_id FROM campaign_minute) AS t
         WHERE NOT EXISTS (SELECT FROM campaign AS c WHERE c.id = t.campaign_id))
        UNION ALL
        (SELECT format('book version %s', book_version), 'known', 'unknown'
         FROM (SELECT DISTINCT book_version FROM message WHERE book_version > 0) AS m
         WHERE NOT EXISTS (SELECT FROM book_version AS b WHERE b.version = m.book_version))
        UNION ALL
        (SELECT format('conflict of account %s, %s', account_id, kind), 'its callback', 'none' FROM conflict AS c
         WHERE c.sealed IS NULL AND NOT EXISTS (SELECT FROM conflict_callback AS k WHERE k.raw_id = c.raw_id))
        LIMIT $1
        """,
    ),
    *FACT_CHECKS,
)
