"""The composition root: makes the parts of one worker, starts them in order, stops them in reverse."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version as distribution_version

import asyncpg
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from campaigns.book.book import Book, Campaign
from campaigns.book.store import load_book
from campaigns.totals.rollups import Series, select_series
from gateways.outcome import Outcome
from gateways.registry import ADAPTERS
from metrics.board import Board
from metrics.instruments import Instruments
from service.catalog.accounts import AccountRow, LoadedAccounts, load_account_rows, load_accounts
from service.catalog.last_good import LastGood, keep_last_good, last_good_of
from service.intake import callbacks
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.commit_metrics import CommitMetrics
from service.intake.intake import Intake, Shelf
from service.intake.quarantine import Quarantine
from service.intake.replay import Replay
from service.intake.spool import Spool
from service.intake.spool_file import SpoolFile, claim_own
from service.intake.writer import CommitReport, Writer
from service.listeners.connection_limit import ConnectionLimit
from service.listeners.listener import Listener
from service.listeners.middleware import errors_as_problems, name_no_software
from service.listeners.overload import OverloadMonitor
from service.listeners.shedding import SURFACES, shedding
from service.live import openapi
from service.live import totals_api as api
from service.live.feed import Feed
from service.live.high_water import HighWaterMark
from service.live.series import SeriesCache
from service.live.stream import Streams
from service.live.stream import routes as stream_routes
from service.operations import health as internal
from service.operations.housekeeping import Housekeeping
from service.pages import pages
from service.postgres.database import CONNECT_SECONDS, DATABASE_ERRORS, Database, DatabaseRefused, is_away
from service.runtime.keyring import Keyring
from service.runtime.logs import describe_failure
from service.runtime.settings import Settings
from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("service")

Clock = Callable[[], datetime]
NO_ACCOUNTS = LoadedAccounts({}, ())
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
        """`copy` is what to start from with the database away; `prepare` makes the database ready once it is back."""
        self.settings = settings
        self.database = database
        self.keyring = keyring
        self.clock = clock
        self._kind = kind
        self._copy = copy
        self._prepare = prepare
        self._joining: asyncio.Task[None] | None = None
        self._environ = os.environ if environ is None else environ
        self._accept_older_database = accept_older_database
        self.board = Board()
        self.instruments = Instruments(
            CollectorRegistry(),
            version=distribution_version("portal1400"),
            adapters=tuple(ADAPTERS),
            outcomes=[outcome.value for outcome in Outcome],
        )
        self.instruments.know_surfaces(surface.name for surface in SURFACES)
        self.counting = CommitMetrics(self.instruments, lambda: self.intake.shelf)
        self.writer = Writer(
            lambda: database.connect("portal1400 writer"),
            writers=settings.writers,
            batch_events_max=settings.batch_events_max,
            queue_events_max=settings.queue_events_max,
            observe=self._observe,
        )
        self.writer.on_connection_lost = database.ensure
        self.quarantine = Quarantine(database, keyring, self.instruments, settings.quarantine_per_account_max)
        self.circuit = CircuitBreaker(TRIAL_SECONDS)
        self.replay = Replay(
            self._spool(self._claim_spool()),
            folder=settings.data_dir / "spool",
            make_spool=self._spool,
            bytes_max=settings.spool_bytes_max,
            writer=self.writer,
            wait_seconds=settings.queue_wait_seconds,
            book=lambda: self.intake.shelf.book,
            accounts=lambda: self.intake.shelf.accounts,
            keyring=keyring,
            quarantine=self.quarantine,
            circuit=self.circuit,
        )
        self.instruments.spool_records.set_function(lambda: self.replay.records)
        self.instruments.spool_oldest_seconds.set_function(lambda: self.replay.oldest_seconds)
        self.instruments.spool_writable.set_function(lambda: self.replay.own.refusal is None)
        self.intake = Intake(
            shelf=Shelf(Book(0, ()), NO_ACCOUNTS),
            writer=self.writer,
            keyring=keyring,
            quarantine=self.quarantine,
            replay=self.replay,
            circuit=self.circuit,
            instruments=self.instruments,
            queue_wait_seconds=settings.queue_wait_seconds,
            account_callbacks_max=settings.account_callbacks_max,
            account_events_max=settings.account_events_max,
        )
        self.high_water = HighWaterMark(settings.data_dir, self.instruments)
        self.feed = Feed(
            connect=lambda: database.connect("portal1400 feed"),
            ensure=database.ensure,
            board=self.board,
            instruments=self.instruments,
            reload=self.reload,
            inspect=self.high_water.inspect,
        )
        self.housekeeping = Housekeeping(settings, database, keyring, self.instruments, clock, self.counting.count)
        self.connection_limit = ConnectionLimit(settings.connections_max, lambda: len(self.streams.broadcaster))
        self.streams = Streams(
            self.board,
            lambda: self.intake.shelf.book,
            self.instruments,
            clock=clock,
            viewers_max=min(settings.stream_viewers_max, self.connection_limit.viewers_max),
            write_seconds=settings.stream_write_seconds,
            level=lambda: self.load.level,
        )
        self.load = OverloadMonitor(lambda: self.writer.pressure, self.instruments.load_level.set)
        self.series = SeriesCache(self._select_series, self._published_version)
        self._listeners: list[Listener] = []
        self._is_started = False
        self._is_stopped = False

    async def start(self, public: socket.socket, inside: socket.socket) -> None:
        """Read the book, make today's partitions and keys, then listen. Raises what the database refuses.

        With a `copy` the database is away: then that is read, and the database joined when it is back.
        """
        if self._copy is None:
            await self._join()
        else:
            self._take_over(self._copy.book, list(self._copy.accounts))
            self._joining = asyncio.create_task(self._join_later(), name="join")
        self.replay.start()
        self.connection_limit.watch(asyncio.get_running_loop())
        if self.settings.shed_under_load:
            self.load.start()
        self.streams.start()
        carriers = callbacks.handler(
            self.intake,
            clock=self.clock,
            trusted_proxies=self.settings.trusted_proxies,
            body_read_seconds=self.settings.body_read_seconds,
        )
        made = partial(Listener, head_read_seconds=self.settings.head_read_seconds)
        for listener, bound in (
            (
                made(
                    self._public_app(),
                    idle_seconds=self.settings.idle_connection_seconds,
                    direct=(callbacks.PREFIX, carriers),
                    connection_limit=self.connection_limit,
                ),
                public,
            ),
            (made(self._internal_app()), inside),
        ):
            await listener.listen(bound)
            self._listeners.append(listener)
        self._is_started = True

    async def _join(self) -> None:
        await self.database.open_pool()
        async with self.database.borrow() as connection:
            await self.high_water.open(connection, accept_older=self._accept_older_database)
            await self.reload(connection)
            await self.housekeeping.prepare(connection)
            await self.feed.read(connection)
        self.writer.start()
        # Callbacks that come before it is connected would go into the spool, which is for outages.
        await self.writer.wait_connected(CONNECT_SECONDS)
        self.feed.start()
        self.high_water.start()
        self.housekeeping.start()

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
        if self._is_stopped:
            return
        self._is_stopped = True
        until = time.monotonic() + self.settings.shutdown_seconds
        for listener in self._listeners:
            await listener.stop_accepting()
        self.streams.end()
        # The public one first: meanwhile metrics and probes answer over the connections they have.
        for listener, seconds in zip(self._listeners, (drain_seconds, 0.0), strict=False):
            with suppress(Exception):
                await listener.drain(seconds, until)
        await self.streams.gone()
        await self.load.stop()
        await cancel_and_wait(self._joining)
        await self.quarantine.finish()
        await self.writer.stop(max(WRITER_SECONDS_MIN, until - time.monotonic()))
        await self.replay.stop()
        await self.housekeeping.stop()
        await self.feed.stop()
        await self.high_water.stop()

    async def reload(self, connection: asyncpg.Connection) -> int:
        """Take over the newest book and accounts; returns the book's version."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            book = await load_book(connection)
            rows = await load_account_rows(connection)
        self._take_over(book, rows)
        copy = last_good_of(self._kind, book, rows)
        try:
            await asyncio.to_thread(keep_last_good, self.settings.data_dir, self.keyring.local, copy)
        except OSError as error:
            log.warning("last_good_copy_not_kept", reason=error.strerror)
        return book.version

    def _take_over(self, book: Book, rows: list[AccountRow]) -> None:
        accounts = load_accounts(rows, self.keyring.settings.unseal, self._environ)
        self.instruments.know_accounts(accounts.by_code)
        self.instruments.know_campaigns(campaign.slug for campaign in book.campaigns)
        self.intake.shelf = Shelf(book, accounts)
        for problem in accounts.problems:
            log.warning("account_not_usable", reason=problem)
        log.info("book_loaded", version=book.version, campaigns=len(book.campaigns), accounts=len(accounts.by_code))

    def _claim_spool(self) -> SpoolFile:
        return claim_own(
            self.settings.data_dir / "spool",
            key_check=self.keyring.key_check,
            bytes_max=self.settings.spool_bytes_max,
        )

    def _spool(self, file: SpoolFile) -> Spool:
        return Spool(
            file,
            self.keyring.local,
            bytes_max=self.settings.spool_bytes_max,
            age_seconds_max=self.settings.spool_age_max_hours * 3600,
            clock=self.clock,
        )

    def health(self) -> internal.Health:
        """What the probes tell."""
        degraded = []
        if self.writer.connected == 0:
            degraded.append("no writer is connected to the database")
        if not self.feed.is_connected:
            degraded.append("totals are not being read from the database")
        if self.circuit.is_open:
            degraded.append("the database does not commit in time; callbacks go into the spool")
        if self.replay.records:
            seconds = round(self.replay.oldest_seconds)
            degraded.append(f"{self.replay.records} callbacks wait in the spool, the oldest for {seconds} s")
        refusal = self.replay.own.refusal
        if refusal is not None:
            degraded.append(refusal)
        commits = self.writer.connected > 0 and not self.circuit.is_open
        return internal.Health(self._is_started, commits or refusal is None, tuple(degraded))

    def _observe(self, commit: CommitReport) -> None:
        self.load.see_commit()
        if commit.seconds < self.settings.queue_wait_seconds:
            # The database does commit: what made a callback wait too long was the queue before it.
            self.circuit.close()
        self.counting.see(commit)

    async def _select_series(self, campaign_id: int, bucket: str, since: datetime, until: datetime) -> Series:
        try:
            async with self.database.borrow(2) as connection:
                return await select_series(connection, campaign_id, bucket, since, until, api.POINTS_MAX)
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            raise api.DatabaseAway from None

    def _published_version(self, campaign_id: int) -> int:
        campaign = self.intake.shelf.book.by_id.get(campaign_id)
        snapshot = self.board.get(campaign.slug) if campaign else None
        return snapshot.totals.version if snapshot else 0

    async def _last_hour(self, campaign: Campaign) -> Series:
        until = self.clock().replace(second=0, microsecond=0) + timedelta(minutes=1)
        return await self.series.get(campaign.id, "minute", until - timedelta(hours=1), until)

    def _public_app(self) -> web.Application:
        def book() -> Book:
            return self.intake.shelf.book

        app = web.Application(
            middlewares=[shedding(lambda: self.load.level, self.instruments.count_shed), errors_as_problems],
            client_max_size=0,
        )
        app.on_response_prepare.append(name_no_software)
        app.add_routes(api.routes(self.board, book, self.series.get, self.clock))
        app.add_routes(stream_routes(self.streams))
        app.add_routes(openapi.routes(self.settings.public_url))
        app.add_routes(pages.routes(self.board, book, self._last_hour, self.clock))
        return app

    def _internal_app(self) -> web.Application:
        app = web.Application(middlewares=[errors_as_problems])
        app.add_routes(internal.routes(self.instruments.registry, self.health))
        return app


async def run_until(stopping: asyncio.Event, service: Service) -> None:
    """Serve until `stopping` is set, then drain."""
    try:
        await stopping.wait()
    finally:
        await service.stop(service.settings.drain_seconds)
