-- additive
-- Test accounts: what they send is verified, read, answered and kept here, apart from every fact. No figure, invariant
-- or seal looks at these tables, so that nothing in them can become money.

-- NULL: a real account. Of a test account `enabled` is always false, and this says whether it takes tests: to the
-- release before, which knows nothing of tests and would count them, it is an account that is switched off.
ALTER TABLE gateway_account ADD COLUMN test boolean;

-- A callback of a test account, sealed as it came.
CREATE TABLE test_callback (
    id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    received_at timestamptz NOT NULL,
    day date NOT NULL,
    sealed bytea NOT NULL
);

-- What stood in them: a row for every arrival, repeats too. `outcome`: what its sender was answered.
CREATE TABLE test_event (
    id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('message', 'charge', 'reversal')),
    native_id text NOT NULL,
    digest bytea NOT NULL,
    is_first boolean NOT NULL,
    outcome text NOT NULL,
    received_at timestamptz NOT NULL,
    happened_at timestamptz NOT NULL,
    raw_id uuid NOT NULL,
    short_code text,
    carrier text,
    reading text,
    campaign_id integer,
    keyword text,
    units integer,
    amount_vnd bigint,
    charge_ref text,
    message_ref text,
    status text,
    flags text[] NOT NULL,
    answer bytea,
    book_version integer
);
-- Of an id the first arrival alone, in a key space of its own: an id that was seen in a test is new to the real account.
CREATE UNIQUE INDEX test_event_once ON test_event (account_id, kind, native_id) WHERE is_first;
CREATE INDEX test_event_by_account ON test_event (account_id, id);

-- What was kept is not changed; it may be removed, as it is when its time is over.
CREATE TRIGGER fact_lock BEFORE TRUNCATE OR UPDATE OF id, account_id, received_at, day, sealed
    ON test_callback FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE TRUNCATE OR UPDATE OF
    id, account_id, kind, native_id, digest, is_first, outcome, received_at, happened_at, raw_id, short_code, carrier,
    reading, campaign_id, keyword, units, amount_vnd, charge_ref, message_ref, status, flags, answer, book_version
    ON test_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
