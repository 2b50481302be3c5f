-- Append-only by a lock and not by habit: what was recorded is neither changed nor removed, whoever asks. A lock fires
-- for the statement, once, and for no INSERT: the intake pays nothing. A superuser can pass by it; `verify` is for that.
-- Free stay: roll-ups, reviews, what waits, and of a gift its state; a message's flags, which change no total; the rows
-- about persons and the keys of days, which may be deleted; and partitions, which are dropped whole when they are old.
-- Columns are named, so that one which a later release adds is free until it says otherwise.
-- The version before changes nothing of this, and goes on.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: facts are append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'A correction is another row: another event, a line with the opposite sign, another decision.';
END $$;

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, account_id, native_id, digest, received_at, message_at, operator_time, short_code, carrier, reading,
    campaign_id, keyword, units, amount_vnd, claimed_vnd, parts, answer, book_version, grammar_version, raw_id
    ON message FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref, short_code, reason, occurred_at,
    received_at, raw_id
    ON charge_notice FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, account_id, native_id, digest, charge_ref, message_ref, amount_vnd, scope, kind, occurred_at, received_at,
    raw_id
    ON reversal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at
    ON money_line FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF account_id, charge_id, message_ref
    ON charge_match FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    message_id, account_id, message_ref, campaign_id, carrier, units, pledged_vnd
    ON gift FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF account_id, kind, native_id, digest, received_at
    ON conflict FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF raw_id, account_id, received_at, day, bytes
    ON conflict_callback FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A lock for the statement would hold for those that name the parent; one for the row is there on every partition.
CREATE TRIGGER fact_lock BEFORE DELETE OR UPDATE OF id, received_on, account_id, sealed
    ON raw_callback FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock_truncate BEFORE TRUNCATE
    ON raw_callback FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER fact_lock BEFORE TRUNCATE OR UPDATE OF message_id, day, msisdn_sealed, msisdn_hash, text_sealed
    ON message_person FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE TRUNCATE OR UPDATE OF day, wrapped, created_at
    ON data_key FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF only_row, kind, key_check, created_at
    ON installation FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF version, applied_at, file_sha256, changes
    ON book_version FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF code
    ON organisation FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF id, slug, book_version, applied_at
    ON campaign FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    campaign_id, number, decision, opens_at, closes_at, book_version, recorded_at
    ON campaign_decision FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, campaign_id, short_code, keywords, grammar, unit_vnd, max_units, book_version
    ON route FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF id, code
    ON gateway_account FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
