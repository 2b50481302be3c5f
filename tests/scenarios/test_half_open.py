"""A network that goes silent: what a lost connection holds on the server is given back in time."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from service.operations.housekeeping import Housekeeping
from service.postgres.database import Database
from service.runtime.clock import utc_now
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings, read_settings
from tests.support.portal import SECRET_KEY
from tests.support.postgres import TestServer
from tests.torture.proxy import FaultProxy, Mode

LOCK = 14


def settings_through(proxy: FaultProxy, dsn: str, folder: Path, *, statement_seconds: str) -> Settings:
    """Those of a service that meets its database behind the proxy."""
    return read_settings(
        {
            "PORTAL1400_DATABASE_URL": f"postgresql://app@127.0.0.1:{proxy.port}{urlsplit(dsn).path}",
            "PORTAL1400_SECRET_KEY": SECRET_KEY,
            "PORTAL1400_DATA_DIR": str(folder),
            "PORTAL1400_STATEMENT_SECONDS": statement_seconds,
        }
    )


async def test_a_transaction_whose_connection_went_silent_gives_its_locks_back(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    async with FaultProxy(server.socket_folder / ".s.PGSQL.5432") as proxy:
        settings = settings_through(proxy, database_dsn, tmp_path, statement_seconds="1")
        async with await Database.open(settings) as database:
            lost = await database.connect()
            await lost.execute("BEGIN")
            await lost.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            proxy.mode = Mode.SILENT_UP
            with pytest.raises(TimeoutError):
                await lost.execute("COMMIT", timeout=0.2)
            proxy.heal()
            lost.terminate()
            other = await asyncpg.connect(database_dsn)
            try:
                async with asyncio.timeout(20):
                    await other.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            finally:
                await other.close(timeout=20)
        proxy.reset_all()


async def test_a_statement_that_was_prepared_and_never_executed_gives_its_locks_back(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    """The server waits for the rest of it: neither of its limits for statements and idle transactions acts then."""
    async with FaultProxy(server.socket_folder / ".s.PGSQL.5432") as proxy:
        settings = settings_through(proxy, database_dsn, tmp_path, statement_seconds="0.5")
        async with await Database.open(settings) as database:
            lost = await database.connect("portal1400 writer")
            await lost.execute("BEGIN")
            await lost.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            await lost.prepare("SELECT $1::integer")
            proxy.mode = Mode.SILENT_UP
            with pytest.raises(TimeoutError):
                await lost.execute("ROLLBACK", timeout=0.2)
            proxy.heal()
            lost.terminate()
            await database.open_pool()
            keyring = Keyring(SECRET_KEY)
            housekeeping = Housekeeping(settings, database, keyring, utc_now, lambda _commit: None)
            other = await asyncpg.connect(database_dsn)
            await asyncio.sleep(0.6)
            housekeeping.start()
            try:
                async with asyncio.timeout(20):
                    await other.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            finally:
                await housekeeping.stop()
                await other.close(timeout=20)
        proxy.reset_all()
