"""Everybody who follows the live totals: bytes made once, written to each viewer's socket by one task.

A viewer costs its socket and one small object: no task, no queue, no request. It is given the newest totals when it
has taken what it was given before, so a slow one skips versions and a deaf one is dropped.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import orjson

from campaigns.book.book import Book, CampaignState
from metrics.board import Board, Snapshot

HEARTBEAT_SECONDS = 10.0
RETRY_MILLISECONDS = 2_000
"""When a viewer that is told to go comes back."""
HANDOVER_MILLISECONDS = (200, 2_000)
"""When this worker ends: each viewer is told a time of its own in between, thousands do not come back at once."""
SHED_RETRY_MILLISECONDS = (15_000, 45_000)
"""The same under overload: later, and not all at once."""
SEND_BUFFER_BYTES = 16 * 1024
"""What the kernel keeps for a viewer that does not read (it doubles the figure)."""
VANISHED_MILLISECONDS = 60_000
"""How long sent bytes may stay unconfirmed by the viewer's machine."""
SLICE_SECONDS = 0.002
"""After this much writing everything else that is ready goes first: callbacks above all."""
REST_SHARE = 0.5
"""After a round the writing rests for this share of the time the round took."""
CALMER_SECONDS = 1.0
"""Under overload, the least time from the end of one round to the next."""
GOODBYE_SECONDS = 1.0
STILL_HERE = b": still here\n\n"
WITHDRAWN = b": this campaign was withdrawn\n\n"
"""The last of a stream of totals alone; whoever asks again is told 404."""
STALE_SECONDS = 2.0
"""The board reads every second even when nothing happens; beyond this age every stream is told, and again
when it is read anew.

A page that follows says so by its own clock a moment later, so that "live" is never seen over figures 3 s old."""
LOOK_SECONDS = 0.5
"""How often the age of the board is looked at."""
CALMER_LEVEL = 1
CLOSED_LEVEL = 3


class Subscriber(asyncio.Protocol):
    """One viewer's connection. It has nothing more to say: whatever it sends ends it."""

    __slots__ = ("_broadcaster", "behind_since", "channel", "hears_state", "shown", "transport", "written_at")

    def __init__(
        self, broadcaster: "Broadcaster", transport: asyncio.Transport, channel: str | None, *, hears_state: bool
    ) -> None:
        self._broadcaster = broadcaster
        self.transport = transport
        self.channel = channel
        self.hears_state = hears_state
        self.shown = 0
        self.written_at = 0.0
        self.behind_since = 0.0

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 -- asyncio's signature
        """A stream is asked for once."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """The viewer went, or was let go."""
        self._broadcaster.unsubscribe(self)


class Broadcaster:
    """The viewers of one worker. `level` tells the load (listeners/overload.py), `changed` hears their number."""

    def __init__(
        self,
        board: Board,
        book: Callable[[], Book],
        *,
        clock: Callable[[], datetime],
        write_seconds: float,
        level: Callable[[], int],
        changed: Callable[[int], None],
        dropped: Callable[[], None],
    ) -> None:
        self._board = board
        self._book = book
        self._clock = clock
        self._write_seconds = write_seconds
        self._level = level
        self._changed = changed
        self._dropped = dropped
        self._subscribers: set[Subscriber] = set()
        # Changes are numbered, and each subscriber knows the last one it was shown.
        self._number = 0
        self._numbers: dict[str, tuple[int, int]] = {}
        self._open: frozenset[str] = frozenset()
        self._told: tuple[bool, int] = (False, -1)
        """Whether figures are old, and the book's version, as everybody was told."""
        self._state_number = 0
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._subscribers)

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """Everybody."""
        return tuple(self._subscribers)

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="broadcast")

    def end(self) -> None:
        """Begin to let everybody go; `wait_closed` waits for it."""
        self._ending.set()
        self._board.changed.set()

    async def wait_closed(self) -> None:
        """Wait until everybody was told to go; whoever does not take that in time is cut off."""
        if self._task is not None:
            await self._task
        if self._subscribers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), GOODBYE_SECONDS)
        for subscriber in self.subscribers:
            subscriber.transport.abort()
        await asyncio.sleep(0)

    def subscribe(self, transport: asyncio.Transport, channel: str | None, head: bytes, *, hears_state: bool) -> None:
        """Take over a connection: it gets `head`, then the newest totals, then each change.

        `channel` is a campaign's slug, or None for all that are not closed. `hears_state`: the event `state` too.
        """
        subscriber = Subscriber(self, transport, channel, hears_state=hears_state)
        transport.set_protocol(subscriber)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_MILLISECONDS)
        self._subscribers.add(subscriber)
        self._empty.clear()
        self._changed(len(self._subscribers))
        self._notice()
        # What this one is told of the age must be what everybody was told: else the next change would be none to it.
        self._notice_age()
        subscriber.shown = self._number
        subscriber.written_at = time.monotonic()
        frames = b"".join(each.frame for each in self._wanted(channel, self._board.snapshots))
        state = self._state_of(channel) if hears_state else b""
        transport.write(b"%bretry: %d\n\n%b%b" % (head, RETRY_MILLISECONDS, state, frames))

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a viewer."""
        self._subscribers.discard(subscriber)
        self._changed(len(self._subscribers))
        if not self._subscribers:
            self._empty.set()

    async def _run(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(HEARTBEAT_SECONDS / 2, self._write_seconds / 2, LOOK_SECONDS)):
                    await self._board.changed.wait()
            self._board.changed.clear()
            started = time.monotonic()
            if self._level() >= CLOSED_LEVEL:
                await self._dismiss(SHED_RETRY_MILLISECONDS)
            else:
                await self._round()
            rest = (time.monotonic() - started) * REST_SHARE
            if self._level() >= CALMER_LEVEL:
                rest = max(rest, CALMER_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), rest)
        await self._dismiss(HANDOVER_MILLISECONDS)

    async def _round(self) -> None:
        """Write to everybody what is new to them. What the board shows meanwhile is for the next round."""
        self._notice()
        self._notice_age()
        number, numbers, snapshots = self._number, dict(self._numbers), self._board.snapshots
        state_number = self._state_number
        made: dict[tuple[str | None, int, bool], bytes] = {}

        def news(channel: str | None, shown: int, *, hears_state: bool) -> bytes:
            known = made.get((channel, shown, hears_state))
            if known is None:
                wanted = self._wanted(channel, snapshots)
                known = b"".join(each.frame for each in wanted if numbers[each.totals.campaign][0] > shown)
                if hears_state and state_number > shown:
                    known += self._state_of(channel)
                made[channel, shown, hears_state] = known
            return known

        slice_ends = time.monotonic() + SLICE_SECONDS
        for subscriber in self.subscribers:
            now = time.monotonic()
            if now >= slice_ends:
                await asyncio.sleep(0)
                now = time.monotonic()
                slice_ends = now + SLICE_SECONDS
            if not self._can_take(subscriber, now):
                continue
            if not subscriber.hears_state and self._is_withdrawn(subscriber.channel):
                subscriber.transport.write(WITHDRAWN)
                subscriber.transport.close()
                continue
            frames = news(subscriber.channel, subscriber.shown, hears_state=subscriber.hears_state)
            subscriber.shown = number
            if not frames:
                if now - subscriber.written_at < HEARTBEAT_SECONDS / 2:
                    continue
                frames = STILL_HERE
            subscriber.written_at = now
            subscriber.transport.write(frames)

    def _can_take(self, subscriber: Subscriber, now: float) -> bool:
        """Whether a viewer has taken all it was given; one that does not for too long is dropped."""
        transport = subscriber.transport
        if transport.is_closing():
            return False
        if not transport.get_write_buffer_size():
            subscriber.behind_since = 0.0
            return True
        if not subscriber.behind_since:
            subscriber.behind_since = now
        elif now - subscriber.behind_since >= self._write_seconds:
            transport.abort()
            self._dropped()
        return False

    async def _dismiss(self, milliseconds: tuple[int, int]) -> None:
        """Tell everybody when to come back, and close."""
        slice_ends = time.monotonic() + SLICE_SECONDS
        for subscriber in self.subscribers:
            if time.monotonic() >= slice_ends:
                await asyncio.sleep(0)
                slice_ends = time.monotonic() + SLICE_SECONDS
            transport = subscriber.transport
            if transport.get_write_buffer_size():
                transport.abort()
            elif not transport.is_closing():
                transport.write(b"retry: %d\n\n" % random.randint(*milliseconds))  # noqa: S311 -- spreads, hides nothing
                transport.close()

    def _notice(self) -> None:
        """Number what changed on the board, and what came (back) among the campaigns that are not closed."""
        snapshots = self._board.snapshots
        are_open = frozenset(each.totals.campaign for each in self._wanted(None, snapshots))
        changed = [
            each.totals
            for each in snapshots
            if self._numbers.get(each.totals.campaign, (0, -1))[1] < each.totals.version
            or (each.totals.campaign in are_open and each.totals.campaign not in self._open)
        ]
        self._open = are_open
        if changed:
            self._number += 1
            self._numbers.update({each.campaign: (self._number, each.version) for each in changed})

    def _notice_age(self) -> None:
        """Number the moment at which the board grew old, the one at which it is read again, and each new book."""
        age = self._board.age_seconds
        is_stale = age is None or age >= STALE_SECONDS
        book_version = self._book().version
        if (is_stale, book_version) != self._told:
            self._told = is_stale, book_version
            self._number += 1
            self._state_number = self._number

    def _state_of(self, channel: str | None) -> bytes:
        return state_frame(self._board.age_seconds, self._book().version, is_withdrawn=self._is_withdrawn(channel))

    def _is_withdrawn(self, channel: str | None) -> bool:
        """Whether the one campaign that is followed has left the book since: nobody may be shown it any more."""
        return channel is not None and channel in self._book().withdrawn

    def _wanted(self, channel: str | None, snapshots: tuple[Snapshot, ...]) -> list[Snapshot]:
        if self._is_withdrawn(channel):
            return []
        if channel is not None:
            return [each for each in snapshots if each.totals.campaign == channel]
        by_slug, now = self._book().by_slug, self._clock()
        return [
            each
            for each in snapshots
            if each.totals.campaign in by_slug
            and by_slug[each.totals.campaign].state_at(now) is not CampaignState.CLOSED
        ]


def state_frame(age_seconds: float | None, book_version: int, *, is_withdrawn: bool = False) -> bytes:
    """The event `state`: how long ago this worker last read the database (null: not yet), the book it shows, and
    whether the one campaign of the stream was withdrawn from it.
    """
    age = None if age_seconds is None else round(age_seconds, 1)
    data = orjson.dumps({"age_seconds": age, "book_version": book_version, "withdrawn": is_withdrawn})
    return b"event: state\ndata: %b\n\n" % data
