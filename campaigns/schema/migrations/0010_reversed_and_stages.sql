-- What was given back is a figure of its own beside totals that are net of it; and a stage of money that nobody
-- records is NULL, not 0. Workers of the version before go on: they leave the new columns alone, and what they record
-- of reversals meanwhile is made up for when a worker of this version starts (campaigns/totals/reversed.py).

ALTER TABLE campaign_total
    ADD COLUMN reversed_messages bigint NOT NULL DEFAULT 0,
    ADD COLUMN reversed_vnd bigint NOT NULL DEFAULT 0,
    ALTER COLUMN confirmed_vnd DROP NOT NULL, ALTER COLUMN confirmed_vnd DROP DEFAULT,
    ALTER COLUMN received_vnd DROP NOT NULL, ALTER COLUMN received_vnd DROP DEFAULT,
    ALTER COLUMN disbursed_vnd DROP NOT NULL, ALTER COLUMN disbursed_vnd DROP DEFAULT;

-- Nothing has recorded a later stage so far: 0 said only that.
UPDATE campaign_total SET
    confirmed_vnd = nullif(confirmed_vnd, 0), received_vnd = nullif(received_vnd, 0),
    disbursed_vnd = nullif(disbursed_vnd, 0);
