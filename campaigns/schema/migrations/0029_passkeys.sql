-- additive
-- Passkeys of who works at the desk (W3C Web Authentication), and the challenges that browsers have to answer. Nothing
-- here is about donors, and nothing is secret: a public key proves and opens nothing. The release before knows nothing of
-- it, and goes on.

-- What authenticators keep a person's passkeys under: random, so that it tells nobody who that is.
ALTER TABLE desk_user ADD COLUMN passkey_handle uuid NOT NULL DEFAULT gen_random_uuid();

CREATE TABLE desk_passkey (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES desk_user,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 60),
    credential_id bytea NOT NULL CONSTRAINT desk_passkey_once UNIQUE CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    -- COSE_Key (RFC 9052, section 7).
    public_key bytea NOT NULL CHECK (octet_length(public_key) <= 2048),
    -- The authenticator's own count of signatures, of those that count: it only grows, and of a copy it does not.
    sign_count bigint NOT NULL CHECK (sign_count >= 0),
    added_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz
);
CREATE INDEX desk_passkey_by_user ON desk_passkey (user_id);

-- One at a time for a browser that logs in, or for a session that adds a passkey: `bound_to` is the SHA-256 of the token in
-- its cookie. It is deleted by whoever reads it.
CREATE TABLE desk_challenge (
    bound_to bytea NOT NULL CONSTRAINT desk_challenge_once PRIMARY KEY,
    challenge bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX desk_challenge_by_time ON desk_challenge (made_at);
