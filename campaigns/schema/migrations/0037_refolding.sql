-- additive
-- How far gifts with reversals were folded again by the rules of a release that makes something else of their events than
-- the one before: one row for each such change of the rules. A worker of a release before knows nothing of it; what it
-- writes of a gift meanwhile is mended by the gift's next event, and told by `verify`.
CREATE TABLE refolding (
    rules smallint PRIMARY KEY,
    upto uuid,
    ended_at timestamptz
);
