"""Which types a connection knows without asking, and that it still asks for the others."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.postgres.arrays import ARRAYS, Connection
from tests.support.postgres import TestServer

SELECT_ARRAYS = """
SELECT a.oid::int8 AS oid, a.typelem::int8 AS element, a.typname::text AS name, a.typdelim::text AS delimiter
FROM pg_type AS a WHERE a.oid = ANY($1::oid[])
"""


@pytest.fixture
async def knowing(server: TestServer) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the service makes them."""
    connection = await asyncpg.connect(server.dsn("postgres"), connection_class=Connection)
    yield connection
    await connection.close()


async def test_the_arrays_that_are_known_are_those_of_the_server(knowing: asyncpg.Connection) -> None:
    rows = await knowing.fetch(SELECT_ARRAYS, list(ARRAYS))
    assert {row["oid"]: (row["element"], row["name"]) for row in rows} == ARRAYS
    assert {row["delimiter"] for row in rows} == {","}


async def test_a_known_array_costs_one_statement_and_an_own_type_is_asked_for(knowing: asyncpg.Connection) -> None:
    statements: list[str] = []
    knowing.add_query_logger(lambda record: statements.append(record.query))
    for _, name in ARRAYS.values():
        assert await knowing.fetchval(f"SELECT NULL::{name}") is None
    await asyncio.sleep(0)  # the driver tells its loggers in the next round of the loop
    assert len(statements) == len(ARRAYS)
    assert await knowing.fetchval("SELECT $1::integer[]", [1, None]) == [1, None]
    assert await knowing.fetchval("SELECT $1::bytea[]", [b"\x00"]) == [b"\x00"]
    del statements[:]
    await knowing.execute("CREATE TYPE pg_temp.pair AS (one integer, two bigint[])")
    assert await knowing.fetchval("SELECT $1::pg_temp.pair", (1, [2])) == (1, [2])
    assert await knowing.fetchval("SELECT $1::uuid[]", []) == []
    await asyncio.sleep(0)
    assert sum("typeinfo_tree" in each for each in statements) == 1
