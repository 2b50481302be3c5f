"""The composition root: the parts of one worker, started in order and stopped in reverse."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from service.catalog.catalog import Catalog
from service.catalog.last_good import LastGood
from service.desk.assembly import PREFIXES, DeskPart
from service.intake import callbacks
from service.intake.assembly import make_intake
from service.listeners.listener import Listener
from service.listeners.listener_group import ListenerGroup
from service.listeners.request_metrics import labels_of
from service.live.assembly import make_live
from service.operations import gateways_page, health, inspect_page
from service.operations.assembly import make_operations
from service.operations.database_join import DatabaseJoin
from service.operations.instruments import make_instruments
from service.operations.quarantine_replay import replaying
from service.operations.siblings import Siblings
from service.operations.tracing import make_tracing
from service.pages import public
from service.pages.preview import PagePreview
from service.postgres.database import Database
from service.runtime import logs
from service.runtime.clock import Clock, utc_now
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings

WRITER_SECONDS_MIN = 2.0
"""However long connections took to drain, what waits for its commit has at least this long."""


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

        Raises SpoolRefused, and Refused where traces are wanted and cannot be kept.
        """
        self.settings = settings
        self.keyring = keyring
        self.clock = clock
        self._copy = copy
        self.instruments = make_instruments()
        known = os.environ if environ is None else environ
        self.catalog = Catalog(kind, settings.data_dir, keyring, self.instruments, known, clock)
        self.tracing = make_tracing(settings)
        self.intake = make_intake(
            settings, database, keyring, self.catalog, self.instruments, clock, self.tracing.wrapped
        )
        self.live = make_live(
            settings, database, self.catalog, self.instruments, clock, lambda: self.intake.load.level,
            self.tracing.following,
        )  # fmt: skip
        self.operations = make_operations(
            settings, database, keyring, self.catalog, self.intake, self.instruments, clock
        )
        self.desk = DeskPart(
            settings, database, keyring, self.live.board, lambda: self.catalog.book,
            lambda: self.catalog.accounts.by_code.values(), clock,
            partial(replaying, database, keyring, "portal1400 desk replay"),
            PagePreview(self.live.board, self.live.last_hour.get, self.live.corrections.get).values,
            is_demo=kind == "demo",
        )  # fmt: skip
        self._join = DatabaseJoin(
            database, self.catalog, self.intake, self.live, self.operations.housekeeping, self.operations.invariants,
            kind=kind, prepare=prepare, accept_older=accept_older_database,
        )  # fmt: skip
        self.listeners = ListenerGroup()
        self._is_started = False
        self._until = 0.0
        self._drain_seconds = 0.0
        self._running = AsyncExitStack()

    async def start(self, outside: socket.socket, inside: socket.socket) -> None:
        """Read the book, make today's partitions and keys, then listen. Raises what the database refuses.

        What was started before something failed is stopped.
        """
        intake, live, operations = self.intake, self.live, self.operations
        async with AsyncExitStack() as started:
            # In the order in which they are stopped last: what feeds a part ends before it.
            for stop in (
                self.tracing.stop, intake.data_keys.stop, intake.quarantine.stop, intake.trials.stop,
                intake.questions.stop, live.high_water.stop, live.feed.stop, operations.invariants.stop,
                operations.housekeeping.stop, intake.replay.stop, self._stop_writer, operations.replies.stop,
                self._join.stop, operations.disks.stop, operations.carriers.stop, operations.database.stop,
                operations.certificate.stop,
            ):  # fmt: skip
                started.push_async_callback(stop)
            started.push_async_callback(self.desk.stop)
            await self._join.start(self._copy)
            intake.replay.start()
            operations.replies.start()
            await operations.disks.start()
            port = inside.getsockname()[1]
            siblings = Siblings(self.settings.internal_listen, port, self.keyring.key_check.hex()[:16])
            await operations.carriers.start(siblings, port)
            operations.database.start()
            operations.certificate.start()
            live.connection_limit.watch(asyncio.get_running_loop())
            started.push_async_callback(operations.stalls.stop)
            operations.stalls.start()
            started.push_async_callback(intake.load.stop)
            if self.settings.shed_under_load:
                intake.load.start()
            started.push_async_callback(live.streams.stop)
            live.streams.start()
            started.push_async_callback(self._stop_listening)
            await self._listen(outside, inside, siblings)
            self._running = started.pop_all()
        self._is_started = True

    async def _listen(self, outside: socket.socket, inside: socket.socket, siblings: Siblings) -> None:
        settings = self.settings
        carriers = callbacks.Callbacks(
            self.intake.intake,
            self.intake.questions,
            clock=self.clock,
            trusted_proxies=settings.trusted_proxies,
            client_certificate_header=settings.client_certificate_header,
            body_read_seconds=settings.body_read_seconds,
            public_url=settings.public_url,
        )
        made = partial(
            Listener, head_read_seconds=settings.head_read_seconds, write_seconds=settings.stream_write_seconds
        )
        viewers = made(
            self.public_application(),
            idle_seconds=settings.idle_connection_seconds,
            direct=(callbacks.PREFIX, carriers.take),
            connection_limit=self.live.connection_limit,
            turned_away=self.intake.intake.turned_away,
            astray=callbacks.astray(self.intake.intake, settings.trusted_proxies, rooms=PREFIXES),
        )
        of_operators = [
            *gateways_page.routes(self.operations.carriers, self.clock),
            *inspect_page.routes(self.intake.intake.inspection, siblings),
        ]
        probes = made(
            health.application(self.instruments.registry, self.health, of_operators, look=self.instruments.look)
        )
        await self.listeners.listen([(viewers, outside), (probes, inside)])

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Stop accepting, answer what was accepted, hand the viewers over, store what waits.

        A connection that is kept open has `drain_seconds` for its next request; all of it has `shutdown_seconds`.
        A second time: nothing.
        """
        self._until = time.monotonic() + self.settings.shutdown_seconds
        self._drain_seconds = drain_seconds
        await self._running.aclose()

    async def _stop_listening(self) -> None:
        await self.listeners.stop_accepting()
        self.live.streams.end()
        self.desk.end()
        self.intake.intake.inspection.end()
        await self.listeners.drain(self._drain_seconds, self._until)

    async def _stop_writer(self) -> None:
        await self.intake.writer.stop(max(WRITER_SECONDS_MIN, self._until - time.monotonic()))

    def public_application(self) -> web.Application:
        """What viewers are served."""
        url = self.settings.public_url
        app = public.application(
            self.live, self.catalog, self.intake.load, self.instruments, self.clock, url, self.desk.described
        )
        self.desk.join(app)
        self.instruments.listeners.know_routes(labels_of(app))
        return app

    def health(self) -> health.Health:
        """What the probes tell."""
        operations = self.operations
        parts = (
            self.intake,
            operations.disks,
            operations.housekeeping,
            operations.replies,
            operations.certificate,
            self.live.feed,
            self.catalog,
            logs,
        )
        degraded = tuple(each for part in parts for each in part.troubles())
        return health.Health(
            self._is_started,
            self.intake.can_accept,
            degraded,
            self.catalog.book.version,
            len(self.keyring.key_checks),
        )
