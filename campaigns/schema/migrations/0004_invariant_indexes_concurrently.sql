-- What the checks of the invariants read instead of everything. Writers go on meanwhile.

-- Money by its time. Lines are only ever added, nearly in the order of time: a summary per range of blocks is enough,
-- and of several intervals, so that a line of last week among a thousand of now does not widen its range to a week.
CREATE INDEX CONCURRENTLY money_line_by_time ON money_line
    USING brin (at timestamptz_minmax_multi_ops) WITH (autosummarize = on);

-- The roll-up by its time, over all campaigns.
CREATE INDEX CONCURRENTLY campaign_minute_by_minute ON campaign_minute (minute);

-- The few lines that are not the pledge of one message: reversals, corrections, later stages.
CREATE INDEX CONCURRENTLY money_line_beside_pledges ON money_line (stage, campaign_id, carrier)
    INCLUDE (messages, vnd) WHERE stage <> 'pledged' OR messages <> 1;

-- The messages that are not counted.
CREATE INDEX CONCURRENTLY message_uncounted ON message (campaign_id, carrier, reading) WHERE reading <> 'counted';

-- The notices that name no message: of those that nobody matched, the charges are orphans.
CREATE INDEX CONCURRENTLY charge_notice_unnamed ON charge_notice (account_id, charge_id) WHERE message_ref IS NULL;
