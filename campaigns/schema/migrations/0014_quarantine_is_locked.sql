-- additive
-- What was kept for a person is a fact like the others: neither changed nor removed. What it says goes with the key of
-- its day, the row stays as its trace. The release before only adds such rows and holds one while it is replayed, which
-- a lock for statements does not see: it goes on.
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, received_at, adapter, account_id, outcome, reason, sealed, day
    ON quarantine FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
