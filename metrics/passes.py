"""How far the checks in turn over everything have come, and what they found broken: kept in the database.

Written without waiting for the disk: what a crash loses of it is checked once more.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from metrics.stretches import BEGINNING, Stretch, Subject

SELECT_POSITION = "SELECT next_at, ended_at FROM invariant_pass WHERE subject = $1"
SAVE_POSITION = """
INSERT INTO invariant_pass (subject, next_at, ended_at) VALUES ($1, $2, $3)
ON CONFLICT (subject) DO UPDATE SET next_at = excluded.next_at, ended_at = excluded.ended_at
"""
SELECT_BROKEN = "SELECT begins_at, ends_at FROM invariant_broken WHERE subject = $1 ORDER BY begins_at"
DELETE_BROKEN = "DELETE FROM invariant_broken WHERE subject = $1"
INSERT_BROKEN = """
INSERT INTO invariant_broken (subject, begins_at, ends_at)
SELECT $1, begins_at, ends_at FROM unnest($2::timestamptz[], $3::timestamptz[]) AS t (begins_at, ends_at)
"""
NO_WAIT_AT_COMMIT = "SET LOCAL synchronous_commit = off"


@dataclass(frozen=True, slots=True)
class Pass:
    """Where the pass over a subject goes on, and when the last whole one ended."""

    next_at: datetime = BEGINNING
    ended_at: datetime | None = None

    def on(self, next_at: datetime) -> "Pass":
        """The same, so much further."""
        return replace(self, next_at=next_at)


async def select_pass(connection: asyncpg.Connection, subject: Subject) -> Pass:
    """Where the pass over `subject` stands; at its beginning if there never was one."""
    row = await connection.fetchrow(SELECT_POSITION, subject.name)
    return Pass() if row is None else Pass(row["next_at"], row["ended_at"])


async def save_pass(connection: asyncpg.Connection, subject: Subject, where: Pass) -> None:
    """Remember where the pass over `subject` stands."""
    async with connection.transaction():
        await connection.execute(NO_WAIT_AT_COMMIT)
        await connection.execute(SAVE_POSITION, subject.name, where.next_at, where.ended_at)


async def select_broken(connection: asyncpg.Connection, subject: Subject) -> list[Stretch]:
    """The stretches of `subject` that were found broken, in the order of time."""
    return [Stretch(*row) for row in await connection.fetch(SELECT_BROKEN, subject.name)]


async def save_broken(connection: asyncpg.Connection, subject: Subject, broken: Iterable[Stretch]) -> None:
    """Remember which stretches of `subject` are broken; they begin at different instants."""
    stretches = list(broken)
    async with connection.transaction():
        await connection.execute(NO_WAIT_AT_COMMIT)
        await connection.execute(DELETE_BROKEN, subject.name)
        begins, ends = [each.begins_at for each in stretches], [each.ends_at for each in stretches]
        await connection.execute(INSERT_BROKEN, subject.name, begins, ends)
