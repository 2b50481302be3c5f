"""The database as a process uses it: which server, how to connect, and what is demanded of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import cast

import asyncpg

from service.postgres.connect_errors import why_not
from service.postgres.embedded.handle import OWN_OPTIONS, EmbeddedHandle, connect_embedded
from service.postgres.failover import PrimaryConnector
from service.postgres.session import SessionDiffers, require_in_force, server_settings
from service.runtime.refusals import Refused
from service.runtime.settings import Settings

DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises: because the server is not there, because it refuses, or because our statement is wrong."""
CONNECT_SECONDS = 5.0
MAJORS = range(15, 19)
POOL_CONNECTIONS_MAX = 6


class DatabaseRefused(Refused):
    """The database cannot be used as it is; the sentence says what to do."""


class DatabaseAway(DatabaseRefused):
    """Nobody answers there now, or who answers takes no connections yet; later it may."""


AWAY_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
"""Classes of SQLSTATE in which a server says "not now": connection, rollback, resources, state, operator, system."""
AWAY_STATES = frozenset({"25006", "25P03"})
"""And two of transactions: the server is no primary any more, or it gave up on a network that went silent."""
SHOW_REQUIREMENTS = """
SELECT current_setting('server_version_num')::integer / 10000 AS major, current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes, current_setting('server_encoding') AS encoding
"""


class Database:
    """Connections to the one PostgreSQL. Use as `async with Database.open(...)`; `borrow` serves short reads."""

    def __init__(self, dsn: str, description: str, settings: Settings, embedded: EmbeddedHandle | None) -> None:
        self.description = description
        self.servers = PrimaryConnector(dsn, {} if embedded is None else OWN_OPTIONS)
        self._settings = settings
        self._embedded = embedded
        self._pool: asyncpg.Pool | None = None
        self._waiting = 0

    @property
    def pool_usage(self) -> tuple[int, int, int]:
        """Borrowed connections, idle ones, and how many wait to borrow one."""
        if self._pool is None:
            return 0, 0, self._waiting
        idle = self._pool.get_idle_size()
        return self._pool.get_size() - idle, idle, self._waiting

    @property
    def dsn(self) -> str:
        """Where it is, for tools that connect by themselves; holds the password, so keep it out of logs."""
        return self.servers.dsn

    @classmethod
    async def open(
        cls, settings: Settings, *, embedded_only: bool = False, progress: Callable[[str], None] | None = None
    ) -> "Database":
        """Find or start the server. Raises DatabaseRefused or EmbeddedServerFailed."""
        if settings.database_url is not None and not embedded_only:
            return cls(settings.database_url.get_secret_value(), "PostgreSQL of DATABASE_URL", settings, None)
        handle = await connect_embedded(settings.data_dir, settings.postgres, progress=progress)
        return cls(handle.dsn, handle.description, settings, handle)

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pool and leave the embedded server to whoever else uses it."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None
        if self._embedded is not None:
            await self._embedded.close()

    async def ensure(self) -> None:
        """After a lost connection: make sure that the embedded server has its keeper, and trust no idle connection.

        Those of the pool lead where the lost one led: to a server that may hang, or be no primary any more.
        """
        self.servers.suspect()
        if self._pool is not None:
            await self._pool.expire_connections()
        if self._embedded is not None:
            await self._embedded.ensure()
            self.servers = PrimaryConnector(self._embedded.dsn, OWN_OPTIONS)

    async def connect(self, application: str = "portal1400", *, may_take_long: bool = False) -> asyncpg.Connection:
        """A connection of one's own, durable at commit and limited in time unless it `may_take_long`.

        Always to a server that takes writes: a standby would show old totals and store nothing. Raises what the
        database raises, SessionDiffers among it.
        """
        asked = server_settings(
            application, self._settings.statement_seconds, 0.0 if may_take_long else self._settings.statement_seconds
        )
        connection = await self.servers.connect(
            CONNECT_SECONDS,
            command_timeout=None if may_take_long else self._settings.statement_seconds + 1,
            server_settings=asked,
        )
        try:
            await require_in_force(connection, asked)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def open_pool(self) -> None:
        """Make `borrow` usable. Raises DatabaseRefused when the server does not meet what is demanded."""
        if self._pool is not None:
            return
        pool = await asyncpg.create_pool(
            min_size=0,
            max_size=POOL_CONNECTIONS_MAX,
            connect=self._pool_connect,
            reset=_leave_as_it_is,
        )
        try:
            await self._require_usable(pool)
        except BaseException:
            pool.terminate()
            raise
        self._pool = pool

    async def _require_usable(self, pool: asyncpg.Pool) -> None:
        """Look at the server with the pool's first connection. Raises DatabaseRefused."""
        try:
            async with pool.acquire() as connection:
                await require_usable(cast("asyncpg.Connection", connection))
        except asyncpg.TargetServerAttributeNotMatched:
            # One of them may be about to be promoted.
            raise DatabaseAway(
                f"no server of {self.description} takes writes; those that answer are standbys or set to read only: "
                "let PORTAL1400_DATABASE_URL name the primary or, separated by commas, all servers of the cluster, "
                "and see that the cluster has a leader"
            ) from None
        except SessionDiffers as differs:
            raise DatabaseRefused(str(differs)) from None
        except (*DATABASE_ERRORS, ValueError, OverflowError) as error:
            refused = DatabaseAway if is_away(error) else DatabaseRefused
            raise refused(
                f"cannot connect to {self.description} ({type(error).__name__}): {why_not(error, self.dsn)}"
            ) from None

    async def _pool_connect(self, *_arguments: object, **_keywords: object) -> asyncpg.Connection:
        return await self.connect("portal1400 reader")

    @asynccontextmanager
    async def borrow(self, timeout_seconds: float = CONNECT_SECONDS) -> AsyncIterator[asyncpg.Connection]:
        """A connection for a short read or a rare write. Raises DATABASE_ERRORS, TimeoutError when none is free."""
        if self._pool is None:
            raise ConnectionError("the database was away at the start and is not joined yet")
        pool = self._pool
        self._waiting += 1
        try:
            borrowed = await pool.acquire(timeout=timeout_seconds)
        finally:
            self._waiting -= 1
        try:
            # The pool's proxy is a connection in all but its declared type.
            yield cast("asyncpg.Connection", borrowed)
        finally:
            await pool.release(borrowed)


def is_away(error: BaseException) -> bool:
    """Whether the server is away, or says "not now". An error in a statement of ours is no outage: it is a bug."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in AWAY_CLASSES or state in AWAY_STATES
    if isinstance(error, asyncpg.InterfaceError):
        # A closed connection; but also an argument that does not fit its statement, which is a ValueError besides.
        return not isinstance(error, ValueError)
    return isinstance(error, OSError | asyncpg.InternalClientError)


async def require_usable(connection: asyncpg.Connection) -> None:
    """Refuse a server that could lose what it acknowledged. Raises DatabaseRefused."""
    row = await connection.fetchrow(SHOW_REQUIREMENTS)
    assert row is not None  # noqa: S101 -- a SELECT of settings always has a row
    if row["major"] not in MAJORS:
        raise DatabaseRefused(f"PostgreSQL {row['major']} is not supported: use 15, 16, 17 or 18")
    if row["fsync"] != "on" or row["full_page_writes"] != "on":
        raise DatabaseRefused(
            "the server runs with fsync or full_page_writes off: a gift it acknowledged could be lost; "
            "set both to on in postgresql.conf"
        )
    if row["encoding"] != "UTF8":
        raise DatabaseRefused(f"the database is encoded in {row['encoding']}: create it with ENCODING 'UTF8'")


async def _leave_as_it_is(_connection: asyncpg.Connection) -> None:
    # The default reset doubles the cost of a small query; no reader leaves session state behind.
    return
