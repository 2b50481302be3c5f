"""What an auditor's role may read: all it needs and nothing more, of days made later too."""

import argparse
import json
import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import asyncpg
import pytest

from campaigns.schema.partitions import make_partitions
from campaigns.schema.reading_rights import READABLE, WITHHELD, RoleUnfit, grant_reading
from service.commands import grant_read
from service.commands.opening import CommandRefused
from tests.support.portal import Portal, message

ROOT = Path(__file__).parents[3]
SELECT_RELATIONS = """
SELECT relname::text AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition
"""
SELECT_COLUMNS = """
SELECT attname::text AS name FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""


@pytest.fixture
async def role(connection: asyncpg.Connection) -> AsyncIterator[str]:
    """A role with a name that needs quotes."""
    await connection.execute('CREATE ROLE "an Auditor" LOGIN')
    yield "an Auditor"
    await connection.execute("RESET ROLE")
    await connection.execute('DROP OWNED BY "an Auditor"; DROP ROLE "an Auditor"')


async def test_every_table_is_readable_or_withheld(connection: asyncpg.Connection) -> None:
    relations = {row["name"] for row in await connection.fetch(SELECT_RELATIONS)}
    assert relations == READABLE.keys() | WITHHELD


async def test_the_role_reads_what_stands_in_the_table_and_nothing_else(
    connection: asyncpg.Connection, role: str
) -> None:
    assert await grant_reading(connection, role) == list(READABLE)
    assert await grant_reading(connection, role) == []
    # A day that is made later: through the parent, and never by itself.
    (later,) = await make_partitions(connection, date(2031, 1, 1), days=1)
    await connection.execute(f'SET ROLE "{role}"')
    for relation in (*READABLE, *WITHHELD, later):
        allowed = set(READABLE.get(relation, ("",) if relation in WITHHELD or relation == later else ()))
        for row in await connection.fetch(SELECT_COLUMNS, relation):
            may = not allowed or row["name"] in allowed
            assert await goes(connection, f'SELECT "{row["name"]}" FROM {relation}') == may, (relation, row["name"])
        assert not await connection.fetchval("SELECT has_table_privilege($1, 'INSERT, UPDATE, DELETE')", relation)


async def test_an_auditor_may_ask_what_the_docs_ask(portal: Portal) -> None:
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    table = page[page.index("## For auditors") :]
    queries = {query.replace("\\|", "|"): 0 for query in re.findall(r"`(SELECT [^`]+)`", table)}
    assert len(queries) >= 8
    assert (await portal.post(message("m-1"))).status == 200
    connection = await portal.opened.database.connect("auditor")
    await connection.execute("CREATE ROLE asking LOGIN")
    try:
        await grant_reading(connection, "asking")
        await connection.execute("SET ROLE asking")
        for query in queries:
            rows = await connection.fetch(query.replace("slug = '...'", "slug = 'vnn'"))
            queries[query] = len(rows)
        assert queries[next(query for query in queries if "sum(vnd)" in query)] == 1
    finally:
        await connection.execute("RESET ROLE; DROP OWNED BY asking; DROP ROLE asking")
        await connection.close()


async def goes(connection: asyncpg.Connection, sql: str) -> bool:
    """Whether a statement is not refused for want of a right."""
    try:
        await connection.execute(sql)
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def test_a_role_that_is_not_there_or_reads_more_is_refused(connection: asyncpg.Connection, role: str) -> None:
    for unfit, reason in (("nobody-here", "no such role"), ("app", "superuser")):
        with pytest.raises(RoleUnfit, match=reason):
            await grant_reading(connection, unfit)
    for grant, excess in (
        ("message_person", "message_person.day"),
        ("gateway_account", "gateway_account.networks"),
    ):
        await connection.execute(f'GRANT SELECT ON {grant} TO "{role}"')
        with pytest.raises(RoleUnfit, match=excess):
            await grant_reading(connection, role)
        await connection.execute(f'REVOKE SELECT ON {grant} FROM "{role}"')
    assert not await connection.fetchval("SELECT has_table_privilege($1::name, 'money_line', 'SELECT')", role)


async def test_the_command_says_what_it_granted(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await portal.post(message("m-1"))
    monkeypatch.setattr(grant_read, "read_settings", lambda: portal.service.settings)
    await portal.fetch("CREATE ROLE command_auditor")
    try:
        capsys.readouterr()
        assert await grant_read.run(argparse.Namespace(role="command_auditor", json=True)) == 0
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (said["role"], said["granted"], said["withheld"]) == (
            "command_auditor",
            list(READABLE),
            sorted(WITHHELD),
        )
        assert await grant_read.run(argparse.Namespace(role="command_auditor", json=False)) == 0
        assert "has     money_line: all columns\n" in capsys.readouterr().out
        with pytest.raises(CommandRefused, match="no such role"):
            await grant_read.run(argparse.Namespace(role="nobody", json=False))
    finally:
        for sql in ("DROP OWNED BY command_auditor", "DROP ROLE command_auditor"):
            await portal.fetch(sql)
