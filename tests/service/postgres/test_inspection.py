"""Two sessions tell whether each has a backend of its own, and whether a pooler answers for it."""

import asyncpg
import pytest

from service.postgres.inspection import pooling
from tests.support.pooler import needs_pgbouncer, pooled
from tests.support.postgres import TestServer


async def asked(dsn: str) -> tuple[bool, bool]:
    """Over sessions that keep no statement, so that no name of one tells of the pooler before we do."""
    first = await asyncpg.connect(dsn, statement_cache_size=0)
    second = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        return await pooling(first, second)
    finally:
        first.terminate()
        second.terminate()


async def test_a_server_gives_each_session_its_own_backend(database_dsn: str) -> None:
    assert await asked(database_dsn) == (False, False)


@needs_pgbouncer
@pytest.mark.pgbouncer
@pytest.mark.parametrize(("mode", "answer"), [("transaction", (True, False)), ("session", (False, True))])
async def test_a_pooler_is_found(server: TestServer, database_dsn: str, mode: str, answer: tuple[bool, bool]) -> None:
    async with pooled(server, database_dsn, mode) as dsn:
        assert await asked(dsn) == answer
