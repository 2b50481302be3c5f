"""`portal1400 check` asks what stands in the way of a good night, and names it."""

import argparse
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from service.commands.apply import apply_file
from service.commands.check import Report, add_arguments, hear, run
from service.commands.running import Running
from service.live.high_water import select_identity
from service.live.high_water_file import HighWaterFile, Versions
from service.runtime.refusals import Refused
from tests.support.pooler import needs_pgbouncer, pooled
from tests.support.portal import BOOK, SECRET_KEY, Portal, book_file
from tests.support.postgres import TestServer


@dataclass(frozen=True)
class Ended:
    """The command has ended: with this exit code, having printed this, refusals included."""

    code: int
    out: str


Check = Callable[..., Awaitable[Ended]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """The command on a database, with no worker of this machine running unless the settings name its address."""

    async def run_check(dsn: str, *arguments: str, **settings: str) -> Ended:
        named = {"DATABASE_URL": dsn, "DATA_DIR": str(tmp_path), "SECRET_KEY": SECRET_KEY}
        for name, value in ({"INTERNAL_LISTEN": "127.0.0.1:0"} | named | settings).items():
            monkeypatch.setenv(f"PORTAL1400_{name}", value)
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        try:
            code = await run(parser.parse_args(arguments))
        except Refused as refused:
            return Ended(1, "\n".join(refused.problems))
        return Ended(code, capsys.readouterr().out)

    return run_check


NAMED = {
    "an unset root certificate": ("sslmode=verify-full&sslrootcert=/nonexistent.crt", "/nonexistent.crt"),
    "no root certificate": ("sslmode=verify-ca", "root certificate file"),
    "libpq's": (
        "connect_timeout=5&channel_binding=require",
        "connect_timeout (connections are given 5 s), chan",
    ),
    "another client's": ("schema=app&pgbouncer=true", "pgbouncer (connect to the server itself)"),
}


@needs_pgbouncer
@pytest.mark.pgbouncer
@pytest.mark.parametrize(
    ("mode", "ignored", "code", "sentence"),
    [
        ("transaction", None, 1, "a pooler that ignores what a client asks for"),
        ("transaction", "extra_float_digits", 1, "refuses settings of a session"),
        ("session", None, 1, "a pooler that ignores what a client asks for"),
    ],
    ids=["transaction mode", "parameters refused", "session mode with parameters ignored"],
)
async def test_a_pooler_is_named(
    server: TestServer, database_dsn: str, check: Check, mode: str, ignored: str | None, code: int, sentence: str
) -> None:
    more = {} if ignored is None else {"ignored": ignored}
    async with pooled(server, database_dsn, mode, **more) as dsn:
        ended = await check(dsn)
        assert sentence in ended.out
        assert ended.code == code


async def test_too_few_connections_are_a_problem(
    server: TestServer, database_dsn: str, connection: asyncpg.Connection, check: Check
) -> None:
    ended = await check(database_dsn, "--workers", "8", "--json", WRITERS="8")
    said = json.loads(ended.out)
    assert ended.code == 0, said
    assert (said["good"], said["workers"], said["accounts"]) == (True, 0, 0)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 30")
    # One worker and its successor: 2 x (2 writers + 8) and 10 for others.
    assert (await check(database_dsn, WRITERS="2")).code == 0
    ended = await check(database_dsn, "--workers", "2")
    assert ended.code == 1
    assert ended.out.startswith("database: 2 worker(s) of this machine may need 40 connections, and there are 30 for")


async def test_a_role_that_may_not_make_tables_is_a_problem(
    database_dsn: str, connection: asyncpg.Connection, check: Check
) -> None:
    await connection.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    await connection.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO guest")
    try:
        ended = await check(database_dsn.replace("app@", "guest@"))
        assert ended.code == 1
        assert "the role may not create tables in the schema that search_path names" in ended.out
    finally:
        await connection.execute("DROP OWNED BY guest; DROP ROLE guest")


async def test_an_empty_database_is_told_and_left_empty(
    database_dsn: str, connection: asyncpg.Connection, check: Check
) -> None:
    await connection.execute("DROP SCHEMA public CASCADE")
    refused = await check(database_dsn)
    assert refused.code == 1
    await connection.execute("CREATE SCHEMA public")
    ended = await check(database_dsn)
    assert ended.code == 0
    assert "`serve`, `apply` or `migrate`, whichever comes first, applies them" in ended.out
    assert ended.out.rstrip().endswith("; book and accounts not looked at"), "no figure where none was read"
    assert "but 1 warning(s) above: PostgreSQL" in ended.out
    assert "good" not in ended.out
    assert not await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    refused = await check(database_dsn, "--json", MIGRATE_ON_START="false")
    assert refused.code == 1
    assert "run `portal1400 migrate`" in json.loads(refused.out)["problems"][0]


async def test_what_a_running_worker_lacks_is_told(portal: Portal, check: Check) -> None:
    address = portal.internal.removeprefix("http://")
    ended = await check(portal.dsn, "--json", INTERNAL_LISTEN=address)
    assert json.loads(ended.out)["workers"] == 1
    assert ended.code == 0


async def test_a_database_older_than_what_this_machine_has_shown_is_a_problem(
    portal: Portal, connection: asyncpg.Connection, tmp_path: Path, check: Check
) -> None:
    folder = tmp_path / "another"
    identity = await select_identity(connection)
    HighWaterFile(folder).change(lambda _: Versions(identity, {"vnn": 0}, 0))
    assert (await check(portal.dsn, DATA_DIR=str(folder))).code == 0
    HighWaterFile(folder).change(lambda _: Versions(identity, {"vnn": 4711}, 0))
    ended = await check(portal.dsn, DATA_DIR=str(folder))
    assert ended.code == 1
    assert "campaign vnn: version 4711 was published, the database has" in ended.out
    assert "--accept-older-database" in ended.out


async def test_pinned_certificates_that_no_proxy_hands_on_are_a_problem(
    portal: Portal, tmp_path: Path, check: Check
) -> None:
    pinned = BOOK.replace("[[gateway]]", f'[[gateway]]\nclient_certificates = "{"a" * 64}"', 1)
    await apply_file(portal.opened, book_file(tmp_path, pinned))
    for known in ({}, {"TRUSTED_PROXIES": "127.0.0.1"}):
        ended = await check(portal.dsn, **known)
        assert ended.code == 1
        assert "gateway hub: it pins client certificates, and none is believed; set PORTAL1400_TR" in ended.out
    ended = await check(portal.dsn, CLIENT_CERTIFICATE_HEADER="Client-Cert")
    assert (ended.code, "believed" in ended.out) == (0, False)


HEARD = {
    "a worker that hangs": (Running(0, is_ready=False, is_silent=True), "does not answer"),
    "a worker that takes nothing": (Running(1, is_ready=False, book_version=7), "running worker 1: it does not take"),
    "a worker with an old book": (
        Running(0, is_ready=True, book_version=6),
        "version 6, and the database has 7",
    ),
}


@pytest.mark.parametrize(("worker", "sentence"), HEARD.values(), ids=HEARD.keys())
def test_a_worker_that_is_not_as_it_should_be_is_a_problem(worker: Running, sentence: str) -> None:
    report = Report(book_version=7)
    hear([worker, Running(2, is_ready=True, book_version=7, degraded=("the spool holds 3",))], report)
    assert len(report.problems) == 1
    assert sentence in report.problems[0]
    assert report.warnings == ["running worker 2: the spool holds 3"]


@pytest.mark.parametrize(("query", "sentence"), NAMED.values(), ids=NAMED.keys())
async def test_parameters_of_the_url_are_named_one_by_one(
    database_dsn: str, check: Check, query: str, sentence: str
) -> None:
    ended = await check(f"postgresql://app:hunter2@127.0.0.1:1/portal?{query}")
    assert ended.code == 1
    assert sentence in ended.out
    assert "hunter2" not in ended.out


async def test_a_parameter_that_the_server_does_not_know_is_named(database_dsn: str, check: Check) -> None:
    ended = await check(f"{database_dsn}&socket_timeout=4&work_mem=8MB")
    assert ended.code == 1
    assert "the server knows no setting socket_timeout" in ended.out
    assert "so that they go to the server: socket_timeout, work_mem;" in ended.out
