-- The two sides of a search by number, code and amount, by time: a notice finds what lies near it, and nothing else.

CREATE INDEX CONCURRENTLY charge_person_by_number_and_time ON charge_person
    (account_id, msisdn_hash, short_code, amount_vnd, occurred_at);
CREATE INDEX CONCURRENTLY uncharged_person_by_number_and_time ON uncharged_person
    (account_id, msisdn_hash, short_code, amount_vnd, message_at);
