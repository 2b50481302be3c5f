-- additive
-- How far gifts with reversals were folded again: since when, up to which reversal, and when all were done. A process of
-- a release before knows nothing of it; what it writes of a gift meanwhile is folded again after the next start of a
-- worker.
CREATE TABLE refolding (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    began_at timestamptz NOT NULL,
    upto uuid,
    ended_at timestamptz
);
