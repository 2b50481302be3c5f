-- additive
-- What did not count, newest first: the lists that people work, and the wrong forms of a campaign that has just begun.
CREATE INDEX CONCURRENTLY message_set_aside ON message (reading, id) WHERE reading <> 'counted';
