"""The heart of the service under a role, a database and a server that were set as oddly as PostgreSQL lets one."""

import asyncio
import os
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from campaigns.schema.migrate import MigrationRefused, pending
from metrics.proofs import prove
from service.operations.rereading import reread
from service.postgres.database import Database, DatabaseRefused
from service.postgres.session import ONLY_CHECKED, PINNED, tool_options
from service.runtime.settings import read_settings
from tests.support.away import locked, replayed
from tests.support.portal import SECRET_KEY, Portal, eventually, running
from tests.support.postgres import TestServer, start_server
from tests.support.protocols import get_kannel, post_soap, post_standard
from tests.support.reports import REPORT_BOOK, charge, gift, taken_back

ODD = {
    "default_transaction_isolation": "repeatable read",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "client_min_messages": "error",
    "row_security": "on",
    "statement_timeout": "20ms",
    "lock_timeout": "5ms",
    "idle_in_transaction_session_timeout": "10ms",
    "idle_session_timeout": "200ms",
    "transaction_timeout": "30ms",
    "timezone": "Asia/Kathmandu",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "log_parameter_max_length_on_error": "-1",
    "work_mem": "64kB",
    "enable_indexscan": "off",
    "search_path": '"$user", nowhere, public',
}
"""What a role may be set to by its own administrator. A setting that this server does not know is passed over."""
ROLE = "odd"
SPEAKS_GERMAN = Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo").exists()
"""Whether the system's server has its messages in German: Debian's of that release."""


@pytest.fixture(scope="module")
def odd_server() -> Iterator[TestServer]:
    """A server that speaks German where its messages are installed, with a role that is set oddly."""
    choice = "system" if any(Path("/usr/lib/postgresql").glob("*/bin")) else "auto"
    # GNU gettext follows LANGUAGE in every locale but "C" itself: no German one has to be installed.
    before = os.environ.get("LANGUAGE")
    os.environ["LANGUAGE"] = "de"
    with tempfile.TemporaryDirectory(prefix="p1400-odd-") as folder:
        try:
            started = start_server(Path(folder), choice)
        finally:
            os.environ.pop("LANGUAGE") if before is None else os.environ.update(LANGUAGE=before)
        try:
            asyncio.run(_set_oddly(started))
            yield started
        finally:
            started.stop()


async def _set_oddly(server: TestServer) -> None:
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute(f"CREATE ROLE {ROLE} LOGIN")
    known = {row["name"].lower() for row in await admin.fetch("SELECT name FROM pg_settings")}
    for name, value in ODD.items():
        if name in known:
            listed = value if name == "search_path" else f"'{value}'"
            await admin.execute(f"ALTER ROLE {ROLE} SET {name} = {listed}")
    await admin.execute("ALTER SYSTEM SET lc_messages = 'C.UTF-8'")
    await admin.execute("SELECT pg_reload_conf()")
    await admin.close()


@pytest.fixture
async def odd_dsn(odd_server: TestServer) -> AsyncIterator[str]:
    """A fresh database that belongs to the odd role, and as whom one connects."""
    name = odd_server.next_name()
    admin = await asyncpg.connect(odd_server.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {name} OWNER {ROLE}")
    yield odd_server.dsn(name).replace("app@", f"{ROLE}@")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def test_three_protocols_repeats_conflicts_an_outage_and_the_proof(odd_dsn: str, tmp_path: Path) -> None:
    async with running(odd_dsn, tmp_path) as portal:
        for post in (post_standard, get_kannel, post_soap):
            first = await post(portal, "m-1", "VNN 2")
            again = await post(portal, "m-1", "VNN 2")
            assert first.status == 200
            assert (again.status, again.body) == (first.status, first.body)
        assert (await post_standard(portal, "m-1", "VNN 3")).outcome == "conflict"
        # The test's own connections are not pinned: it asks as the administrator, or over the service's.
        async with locked(portal.dsn.replace(f"{ROLE}@", "app@")):

            async def is_noticed() -> bool:
                return portal.service.intake.writer.connected == 0

            await eventually(is_noticed)
            assert (await post_standard(portal, "m-2", "VNN 4")).status == 200
        await replayed(portal)
        await shown(portal, 4, 200_000)
        await proved(portal)


async def proved(portal: Portal, *broken: str) -> None:
    """What `verify --deep` proves but for `broken`, over a connection as the command has it."""
    connection = await portal.opened.database.connect("portal1400 verify", may_take_long=True)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        assert [name async for name, _, found in prove(connection) if found] == list(broken)
        assert (await reread(connection, portal.opened.keyring)).differences == []
    await connection.close()


async def test_a_charge_and_its_reversal_at_the_same_instant_on_two_workers(odd_dsn: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    async with (
        running(odd_dsn, tmp_path / "a", REPORT_BOOK, queue_wait_seconds="30") as first,
        running(odd_dsn, tmp_path / "b", REPORT_BOOK, queue_wait_seconds="30") as second,
    ):
        refs = [f"m-{number}" for number in range(60)]
        await asyncio.gather(*(first.post(gift("VNN 2", ref)) for ref in refs))

        async def report_and_take_back(ref: str) -> None:
            given = first.post(charge("succeeded", f"c-{ref}", ref, 40_000))
            taken = second.post(taken_back(f"r-{ref}", 40_000, None, charge_id=f"c-{ref}"))
            answers = await asyncio.gather(given, taken)
            assert [each.status for each in answers] == [200, 200]

        await asyncio.gather(*map(report_and_take_back, refs))
        states = await odd_fetch(first, "SELECT state, reversed_vnd FROM gift")
        assert {tuple(row) for row in states} == {("reversed", 40_000)}
        assert len(states) == len(refs)
        (left,) = await odd_fetch(first, "SELECT sum(pledged_vnd)::int FROM campaign_total")
        assert left[0] == 0
        await proved(first)


async def test_a_missing_day_is_made_and_one_that_may_not_be_made_is_no_fault_of_the_gift(
    odd_server: TestServer, odd_dsn: str, tmp_path: Path
) -> None:
    async with running(odd_dsn, tmp_path, queue_wait_seconds="0.5") as portal:
        if SPEAKS_GERMAN:
            with pytest.raises(asyncpg.DivisionByZeroError, match="Division durch Null"):
                await odd_fetch(portal, "SELECT 1 / 0")
        # The day may end meanwhile.
        days = await odd_fetch(
            portal, "SELECT 'raw_callback_' || to_char((now() AT TIME ZONE 'UTC') + n * interval '1 day', 'YYYYMMDD')"
            " FROM generate_series(0, 1) AS n",
        )  # fmt: skip
        drop = f"DROP TABLE IF EXISTS {', '.join(each[0] for each in days)}"
        await odd_fetch(portal, drop)
        assert (await post_standard(portal, "m-1")).outcome == "accepted"
        await replayed(portal)  # where a busy machine committed late
        # From here on the table belongs to whoever migrates, and not to the service.
        admin = await asyncpg.connect(odd_dsn.replace(f"{ROLE}@", "app@"))
        await admin.execute(f"{drop}; ALTER TABLE raw_callback OWNER TO app")
        await admin.execute(f"GRANT ALL ON raw_callback TO {ROLE}")
        for number in range(2, 5):
            assert (await post_standard(portal, f"m-{number}")).status == 200
        assert await odd_fetch(portal, "SELECT FROM quarantine") == []
        assert portal.service.intake.replay.records == 3
        await admin.execute(f"ALTER TABLE raw_callback OWNER TO {ROLE}")
        await admin.close()
        await replayed(portal)
        await shown(portal, 4, 400_000)
        await proved(portal, "raw_callbacks_are_held")  # of the day that was dropped


async def shown(portal: Portal, messages: int, vnd: int) -> None:
    """The totals are published, after what the replay stored as well."""

    async def is_shown() -> bool:
        totals = await portal.totals()
        return (totals["messages"], totals["pledged_vnd"]) == (messages, vnd)

    await eventually(is_shown)


async def odd_fetch(portal: Portal, sql: str) -> list[asyncpg.Record]:
    """Ask the database as the service itself would, within the service's limits of time."""
    async with portal.opened.database.borrow() as connection:
        return list(await connection.fetch(sql))


SELECT_SETTING = "SELECT setting FROM pg_settings WHERE name = $1"


async def test_every_pinned_setting_was_set_oddly_and_is_in_force_all_the_same(odd_dsn: str, tmp_path: Path) -> None:
    bare = await asyncpg.connect(odd_dsn)
    await bare.execute("SET statement_timeout = 0")
    before = {row["name"]: row["setting"] for row in await bare.fetch("SELECT name, setting FROM pg_settings")}
    await bare.close()
    assert {each.name for each in PINNED if before[each.name] == each.value} == set(), "each is set oddly"
    async with opened_database(odd_dsn, tmp_path) as database:
        connection = await database.connect()
        for each in (*PINNED, *ONLY_CHECKED):
            assert (
                await connection.fetchval("SELECT setting FROM pg_settings WHERE name = $1", each.name) == each.value
            )
        await connection.close()
    assert "default_transaction_isolation=read\\ committed" in tool_options()


@asynccontextmanager
async def opened_database(dsn: str, folder: Path) -> AsyncIterator[Database]:
    """The database as a command opens it, before it asks for anything."""
    environ = {
        "PORTAL1400_DATABASE_URL": dsn,
        "PORTAL1400_SECRET_KEY": SECRET_KEY,
        "PORTAL1400_DATA_DIR": str(folder),
    }
    async with await Database.open(read_settings(environ)) as database:
        yield database


PARAMETERS_KEPT = (b"user", b"database", b"client_encoding")


class Pooler:
    """Stands between client and server and drops what a client asks for at its start, as poolers may be told to."""

    def __init__(self, target: Path, folder: Path) -> None:
        self.folder = folder
        self._target = target

    async def __aenter__(self) -> "Pooler":
        self._server = await asyncio.start_unix_server(self._serve, self.folder / ".s.PGSQL.5432")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!i", await client.readexactly(4))
        words = (await client.readexactly(length - 4))[4:].rstrip(b"\0").split(b"\0")
        asked = dict(zip(words[::2], words[1::2], strict=True))
        kept = b"".join(name + b"\0" + asked[name] + b"\0" for name in PARAMETERS_KEPT if name in asked) + b"\0"
        server, request = await asyncio.open_unix_connection(self._target)
        request.write(struct.pack("!ii", len(kept) + 8, 196608) + kept)
        await asyncio.gather(_pump(client, request), _pump(server, answer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(65536):
        sink.write(chunk)
    sink.close()


async def test_a_pooler_that_ignores_what_is_asked_for_is_told_apart(server: TestServer, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    async with Pooler(server.socket_folder / ".s.PGSQL.5432", folder) as pooler:
        dsn = server.dsn("postgres").partition("?")[0] + f"?host={pooler.folder}"
        async with opened_database(dsn, tmp_path) as database:
            with pytest.raises(DatabaseRefused, match="a pooler that ignores what a client asks for"):
                await database.open_pool()


async def test_a_session_that_passes_by_the_locks_on_facts_is_refused(database_dsn: str, tmp_path: Path) -> None:
    name = database_dsn.partition("/app@/")[2] or database_dsn.rpartition("@/")[2]
    admin = await asyncpg.connect(database_dsn)
    await admin.execute(f"ALTER DATABASE {name.partition('?')[0]} SET session_replication_role = replica")
    await admin.close()
    async with opened_database(database_dsn, tmp_path) as database:
        with pytest.raises(DatabaseRefused, match="session_replication_role = origin"):
            await database.open_pool()


async def test_a_search_path_that_hides_the_tables_is_refused(connection: asyncpg.Connection) -> None:
    assert await pending(connection) == ()
    await connection.execute("SET search_path = elsewhere")
    with pytest.raises(MigrationRefused, match="schema public, which search_path does not name"):
        await pending(connection)
