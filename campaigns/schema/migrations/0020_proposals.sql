-- additive
-- Changes of the book that wait for a second person, and emergencies that a second person has yet to confirm. What is
-- proposed is an apply file without gateways, so that there is no secret in it; the book keeps its one writer. The
-- release before knows nothing of it, and goes on.

CREATE TABLE proposal (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('proposal', 'emergency')),
    content text NOT NULL,
    sha256 bytea NOT NULL,
    -- Whose campaigns it is about: who of an organisation sees only its own.
    organisations text[] NOT NULL,
    -- A login of the desk, or `os:` and an account of the operating system.
    made_by text NOT NULL,
    reason text,
    made_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'emergency') = (reason IS NOT NULL))
);

CREATE TABLE proposal_step (
    proposal_id integer NOT NULL REFERENCES proposal,
    number smallint NOT NULL CHECK (number > 0),
    step text NOT NULL CHECK (step IN ('proposed', 'approved', 'refused', 'withdrawn', 'confirmed')),
    who text NOT NULL,
    -- Who made it and who proposed it: none of them approves.
    others text[] NOT NULL,
    reason text,
    book_version integer,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT proposal_step_key PRIMARY KEY (proposal_id, number),
    CONSTRAINT proposal_needs_two CHECK (step NOT IN ('approved', 'confirmed') OR who <> ALL (others))
);
CREATE UNIQUE INDEX proposal_ends_once ON proposal_step (proposal_id)
    WHERE step IN ('approved', 'refused', 'withdrawn', 'confirmed');
CREATE UNIQUE INDEX proposal_proposed_once ON proposal_step (proposal_id) WHERE step = 'proposed';

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, kind, content, sha256, organisations, made_by, reason, made_at
    ON proposal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    proposal_id, number, step, who, others, reason, book_version, recorded_at
    ON proposal_step FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
