-- Facts are append-only; totals are roll-ups written in the same statement as the facts they sum.
-- Hot tables carry no foreign keys: what they point at is never deleted, and a check per row would cost more
-- than the row. `portal1400 verify` looks for dangling references instead.

CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kind text NOT NULL CHECK (kind IN ('live', 'demo')),
    key_check bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One random key a day, wrapped by a key derived from the secret; deleting a row destroys what it sealed.
CREATE TABLE data_key (
    day date PRIMARY KEY,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The book: append-only versions. A row belongs to every version from its own on.

CREATE TABLE book_version (
    version integer PRIMARY KEY CHECK (version > 0),
    applied_at timestamptz NOT NULL DEFAULT now(),
    file_sha256 bytea NOT NULL,
    changes text[] NOT NULL
);

CREATE TABLE organisation (
    code text PRIMARY KEY,
    name_vi text NOT NULL,
    name_en text
);

CREATE TABLE campaign (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL CONSTRAINT campaign_slug_once UNIQUE,
    name_vi text NOT NULL,
    name_en text,
    category text NOT NULL,
    organiser text NOT NULL REFERENCES organisation,
    goal_vnd bigint CHECK (goal_vnd > 0),
    book_version integer NOT NULL REFERENCES book_version,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE campaign_decision (
    campaign_id integer NOT NULL REFERENCES campaign,
    number smallint NOT NULL CHECK (number > 0),
    decision text,
    opens_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    book_version integer NOT NULL REFERENCES book_version,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (campaign_id, number),
    CHECK (opens_at < closes_at)
);

CREATE TABLE route (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id integer NOT NULL REFERENCES campaign,
    short_code text NOT NULL,
    keywords text[] NOT NULL CHECK (cardinality(keywords) > 0),
    grammar text NOT NULL CHECK (grammar IN ('fixed', 'units', 'thousands')),
    unit_vnd bigint NOT NULL CHECK (unit_vnd > 0),
    max_units integer CHECK (max_units > 0),
    book_version integer NOT NULL REFERENCES book_version
);

-- `settings` holds no secret in clear: a secret is {"env": NAME} or {"sealed": base64}.
CREATE TABLE gateway_account (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL CONSTRAINT gateway_account_code_once UNIQUE,
    adapter text NOT NULL,
    carrier text NOT NULL,
    charging text NOT NULL,
    networks text[] NOT NULL,
    enabled boolean NOT NULL,
    settings jsonb NOT NULL,
    book_version integer NOT NULL REFERENCES book_version
);

-- Events, each stored once for ever by (account, the sender's own id).

CREATE TABLE message (
    id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    native_id text NOT NULL,
    digest bytea NOT NULL,
    received_at timestamptz NOT NULL,
    message_at timestamptz NOT NULL,
    operator_time text,
    short_code text NOT NULL,
    carrier text NOT NULL,
    reading text NOT NULL,
    campaign_id integer,
    keyword text,
    units integer,
    amount_vnd bigint,
    claimed_vnd bigint,
    parts smallint,
    flags text[] NOT NULL,
    answer bytea,
    book_version integer NOT NULL,
    grammar_version smallint NOT NULL,
    raw_id uuid NOT NULL,
    CONSTRAINT message_once UNIQUE (account_id, native_id),
    CHECK ((reading = 'counted') = (units IS NOT NULL AND amount_vnd IS NOT NULL)),
    CHECK (reading IN ('counted', 'wrong_syntax', 'before_open', 'after_close',
                       'unknown_keyword', 'unknown_short_code', 'empty_text'))
);

-- What a writer hands over for each message of a batch: its columns here and in message_person.
-- One array of rows: an array per column costs the client four times as much.
CREATE TYPE incoming_message AS (
    id uuid,
    account_id integer,
    native_id text,
    digest bytea,
    received_at timestamptz,
    message_at timestamptz,
    operator_time text,
    short_code text,
    carrier text,
    reading text,
    campaign_id integer,
    keyword text,
    units integer,
    amount_vnd bigint,
    claimed_vnd bigint,
    parts smallint,
    flags text,
    answer bytea,
    book_version integer,
    grammar_version smallint,
    raw_id uuid,
    day date,
    msisdn_sealed bytea,
    msisdn_hash bytea,
    text_sealed bytea
);

-- The only table about persons, and the only one whose rows may be deleted.
CREATE TABLE message_person (
    message_id uuid PRIMARY KEY,
    day date NOT NULL,
    msisdn_sealed bytea NOT NULL,
    msisdn_hash bytea NOT NULL,
    text_sealed bytea NOT NULL
);

CREATE TABLE charge_notice (
    id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    native_id text NOT NULL,
    digest bytea NOT NULL,
    charge_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'reserved', 'succeeded', 'failed', 'cancelled')),
    amount_vnd bigint,
    message_ref text,
    short_code text,
    reason text,
    flags text[] NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    raw_id uuid NOT NULL,
    CONSTRAINT charge_notice_once UNIQUE (account_id, native_id)
);
CREATE INDEX charge_notice_by_charge ON charge_notice (account_id, charge_id);

CREATE TABLE reversal (
    id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    native_id text NOT NULL,
    digest bytea NOT NULL,
    charge_ref text,
    message_ref text,
    amount_vnd bigint NOT NULL,
    scope text CHECK (scope IN ('total', 'partial')),
    kind text,
    flags text[] NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    raw_id uuid NOT NULL,
    CONSTRAINT reversal_once UNIQUE (account_id, native_id),
    CHECK (charge_ref IS NOT NULL OR message_ref IS NOT NULL)
);

-- Charges and reversals whose message has not come: what the message's batch looks for. Emptied by joining.
CREATE TABLE waiting_event (
    account_id integer NOT NULL,
    message_ref text NOT NULL,
    event_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('charge', 'reversal')),
    PRIMARY KEY (account_id, message_ref, event_id)
);

-- Where all events of a gift meet, and their projection. Made when the second event of a gift comes.
CREATE TABLE gift (
    message_id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    message_ref text,
    charge_id text,
    state text NOT NULL CHECK (state IN ('received', 'pending', 'counted', 'failed', 'reversed', 'uncounted')),
    campaign_id integer,
    carrier text NOT NULL,
    units integer NOT NULL,
    pledged_vnd bigint NOT NULL CHECK (pledged_vnd >= 0),
    reversed_vnd bigint NOT NULL CHECK (reversed_vnd BETWEEN 0 AND pledged_vnd),
    CONSTRAINT gift_once_by_message UNIQUE (account_id, message_ref),
    CONSTRAINT gift_once_by_charge UNIQUE (account_id, charge_id)
);

-- What a person has to look at: an event that did not fit its gift.
CREATE TABLE review (
    event_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('charge', 'reversal')),
    account_id integer NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

-- Money: one signed line per change. The key says that a cause moves a gift's money once.
CREATE TABLE money_line (
    gift_id uuid NOT NULL,
    stage text NOT NULL CHECK (stage IN ('pledged', 'confirmed', 'received', 'disbursed')),
    cause text NOT NULL,
    campaign_id integer NOT NULL,
    carrier text NOT NULL,
    messages integer NOT NULL,
    units integer NOT NULL,
    vnd bigint NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT money_line_once PRIMARY KEY (gift_id, stage, cause)
);

-- Roll-ups. `slot` belongs to one writer connection, so that no two writers wait for a row.

CREATE TABLE campaign_total (
    campaign_id integer NOT NULL,
    carrier text NOT NULL,
    slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 63),
    version bigint NOT NULL,
    lines bigint NOT NULL,
    messages bigint NOT NULL,
    units bigint NOT NULL,
    pledged_vnd bigint NOT NULL,
    confirmed_vnd bigint NOT NULL DEFAULT 0,
    received_vnd bigint NOT NULL DEFAULT 0,
    disbursed_vnd bigint NOT NULL DEFAULT 0,
    wrong_syntax bigint NOT NULL,
    before_open bigint NOT NULL,
    after_close bigint NOT NULL,
    as_of timestamptz NOT NULL,
    CONSTRAINT campaign_total_key PRIMARY KEY (campaign_id, carrier, slot)
) WITH (fillfactor = 50);

CREATE TABLE campaign_minute (
    campaign_id integer NOT NULL,
    minute timestamptz NOT NULL,
    carrier text NOT NULL,
    slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 63),
    messages bigint NOT NULL,
    units bigint NOT NULL,
    pledged_vnd bigint NOT NULL,
    CONSTRAINT campaign_minute_key PRIMARY KEY (campaign_id, minute, carrier, slot)
) WITH (fillfactor = 70);

CREATE TABLE unallocated_total (
    slot smallint PRIMARY KEY CHECK (slot BETWEEN 0 AND 63),
    version bigint NOT NULL,
    unknown_keyword bigint NOT NULL,
    unknown_short_code bigint NOT NULL,
    empty_text bigint NOT NULL,
    orphan_charges bigint NOT NULL,
    orphan_vnd bigint NOT NULL,
    as_of timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Evidence.

-- Raw callbacks, sealed, in day partitions (UTC days) that are dropped after 90 days. Nothing points into them.
CREATE TABLE raw_callback (
    id uuid NOT NULL,
    received_on date NOT NULL,
    account_id integer NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (received_on, id)
) PARTITION BY RANGE (received_on);

-- Same id, other content. Kept whole; recorded once per id and digest.
CREATE TABLE conflict (
    account_id integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('message', 'charge', 'reversal')),
    native_id text NOT NULL,
    digest bytea NOT NULL,
    received_at timestamptz NOT NULL,
    raw_id uuid NOT NULL,
    sealed bytea NOT NULL,
    day date NOT NULL,
    CONSTRAINT conflict_once PRIMARY KEY (account_id, kind, native_id, digest)
);

-- Verified but unusable, or unverified from a listed network: kept whole for a person.
CREATE TABLE quarantine (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    adapter text NOT NULL,
    account_id integer,
    outcome text NOT NULL,
    reason text NOT NULL,
    sealed bytea NOT NULL,
    day date NOT NULL
);
CREATE INDEX quarantine_by_account ON quarantine (account_id, outcome, received_at);
