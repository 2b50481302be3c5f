"""What people are told about a server that answers and cannot work."""

import asyncpg
import pytest

from service.commands.opening import refusal_of
from service.postgres.connect_errors import why_not
from service.postgres.database import DatabaseAway


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("disk_full", "make room"),
        ("out_of_memory", "no memory"),
        ("io_error", "look at its disk"),
    ],
)
async def test_what_the_server_s_machine_lacks_is_named_and_its_address_is_not_doubted(
    connection: asyncpg.Connection, condition: str, told: str
) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.execute(f"DO $$BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{condition}'; END$$")
    refusal = refusal_of(caught.value)
    assert told in str(refusal)
    assert isinstance(refusal, DatabaseAway), "a worker with a last good copy starts from it"
    assert why_not(caught.value, "postgresql://127.0.0.1/portal") == str(refusal)
