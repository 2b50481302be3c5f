-- additive
-- What was acknowledged and does not count, newest first: the carrier has to give its money back.
CREATE INDEX CONCURRENTLY message_charged_uncounted ON message (id) WHERE flags @> '{charged_not_counted}';
