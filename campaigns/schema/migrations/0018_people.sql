-- additive
-- Who works at the desk, and what they did. Nothing here is about donors. The release before knows nothing of it.

-- A login is never reused and nobody is removed: the audit log names them for ever. Who has left is disabled.
CREATE TABLE desk_user (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login text NOT NULL CONSTRAINT desk_user_login_once UNIQUE CHECK (login ~ '^[a-z0-9][a-z0-9._-]{1,39}$'),
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('operator', 'manager', 'finance', 'auditor', 'press', 'admin')),
    -- Whose campaigns a manager sees; of the other roles everybody sees all.
    organisations text[] NOT NULL DEFAULT '{}',
    -- Argon2id in the PHC string format. Until `one_time_until` it was made by a command and lets in once.
    password text NOT NULL,
    one_time_until timestamptz,
    totp_sealed bytea,
    -- The last time step that let somebody in: no code opens twice (RFC 6238, section 5.2).
    totp_counter bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    CONSTRAINT desk_user_manager_has_organisations CHECK ((role = 'manager') = (cardinality(organisations) > 0))
);

CREATE TABLE desk_recovery_code (
    user_id integer NOT NULL REFERENCES desk_user,
    -- HMAC under a derived key: a code is too short for a plain hash.
    code_mac bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (user_id, code_mac)
);

-- The token itself is only in the browser's cookie.
CREATE TABLE desk_session (
    token_sha256 bytea PRIMARY KEY,
    user_id integer NOT NULL REFERENCES desk_user,
    -- Whether the second factor was shown too: before that it opens nothing but the way there.
    is_complete boolean NOT NULL,
    failures smallint NOT NULL DEFAULT 0,
    address text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX desk_session_by_user ON desk_session (user_id);

CREATE TABLE desk_token (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES desk_user,
    name text NOT NULL,
    token_sha256 bytea NOT NULL CONSTRAINT desk_token_once UNIQUE,
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX desk_token_by_user ON desk_token (user_id);

-- Who did what, when, from where and why, with what it was before and after. `who` is a login of the desk, or
-- `os:` and an account of the operating system for a command.
CREATE TABLE audit_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    role text,
    address text,
    act text NOT NULL,
    subject text,
    before jsonb,
    after jsonb,
    reason text
);
CREATE INDEX audit_entry_by_who ON audit_entry (who, id);
CREATE INDEX audit_entry_by_act ON audit_entry (act, id);

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, recorded_at, who, role, address, act, subject, before, after, reason
    ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF id, login, created_at
    ON desk_user FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
