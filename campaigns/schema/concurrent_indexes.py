"""Indexes made with CREATE INDEX CONCURRENTLY: writers go on meanwhile. Not transactional, so safe to begin again.

What it waits for stands in nobody's way: its lock on the table is one that writers pass. It waits for every
transaction that was open before it, in two turns, and for as long as it runs an index that is not yet valid is kept
up by the writers, which is harmless. An interrupted one leaves such an index behind: it is dropped and made anew.
"""

import re

import asyncpg

_COMMENT = re.compile(r"--[^\n]*")
_CREATE = re.compile(r"^CREATE INDEX CONCURRENTLY ([a-z][a-z0-9_]*) ON [a-z]")

SELECT_VALIDITY = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
# DDL takes no parameters: format() quotes the name inside the server.
DROP_INDEX = "SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I', $1::text)"
SET_LIMITS = "SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', '0', false)"
RESET_LIMITS = "RESET lock_timeout; RESET statement_timeout"


class IndexRefused(Exception):
    """An index cannot be made so; the sentence says why and what to do."""


def statements_of(sql: str) -> dict[str, str]:
    """The statements of a file by the index each makes, in order. Raises IndexRefused where it holds anything else.

    A statement that makes anything but one index could be half done, and nobody could tell.
    """
    found = {}
    for part in _COMMENT.sub("", sql).split(";"):
        statement = " ".join(part.split())
        if not statement:
            continue
        named = _CREATE.match(statement)
        if named is None:
            raise IndexRefused(f"'{statement[:60]}' is not CREATE INDEX CONCURRENTLY name ON table")
        found[named[1]] = statement
    return found


async def make_indexes(
    connection: asyncpg.Connection, sql: str, patience_seconds: float, seconds_max: float
) -> tuple[str, ...]:
    """Make the indexes of `sql` that are not there; returns their names. Leaves the session's limits as they were.

    The caller holds MIGRATION_LOCK: two that make indexes of one table wait for each other. Raises IndexRefused when
    a transaction that was open before stays open for `patience_seconds`.
    """
    made = []
    await connection.execute(SET_LIMITS, f"{int(patience_seconds * 1000)}ms")
    try:
        for name, statement in statements_of(sql).items():
            is_valid = await connection.fetchval(SELECT_VALIDITY, name)
            if is_valid:
                continue
            if is_valid is not None:
                await connection.execute(await connection.fetchval(DROP_INDEX, name), timeout=seconds_max)
            await connection.execute(statement, timeout=seconds_max)
            made.append(name)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise IndexRefused(
            f"the index {name} has waited {patience_seconds:.0f} s for transactions that were open before it: look "
            "in pg_stat_activity for one that was left open, end it, then start again; it goes on where it stopped"
        ) from None
    finally:
        if not connection.is_closed():
            await connection.execute(RESET_LIMITS)
    return tuple(made)
