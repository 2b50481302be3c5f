-- additive
-- Gifts that were counted for one campaign and belong to another: proposed by one person, approved by another, and then
-- two money lines of each gift, one that takes and one that brings. No message is read differently. The release before
-- knows nothing of it, and goes on; a reversal that it stores of a gift that was moved lies with the campaign that the
-- message named, and `verify` tells so.

CREATE TABLE reattribution (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_campaign_id integer NOT NULL,
    to_campaign_id integer NOT NULL,
    -- What the public is told; the reason is for the desk alone.
    ground text NOT NULL CHECK (ground IN ('keyword', 'carrier', 'donor', 'portal')),
    reason text NOT NULL,
    -- A login of the desk, or `os:` and an account of the operating system.
    made_by text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reattribution_moves CHECK (from_campaign_id <> to_campaign_id),
    CONSTRAINT reattribution_maker UNIQUE (id, made_by)
);

CREATE TABLE reattribution_gift (
    reattribution_id integer NOT NULL REFERENCES reattribution,
    gift_id uuid NOT NULL,
    CONSTRAINT reattribution_gift_key PRIMARY KEY (reattribution_id, gift_id)
);
CREATE INDEX reattribution_gift_by_gift ON reattribution_gift (gift_id);

-- Which proposal has a gift as long as it waits: one at a time. A row goes when its proposal ends.
CREATE TABLE reattribution_claim (
    gift_id uuid CONSTRAINT reattribution_claim_once PRIMARY KEY,
    reattribution_id integer NOT NULL REFERENCES reattribution
);
CREATE INDEX reattribution_claim_by_reattribution ON reattribution_claim (reattribution_id);

-- How a proposal ended: once. `made_by` is its maker's login, and of an approval not the approver's.
CREATE TABLE reattribution_end (
    reattribution_id integer CONSTRAINT reattribution_ends_once PRIMARY KEY,
    step text NOT NULL CHECK (step IN ('approved', 'refused', 'withdrawn')),
    who text NOT NULL,
    made_by text NOT NULL,
    reason text,
    messages integer NOT NULL,
    units integer NOT NULL,
    vnd bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reattribution_made_by FOREIGN KEY (reattribution_id, made_by) REFERENCES reattribution (id, made_by),
    CONSTRAINT reattribution_needs_two CHECK (step <> 'approved' OR who <> made_by),
    CHECK (step = 'approved' OR (messages, units, vnd) = (0, 0, 0))
);

-- Each move of a gift that was approved, and the causes of its two lines. Of one gift the greater id is the later one.
CREATE VIEW moved_gift AS
SELECT g.gift_id, r.id AS reattribution_id, 'moved_out:' || r.id AS cause_out, 'moved_in:' || r.id AS cause_in,
       r.from_campaign_id, r.to_campaign_id, e.recorded_at AS at
FROM reattribution_gift AS g JOIN reattribution AS r ON r.id = g.reattribution_id
JOIN reattribution_end AS e ON e.reattribution_id = r.id AND e.step = 'approved';

CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, from_campaign_id, to_campaign_id, ground, reason, made_by, made_at
    ON reattribution FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF reattribution_id, gift_id
    ON reattribution_gift FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    reattribution_id, step, who, made_by, reason, messages, units, vnd, recorded_at
    ON reattribution_end FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
