-- additive
-- A person can be forgotten, a day's key destroyed and the secret changed, each only with a row for ever that says so
-- and holds nothing about the person. The release before does none of it, and goes on.

-- `proof`: of an erasure, a keyed hash whose key stands on the person's receipt alone; from it nobody finds a number.
CREATE TABLE privacy_act (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL CHECK (what IN ('person_erased', 'day_forgotten', 'secret_rotated')),
    proof bytea CHECK ((what = 'person_erased') = (proof IS NOT NULL)),
    counts jsonb NOT NULL,
    os_user text NOT NULL,
    acted_by text,
    reason text,
    acted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, what, proof, counts, os_user, acted_by, reason, acted_at
    ON privacy_act FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The key to a lock is the row that tells of it, written by the same transaction. Both the transaction's number and its
-- time are asked for: a number comes again in another cluster.
CREATE FUNCTION refuse_unless_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM privacy_act
        WHERE what = TG_ARGV[0] AND acted_at = now() AND xmin = pg_current_xact_id()::xid
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% on % is refused: facts are append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'portal1400 erase and portal1400 secret-key do it, and leave a row that says so.';
END $$;

DROP TRIGGER fact_lock ON raw_callback;
CREATE TRIGGER fact_lock BEFORE DELETE OR UPDATE OF id, received_on, account_id
    ON raw_callback FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock_told BEFORE UPDATE OF sealed
    ON raw_callback FOR EACH ROW EXECUTE FUNCTION refuse_unless_told('person_erased');

DROP TRIGGER fact_lock ON quarantine;
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, received_at, adapter, account_id, outcome, reason, day
    ON quarantine FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock_told BEFORE UPDATE OF sealed
    ON quarantine FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_told('person_erased');

DROP TRIGGER fact_lock ON data_key;
CREATE TRIGGER fact_lock BEFORE TRUNCATE OR UPDATE OF day, created_at
    ON data_key FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock_told BEFORE UPDATE OF wrapped
    ON data_key FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_told('secret_rotated');

-- The check value of the secret of today; NULL: that of the first one, by which files know this installation for ever.
ALTER TABLE installation ADD COLUMN current_check bytea;
CREATE TRIGGER fact_lock_told BEFORE UPDATE OF current_check
    ON installation FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_told('secret_rotated');
