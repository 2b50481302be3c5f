"""The SQL of the hot path. One statement stores a batch of messages with their money lines and roll-ups.

Everything here runs inside a transaction of the caller, on a connection that owns a roll-up slot. What goes in
is sorted by unique key: two batches that carry each other's repeats would otherwise deadlock.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import Key, MessageRow, RawRow, StoredEvent
from campaigns.schema.channels import TOTALS_CHANNEL
from campaigns.schema.locks import ACCOUNT_LOCK_SPACE, BOOK_READERS

LOCK_ACCOUNTS = """
SELECT CASE WHEN wants.alone THEN pg_advisory_xact_lock($3, wants.account_id)::text
            ELSE pg_advisory_xact_lock_shared($3, wants.account_id)::text END
FROM unnest($1::integer[], $2::boolean[]) AS wants (account_id, alone)
"""


async def lock_accounts(connection: asyncpg.Connection, accounts: Collection[int], alone: Collection[int]) -> None:
    """Take the accounts' locks for this transaction, in order: shared for messages, alone for what joins them.

    A charge or reversal looks for its message only after every batch that might hold it has committed, and a
    message looks for what waits for it; so neither can miss the other. Messages do not wait for one another.
    Whoever takes something back from the book waits for them all, and they for it.
    """
    ordered = sorted({BOOK_READERS, *accounts, *alone})
    await connection.fetch(LOCK_ACCOUNTS, ordered, [account in alone for account in ordered], ACCOUNT_LOCK_SPACE)


RECORD_MESSAGES = """
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::incoming_message[])
), new AS (
    INSERT INTO message (
        id, account_id, native_id, digest, received_at, message_at, operator_time, short_code, carrier, reading,
        campaign_id, keyword, units, amount_vnd, claimed_vnd, parts, flags, answer, book_version, grammar_version,
        raw_id
    )
    SELECT id, account_id, native_id, digest, received_at, message_at, operator_time, short_code, carrier, reading,
           campaign_id, keyword, units, amount_vnd, claimed_vnd, parts, string_to_array(flags, ','), answer,
           book_version, grammar_version, raw_id
    FROM input
    ON CONFLICT ON CONSTRAINT message_once DO NOTHING
    RETURNING id, account_id, native_id, raw_id
), fresh AS (
    SELECT input.*, reading = 'counted' AND input.account_id = ANY($4::integer[]) AS awaits_report
    FROM input JOIN new USING (id)
), late AS (
    INSERT INTO late_fact (id, recorded_on)
    SELECT id, (now() AT TIME ZONE 'UTC')::date FROM fresh
    WHERE day < (now() AT TIME ZONE 'UTC')::date - 1
    ON CONFLICT DO NOTHING
), person AS (
    INSERT INTO message_person (message_id, day, msisdn_sealed, msisdn_hash, text_sealed)
    SELECT id, day, msisdn_sealed, msisdn_hash, text_sealed FROM fresh
), raw AS (
    INSERT INTO raw_callback (id, received_on, account_id, sealed)
    SELECT id, received_on, account_id, sealed FROM unnest($2::raw_callback[])
    WHERE id IN (SELECT raw_id FROM new)
    ON CONFLICT DO NOTHING
), line AS (
    INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)
    SELECT id, 'pledged', 'message', campaign_id, carrier, 1, units, amount_vnd, message_at
    FROM fresh WHERE reading = 'counted' AND NOT awaits_report
), gift AS (
    INSERT INTO gift (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd,
                      reversed_vnd)
    SELECT id, account_id, native_id, 'received', campaign_id, carrier, units, amount_vnd, 0
    FROM fresh WHERE awaits_report
), uncharged AS (
    INSERT INTO uncharged_person (message_id, account_id, message_ref, msisdn_hash, short_code, campaign_id,
                                  amount_vnd, message_at, received_at)
    SELECT id, account_id, native_id, msisdn_hash, short_code, campaign_id, amount_vnd, message_at, received_at
    FROM fresh WHERE awaits_report
), owed AS (
    INSERT INTO reply (message_id, account_id, is_charged)
    SELECT fresh.id, fresh.account_id, fresh.awaits_report
    FROM unnest($6::uuid[]) AS owing (id) JOIN fresh USING (id)
), total AS (
    INSERT INTO campaign_total AS old (
        campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd,
        wrong_syntax, before_open, after_close, as_of
    )
    SELECT campaign_id, carrier, $3, 1, count(units), count(units), coalesce(sum(units), 0),
           coalesce(sum(amount_vnd), 0), count(*) FILTER (WHERE reading = 'wrong_syntax'),
           count(*) FILTER (WHERE reading = 'before_open'), count(*) FILTER (WHERE reading = 'after_close'),
           clock_timestamp()
    FROM fresh WHERE campaign_id IS NOT NULL AND NOT awaits_report
    GROUP BY campaign_id, carrier ORDER BY campaign_id, carrier
    ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET
        version = old.version + 1, lines = old.lines + excluded.lines, messages = old.messages + excluded.messages,
        units = old.units + excluded.units, pledged_vnd = old.pledged_vnd + excluded.pledged_vnd,
        wrong_syntax = old.wrong_syntax + excluded.wrong_syntax,
        before_open = old.before_open + excluded.before_open, after_close = old.after_close + excluded.after_close,
        as_of = greatest(old.as_of, excluded.as_of)
), minute AS (
    INSERT INTO campaign_minute AS old (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
    SELECT campaign_id, date_trunc('minute', message_at), carrier, $3, count(*), sum(units), sum(amount_vnd)
    FROM fresh WHERE reading = 'counted' AND NOT awaits_report GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT ON CONSTRAINT campaign_minute_key DO UPDATE SET
        messages = old.messages + excluded.messages, units = old.units + excluded.units,
        pledged_vnd = old.pledged_vnd + excluded.pledged_vnd
), met AS (
    INSERT INTO keyword_read (campaign_id, short_code, keyword)
    SELECT DISTINCT campaign_id, short_code, keyword FROM fresh WHERE campaign_id IS NOT NULL AND keyword IS NOT NULL
    ORDER BY campaign_id, short_code, keyword
    ON CONFLICT ON CONSTRAINT keyword_read_once DO NOTHING
), unallocated AS (
    INSERT INTO unallocated_total AS old (
        slot, version, unknown_keyword, unknown_short_code, empty_text, orphan_charges, orphan_vnd, as_of
    )
    SELECT $3, 1, count(*) FILTER (WHERE reading = 'unknown_keyword'),
           count(*) FILTER (WHERE reading = 'unknown_short_code'), count(*) FILTER (WHERE reading = 'empty_text'),
           0, 0, clock_timestamp()
    FROM fresh WHERE campaign_id IS NULL HAVING count(*) > 0
    ON CONFLICT (slot) DO UPDATE SET
        version = old.version + 1, unknown_keyword = old.unknown_keyword + excluded.unknown_keyword,
        unknown_short_code = old.unknown_short_code + excluded.unknown_short_code,
        empty_text = old.empty_text + excluded.empty_text, as_of = greatest(old.as_of, excluded.as_of)
)
SELECT ARRAY(SELECT id FROM input EXCEPT ALL SELECT id FROM new) AS repeated,
       ARRAY(SELECT new.id FROM new JOIN waiting_event AS w
             ON w.account_id = new.account_id AND w.message_ref = new.native_id) AS awaited,
       (SELECT pg_notify($5, '') FROM new LIMIT 1) AS announced,
       (SELECT coalesce(max(version), 0) FROM book_version WHERE takes_back) AS oldest_book
"""


class ReadByOldBook(Exception):
    """A message was read by a book from which something was taken back since: it is to be read again."""

    def __init__(self, oldest_book: int) -> None:
        """`oldest_book`: the oldest version by which a message may have been read."""
        super().__init__(f"read by a book before version {oldest_book}")
        self.oldest_book = oldest_book


class Recorded(NamedTuple):
    """What of a batch was out of the ordinary, by the ids of its rows."""

    repeated: frozenset[UUID]
    """Not stored: their keys were held already."""
    awaited: frozenset[UUID]
    """Stored, and something waits for them."""


NOTHING_RARE = Recorded(frozenset(), frozenset())


async def record_messages(
    connection: asyncpg.Connection,
    rows: Sequence[MessageRow],
    raws: Sequence[RawRow],
    slot: int,
    on_report: Collection[int] = (),
    owing: Sequence[UUID] = (),
) -> Recorded:
    """Store what is not stored yet, and announce it at commit as `announce` does.

    `rows` has no key twice and is sorted by key; a raw callback is stored when one of its messages was. Only
    the exceptions come back: a row each for what is new took the client a microsecond a message. A counted
    message of an account in `on_report` makes a gift that waits for its charge, and no money. A reply is due to the
    messages in `owing`. Raises ReadByOldBook: then the transaction has to end with nothing stored.
    """
    found = await connection.fetchrow(RECORD_MESSAGES, rows, raws, slot, list(on_report), TOTALS_CHANNEL, owing)
    assert found is not None  # noqa: S101 -- a SELECT without FROM always has a row
    if any(row.book_version < found["oldest_book"] for row in rows):
        raise ReadByOldBook(found["oldest_book"])
    if not found["repeated"] and not found["awaited"]:
        return NOTHING_RARE
    return Recorded(frozenset(found["repeated"]), frozenset(found["awaited"]))


# A refusal that was taken back is not repeated.
SELECT_MESSAGES = """
SELECT message.account_id, message.native_id, message.digest,
       CASE WHEN NOT message.flags @> '{refusal_taken_back}' THEN message.answer END AS answer
FROM message JOIN unnest($1::integer[], $2::text[]) AS t (account_id, native_id) USING (account_id, native_id)
"""
SELECT_CHARGES = """
SELECT account_id, native_id, digest, NULL::bytea AS answer
FROM charge_notice JOIN unnest($1::integer[], $2::text[]) AS t (account_id, native_id) USING (account_id, native_id)
"""
SELECT_REVERSALS = """
SELECT account_id, native_id, digest, NULL::bytea AS answer
FROM reversal JOIN unnest($1::integer[], $2::text[]) AS t (account_id, native_id) USING (account_id, native_id)
"""
SELECT_STORED = {"message": SELECT_MESSAGES, "charge": SELECT_CHARGES, "reversal": SELECT_REVERSALS}


async def select_stored(connection: asyncpg.Connection, kind: str, keys: Iterable[Key]) -> dict[Key, StoredEvent]:
    """What is stored under `keys`. A statement of its own: its snapshot sees what the insert waited for."""
    ordered = list(keys)
    found = await connection.fetch(SELECT_STORED[kind], [key[0] for key in ordered], [key[1] for key in ordered])
    return {(row["account_id"], row["native_id"]): StoredEvent(bytes(row["digest"]), row["answer"]) for row in found}


AWAIT_STANDBYS = "SELECT pg_logical_emit_message(true, 'portal1400', '')"


async def await_standbys(connection: asyncpg.Connection) -> None:
    """Let this transaction's commit wait for synchronous standbys, also when it stores nothing of its own.

    A transaction that writes nothing waits for nobody. It may have found a row whose own wait was given up (the
    commit was cancelled, or the server killed and started again): visible here, and lost with this server. An empty
    record in the log, behind that row's, is confirmed only after it. Costs one flush; without standbys nothing more.
    """
    await connection.execute(AWAIT_STANDBYS)


FLAG_CHARGED = """
UPDATE message SET flags = flags || '{charged_not_counted,refusal_taken_back}'::text[]
WHERE (account_id, native_id) IN (SELECT * FROM unnest($1::integer[], $2::text[]))
    AND reading <> 'counted' AND NOT flags @> '{charged_not_counted}'
"""


async def flag_charged(connection: asyncpg.Connection, keys: Iterable[Key]) -> None:
    """Flag messages that are stored as refused, and were acknowledged all the same while we could not look.

    From then on they are repeated as accepted. The stored answer is a fact and stays; a flag changes no figure.
    """
    ordered = sorted(keys)
    await connection.execute(FLAG_CHARGED, [key[0] for key in ordered], [key[1] for key in ordered])
