-- What was stored two days and more after the day it was received (a spool that lay about, a clock that was wrong): it
-- belongs to the day on which it was recorded, so that the facts of a day that is over are a closed set. An event by its
-- id; another content of an id we hold by the id of its callback. Facts of the version before are of their own day.
CREATE TABLE late_fact (
    id uuid PRIMARY KEY,
    recorded_on date NOT NULL
);
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF id, recorded_on
    ON late_fact FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
