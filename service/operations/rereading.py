"""Reads every stored text again by the book version it was read with: the reading must be the same for ever.

Its number is opened too, and must be the one of its hash.
"""

from dataclasses import dataclass, field

import asyncpg

from campaigns.book.book import Book
from campaigns.book.grammar import GRAMMAR_VERSION, read
from campaigns.book.store import load_book
from metrics.invariant import DIFFERENCES_MAX, Difference
from service.runtime.keyring import Keyring, SealBroken

CURSOR_ROWS = 2_000


@dataclass(slots=True)
class RereadReport:
    """What was read again, what could not be (its person was deleted), and what differs."""

    read: int = 0
    without_text: int = 0
    differences: list[Difference] = field(default_factory=list)


SELECT_TEXTS = """
SELECT m.id, m.short_code, m.message_at, m.reading, m.campaign_id, m.keyword, m.units, m.amount_vnd, m.book_version,
       m.grammar_version, p.day, p.text_sealed, p.msisdn_sealed, p.msisdn_hash
FROM message AS m LEFT JOIN message_person AS p ON p.message_id = m.id
ORDER BY m.id
"""


async def reread(connection: asyncpg.Connection, keyring: Keyring) -> RereadReport:
    """Open and read every text again. Runs in the caller's snapshot; needs a transaction."""
    report = RereadReport()
    books: dict[int, Book] = {}
    days = {}
    async for row in connection.cursor(SELECT_TEXTS, prefetch=CURSOR_ROWS):
        if row["text_sealed"] is None:
            report.without_text += 1
            continue
        if row["day"] not in days:
            days[row["day"]] = await keyring.find_day(connection, row["day"])
        sealer = days[row["day"]]
        if sealer is None:
            report.without_text += 1
            continue
        version = row["book_version"]
        if version not in books:
            books[version] = await load_book(connection, version)
        expected = tuple(row[name] for name in ("reading", "campaign_id", "keyword", "units", "amount_vnd"))
        try:
            text = sealer.unseal(row["text_sealed"], b"message_person.text:" + row["id"].bytes).decode()
            number = sealer.unseal(row["msisdn_sealed"], b"message_person.msisdn:" + row["id"].bytes).decode()
        except SealBroken:
            found: object = "a text or a number that does not open"
        else:
            again = read(books[version], row["short_code"], text, row["message_at"])
            found = (again.outcome.value, again.campaign_id, again.keyword, again.units, again.amount_vnd)
            if keyring.number_hash(number) != row["msisdn_hash"]:
                found = "a number that is not the one of its hash"
        report.read += 1
        is_same = found == expected and row["grammar_version"] == GRAMMAR_VERSION
        if not is_same and len(report.differences) < DIFFERENCES_MAX:
            report.differences.append(Difference(f"message {row['id']}", str(expected), str(found)))
    return report
