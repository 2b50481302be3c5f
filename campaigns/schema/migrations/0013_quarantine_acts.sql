-- additive
-- What people did with quarantined callbacks: one row for each act, with whoever did it. The release before knows
-- nothing of it, and goes on.
CREATE TABLE quarantine_act (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quarantine_id uuid NOT NULL,
    what text NOT NULL CHECK (what IN ('opened', 'replayed')),
    -- Of a replay, how it ended; an outcome of `is_stored` is for ever, after any other it may be tried again.
    outcome text CHECK ((what = 'replayed') = (outcome IS NOT NULL)),
    is_stored boolean NOT NULL DEFAULT false,
    is_source_trusted boolean NOT NULL DEFAULT false,
    found text,
    os_user text NOT NULL,
    acted_by text,
    reason text,
    acted_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX quarantine_act_stored_once ON quarantine_act (quarantine_id) WHERE is_stored;
CREATE INDEX quarantine_act_by_callback ON quarantine_act (quarantine_id);

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, quarantine_id, what, outcome, is_stored, is_source_trusted, found, os_user, acted_by, reason, acted_at
    ON quarantine_act FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
