"""The servers that DATABASE_URL names: one, or several of which one takes writes. A connection goes to that one.

asyncpg tries a list of hosts in order under one limit of time: a machine that has gone from the network eats the
time of those behind it, at every connection, and some errors end the search early. Here the server that was right
last time is asked first, and the next one soon after, without giving up on the first.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg

from service.postgres.arrays import Connection
from service.runtime.dsn import WRITABLE, Server, parts_of, servers_of

STAGGER_SECONDS = 0.5
"""A server that has not answered after this has the next one asked beside it."""
ANSWER_SECONDS = 2.5
"""One of several servers that has not answered after this counts as away: another may be promoted meanwhile."""
MOVED_SECONDS = 5.0
"""As long as the holders of connections to a former server need at most to notice and to connect anew."""


class PrimaryConnector:
    """Connections to whichever server of a DSN takes writes now."""

    def __init__(self, dsn: str, options: Mapping[str, Any] = MappingProxyType({})) -> None:
        """`options` go to every connection, as arguments of asyncpg."""
        self._dsn = dsn
        self._options = options
        self._servers = servers_of(dsn)
        self._last: Server | None = None
        self._suspected: Server | None = None
        self._moved_at = 0.0
        self._open: WeakKeyDictionary[asyncpg.Connection, Server] = WeakKeyDictionary()

    @property
    def dsn(self) -> str:
        """For programs that connect by themselves (libpq): they, too, are to find the server that takes writes."""
        if not self.are_several or "target_session_attrs=" in self._dsn:
            return self._dsn
        return f"{self._dsn}{'&' if parts_of(self._dsn).query else '?'}target_session_attrs={WRITABLE.value}"

    @property
    def are_several(self) -> bool:
        """Whether another server may take over."""
        return len(self._servers) > 1

    def suspect(self) -> None:
        """After a lost connection or a commit that did not end: the last server is asked again, but after the others.

        It may answer and still be no primary any more: without its keeper it does not know, and no standby confirms.
        Soon after a move nobody is doubted: the connections lost then are those that led to the former server.
        """
        if time.monotonic() - self._moved_at > MOVED_SECONDS:
            self._suspected = self._last

    async def connect(self, timeout: float, **options: Any) -> asyncpg.Connection:
        """A connection to the server that takes writes, within `timeout` seconds.

        Raises what asyncpg raises; of several errors the one that says most (`_says_most`).
        """
        if not self.are_several:
            return await asyncpg.connect(
                self._dsn,
                timeout=timeout,
                target_session_attrs=WRITABLE,
                connection_class=Connection,
                **self._options,
                **options,
            )
        async with asyncio.timeout(timeout):
            return await self._connect_to_one(options)

    async def _connect_to_one(self, options: dict[str, Any]) -> asyncpg.Connection:
        running: dict[asyncio.Task[asyncpg.Connection], Server] = {}
        failures: list[BaseException] = []
        waiting = self._in_order()
        following = next(waiting, None)
        try:
            while following is not None or running:
                if following is not None:
                    running[asyncio.create_task(self._connect_to(following, options))] = following
                    following = next(waiting, None)
                pause = STAGGER_SECONDS if following is not None else None
                done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    server = running[task]
                    if error is None:
                        del running[task]
                        return self._reached(server, task.result())
                    failures.append(error)
                    del running[task]
        finally:
            await _let_go(list(running))
        raise max(failures, key=_says_most)

    def _reached(self, server: Server, connection: asyncpg.Connection) -> asyncpg.Connection:
        """Note who takes writes now. What leads to another server ends: nobody is to read old figures there."""
        if server != self._last:
            self._moved_at = time.monotonic()
            for former, its_server in list(self._open.items()):
                if its_server != server:
                    former.terminate()
        self._last, self._suspected = server, None
        self._open[connection] = server
        return connection

    def _in_order(self) -> Iterator[Server]:
        first, last = (None, self._suspected) if self._suspected is not None else (self._last, None)
        if first is not None:
            yield first
        yield from (server for server in self._servers if server not in (first, last))
        if last is not None:
            yield last

    async def _connect_to(self, server: Server, options: dict[str, Any]) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._dsn,
            host=server.host,
            port=server.port,
            timeout=ANSWER_SECONDS,
            target_session_attrs=WRITABLE,
            connection_class=Connection,
            **self._options,
            **options,
        )


async def _let_go(attempts: list[asyncio.Task[asyncpg.Connection]]) -> None:
    """End the attempts nobody waits for any more, and close what they have reached."""
    for attempt in attempts:
        attempt.cancel()
    for ended in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(ended, asyncpg.Connection):
            ended.terminate()


def _says_most(error: BaseException) -> int:
    """A refused password or database says more than a standby, a standby more than a server that is not there."""
    if isinstance(error, asyncpg.CannotConnectNowError | asyncpg.PostgresConnectionError | OSError):
        return 0
    return 2 if isinstance(error, asyncpg.PostgresError) else 1


SHOW_SYNCHRONOUS_STANDBYS = "SELECT current_setting('synchronous_standby_names')"
NOBODY_CONFIRMS = (
    "database: DATABASE_URL names several servers, but the one that takes writes waits for no standby "
    "(synchronous_standby_names is empty): a failover now could lose acknowledged gifts; turn synchronous "
    "replication on (with Patroni: synchronous_mode), or see why no standby is connected"
)


async def unconfirmed(servers: PrimaryConnector, connection: asyncpg.Connection) -> str | None:
    """A sentence where a failover could lose what was acknowledged, else None."""
    if servers.are_several and not await connection.fetchval(SHOW_SYNCHRONOUS_STANDBYS):
        return NOBODY_CONFIRMS
    return None
