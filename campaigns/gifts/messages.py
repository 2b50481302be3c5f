"""The hot path in the database. One statement stores a batch of messages with their money lines and roll-ups.

The statement is the function `record_messages` of migration 0035. Called by `record_at_once` it is a transaction of
its own, locks and all, in one round trip; everything else here runs inside a transaction of the caller. The
connection owns a roll-up slot. What goes in is sorted by unique key: two batches that carry each other's repeats
would otherwise deadlock.
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
SELECT is_stored, repeated, awaited, oldest_book
FROM record_messages($1, $2, $3::smallint, $4, $5, $6, $7, $8, $9, $10)
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
    """Store what is not stored yet, and announce it at commit as `announce` does. The accounts are locked already.

    `rows` has no key twice and is sorted by key; a raw callback is stored when one of its messages was. Only
    the exceptions come back: a row each for what is new took the client a microsecond a message. A counted
    message of an account in `on_report` makes a gift that waits for its charge, and no money. A reply is due to the
    messages in `owing`. Raises ReadByOldBook, with nothing stored.
    """
    found = await _record(connection, rows, raws, slot, on_report, owing, joins=True)
    return NOTHING_RARE if found is None else found


async def record_at_once(
    connection: asyncpg.Connection,
    rows: Sequence[MessageRow],
    raws: Sequence[RawRow],
    slot: int,
    owing: Sequence[UUID] = (),
) -> Recorded | None:
    """As `record_messages`, committed in the same round trip. Not for accounts whose messages count on a report.

    None, with nothing stored, where something waits for one of the messages. Takes the accounts' locks itself.
    """
    accounts = sorted({BOOK_READERS, *(row.account_id for row in rows)})
    return await _record(connection, rows, raws, slot, (), owing, accounts=accounts)


async def _record(
    connection: asyncpg.Connection,
    rows: Sequence[MessageRow],
    raws: Sequence[RawRow],
    slot: int,
    on_report: Collection[int],
    owing: Sequence[UUID],
    accounts: Sequence[int] = (),
    *,
    joins: bool = False,
) -> Recorded | None:
    oldest_read = min(row.book_version for row in rows)
    (found,) = await connection.fetch(
        RECORD_MESSAGES, rows, raws, slot, list(on_report), owing, TOTALS_CHANNEL, ACCOUNT_LOCK_SPACE, accounts,
        oldest_read, joins,
    )  # fmt: skip
    is_stored, repeated, awaited, oldest_book = found
    if oldest_read < oldest_book:
        raise ReadByOldBook(oldest_book)
    if not is_stored:
        return None
    return Recorded(frozenset(repeated), frozenset(awaited)) if repeated or awaited else NOTHING_RARE


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
