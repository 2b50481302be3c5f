"""The invariants that are checked as a whole in every round: they read roll-ups, small tables and partial indexes.

None reads the facts one by one. Together with the stretches (stretches.py) they say what `invariants.py` says: totals
are the sum of minutes here, and minutes the sum of money lines there.
"""

from campaigns.totals.reversed import GIVEN_BACK
from metrics.invariant import Invariant
from metrics.invariants import INVARIANTS

# How many lines there are is known without counting them: as many as messages, plus what each line that is not the
# pledge of one message has less than one.
TOTALS_EQUAL_MINUTES = """
WITH minute AS (
    SELECT campaign_id, carrier, sum(messages) AS messages, sum(units) AS units, sum(pledged_vnd) AS vnd
    FROM campaign_minute GROUP BY campaign_id, carrier
), beside AS (
    SELECT campaign_id, carrier, sum(1 - messages) AS lines
    FROM money_line WHERE stage = 'pledged' AND messages <> 1 GROUP BY campaign_id, carrier
), total AS (
    SELECT campaign_id, carrier, sum(lines) AS lines, sum(messages) AS messages, sum(units) AS units,
           sum(pledged_vnd) AS vnd
    FROM campaign_total GROUP BY campaign_id, carrier
), compared AS (
    SELECT campaign_id, carrier, coalesce(minute.messages, 0) + coalesce(beside.lines, 0) AS due_lines,
           coalesce(minute.messages, 0) AS due_messages, coalesce(minute.units, 0) AS due_units,
           coalesce(minute.vnd, 0) AS due_vnd, coalesce(total.lines, 0) AS lines,
           coalesce(total.messages, 0) AS messages, coalesce(total.units, 0) AS units, coalesce(total.vnd, 0) AS vnd
    FROM minute FULL JOIN beside USING (campaign_id, carrier) FULL JOIN total USING (campaign_id, carrier)
)
SELECT format('campaign %s, %s', campaign_id, carrier) AS place,
       format('%s lines, %s messages, %s units, %s VND', due_lines, due_messages, due_units, due_vnd) AS expected,
       format('%s lines, %s messages, %s units, %s VND', lines, messages, units, vnd) AS found
FROM compared WHERE (due_lines, due_messages, due_units, due_vnd) <> (lines, messages, units, vnd)
ORDER BY 1 LIMIT $1
"""
UNCOUNTED_EQUAL_MESSAGES = """
WITH fact AS (
    SELECT campaign_id, carrier, count(*) FILTER (WHERE reading = 'wrong_syntax') AS wrong_syntax,
           count(*) FILTER (WHERE reading = 'before_open') AS before_open,
           count(*) FILTER (WHERE reading = 'after_close') AS after_close
    FROM message WHERE reading <> 'counted' AND campaign_id IS NOT NULL GROUP BY campaign_id, carrier
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
"""
REVERSED_EQUAL_LINES = """
WITH line AS (given_back), total AS (
    SELECT campaign_id, carrier, sum(reversed_messages) AS messages, sum(reversed_vnd) AS vnd
    FROM campaign_total GROUP BY campaign_id, carrier
)
SELECT format('campaign %s, %s', campaign_id, carrier) AS place,
       format('%s messages, %s VND', coalesce(line.messages, 0), coalesce(line.vnd, 0)) AS expected,
       format('%s messages, %s VND', coalesce(total.messages, 0), coalesce(total.vnd, 0)) AS found
FROM line FULL JOIN total USING (campaign_id, carrier)
WHERE (coalesce(line.messages, 0), coalesce(line.vnd, 0)) <> (coalesce(total.messages, 0), coalesce(total.vnd, 0))
ORDER BY 1 LIMIT $1
""".replace("given_back", GIVEN_BACK)
UNALLOCATED_EQUAL_MESSAGES = """
WITH fact AS (
    SELECT count(*) FILTER (WHERE reading = 'unknown_keyword') AS unknown_keyword,
           count(*) FILTER (WHERE reading = 'unknown_short_code') AS unknown_short_code,
           count(*) FILTER (WHERE reading = 'empty_text') AS empty_text
    FROM message WHERE reading <> 'counted' AND campaign_id IS NULL
), total AS (
    SELECT coalesce(sum(unknown_keyword), 0) AS unknown_keyword,
           coalesce(sum(unknown_short_code), 0) AS unknown_short_code, coalesce(sum(empty_text), 0) AS empty_text
    FROM unallocated_total
)
SELECT 'unallocated messages' AS place, fact::text AS expected, total::text AS found
FROM fact, total
WHERE (fact.unknown_keyword, fact.unknown_short_code, fact.empty_text)
    <> (total.unknown_keyword, total.unknown_short_code, total.empty_text)
LIMIT $1
"""
# A charge whose message has not come is named by a notice that waits for it, or by none and was matched with none.
ORPHANS_EQUAL_CHARGES = """
WITH candidate AS (
    SELECT c.account_id, c.charge_id
    FROM waiting_event AS w JOIN charge_notice AS c ON c.id = w.event_id WHERE w.kind = 'charge'
    UNION
    SELECT c.account_id, c.charge_id FROM charge_notice AS c
    WHERE c.message_ref IS NULL AND NOT EXISTS (
        SELECT FROM charge_match AS m WHERE m.account_id = c.account_id AND m.charge_id = c.charge_id
    )
), fact AS (
    SELECT count(*) AS count, coalesce(sum(o.succeeded_vnd), 0) AS vnd
    FROM candidate CROSS JOIN LATERAL (
        SELECT c.is_succeeded, c.succeeded_vnd, c.message_ref FROM charge_owner AS c
        WHERE c.account_id = candidate.account_id AND c.charge_id = candidate.charge_id OFFSET 0
    ) AS o
    WHERE o.is_succeeded AND NOT EXISTS (
        SELECT FROM message AS m WHERE m.account_id = candidate.account_id AND m.native_id = o.message_ref
    )
), total AS (
    SELECT coalesce(sum(orphan_charges), 0) AS count, coalesce(sum(orphan_vnd), 0) AS vnd FROM unallocated_total
)
SELECT 'orphan charges' AS place, fact::text AS expected, total::text AS found
FROM fact, total WHERE (fact.count, fact.vnd) <> (total.count, total.vnd)
LIMIT $1
"""
# One step of the index per campaign, however many minutes each has.
CAMPAIGNS_HOLD = """
WITH RECURSIVE held AS (
    SELECT min(campaign_id) AS campaign_id FROM campaign_minute
    UNION ALL
    SELECT (SELECT min(m.campaign_id) FROM campaign_minute AS m WHERE m.campaign_id > held.campaign_id)
    FROM held WHERE held.campaign_id IS NOT NULL
)
SELECT format('campaign %s', campaign_id) AS place, 'known' AS expected, 'unknown' AS found
FROM (SELECT campaign_id FROM campaign_total UNION SELECT campaign_id FROM held WHERE campaign_id IS NOT NULL) AS t
WHERE NOT EXISTS (SELECT FROM campaign AS c WHERE c.id = t.campaign_id)
LIMIT $1
"""
_BY_NAME = {invariant.name: invariant for invariant in INVARIANTS}

ROLL_UP_CHECKS = (
    Invariant(
        "totals_equal_money_lines",
        "each campaign's totals per carrier are the sum of its minutes",
        TOTALS_EQUAL_MINUTES,
    ),
    _BY_NAME["later_stages_equal_money_lines"],
    Invariant("reversed_equal_money_lines", _BY_NAME["reversed_equal_money_lines"].sentence, REVERSED_EQUAL_LINES),
    Invariant("uncounted_equal_messages", _BY_NAME["uncounted_equal_messages"].sentence, UNCOUNTED_EQUAL_MESSAGES),
    Invariant(
        "unallocated_equal_messages", _BY_NAME["unallocated_equal_messages"].sentence, UNALLOCATED_EQUAL_MESSAGES
    ),
    Invariant("orphans_equal_charges", _BY_NAME["orphans_equal_charges"].sentence, ORPHANS_EQUAL_CHARGES),
    _BY_NAME["nothing_waits_for_what_is_here"],
    _BY_NAME["what_waits_is_stored"],
    _BY_NAME["moves_are_whole"],
    _BY_NAME["facts_are_locked"],
    Invariant("references_hold", "every total and minute belongs to a known campaign", CAMPAIGNS_HOLD),
)
