"""Whether a database gives its sessions what the service relies on: a backend of their own, connections, a schema."""

from dataclasses import dataclass, field

import asyncpg

from service.postgres.connect_errors import POOLER
from service.postgres.database import POOL_CONNECTIONS_MAX, Database

APPLICATION = "portal1400 check"
OTHER_CONNECTIONS = 10
"""For commands, a backup, and a person who looks."""
PER_WORKER = POOL_CONNECTIONS_MAX + 2
"""Beside the writers: short reads, the feed of totals, the invariants."""
SELECT_BACKEND = "SELECT pg_backend_pid()"
# Reserved are those of superusers and, from PostgreSQL 16 on, of pg_use_reserved_connections.
SELECT_CONNECTIONS = """
SELECT least(
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true)::integer, 0),
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)
)
"""
MAY_CREATE = "SELECT current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE')"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and what is only to be known. Sentences."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def connections_needed(workers: int, writers: int) -> int:
    """Connections that may be open at once: of a machine's workers, a successor in a rolling restart, and others."""
    return (workers + 1) * (writers + PER_WORKER) + OTHER_CONNECTIONS


async def inspect(database: Database, workers: int, writers: int) -> Findings:
    """Look with two sessions. Raises DATABASE_ERRORS."""
    found = Findings()
    first = await database.connect(APPLICATION)
    try:
        second = await database.connect(APPLICATION)
        try:
            is_shared, is_pooled = await pooling(first, second)
        finally:
            second.terminate()
        if is_shared:
            found.problems.append(f"database: {POOLER}")
        if is_pooled:
            found.warnings.append("database: a connection pooler stands in between; pool_mode must stay session")
        await _look_at_connections(first, connections_needed(workers, writers), workers, found)
        if not await first.fetchval(MAY_CREATE):
            found.problems.append(
                "database: the role may not create tables in the schema that search_path names first: make it the "
                "database's owner, or GRANT CREATE ON SCHEMA ... to it"
            )
    finally:
        first.terminate()
    return found


async def pooling(first: asyncpg.Connection, second: asyncpg.Connection) -> tuple[bool, bool]:
    """Whether two sessions share a backend; whether a pooler answers for the backend, sharing it or not.

    While the second session holds a transaction, the first is asked again: a session of its own has the backend that
    it had, and nobody else has it. A pooler invents the process id that it tells at the start.
    """
    before = await first.fetchval(SELECT_BACKEND)
    async with second.transaction():
        held = await second.fetchval(SELECT_BACKEND)
        after = await first.fetchval(SELECT_BACKEND)
    is_shared = held == before or after != before
    return is_shared, not is_shared and first.get_server_pid() != before


async def _look_at_connections(connection: asyncpg.Connection, needed: int, workers: int, found: Findings) -> None:
    there = await connection.fetchval(SELECT_CONNECTIONS)
    if there < needed:
        found.problems.append(
            f"database: {workers} worker(s) of this machine may need {needed} connections, and there are {there} for "
            "this role and database: raise max_connections or the CONNECTION LIMIT, or lower PORTAL1400_WRITERS; "
            "docs/operations.md has the sum for several machines"
        )
