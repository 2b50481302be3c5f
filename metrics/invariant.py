"""What an invariant is: a name, a sentence, and the SELECT of the rows that break it."""

from dataclasses import dataclass

import asyncpg

# Each query returns one row per difference, at most LIMIT of them: what, expected, found.
DIFFERENCES_MAX = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """A name, the sentence it stands for, and the SELECT that returns what breaks it."""

    name: str
    sentence: str
    sql: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that breaks an invariant; never holds personal data."""

    place: str
    expected: str
    found: str


async def check(connection: asyncpg.Connection, invariant: Invariant) -> list[Difference]:
    """What breaks `invariant`, at most DIFFERENCES_MAX rows. Empty: it holds."""
    rows = await connection.fetch(invariant.sql, DIFFERENCES_MAX)
    return [Difference(row["place"], row["expected"], row["found"]) for row in rows]
