-- additive
-- What programs did by the desk's API, so that a request that is sent again does nothing again and is answered as it
-- was; and what people noted about the rows of the lists. The release before knows nothing of it, and goes on.

CREATE TABLE desk_write (
    user_id integer NOT NULL REFERENCES desk_user,
    idempotency_key text NOT NULL,
    request_sha256 bytea NOT NULL,
    answer jsonb,
    made_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT desk_write_once PRIMARY KEY (user_id, idempotency_key)
);
CREATE INDEX desk_write_by_time ON desk_write (made_at);

CREATE TABLE worklist_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The event or callback of the row; a note stays when the row leaves its list.
    request uuid NOT NULL,
    who text NOT NULL,
    note text NOT NULL CHECK (length(note) BETWEEN 1 AND 500),
    noted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX worklist_note_by_request ON worklist_note (request, id);

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF id, request, who, note, noted_at
    ON worklist_note FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
