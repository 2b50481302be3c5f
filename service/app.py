"""The composition root: the parts of one worker, started in order and stopped in reverse."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as distribution_version

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from campaigns.book.book import Book
from gateways.outcome import Outcome
from gateways.registry import ADAPTERS
from metrics.board import Board
from metrics.instruments import Instruments
from service.catalog.catalog import Catalog
from service.catalog.last_good import LastGood
from service.intake import callbacks
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.commit_metrics import CommitMetrics
from service.intake.intake import Intake
from service.intake.quarantine import Quarantine
from service.intake.replay import Replay
from service.intake.row_builder import RowBuilder
from service.intake.spool import SpoolFolder
from service.intake.writer import CommitReport, Writer
from service.listeners.connection_limit import ConnectionLimit
from service.listeners.listener import Listener
from service.listeners.middleware import errors_as_problems, name_no_software
from service.listeners.overload import OverloadMonitor
from service.listeners.shedding import SURFACES, shedding
from service.live import openapi, totals_api
from service.live.feed import Feed
from service.live.high_water import HighWaterMark
from service.live.series import SeriesCache, published_versions, selecting
from service.live.stream import Streams
from service.live.stream import routes as stream_routes
from service.operations import health
from service.operations.housekeeping import Housekeeping
from service.operations.invariant_watch import InvariantWatch
from service.pages import pages
from service.postgres.data_keys import DataKeys
from service.postgres.database import CONNECT_SECONDS, Database, DatabaseRefused
from service.runtime.keyring import Keyring
from service.runtime.logs import describe_failure
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("service")

Clock = Callable[[], datetime]
TRIAL_SECONDS = 5.0
"""While the database does not commit, one callback in this many seconds tries whether it does again."""
REJOIN_SECONDS = 1.0
"""How long a worker that started without the database waits between looks for it."""
WRITER_SECONDS_MIN = 2.0
"""However long connections took to drain, what waits for its commit has at least this long."""


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


class Service:
    """One worker. `start` serves the sockets it is given; `stop` drains: what was accepted is stored and answered."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        *,
        kind: str = "live",
        copy: LastGood | None = None,
        prepare: Callable[[], Awaitable[object]] | None = None,
        clock: Clock = utc_now,
        environ: Mapping[str, str] | None = None,
        accept_older_database: bool = False,
    ) -> None:
        """`copy` is what to start from with the database away; `prepare` makes the database ready once it is back.

        Raises SpoolRefused.
        """
        self.settings = settings
        self.database = database
        self.keyring = keyring
        self.clock = clock
        self._kind = kind
        self._copy = copy
        self._prepare = prepare
        self._accept_older_database = accept_older_database
        self.instruments = Instruments(
            CollectorRegistry(),
            version=distribution_version("portal1400"),
            adapters=tuple(ADAPTERS),
            outcomes=[outcome.value for outcome in Outcome],
        )
        self.instruments.know_surfaces(surface.name for surface in SURFACES)
        known = os.environ if environ is None else environ
        self.catalog = Catalog(kind, settings.data_dir, keyring, self.instruments, known)
        self._make_intake()
        self._make_live()
        self.housekeeping = Housekeeping(settings, database, keyring, clock, self.commits.count)
        self.invariants = InvariantWatch(settings.invariant_seconds, database, self.instruments, clock)
        self._joining: asyncio.Task[None] | None = None
        self._listeners: list[Listener] = []
        self._is_started = False
        self._until = 0.0
        self._drain_seconds = 0.0
        self._running = AsyncExitStack()

    def _make_intake(self) -> None:
        settings, database, instruments = self.settings, self.database, self.instruments
        keyring = self.keyring
        self.commits = CommitMetrics(instruments, self.catalog)
        self.writer = Writer(
            lambda: database.connect("portal1400 writer"),
            writers=settings.writers,
            batch_events_max=settings.batch_events_max,
            queue_events_max=settings.queue_events_max,
            observe=self._observe,
            lost=database.ensure,
        )
        self.load = OverloadMonitor(lambda: self.writer.pressure, instruments.load_level.set)
        self.circuit = CircuitBreaker(TRIAL_SECONDS)
        self.data_keys = DataKeys(database, keyring)
        rows = RowBuilder(self.catalog, keyring, self.data_keys)
        self.quarantine = Quarantine(database, self.data_keys, instruments, settings.quarantine_per_account_max)
        self.replay = Replay(
            SpoolFolder(
                settings.data_dir / "spool",
                keyring,
                bytes_max=settings.spool_bytes_max,
                age_seconds_max=settings.spool_age_max_hours * 3600,
                clock=self.clock,
            ),
            catalog=self.catalog,
            rows=rows,
            writer=self.writer,
            wait_seconds=settings.queue_wait_seconds,
            digest_key=keyring.digest_key,
            quarantine=self.quarantine,
            circuit=self.circuit,
        )
        instruments.spool_records.set_function(lambda: self.replay.records)
        instruments.spool_oldest_seconds.set_function(lambda: self.replay.oldest_seconds)
        instruments.spool_writable.set_function(lambda: self.replay.own.refusal is None)
        self.intake = Intake(
            catalog=self.catalog,
            rows=rows,
            writer=self.writer,
            digest_key=keyring.digest_key,
            quarantine=self.quarantine,
            replay=self.replay,
            circuit=self.circuit,
            instruments=instruments,
            queue_wait_seconds=settings.queue_wait_seconds,
            account_callbacks_max=settings.account_callbacks_max,
            account_events_max=settings.account_events_max,
        )

    def _make_live(self) -> None:
        settings, database = self.settings, self.database
        self.board = Board()
        self.high_water = HighWaterMark(settings.data_dir, self.instruments)
        self.feed = Feed(
            connect=lambda: database.connect("portal1400 feed"),
            ensure=database.ensure,
            board=self.board,
            instruments=self.instruments,
            reload=self.catalog.load,
            inspect=self.high_water.inspect,
        )
        self.series = SeriesCache(selecting(database), published_versions(self.catalog, self.board))
        self.connection_limit = ConnectionLimit(settings.connections_max, lambda: len(self.streams.broadcaster))
        self.streams = Streams(
            self.board,
            lambda: self.catalog.book,
            self.instruments,
            clock=self.clock,
            viewers_max=min(settings.stream_viewers_max, self.connection_limit.viewers_max),
            write_seconds=settings.stream_write_seconds,
            level=lambda: self.load.level,
        )

    async def start(self, public: socket.socket, inside: socket.socket) -> None:
        """Read the book, make today's partitions and keys, then listen. Raises what the database refuses.

        With a `copy` the database is away: then that is read, and the database joined when it is back. What was
        started before something failed is stopped.
        """
        async with AsyncExitStack() as started:
            # In the order in which they are stopped last: what feeds a part ends before it.
            for part in (
                self.data_keys, self.quarantine, self.high_water, self.feed, self.invariants, self.housekeeping,
                self.replay,
            ):  # fmt: skip
                started.push_async_callback(part.stop)
            started.push_async_callback(self._stop_writer)
            started.push_async_callback(self._stop_joining)
            if self._copy is None:
                await self._join()
            else:
                self.catalog.take_over(self._copy)
                self._joining = asyncio.create_task(self._join_later(), name="join")
            self.replay.start()
            self.connection_limit.watch(asyncio.get_running_loop())
            started.push_async_callback(self.load.stop)
            if self.settings.shed_under_load:
                self.load.start()
            started.push_async_callback(self.streams.stop)
            self.streams.start()
            started.push_async_callback(self._stop_listening)
            await self._listen(public, inside)
            self._running = started.pop_all()
        self._is_started = True

    async def _listen(self, public: socket.socket, inside: socket.socket) -> None:
        carriers = callbacks.handler(
            self.intake,
            clock=self.clock,
            trusted_proxies=self.settings.trusted_proxies,
            body_read_seconds=self.settings.body_read_seconds,
        )
        made = partial(Listener, head_read_seconds=self.settings.head_read_seconds)
        self._listeners = [
            made(
                self._public_app(),
                idle_seconds=self.settings.idle_connection_seconds,
                direct=(callbacks.PREFIX, carriers),
                connection_limit=self.connection_limit,
            ),
            made(self._internal_app()),
        ]
        for listener, bound in zip(self._listeners, (public, inside), strict=True):
            await listener.listen(bound)

    async def _join(self) -> None:
        await self.database.open_pool()
        async with self.database.borrow() as connection:
            await self.high_water.open(connection, accept_older=self._accept_older_database)
            await self.catalog.load(connection)
            await self.housekeeping.prepare(connection)
            await self.feed.read(connection)
        self.writer.start()
        # Callbacks that come before it is connected would go into the spool, which is for outages.
        await self.writer.wait_connected(CONNECT_SECONDS)
        self.feed.start()
        self.high_water.start()
        self.housekeeping.start()
        self.invariants.start()

    async def _join_later(self) -> None:
        while True:
            try:
                if self._prepare is not None and await self._prepare() != self._kind:
                    raise DatabaseRefused("the database that is back is another one: a demonstration's")
                await self._join()
            except Exception as error:  # noqa: BLE001 -- whatever it was: the spool carries the intake meanwhile
                log.warning("database_not_joined", **describe_failure(error))
                await asyncio.sleep(REJOIN_SECONDS)
            else:
                log.info("database_joined", database=self.database.description)
                return

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Stop accepting, answer what was accepted, hand the viewers over, store what waits.

        A connection that is kept open has `drain_seconds` for its next request; all of it has `shutdown_seconds`.
        A second time: nothing.
        """
        self._until = time.monotonic() + self.settings.shutdown_seconds
        self._drain_seconds = drain_seconds
        await self._running.aclose()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            await listener.stop_accepting()
        self.streams.end()
        # The public one first: meanwhile metrics and probes answer over the connections they have.
        for listener, seconds in zip(self._listeners, (self._drain_seconds, 0.0), strict=False):
            with suppress(Exception):
                await listener.drain(seconds, self._until)

    async def _stop_writer(self) -> None:
        await self.writer.stop(max(WRITER_SECONDS_MIN, self._until - time.monotonic()))

    async def _stop_joining(self) -> None:
        await cancel_and_wait(self._joining)

    def health(self) -> health.Health:
        """What the probes tell."""
        degraded = [each for part in (self.writer, self.feed, self.replay) for each in part.troubles()]
        commits = self.writer.connected > 0 and not self.circuit.is_open
        return health.Health(self._is_started, commits or self.replay.own.refusal is None, tuple(degraded))

    def _observe(self, commit: CommitReport) -> None:
        self.load.see_commit()
        if commit.seconds < self.settings.queue_wait_seconds:
            # The database does commit: what made a callback wait too long was the queue before it.
            self.circuit.close()
        self.commits.see(commit)

    def _public_app(self) -> web.Application:
        def book() -> Book:
            return self.catalog.book

        app = web.Application(
            middlewares=[shedding(lambda: self.load.level, self.instruments.count_shed), errors_as_problems],
            client_max_size=0,
        )
        app.on_response_prepare.append(name_no_software)
        app.add_routes(totals_api.routes(self.board, book, self.series.get, self.clock))
        app.add_routes(stream_routes(self.streams))
        app.add_routes(openapi.routes(self.settings.public_url))
        app.add_routes(pages.routes(self.board, book, self.series.last_hour, self.clock))
        return app

    def _internal_app(self) -> web.Application:
        app = web.Application(middlewares=[errors_as_problems])
        app.add_routes(health.routes(self.instruments.registry, self.health))
        return app


async def run_until(stopping: asyncio.Event, service: Service) -> None:
    """Serve until `stopping` is set, then drain."""
    try:
        await stopping.wait()
    finally:
        await service.stop(service.settings.drain_seconds)
