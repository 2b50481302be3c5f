-- additive
-- The written decision of a proposal, kept as a file by its hash. The release before knows nothing of it, and goes on.

CREATE TABLE decision_file (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proposal_id integer NOT NULL REFERENCES proposal,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    -- As the decision itself says: its number and day.
    decision text NOT NULL,
    decided_on date NOT NULL,
    media_type text NOT NULL CHECK (media_type IN ('application/pdf', 'image/png', 'image/jpeg')),
    content bytea NOT NULL CHECK (length(content) BETWEEN 1 AND 5242880 AND sha256(content) = sha256),
    who text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT decision_file_once UNIQUE (proposal_id, sha256)
);
-- Packed already: to try again costs time and wins nothing.
ALTER TABLE decision_file ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, proposal_id, sha256, decision, decided_on, media_type, content, who, recorded_at
    ON decision_file FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
