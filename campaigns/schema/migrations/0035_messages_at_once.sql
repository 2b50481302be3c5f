-- additive
-- A batch of messages in one round trip: its locks, its look at what forbids it, and the statement that stores them,
-- their money lines and roll-ups. Called by itself it is its own transaction, and nothing is held while a client thinks.
--
-- `accounts` are locked first, shared and in order; each statement after that sees what was committed until then. So a
-- charge that waits is met here, or its notice comes after this commit and meets the message.
-- Nothing is stored, and `is_stored` says so, where a text was read by a book from which something was taken back since
-- (`oldest_book`), or where something waits for a message and `joins` does not say that the caller joins them.
-- `incoming` has no key twice and is sorted by key. `repeated` are those whose keys were held already, `awaited` those
-- that something waits for. A raw callback is stored when one of its messages was. A counted message of an account in
-- `reporting` makes a gift that waits for its charge, and no money.
CREATE FUNCTION record_messages(
    incoming incoming_message[], raws raw_callback[], own_slot smallint, reporting integer[], replies_owed uuid[],
    channel text, lock_space integer, accounts integer[], oldest_read integer, joins boolean,
    OUT is_stored boolean, OUT repeated uuid[], OUT awaited uuid[], OUT oldest_book integer
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(lock_space, account) FROM unnest(accounts) AS account;
    SELECT coalesce(max(version), 0) INTO oldest_book FROM book_version WHERE takes_back;
    is_stored := oldest_read >= oldest_book AND (joins OR NOT EXISTS (
        SELECT FROM unnest(incoming) AS each JOIN waiting_event AS w
        ON w.account_id = each.account_id AND w.message_ref = each.native_id
    ));
    IF NOT is_stored THEN
        RETURN;
    END IF;
    WITH input AS MATERIALIZED (
        SELECT * FROM unnest(incoming)
    ), new AS (
        INSERT INTO message (
            id, account_id, native_id, digest, received_at, message_at, operator_time, short_code, carrier, reading,
            campaign_id, keyword, units, amount_vnd, claimed_vnd, parts, flags, answer, book_version, grammar_version,
            raw_id
        )
        SELECT id, account_id, native_id, digest, received_at, message_at, operator_time, short_code, carrier, reading,
               campaign_id, keyword, units, amount_vnd, claimed_vnd, parts, string_to_array(flags, ','), answer,
               book_version, grammar_version, raw_id
        FROM input
        ON CONFLICT ON CONSTRAINT message_once DO NOTHING
        RETURNING id, account_id, native_id, raw_id
    ), fresh AS (
        SELECT input.*, reading = 'counted' AND input.account_id = ANY(reporting) AS awaits_report
        FROM input JOIN new USING (id)
    ), late AS (
        INSERT INTO late_fact (id, recorded_on)
        SELECT id, (now() AT TIME ZONE 'UTC')::date FROM fresh
        WHERE day < (now() AT TIME ZONE 'UTC')::date - 1
        ON CONFLICT DO NOTHING
    ), person AS (
        INSERT INTO message_person (message_id, day, msisdn_sealed, msisdn_hash, text_sealed)
        SELECT id, day, msisdn_sealed, msisdn_hash, text_sealed FROM fresh
    ), raw AS (
        INSERT INTO raw_callback (id, received_on, account_id, sealed)
        SELECT id, received_on, account_id, sealed FROM unnest(raws)
        WHERE id IN (SELECT raw_id FROM new)
        ON CONFLICT DO NOTHING
    ), line AS (
        INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)
        SELECT id, 'pledged', 'message', campaign_id, carrier, 1, units, amount_vnd, message_at
        FROM fresh WHERE reading = 'counted' AND NOT awaits_report
    ), gift AS (
        INSERT INTO gift (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd,
                          reversed_vnd)
        SELECT id, account_id, native_id, 'received', campaign_id, carrier, units, amount_vnd, 0
        FROM fresh WHERE awaits_report
    ), uncharged AS (
        INSERT INTO uncharged_person (message_id, account_id, message_ref, msisdn_hash, short_code, campaign_id,
                                      amount_vnd, message_at, received_at)
        SELECT id, account_id, native_id, msisdn_hash, short_code, campaign_id, amount_vnd, message_at, received_at
        FROM fresh WHERE awaits_report
    ), owed AS (
        INSERT INTO reply (message_id, account_id, is_charged)
        SELECT fresh.id, fresh.account_id, fresh.awaits_report
        FROM unnest(replies_owed) AS owing (id) JOIN fresh USING (id)
    ), total AS (
        INSERT INTO campaign_total AS old (
            campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd,
            wrong_syntax, before_open, after_close, as_of
        )
        SELECT campaign_id, carrier, own_slot, 1, count(units), count(units), coalesce(sum(units), 0),
               coalesce(sum(amount_vnd), 0), count(*) FILTER (WHERE reading = 'wrong_syntax'),
               count(*) FILTER (WHERE reading = 'before_open'), count(*) FILTER (WHERE reading = 'after_close'),
               clock_timestamp()
        FROM fresh WHERE campaign_id IS NOT NULL AND NOT awaits_report
        GROUP BY campaign_id, carrier ORDER BY campaign_id, carrier
        ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET
            version = old.version + 1, lines = old.lines + excluded.lines, messages = old.messages + excluded.messages,
            units = old.units + excluded.units, pledged_vnd = old.pledged_vnd + excluded.pledged_vnd,
            wrong_syntax = old.wrong_syntax + excluded.wrong_syntax,
            before_open = old.before_open + excluded.before_open, after_close = old.after_close + excluded.after_close,
            as_of = greatest(old.as_of, excluded.as_of)
    ), minute AS (
        INSERT INTO campaign_minute AS old (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
        SELECT campaign_id, date_trunc('minute', message_at), carrier, own_slot, count(*), sum(units), sum(amount_vnd)
        FROM fresh WHERE reading = 'counted' AND NOT awaits_report GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT ON CONSTRAINT campaign_minute_key DO UPDATE SET
            messages = old.messages + excluded.messages, units = old.units + excluded.units,
            pledged_vnd = old.pledged_vnd + excluded.pledged_vnd
    ), met AS (
        INSERT INTO keyword_read (campaign_id, short_code, keyword)
        SELECT DISTINCT campaign_id, short_code, keyword FROM fresh WHERE campaign_id IS NOT NULL AND keyword IS NOT NULL
        ORDER BY campaign_id, short_code, keyword
        ON CONFLICT ON CONSTRAINT keyword_read_once DO NOTHING
    ), unallocated AS (
        INSERT INTO unallocated_total AS old (
            slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
        )
        SELECT own_slot, 1, count(*) FILTER (WHERE reading = 'unknown_keyword'),
               count(*) FILTER (WHERE reading = 'unknown_short_code'), count(*) FILTER (WHERE reading = 'empty_text'),
               0, 0, clock_timestamp()
        FROM fresh WHERE campaign_id IS NULL HAVING count(*) > 0
        ON CONFLICT (slot) DO UPDATE SET
            version = old.version + 1, unknown_keyword = old.unknown_keyword + excluded.unknown_keyword,
            unknown_short_code = old.unknown_short_code + excluded.unknown_short_code,
            empty_text = old.empty_text + excluded.empty_text, as_of = greatest(old.as_of, excluded.as_of)
    )
    SELECT ARRAY(SELECT id FROM input EXCEPT ALL SELECT id FROM new),
           ARRAY(SELECT new.id FROM new JOIN waiting_event AS w
                 ON w.account_id = new.account_id AND w.message_ref = new.native_id
                 WHERE joins)
    INTO repeated, awaited;
    IF cardinality(repeated) < cardinality(incoming) THEN
        PERFORM pg_notify(channel, '');
    END IF;
END
$$;
