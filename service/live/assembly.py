"""The parts that publish figures, made for one worker: from the database's news to the bytes that viewers get."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from metrics.board import Board
from metrics.instruments import Instruments
from service.catalog.catalog import Catalog
from service.listeners.connection_limit import ConnectionLimit
from service.live.broadcast import Broadcaster
from service.live.corrections import Corrections
from service.live.feed import Feed
from service.live.high_water import HighWaterMark
from service.live.last_hour import LastHour
from service.live.series import SeriesCache, published_versions, reading
from service.live.stream import Streams
from service.live.traced import Following, TracedBoard, TracedBroadcaster
from service.postgres.database import Database
from service.runtime.clock import Clock
from service.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class LiveParts:
    """What reads totals, holds them and hands them out."""

    board: Board
    high_water: HighWaterMark
    feed: Feed
    series: SeriesCache
    last_hour: LastHour
    corrections: Corrections
    connection_limit: ConnectionLimit
    streams: Streams


def make_live(
    settings: Settings,
    database: Database,
    catalog: Catalog,
    instruments: Instruments,
    clock: Clock,
    load_level: Callable[[], int],
    following: Following | None = None,
) -> LiveParts:
    """Make the parts; nothing runs yet. `following` hears of what kept traces wait for."""
    board = Board() if following is None else TracedBoard(following)
    instruments.live.totals_age.set_function(lambda: math.inf if board.age_seconds is None else board.age_seconds)
    high_water = HighWaterMark(settings.data_dir, instruments)
    feed = Feed(
        connect=lambda: database.connect("portal1400 feed"),
        ensure=database.ensure,
        board=board,
        instruments=instruments,
        reload=catalog.load,
        inspect=high_water.inspect,
        clock=clock,
    )
    series = SeriesCache(reading(database), published_versions(catalog, board))
    listeners = instruments.listeners
    connection_limit = ConnectionLimit(
        settings.connections_max, lambda: len(streams.broadcaster), closed=listeners.connections_closed.inc
    )
    listeners.connections_max.set(connection_limit.connections_max)

    def look() -> None:
        for state, count in connection_limit.open_connections.items():
            listeners.connections.labels(state).set(count)

    instruments.looks.append(look)
    streams = Streams(
        board,
        lambda: catalog.book,
        instruments,
        clock=clock,
        viewers_max=min(settings.stream_viewers_max, connection_limit.viewers_max),
        write_seconds=settings.stream_write_seconds,
        level=load_level,
        broadcaster=Broadcaster if following is None else partial(TracedBroadcaster, following),
    )
    return LiveParts(
        board, high_water, feed, series, LastHour(reading(database)), Corrections(database), connection_limit, streams
    )
