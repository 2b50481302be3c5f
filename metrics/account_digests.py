"""What an account handed over on one day, as figures and a digest that its carrier can compute as well.

The digest is SHA-256 over the carrier's own ids, each followed by a line feed, sorted by their bytes: what
`sort -u | sha256sum` gives in the C locale. Nothing of a donor is in it.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import asyncpg

from campaigns.book.book import VIETNAM
from metrics.subjects import least_id

BEFORE = timedelta(minutes=10)
"""A message time further ahead of our clock is not believed: nothing of a day comes earlier than so before it."""
LATE = timedelta(days=2)
"""Messages of a day that come later than so long after its end are not in its digest: it would never be final."""
FETCHED_AT_ONCE = 5_000

SELECT_DAY = """
SELECT a.code, m.native_id, m.units, m.amount_vnd
FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id
WHERE m.id >= $1 AND m.id < $2 AND m.message_at >= $3 AND m.message_at < $4 AND ($5::text IS NULL OR a.code = $5)
ORDER BY a.code COLLATE "C", m.native_id COLLATE "C"
"""

SELECT_DAYS = """
SELECT m.native_id, m.message_at
FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id
WHERE a.code = $1 AND m.native_id = ANY($2::text[])
"""


@dataclass(slots=True)
class AccountDay:
    """One account's messages of one day. `units` and `vnd` are those of texts that were read as counted."""

    account: str
    messages: int = 0
    units: int = 0
    vnd: int = 0
    sha256: str = ""


def bounds(day: date) -> tuple[datetime, datetime]:
    """When a day begins and ends in Vietnam."""
    begins_at = datetime.combine(day, time(), VIETNAM)
    return begins_at, begins_at + timedelta(days=1)


def final_at(day: date) -> datetime:
    """From when on nothing joins the digest of `day`."""
    return bounds(day)[1] + LATE


async def digest_accounts(
    connection: asyncpg.Connection, day: date, account: str | None, see: Callable[[str], None] = lambda _: None
) -> list[AccountDay]:
    """The messages of `day` by account, in one pass that holds some thousand rows; of one account where it is named.

    `see` is given each id. Runs in the caller's transaction.
    """
    found: list[AccountDay] = []
    digests: dict[str, hashlib._Hash] = {}
    async for code, native_id, units, vnd in _rows(connection, day, account):
        if code not in digests:
            digests[code] = hashlib.sha256()
            found.append(AccountDay(code))
        of = found[-1]
        of.messages, of.units, of.vnd = of.messages + 1, of.units + (units or 0), of.vnd + (vnd or 0)
        digests[code].update(native_id.encode() + b"\n")
        see(native_id)
    for of in found:
        of.sha256 = digests[of.account].hexdigest()
    return found


async def days_of(connection: asyncpg.Connection, account: str, ids: Sequence[str]) -> dict[str, date]:
    """Of those ids that an account handed over at any time, the day in Vietnam that each message bears."""
    found: dict[str, date] = {}
    for at in range(0, len(ids), FETCHED_AT_ONCE):
        rows = await connection.fetch(SELECT_DAYS, account, ids[at : at + FETCHED_AT_ONCE])
        found |= {row["native_id"]: row["message_at"].astimezone(VIETNAM).date() for row in rows}
    return found


async def _rows(
    connection: asyncpg.Connection, day: date, account: str | None
) -> AsyncIterator[tuple[str, str, int | None, int | None]]:
    begins_at, ends_at = bounds(day)
    places = least_id(begins_at - BEFORE), least_id(ends_at + LATE)
    async for row in connection.cursor(SELECT_DAY, *places, begins_at, ends_at, account, prefetch=FETCHED_AT_ONCE):
        yield row["code"], row["native_id"], row["units"], row["amount_vnd"]
