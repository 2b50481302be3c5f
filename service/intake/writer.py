"""Group commit: callbacks wait in a bounded queue, a writer stores all that wait with one statement and answers all.

Each writer task owns a connection and a roll-up slot. The events of one callback are never split over two
batches. Nobody is answered before the commit.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum

import asyncpg
import structlog

from campaigns.gifts.event_rows import MessageRow
from campaigns.gifts.messages import ReadByOldBook
from campaigns.gifts.projection import MoneyLine
from campaigns.schema.partitions import make_partitions
from campaigns.totals.slots import take_slot
from service.intake.batch import store_batch
from service.intake.entry import Entry, EventResult
from service.intake.fair_queue import FairQueue
from service.postgres.connect_errors import reason_of
from service.runtime.logs import describe_failure
from service.runtime.refusals import Refused
from service.runtime.tasks import backoff, cancel_and_wait

log = structlog.get_logger("writer")

RETRIES_MAX = 5
BATCH_BYTES_MAX = 4 * 1024 * 1024
"""What the callbacks of one commit may weigh: so much is written in some hundredths of a second on a slow disk."""
QUEUE_BYTES_MAX = 64 * 1024 * 1024
"""What may wait for the writers of a worker, in bytes: as many events may, but a callback can be of 1 MiB."""
REPLAY_STATEMENT_SECONDS = 0.5
"""A statement for what comes from the spool may take no longer: it may hold locks that live callbacks wait for, and
they wait for a second at most. What cannot be stored in this time is tried in halves."""
EXPIRE_SECONDS = 0.05
BESIDE_EVENTS = 250
"""As many have to wait before a second writer begins beside one that commits: two small commits cost the server, and
whoever shares a machine with it, nearly twice what one of both does."""
BESIDE_SECONDS = 0.01
"""Or so long that one takes: what holds a commit up holds up nobody else."""
GIVEN_UP_IN = "SyncRepWaitForLSN"
"""PostgreSQL's function that warns, in any language, that a commit did not wait for its standby to the end."""
UNIQUE_VIOLATION = "23505"
"""Each insert names the key that decides. Of a callback that is stored twice at one instant (its sender was answered
from the spool while its commit went on) another key, its own id, may be met first."""
CHECK_VIOLATION = "23514"
"""With the name of a constraint the row breaks it; without one there is no partition for the row, in any language."""
RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class DatabaseDown(Exception):
    """The batch could not be committed for a reason that is not its data."""


class TooSlow(DatabaseDown):
    """A statement was ended by its own limit: nothing of the batch is stored, and the connection is as it was."""


class Locked(TooSlow):
    """It waited for a lock that somebody else holds: nothing in the batch is at fault."""


ENDED: dict[str, type[TooSlow]] = {"57014": TooSlow, "55P03": Locked}
"""What a limit of time says, by its SQLSTATE (query_canceled, lock_not_available)."""


class QueueFull(Exception):
    """More events wait than may wait."""


class Verdict(Enum):
    """What a failed batch says: of its own content, of the moment, of a day we have not made, or of the database."""

    DATA = "data"
    AGAIN = "again"
    TWICE = "twice"
    """The same rows at the same instant over another connection. Or a fault in the data, which trying again tells."""
    NO_PARTITION = "no partition"
    DOWN = "down"


class Unstorable(Exception):
    """This callback's own data cannot be stored; the rest of its batch was."""


@dataclass(frozen=True, slots=True)
class CommitReport:
    """What a writer tells its observer about one commit."""

    seconds: float
    messages: Sequence[MessageRow]
    conflicts: Sequence[int]
    on_report: frozenset[int]
    """The accounts whose new messages are not counted yet."""
    lines: Sequence[MoneyLine]
    """What charges and reversals changed."""
    left_out: Sequence[int] = ()
    """The accounts of conflicts whose callback was not kept."""


Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Writer:
    """The queue and its writer tasks. `observe` hears of each commit, `lost` of a connection's end."""

    def __init__(
        self,
        connect: Connect,
        *,
        writers: int,
        batch_events_max: int,
        queue_events_max: int,
        observe: Callable[[CommitReport], None],
        lost: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._connect = connect
        self._count = writers
        self._batch_events_max = batch_events_max
        self._queue_events_max = queue_events_max
        self._observe = observe
        self._queue = FairQueue()
        # Every entry not yet answered, by deadline: one task watches them all, a timer each would cost more. Of one
        # lane all wait equally long.
        self._waiting: tuple[deque[tuple[float, Entry]], ...] = (deque(), deque())
        self._wake = asyncio.Event()
        self.committing = 0
        """Batches of live callbacks on their way."""
        self._late = 0
        """How many of them take longer than BESIDE_SECONDS."""
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._unconfirmed: set[object] = set()
        self.connected = 0
        self.commits = 0
        """Batches committed so far: whether the database takes anything is seen by it."""
        self._has_connected = asyncio.Event()
        self._lost = lost
        self._unreachable: str | None = None
        self._uncommitted: str | None = None
        """Why the last connection, and the last commit of live callbacks, failed; None: it did not, or who knows."""

    @property
    def queued_events(self) -> int:
        """How many events wait."""
        return self._queue.events

    @property
    def pressure(self) -> tuple[float, float]:
        """How much of the queue is full, and for how many seconds the oldest in it has waited."""
        return self._queue.events / self._queue_events_max, self._queue.oldest_seconds

    def start(self) -> None:
        """Start the writer tasks; each connects by itself and again after a loss."""
        self._tasks = [asyncio.create_task(self._run(index), name=f"writer-{index}") for index in range(self._count)]
        self._watch = asyncio.create_task(self._expire(), name="writer-deadlines")

    async def wait_connected(self, timeout_seconds: float) -> None:
        """Return when a writer is connected for the first time, or when the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_connected.wait(), timeout_seconds)

    async def stop(self, timeout_seconds: float) -> None:
        """Store what waits, then end. What is not stored by then is told DatabaseDown."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_seconds)
            await cancel_and_wait(*late)
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await cancel_and_wait(self._watch)
        # Whoever is still unanswered: in the queue, or in a batch whose commit did not come back in time.
        self._fail([entry for lane in self._waiting for _, entry in lane], DatabaseDown("stopped"))
        self._queue.clear()

    def troubles(self) -> Iterable[str]:
        """Whether nobody could commit, and why: what is mended by a start, a password or room on a disk differs."""
        if self.connected == 0:
            yield "no writer is connected to the database" + (f": {self._unreachable}" if self._unreachable else "")
        if self._uncommitted is not None:
            yield f"the last commit was not taken: {self._uncommitted}"

    async def store(self, entry: Entry, timeout_seconds: float) -> list[EventResult]:
        """Wait until `entry` is committed.

        Raises QueueFull, DatabaseDown (also when it took longer than `timeout_seconds`), Unstorable, ReadByOldBook.
        An entry that timed out while a writer had it may be stored all the same: the sender's repeat is a duplicate.
        """
        if (
            self._stopping
            or self._queue.events + len(entry.rows) > self._queue_events_max
            or (self._queue.events and self._queue.size_bytes + entry.size_bytes > QUEUE_BYTES_MAX)
        ):
            raise QueueFull
        self._queue.push(entry)
        if self._may_begin():
            self._wake.set()
        self._waiting[entry.is_replayed].append((entry.queued_at + timeout_seconds, entry))
        return await entry.done

    async def _expire(self) -> None:
        """Tell entries whose time is over. In a lane they are in order of deadline, as all wait equally long."""
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            now = time.monotonic()
            for waiting in self._waiting:
                while waiting and (waiting[0][1].done.done() or waiting[0][0] <= now):
                    _, entry = waiting.popleft()
                    if not entry.done.done():
                        entry.done.set_exception(DatabaseDown("no commit in time"))

    async def _run(self, index: int) -> None:
        attempt = 0
        while not (self._stopping and not self._queue):
            try:
                connection = await self._connect()
            except Exception as error:  # noqa: BLE001 -- whatever it was: a writer that ended would be missed for ever
                self._unreachable = reason_of(error)
                log.warning("writer_cannot_connect", reason=_name(error), attempt=attempt)
                if self._stopping:
                    return
                await self._recover(attempt)
                attempt += 1
                continue
            attempt = 0
            try:
                await self._hold(connection, index)
            except DatabaseDown as error:
                log.warning("writer_lost_its_connection", reason=str(error))
                await self._recover(0)
            except Exception as error:  # noqa: BLE001 -- as above
                log.error("writer_failed", **describe_failure(error))
                await self._recover(0)
            finally:
                with suppress(Exception):
                    await connection.close(timeout=1)

    async def _hold(self, connection: asyncpg.Connection, index: int) -> None:
        """Write over `connection` until it is lost or the writer ends."""
        # A writer that idles must hear of it too: whether any is connected is what readiness says.
        connection.add_termination_listener(lambda _connection: self._wake.set())
        connection.add_log_listener(self._hear_warning)
        slot = await take_slot(connection, index)
        self.connected += 1
        self._unreachable = None
        self._has_connected.set()
        try:
            await self._serve(connection, slot)
        finally:
            self.connected -= 1
            self._unconfirmed.discard(connection)

    def _hear_warning(self, connection: object, message: object) -> None:
        # A commit that somebody cancels while it waits for its standby ends in success and this warning.
        if getattr(message, "server_source_function", None) == GIVEN_UP_IN:
            self._unconfirmed.add(connection)

    async def _recover(self, attempt: int) -> None:
        await asyncio.sleep(backoff(RECONNECT_SECONDS, attempt))
        if self._lost is None:
            return
        try:
            await self._lost()
        except Refused as refused:  # a sentence of ours, which says why: a full disk, a lost password
            log.warning("database_not_brought_back", reason=str(refused))
        except Exception as error:  # noqa: BLE001 -- the next attempt asks again
            log.warning("database_not_brought_back", **describe_failure(error))

    def _may_begin(self) -> bool:
        """Whether a batch may begin beside the live ones that are on their way."""
        return self.committing <= self._late or self._queue.events >= BESIDE_EVENTS or self._stopping

    async def _serve(self, connection: asyncpg.Connection, slot: int) -> None:
        while True:
            await self._wake.wait()
            if connection.is_closed():
                raise DatabaseDown("the server closed the connection")
            batch = self._queue.take(self._batch_events_max, BATCH_BYTES_MAX) if self._may_begin() else []
            if not batch:
                if self._stopping:
                    return
                self._wake.clear()
                continue
            # A cancelled query would break the connection: the commit is never cancelled, only awaited.
            with suppress(TooSlow), nullcontext() if batch[0].is_replayed else self._under_way():
                await asyncio.shield(self._commit(connection, slot, batch))

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """A live commit, beside which another may begin once it takes long; beside a replay one may at once."""
        is_late = False

        def see_late() -> None:
            nonlocal is_late
            is_late = True
            self._late += 1
            self._wake.set()

        self.committing += 1
        alarm = asyncio.get_running_loop().call_later(BESIDE_SECONDS, see_late)
        try:
            yield
        finally:
            alarm.cancel()
            self.committing -= 1
            self._late -= is_late
            self._wake.set()

    async def _commit(self, connection: asyncpg.Connection, slot: int, batch: list[Entry]) -> None:
        """Store `batch`, tell everybody in it. Raises DatabaseDown after having told them so, TooSlow too."""
        retries = 0
        while True:
            started = time.perf_counter()
            try:
                seconds_max = REPLAY_STATEMENT_SECONDS if batch[0].is_replayed else None
                results, made = await store_batch(connection, slot, batch, statement_seconds=seconds_max)
                if connection in self._unconfirmed:
                    raise DatabaseDown("stored, but its standby has not confirmed it")
            except ReadByOldBook as old:
                batch = self._without_stale(batch, old)
                if not batch:
                    return
                continue
            except Exception as error:  # noqa: BLE001 -- sorted by verdict_on; nobody may be left waiting
                verdict = verdict_on(error)
                retries += 1
                if verdict in (Verdict.AGAIN, Verdict.TWICE) and retries <= RETRIES_MAX:
                    continue
                if (
                    verdict is Verdict.NO_PARTITION
                    and retries <= RETRIES_MAX
                    and await self._make_missing_partitions(connection, batch)
                ):
                    continue
                if verdict in (Verdict.DATA, Verdict.TWICE):
                    await self._halve(connection, slot, batch, error)
                    return
                # The limits of the replay are short: after one the connection goes on. The others are long, and what
                # meets them looks for its server anew.
                kind = ENDED.get(getattr(error, "sqlstate", None) or "") if batch[0].is_replayed else None
                down = (kind or DatabaseDown)(_name(error))
                if not batch[0].is_replayed:
                    self._uncommitted = reason_of(error)
                self._fail(batch, down)
                raise down from None
            self.commits += 1
            self._uncommitted = None
            for entry, result in zip(batch, results, strict=True):
                if not entry.done.done():
                    entry.done.set_result(result)
            try:
                self._observe(CommitReport(time.perf_counter() - started, *made))
            except Exception as error:  # noqa: BLE001 -- committed and answered: counting it wrong ends nothing
                log.error("observer_failed", **describe_failure(error))
            return

    def _without_stale(self, batch: list[Entry], old: ReadByOldBook) -> list[Entry]:
        """Tell the entries that were read by too old a book; returns the others."""
        stale: list[Entry] = []
        fresh: list[Entry] = []
        for entry in batch:
            (stale if entry.is_read_before(old.oldest_book) else fresh).append(entry)
        log.warning("read_by_an_old_book", callbacks=len(stale), version=old.oldest_book)
        self._fail(stale, old)
        return fresh

    async def _halve(self, connection: asyncpg.Connection, slot: int, batch: list[Entry], error: Exception) -> None:
        if len(batch) == 1:
            log.error("event_unstorable", reason=_name(error), request=batch[0].raw.id)
            self._fail(batch, Unstorable(_name(error)))
            return
        middle = len(batch) // 2
        for index, half in enumerate((batch[:middle], batch[middle:])):
            try:
                await self._commit(connection, slot, half)
            except DatabaseDown as down:
                if index == 0:
                    self._fail(batch[middle:], down)
                raise

    async def _make_missing_partitions(self, connection: asyncpg.Connection, batch: Iterable[Entry]) -> bool:
        """Make the days of `batch` that are not there; False where that cannot be done, and the log says why."""
        try:
            for day in sorted({entry.raw.received_on for entry in batch}):
                await make_partitions(connection, day, days=1)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.error("partition_not_made", **describe_failure(error))
            return False
        return True

    def _fail(self, batch: Iterable[Entry], error: Exception) -> None:
        for entry in batch:
            if not entry.done.done():
                entry.done.set_exception(error)


def verdict_on(error: Exception) -> Verdict:
    """Whose fault an error of a batch is."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state.startswith("40"):
            return Verdict.AGAIN
        if state == UNIQUE_VIOLATION:
            return Verdict.TWICE
        if state == CHECK_VIOLATION and not error.constraint_name:
            return Verdict.NO_PARTITION
        return Verdict.DATA if state[:2] in ("22", "23", "54") else Verdict.DOWN
    # asyncpg encodes arguments before it sends them; what it cannot encode is ours to set apart.
    is_data = isinstance(error, asyncpg.DataError | UnicodeEncodeError | OverflowError)
    return Verdict.DATA if is_data else Verdict.DOWN


def _name(error: Exception) -> str:
    """The error's kind without its text, which may quote a value."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {state}" if state else type(error).__name__
