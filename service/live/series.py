"""Series as the bytes everybody gets: read in slices, encoded once for all who ask, few at a time.

A long one is tens of megabytes and a second of work. So that callbacks never wait for it, the work is cut into slices
of milliseconds with rests between them, and whoever comes when enough are waiting is refused at once.
"""

import asyncio
import hashlib
import time
import weakref
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from campaigns.book.book import VIETNAM
from campaigns.totals.rollups import Question, Series, series_in_pieces
from metrics.board import Board, encode_share
from service.catalog.catalog import Catalog
from service.listeners.entity import TAG_BYTES, Entity
from service.postgres.database import DATABASE_ERRORS, Database, DatabaseAway, is_away

POINTS_MAX = 50_000
KEPT_MAX = 256
KEPT_BYTES_MAX = 64 * 2**20
"""Answers kept for the next who asks; the largest there can be has about 28 MiB."""
SHORT_SPAN = timedelta(days=1)
"""Up to this a series is cheap whatever its bucket: at most 1,440 points, and those it has beyond its ends."""
REST_SHARE = 2.0
"""After a slice the encoding rests for so many times what the slice took: callbacks come first."""
COSTLY_SECONDS = 0.25
COSTLY_FRESH_SHARE = 10
COSTLY_FRESH_SECONDS_MAX = 60.0
"""A series that took long is given again for so many times as long, whatever was published meanwhile."""
BORROW_SECONDS = 2.0

ReadPieces = Callable[[Question], AsyncGenerator[Series, None]]


class SeriesBusy(Exception):
    """As many series as this worker bears are being read or sent: come again."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class EncodedSeries:
    """The JSON of a series at one version."""

    version: int
    entity: Entity

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.entity.size


class Limits(NamedTuple):
    """What one kind of series may cost a worker. Beyond it: SeriesBusy."""

    reads: int
    """Read from the database at once."""
    waiting: int
    """Questions that wait for their turn to be read."""
    answers: int
    """Requests that wait for an answer or are being sent one."""
    memory_bytes: int
    """Answers in memory, kept or still being sent, above which no more are made."""


SHORT = Limits(reads=2, waiting=64, answers=1_000, memory_bytes=128 * 2**20)
LONG = Limits(reads=1, waiting=4, answers=64, memory_bytes=96 * 2**20)
"""Long ones stop before the short ones do, and neither waits for the other."""


class _Lane:
    """The series of one kind that are under way."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._turns = asyncio.Semaphore(limits.reads)
        self._reads = 0
        self._answers = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """A turn at the database. Raises SeriesBusy when too many wait for one."""
        if self._reads >= self.limits.reads + self.limits.waiting:
            raise SeriesBusy
        self._reads += 1
        try:
            async with self._turns:
                yield
        finally:
            self._reads -= 1

    @asynccontextmanager
    async def answer(self) -> AsyncIterator[None]:
        """A request's stay. Raises SeriesBusy when too many are here."""
        if self._answers >= self.limits.answers:
            raise SeriesBusy
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1


class _Kept(NamedTuple):
    series: EncodedSeries
    good_until: float


class SeriesCache:
    """Answers a question again without the database while the campaign's published version is not newer."""

    def __init__(self, read: ReadPieces, published_version: Callable[[int], int]) -> None:
        self._read_pieces = read
        self._published_version = published_version
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()
        self._asking: dict[Question, asyncio.Task[EncodedSeries]] = {}
        self._lanes = {True: _Lane(SHORT), False: _Lane(LONG)}
        self.memory_bytes = 0
        """Of all answers that somebody still holds: this cache, or a request that is being sent one."""

    @asynccontextmanager
    async def answering(self, slug: str, question: Question) -> AsyncIterator[EncodedSeries]:
        """The series of the campaign `slug`, to be sent inside of the block; as new as what is published, or costly.

        Raises SeriesBusy at once when too many are under way, and what the question to the database raises.
        """
        async with self._lane(question).answer():
            yield await self._get(slug, question)

    def _lane(self, question: Question) -> _Lane:
        return self._lanes[question.until - question.since <= SHORT_SPAN]

    async def _get(self, slug: str, question: Question) -> EncodedSeries:
        wanted = self._published_version(question.campaign_id)
        kept = self._look_up(question, wanted)
        if kept is not None:
            return kept
        asking = self._asking.get(question)
        if asking is not None:
            # One viewer that goes away must not take the answer from the others.
            found = await asyncio.shield(asking)
            if found.version >= wanted:
                return found
            kept = self._look_up(question, wanted)
            if kept is not None:
                return kept
            asking = self._asking.get(question)
        return await asyncio.shield(asking or self._ask(slug, question))

    def _look_up(self, question: Question, wanted: int) -> EncodedSeries | None:
        kept = self._kept.get(question)
        if kept is None or (kept.series.version < wanted and time.monotonic() >= kept.good_until):
            return None
        self._kept.move_to_end(question)
        return kept.series

    def _ask(self, slug: str, question: Question) -> "asyncio.Task[EncodedSeries]":
        asking = asyncio.create_task(self._read(slug, question))
        self._asking[question] = asking
        asking.add_done_callback(lambda done: self._forget(question, done))
        return asking

    def _forget(self, question: Question, done: "asyncio.Task[EncodedSeries]") -> None:
        if self._asking.get(question) is done:
            del self._asking[question]
        if not done.cancelled():
            done.exception()  # looked at, in case every viewer has left

    async def _read(self, slug: str, question: Question) -> EncodedSeries:
        lane = self._lane(question)
        async with lane.read():
            self._kept.pop(question, None)
            self._make_room(lane.limits.memory_bytes)
            started = time.monotonic()
            async with aclosing(self._read_pieces(question)) as pieces:
                series = await encode(slug, question, pieces)
            taken = time.monotonic() - started
        self.memory_bytes += series.size
        weakref.finalize(series, self._let_go, series.size).atexit = False
        good_for = min(COSTLY_FRESH_SECONDS_MAX, taken * COSTLY_FRESH_SHARE) if taken >= COSTLY_SECONDS else 0.0
        self._keep(question, _Kept(series, time.monotonic() + good_for))
        return series

    def _let_go(self, size: int) -> None:
        self.memory_bytes -= size

    def _make_room(self, bytes_max: int) -> None:
        while self._kept and self.memory_bytes >= bytes_max:
            self._kept.popitem(last=False)
        if self.memory_bytes >= bytes_max:
            raise SeriesBusy

    def _keep(self, question: Question, kept: _Kept) -> None:
        self._kept[question] = kept
        self._kept.move_to_end(question)
        while len(self._kept) > KEPT_MAX or sum(each.series.size for each in self._kept.values()) > KEPT_BYTES_MAX:
            self._kept.popitem(last=False)


async def encode(slug: str, question: Question, pieces: AsyncIterator[Series]) -> EncodedSeries:
    """The contract's JSON object, made piece by piece with rests in between."""
    made: list[bytes] = []
    digest = hashlib.blake2b(digest_size=TAG_BYTES)
    version, held = 0, None
    async for piece in pieces:
        started = time.monotonic()
        version, held = piece.version, piece.held
        if piece.points:
            points = [
                {
                    "at": rfc3339(point.at),
                    "messages": point.messages,
                    "units": point.units,
                    "pledged_vnd": point.pledged_vnd,
                    "by_carrier": [encode_share(share) for share in point.by_carrier],
                }
                for point in piece.points
            ]
            made.append((b"," if made else b"") + orjson.dumps(points)[1:-1])
            digest.update(made[-1])
        await asyncio.sleep(REST_SHARE * (time.monotonic() - started))
    _, bucket, since, until, *_ = question.reaching(held)
    head = orjson.dumps(
        {"campaign": slug, "version": version, "bucket": bucket, "from": rfc3339(since), "to": rfc3339(until)}
    )
    digest.update(head)
    whole = (head[:-1] + b',"points":[', *made, b"]}")
    return EncodedSeries(version, Entity(whole, "application/json", tag=f"{version}-{digest.hexdigest()}"))


def rfc3339(at: datetime) -> str:
    """A moment on a full second, in Vietnam's zone."""
    return at.astimezone(VIETNAM).isoformat()


def reading(database: Database) -> ReadPieces:
    """Asks `database`. Raises TooManyPoints beyond POINTS_MAX, and DatabaseAway when the database is away."""

    async def read(question: Question) -> AsyncGenerator[Series, None]:
        try:
            async with (
                database.borrow(BORROW_SECONDS) as connection,
                aclosing(series_in_pieces(connection, question, POINTS_MAX)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            raise DatabaseAway("the database is away") from None

    return read


def published_versions(catalog: Catalog, board: Board) -> Callable[[int], int]:
    """The version of a campaign, by its id, that the board shows; 0 where it shows none."""

    def version(campaign_id: int) -> int:
        campaign = catalog.book.by_id.get(campaign_id)
        snapshot = board.get(campaign.slug) if campaign else None
        return snapshot.totals.version if snapshot else 0

    return version
