-- How far the checks in turn over everything have come, so that a process that is restarted every day ends them too.
-- One row per subject. The version before knows nothing of it and checks everything at once.
CREATE TABLE invariant_pass (
    subject text PRIMARY KEY,
    next_at timestamptz NOT NULL,
    ended_at timestamptz
);

-- Stretches of time that were found broken: looked at again in every round until they hold.
CREATE TABLE invariant_broken (
    subject text NOT NULL,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (subject, begins_at),
    CHECK (begins_at < ends_at)
);
