"""What befalls the two observed workers, and by how much each panel must move then."""

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory
from typing import NamedTuple

import asyncpg

from service.listeners.overload import CALM_SECONDS, IDLE, LOOKS, TOTALS_REFUSED, OverloadMonitor, Signals
from service.operations.backup import times
from service.operations.backup.times import ACTS
from service.postgres.database import POOL_CONNECTIONS_MAX, Database
from service.runtime.tasks import cancel_and_wait
from tests.support.away import fill_disk, free_disk, locked
from tests.support.observed import (
    ACCOUNT_CALLBACKS_MAX,
    CONNECTIONS_MAX,
    PATIENCE_SECONDS,
    WRITERS,
    Observed,
)
from tests.support.portal import Portal, eventually, message
from tests.support.postgres import TestServer, binaries
from tests.support.protocols import get_kannel
from tests.support.tampering import tamper

Act = Callable[[Observed, AsyncExitStack], Awaitable[None]]


class Fault(NamedTuple):
    """What is done, undone by what it leaves on the stack, and the queries that it moves: by how much at least."""

    act: Act
    moves: Mapping[str, float]
    lowers: frozenset[str] = frozenset()


def calm(load: OverloadMonitor) -> None:
    for each in range(1, TOTALS_REFUSED + 1):
        load.update(IDLE, time.monotonic() + each * CALM_SECONDS)


async def borrow(pool: Database) -> None:
    async with pool.borrow(PATIENCE_SECONDS):
        pass


async def things_happen(observed: Observed, stack: AsyncExitStack) -> None:
    """An account falls silent, a worker died, pages are shed, strangers flood, a standby follows, readers wait."""
    observed.silent.add("vina")
    first, second = observed.workers
    second.service.instruments.runtime.count_restarts({"died": 1})
    replies = first.service.instruments.replies
    replies.count_reply("hub", "refused")
    replies.see_replies("hub", waiting=3, oldest_seconds=400.0)
    load = second.service.intake.load
    for _ in range(LOOKS):
        load.update(Signals(0.5, 0.0, 0.0), time.monotonic())
    stack.callback(calm, load)
    host, port = first.base.removeprefix("http://").split(":")
    for _ in range(CONNECTIONS_MAX):
        _, writer = await asyncio.open_connection(host, int(port))
        stack.callback(writer.close)
    for act in ACTS:
        times.record(first.service.settings.data_dir, act)
    await follow(observed.server, stack)
    pool = first.opened.database
    for _ in range(POOL_CONNECTIONS_MAX):
        await stack.enter_async_context(pool.borrow())
    waiting = asyncio.create_task(borrow(pool))
    stack.push_async_callback(cancel_and_wait, waiting)
    connection = await asyncpg.connect(first.dsn)
    stack.push_async_callback(connection.close)
    await connection.execute("CREATE TABLE something_to_write AS SELECT generate_series(1, 1000)")
    await first.service.operations.database.look(connection)


async def follow(server: TestServer, stack: AsyncExitStack) -> None:
    """A standby of the simplest kind: it takes the log, tells how far it has come, and then stalls."""
    folder = stack.enter_context(TemporaryDirectory())
    process = await asyncio.create_subprocess_exec(
        str(binaries("auto") / "pg_receivewal"), "-D", folder, "-h", str(server.socket_folder), "-U", "app", "-w",
        "--synchronous",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    stack.push_async_callback(process.wait)
    stack.callback(process.kill)
    admin = await asyncpg.connect(server.dsn("postgres"))

    async def is_followed() -> bool:
        return bool(await admin.fetchval("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))

    try:
        await eventually(is_followed)
        process.send_signal(signal.SIGSTOP)  # from now on it falls behind
    finally:
        await admin.close()


async def wait_long(portal: Portal, native_id: str) -> None:
    """Send one after the other, each of which waits, and far more events at once than the load has in flight."""
    for number in itertools.count():
        events = [message(f"{native_id}-{number}-{part}") for part in range(20)]
        await asyncio.gather(
            get_kannel(portal, f"{native_id}-{number}"), portal.post({"type": "batch", "data": events})
        )


async def database_stalls(observed: Observed, stack: AsyncExitStack) -> None:
    """Somebody locks the table that every commit writes."""
    connection = await asyncpg.connect(observed.workers[0].dsn)
    stack.push_async_callback(connection.close)
    await connection.execute("BEGIN; LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
    worker = observed.workers[0]
    held = [asyncio.create_task(wait_long(worker, f"held-{each}")) for each in range(WRITERS + ACCOUNT_CALLBACKS_MAX)]
    stack.push_async_callback(cancel_and_wait, *held)


async def database_is_away(observed: Observed, stack: AsyncExitStack) -> None:
    """It lets nobody in, and one worker's spool has no room."""
    fill_disk(observed.workers[1])
    stack.callback(free_disk, observed.workers[1])
    await stack.enter_async_context(locked(observed.workers[0].dsn))


async def figures_are_tampered_with(observed: Observed, _stack: AsyncExitStack) -> None:
    """A total is raised by a dong, and the database is set back behind what was published."""
    await tamper(observed.workers[0].dsn, "UPDATE campaign_total SET pledged_vnd = pledged_vnd + 1, version = 0")


FAULTS = {
    "things happen": Fault(
        things_happen,
        {
            "Each account's light A": 3.0, "Silence per account A": 3.0, "Workers that ended A": 0.0,
            "Load level A": 1.0, "Public requests shed A": 0.0, "Public requests that failed A": 0.0,
            "Connections closed for room A": 0.0, "Last backup and last drill A": 0.0,
            "Replies by what became of them A": 0.0, "Longest wait for a reply A": 399.0,
            "Standbys A": 0.0, "Lag of the last standby A": 0.0, "Pool for reads A": 3.0, "Pool for reads B": 0.0,
        },
    ),
    "the database stalls": Fault(
        database_stalls, {"Queue, of what it may hold A": 0.0, "Oldest in the queue A": 0.0}
    ),
    "the database is away": Fault(
        database_is_away,
        {
            "Callbacks in the spool A": 0.0, "Oldest callback in the spool A": 1.0,
            "Spool, of what it may hold A": 0.0, "Spool refuses A": 0.0, "Age of the totals A": 2.0,
            "Age of the totals, per worker A": 2.0, "Totals older than two seconds A": 0.0,
            "Writers connected A": 0.5,
        },
        lowers=frozenset({"Writers connected A"}),
    ),
    "figures are tampered with": Fault(
        figures_are_tampered_with,
        {
            "Invariants broken A": 0.0, "Invariants, one by one A": 0.0, "Ahead of the database A": 0.0,
            "Published ahead of the database A": 0.0,
        },
    ),
}  # fmt: skip
