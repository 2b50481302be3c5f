"""Millions of gifts that are already there, made inside the database: what a drive of weeks leaves behind."""

import sys
import time

import asyncpg

CHUNK = 250_000

# Ids in the order of time, as ours are; the sender's ids in no order, as a carrier's may be. Sealed columns have the
# sizes that sealing gives them. Messages of the last 19 days, one line of money each; callbacks of the days that have
# a place for them.
STORE = """
WITH made AS MATERIALIZED (
    SELECT number, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
               || substr(md5(number::text), 1, 19))::uuid AS id,
           'old-' || md5('n' || number::text) AS native_id, at, 1 + number % 5 AS units
    FROM (SELECT number, now() - interval '19 days' + number * (interval '19 days' / $5::float8) AS at
          FROM generate_series($1::bigint, $2::bigint) AS number) AS numbered
), message AS (
    INSERT INTO message (id, account_id, native_id, digest, received_at, message_at, short_code, carrier, reading,
                         campaign_id, keyword, units, amount_vnd, flags, book_version, grammar_version, raw_id)
    SELECT id, $3, native_id, decode(md5(native_id) || md5('d' || native_id), 'hex'), at, at, '1408', 'viettel',
           'counted', $4, 'VNN', units, units * 20000, '{}', 1, 1, id
    FROM made
), person AS (
    INSERT INTO message_person (message_id, day, msisdn_sealed, msisdn_hash, text_sealed)
    SELECT id, at::date, decode(md5('a' || number) || md5('b' || number), 'hex'),
           decode(md5('c' || number) || md5('d' || number), 'hex'),
           decode(md5('e' || number) || md5('f' || number), 'hex')
    FROM made
), raw AS (
    INSERT INTO raw_callback (id, received_on, account_id, sealed)
    SELECT id, (at AT TIME ZONE 'UTC')::date, $3, decode(repeat(md5('r' || number), 32), 'hex') FROM made
    WHERE to_regclass('raw_callback_' || to_char((at AT TIME ZONE 'UTC')::date, 'YYYYMMDD')) IS NOT NULL
), line AS (
    INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)
    SELECT id, 'pledged', 'message', $4, 'viettel', 1, units, units * 20000, at FROM made
), minute AS (
    INSERT INTO campaign_minute AS old (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
    SELECT $4, date_trunc('minute', at), 'viettel', 0, count(*), sum(units), sum(units) * 20000 FROM made GROUP BY 2
    ON CONFLICT ON CONSTRAINT campaign_minute_key DO UPDATE SET
        messages = old.messages + excluded.messages, units = old.units + excluded.units,
        pledged_vnd = old.pledged_vnd + excluded.pledged_vnd
)
INSERT INTO campaign_total AS old (campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd,
                                   wrong_syntax, before_open, after_close, as_of)
SELECT $4, 'viettel', 0, 1, count(*), count(*), sum(units), sum(units) * 20000, 0, 0, 0, now() FROM made
ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET
    version = old.version + 1, lines = old.lines + excluded.lines, messages = old.messages + excluded.messages,
    units = old.units + excluded.units, pledged_vnd = old.pledged_vnd + excluded.pledged_vnd, as_of = excluded.as_of
"""


async def store(dsn: str, first: int, last: int, of: int) -> None:
    """Make gifts number `first` to `last` of `of`, and tell how fast."""
    connection = await asyncpg.connect(dsn)
    account_id = await connection.fetchval("SELECT id FROM gateway_account WHERE code = 'hub'")
    campaign_id = await connection.fetchval("SELECT id FROM campaign WHERE slug = 'vnn'")
    started = time.monotonic()
    at = first
    while at <= last:
        until = min(at + CHUNK - 1, last)
        await connection.execute(STORE, at, until, account_id, campaign_id, float(of))
        at = until + 1
    for table in ("message", "message_person", "money_line"):
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.execute("CHECKPOINT")
    await connection.close()
    seconds = time.monotonic() - started
    print(f"  {last} gifts stored, {(last - first + 1) / seconds:.0f}/s", file=sys.stderr)
