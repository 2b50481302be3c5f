"""What must hold of the facts themselves: their locks, the causes of their lines, and what waits."""

from metrics.invariant import Invariant

# Of a reversal the cause names the sender's id; a second line about one cause bears a number before it. What is
# written of a gift after it was moved belongs to the campaign it was moved to.
LINES_FOLLOW_CAUSES = """
SELECT format('%s line of gift %s', CASE WHEN l.is_reversal THEN 'reversal' ELSE l.cause END, l.gift_id) AS place,
       format('campaign %s, %s, at %s', l.due_campaign_id, l.due_carrier, l.due_at) AS expected,
       format('campaign %s, %s, at %s', l.campaign_id, l.carrier, l.at) AS found
FROM (
    SELECT l.*, l.cause ~ '^([0-9]+:)?reversal:' AS is_reversal,
           CASE WHEN l.cause IN ('message', 'charge') THEN m.campaign_id
                WHEN l.campaign_id = m.campaign_id AND l.cause !~ '^moved_(in|out):' THEN m.campaign_id
                ELSE (SELECT min(CASE WHEN l.cause = v.cause_out THEN v.from_campaign_id ELSE v.to_campaign_id END)
                      FROM moved_gift AS v
                      WHERE v.gift_id = l.gift_id AND CASE
                          WHEN l.cause ~ '^moved_(in|out):' THEN l.cause IN (v.cause_in, v.cause_out)
                          ELSE v.to_campaign_id = l.campaign_id END)
           END AS due_campaign_id, m.carrier AS due_carrier,
           CASE WHEN l.cause = 'message' THEN m.message_at
           WHEN l.cause ~ '^moved_(in|out):' THEN (
               SELECT v.at FROM moved_gift AS v
               WHERE v.gift_id = l.gift_id AND l.cause IN (v.cause_in, v.cause_out)
           ) WHEN l.cause ~ '^([0-9]+:)?reversal:' THEN (
               SELECT r.occurred_at FROM reversal AS r
               WHERE r.account_id = m.account_id
                   AND r.native_id = regexp_replace(l.cause, '^([0-9]+:)?reversal:', '')
           ) WHEN l.cause ~ '^([0-9]+:)?charge$' THEN m.message_at END AS due_at
    FROM money_line AS l LEFT JOIN message AS m ON m.id = l.gift_id
    WHERE l.stage = 'pledged'
) AS l
WHERE (l.campaign_id, l.carrier, l.at) IS DISTINCT FROM (l.due_campaign_id, l.due_carrier, l.due_at)
LIMIT $1
"""
# A waiting row whose event was removed, or names another message.
WAITING_IS_STORED = """
SELECT format('event %s', w.event_id) AS place, 'stored, and it names its message' AS expected,
       CASE WHEN coalesce(c.id, r.id) IS NULL THEN 'no such event' ELSE 'another message' END AS found
FROM waiting_event AS w LEFT JOIN charge_notice AS c ON w.kind = 'charge' AND c.id = w.event_id
LEFT JOIN reversal AS r ON w.kind = 'reversal' AND r.id = w.event_id
WHERE (w.account_id, w.message_ref) IS DISTINCT FROM
    (coalesce(c.account_id, r.account_id), coalesce(c.message_ref, r.message_ref))
LIMIT $1
"""
# A gift that was moved has no money left anywhere else, each move brings what it takes, and its act says how much.
MOVES_ARE_WHOLE = """
WITH line AS (
    SELECT l.* FROM money_line AS l
    WHERE l.stage = 'pledged' AND l.gift_id IN (SELECT v.gift_id FROM moved_gift AS v)
), moved AS (
    SELECT v.reattribution_id, v.gift_id,
           coalesce(sum(l.messages) FILTER (WHERE l.cause = v.cause_in), 0) AS messages,
           coalesce(sum(l.units) FILTER (WHERE l.cause = v.cause_in), 0) AS units,
           coalesce(sum(l.vnd) FILTER (WHERE l.cause = v.cause_in), 0) AS vnd,
           coalesce(bool_and((l.messages, l.units, l.vnd) = (0, 0, 0)), true) AS is_empty,
           coalesce(sum(l.messages), 0) AS messages_left, coalesce(sum(l.units), 0) AS units_left,
           coalesce(sum(l.vnd), 0) AS vnd_left
    FROM moved_gift AS v LEFT JOIN line AS l ON l.gift_id = v.gift_id AND l.cause IN (v.cause_in, v.cause_out)
    GROUP BY 1, 2
)
SELECT * FROM (
    SELECT format('gift %s, moved by act %s', gift_id, reattribution_id) AS place,
           'as much taken as brought' AS expected,
           format('%s messages, %s units, %s VND more brought', messages_left, units_left, vnd_left) AS found
    FROM moved WHERE is_empty OR (messages_left, units_left, vnd_left) <> (0, 0, 0)
    UNION ALL
    SELECT format('act %s', e.reattribution_id), format('%s messages, %s units, %s VND', e.messages, e.units, e.vnd),
           format('%s messages, %s units, %s VND', coalesce(sum(m.messages), 0), coalesce(sum(m.units), 0),
                  coalesce(sum(m.vnd), 0))
    FROM reattribution_end AS e LEFT JOIN moved AS m USING (reattribution_id) WHERE e.step = 'approved'
    GROUP BY e.reattribution_id, e.messages, e.units, e.vnd
    HAVING (coalesce(sum(m.messages), 0), coalesce(sum(m.units), 0), coalesce(sum(m.vnd), 0))
        <> (e.messages, e.units, e.vnd)
    UNION ALL
    SELECT format('gift %s, campaign %s', l.gift_id, l.campaign_id), 'nothing, it was moved',
           format('%s messages, %s units, %s VND', sum(l.messages), sum(l.units), sum(l.vnd))
    FROM line AS l
    WHERE l.campaign_id <> (SELECT v.to_campaign_id FROM moved_gift AS v WHERE v.gift_id = l.gift_id
                            ORDER BY v.reattribution_id DESC LIMIT 1)
    GROUP BY l.gift_id, l.campaign_id HAVING (sum(l.messages), sum(l.units), sum(l.vnd)) <> (0, 0, 0)
) AS broken
LIMIT $1
"""
# A lock is what its function does: the bodies as the migrations made them, by their SHA-256.
FACTS_ARE_LOCKED = """
SELECT format('table %s', fact.name) AS place, 'locked' AS expected, 'open to change' AS found
FROM unnest(ARRAY[
    'message', 'charge_notice', 'reversal', 'money_line', 'charge_match', 'gift', 'conflict', 'conflict_callback',
    'raw_callback', 'message_person', 'data_key', 'installation', 'book_version', 'organisation', 'campaign',
    'campaign_decision', 'route', 'gateway_account', 'late_fact', 'decision_withdrawal', 'route_withdrawal',
    'keyword_read', 'applied_file', 'quarantine_act', 'quarantine', 'test_callback', 'test_event', 'privacy_act',
    'audit_entry', 'desk_user', 'proposal', 'proposal_step', 'decision_file', 'reattribution', 'reattribution_gift',
    'reattribution_end', 'worklist_note'
]) AS fact (name)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = to_regclass(fact.name) AND t.tgname = 'fact_lock' AND t.tgenabled IN ('O', 'A')
        AND t.tgqual IS NULL AND encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex')
            = '1fabbaaa2beb574f6eee394fb7479c4f318bc0bac1d36a58b85f6ba5f9e193f0'
)
UNION ALL
SELECT format('table %s', fact.name), 'changed only with a row that tells of it', 'open to change'
FROM unnest(ARRAY['raw_callback', 'quarantine', 'data_key', 'installation']) AS fact (name)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = to_regclass(fact.name) AND t.tgname = 'fact_lock_told' AND t.tgenabled IN ('O', 'A')
        AND t.tgqual IS NULL AND encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex')
            = '56e523d87b57ce1229a6d21d0a77845c298484a07d9f37942912f7dab3d3cddf'
)
ORDER BY 1 LIMIT $1
"""

FACT_CHECKS = (
    Invariant(
        "lines_follow_their_causes",
        "each money line has its cause, and lies where and when that happened",
        LINES_FOLLOW_CAUSES,
    ),
    Invariant(
        "moves_are_whole",
        "a gift that was moved to another campaign counts there and nowhere else, by as much as its act says",
        MOVES_ARE_WHOLE,
    ),
    Invariant("what_waits_is_stored", "each event that waits for its message is stored", WAITING_IS_STORED),
    Invariant("facts_are_locked", "no fact can be changed or removed by a slip", FACTS_ARE_LOCKED),
)
