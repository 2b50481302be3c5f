-- additive
-- A reversal that names a message, and a charge that belongs to another one, is a question for a person: those that were
-- stored before are listed here. The release before does not list them, and takes them off when a gift's next event
-- comes: `verify` tells so of that gift, until another event of it comes.
INSERT INTO review (event_id, kind, account_id, reason)
SELECT r.id, 'reversal', r.account_id, 'names another message than its charge'
FROM reversal AS r JOIN message AS m ON m.account_id = r.account_id AND m.native_id = r.message_ref
CROSS JOIN LATERAL (
    SELECT c.message_ref FROM charge_owner AS c WHERE c.account_id = r.account_id AND c.charge_id = r.charge_ref OFFSET 0
) AS owner
WHERE r.charge_ref IS NOT NULL AND owner.message_ref <> r.message_ref
ON CONFLICT (event_id) DO NOTHING;
