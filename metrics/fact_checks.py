"""What must hold of the facts themselves: their locks, the causes of their lines, and what waits."""

from metrics.invariant import Invariant

# Of a reversal the cause names the sender's id; a second line about one cause bears a number before it.
LINES_FOLLOW_CAUSES = """
SELECT format('%s line of gift %s', CASE WHEN l.is_reversal THEN 'reversal' ELSE l.cause END, l.gift_id) AS place,
       format('campaign %s, %s, at %s', l.due_campaign_id, l.due_carrier, l.due_at) AS expected,
       format('campaign %s, %s, at %s', l.campaign_id, l.carrier, l.at) AS found
FROM (
    SELECT l.*, l.cause ~ '^([0-9]+:)?reversal:' AS is_reversal, m.campaign_id AS due_campaign_id,
           m.carrier AS due_carrier,
           CASE WHEN l.cause ~ '^([0-9]+:)?reversal:' THEN (
               SELECT r.occurred_at FROM reversal AS r
               WHERE r.account_id = m.account_id
                   AND r.native_id = regexp_replace(l.cause, '^([0-9]+:)?reversal:', '')
           ) WHEN l.cause = 'message' OR l.cause ~ '^([0-9]+:)?charge$' THEN m.message_at END AS due_at
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
FACTS_ARE_LOCKED = """
SELECT format('table %s', fact.name) AS place, 'locked' AS expected, 'open to change' AS found
FROM unnest(ARRAY[
    'message', 'charge_notice', 'reversal', 'money_line', 'charge_match', 'gift', 'conflict', 'conflict_callback',
    'raw_callback', 'message_person', 'data_key', 'installation', 'book_version', 'organisation', 'campaign',
    'campaign_decision', 'route', 'gateway_account', 'late_fact', 'decision_withdrawal', 'route_withdrawal',
    'keyword_read', 'applied_file', 'quarantine_act', 'quarantine', 'test_callback', 'test_event', 'privacy_act',
    'audit_entry', 'desk_user', 'proposal', 'proposal_step'
]) AS fact (name)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger AS t
    WHERE t.tgrelid = to_regclass(fact.name) AND t.tgname = 'fact_lock' AND t.tgenabled IN ('O', 'A')
)
UNION ALL
SELECT format('table %s', fact.name), 'changed only with a row that tells of it', 'open to change'
FROM unnest(ARRAY['raw_callback', 'quarantine', 'data_key', 'installation']) AS fact (name)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger AS t
    WHERE t.tgrelid = to_regclass(fact.name) AND t.tgname = 'fact_lock_told' AND t.tgenabled IN ('O', 'A')
)
ORDER BY 1 LIMIT $1
"""

FACT_CHECKS = (
    Invariant(
        "lines_follow_their_causes",
        "each money line has its cause, and lies where and when that happened",
        LINES_FOLLOW_CAUSES,
    ),
    Invariant("what_waits_is_stored", "each event that waits for its message is stored", WAITING_IS_STORED),
    Invariant("facts_are_locked", "no fact can be changed or removed by a slip", FACTS_ARE_LOCKED),
)
