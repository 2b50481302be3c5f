-- Safe while workers of the version before still write: they know nothing of what is new here.

-- It sums what senders claim, which no book bounds: no number of claims overflows it.
ALTER TABLE unallocated_total ALTER COLUMN orphan_vnd TYPE numeric;

-- The callback of conflicts, once, sealed as its raw form is, however many of its events met other contents.
-- `sealed` NULL: its account had sent more such bytes that day than are kept; the digests stand in `conflict`.
CREATE TABLE conflict_callback (
    raw_id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    received_at timestamptz NOT NULL,
    day date NOT NULL,
    bytes integer NOT NULL CHECK (bytes >= 0),
    sealed bytea
);
-- Conflicts of before hold their callback themselves.
ALTER TABLE conflict ALTER COLUMN sealed DROP NOT NULL;

-- What evidence of an account and kind was kept in a day (UTC), so that its bounds cost no look at the evidence.
CREATE TABLE evidence_day (
    account_id integer NOT NULL,
    kind text NOT NULL,
    day date NOT NULL,
    callbacks bigint NOT NULL,
    bytes bigint NOT NULL,
    CONSTRAINT evidence_day_key PRIMARY KEY (account_id, kind, day)
);
