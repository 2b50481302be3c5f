-- Safe while workers of the version before still write: they know nothing of it.

-- Charges and reversals are found by the message and by the charge they name: a gift is made of all its events.

CREATE INDEX charge_notice_by_message ON charge_notice (account_id, message_ref) WHERE message_ref IS NOT NULL;
CREATE INDEX reversal_by_message ON reversal (account_id, message_ref) WHERE message_ref IS NOT NULL;
CREATE INDEX reversal_by_charge ON reversal (account_id, charge_ref) WHERE charge_ref IS NOT NULL;

-- The gift of an account that counts on report is written once and updated once: room for it on the same page.
ALTER TABLE gift SET (fillfactor = 70);

-- A charge that names no message, and the message found for it by number, short code, time and amount. Each once.
CREATE TABLE charge_match (
    account_id integer NOT NULL,
    charge_id text NOT NULL,
    message_ref text NOT NULL,
    CONSTRAINT charge_match_key PRIMARY KEY (account_id, charge_id),
    CONSTRAINT charge_match_once UNIQUE (account_id, message_ref)
);

-- The two sides of such a search. Personal data: a row goes when its other side is found, or a day later.
CREATE TABLE charge_person (
    charge_notice_id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    charge_id text NOT NULL,
    msisdn_hash bytea NOT NULL,
    short_code text NOT NULL,
    amount_vnd bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE TABLE uncharged_person (
    message_id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    message_ref text NOT NULL,
    msisdn_hash bytea NOT NULL,
    short_code text NOT NULL,
    campaign_id integer NOT NULL,
    amount_vnd bigint NOT NULL,
    message_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX uncharged_person_by_number ON uncharged_person (account_id, msisdn_hash);

-- To which message a charge belongs, and what it took. What a success names comes first.
CREATE VIEW charge_owner AS
SELECT c.account_id, c.charge_id, bool_or(c.status = 'succeeded') AS is_succeeded,
       coalesce(max(c.amount_vnd) FILTER (WHERE c.status = 'succeeded'), 0) AS succeeded_vnd,
       coalesce(
           min(c.message_ref COLLATE "C") FILTER (WHERE c.status = 'succeeded'), min(c.message_ref COLLATE "C"),
           (SELECT m.message_ref FROM charge_match AS m
            WHERE m.account_id = c.account_id AND m.charge_id = c.charge_id)
       ) AS message_ref
FROM charge_notice AS c GROUP BY c.account_id, c.charge_id;

-- Orphans are charges now, not notices: one that was told twice, or whose message another notice names, was one too
-- many. The writers' tables are held still while the difference is taken.
LOCK TABLE charge_notice, unallocated_total IN EXCLUSIVE MODE;
INSERT INTO unallocated_total AS old (
    slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
)
SELECT 0, 1, 0, 0, 0, fact.charges - total.charges, fact.vnd - total.vnd, clock_timestamp()
FROM (
    SELECT count(*) AS charges, coalesce(sum(c.succeeded_vnd), 0) AS vnd
    FROM charge_owner AS c WHERE c.is_succeeded AND NOT EXISTS (
        SELECT FROM message AS m WHERE m.account_id = c.account_id AND m.native_id = c.message_ref
    )
) AS fact, (
    SELECT coalesce(sum(orphan_charges), 0) AS charges, coalesce(sum(orphan_vnd), 0) AS vnd FROM unallocated_total
) AS total
WHERE (fact.charges, fact.vnd) <> (total.charges, total.vnd)
ON CONFLICT (slot) DO UPDATE SET
    version = old.version + 1, orphan_charges = old.orphan_charges + excluded.orphan_charges,
    orphan_vnd = old.orphan_vnd + excluded.orphan_vnd, as_of = greatest(old.as_of, excluded.as_of);
