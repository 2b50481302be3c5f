"""What the desk's first page shows beside the totals: pace, carriers, wrong forms. One query a second for everybody.

Read only while somebody looks, over a connection that goes back in between. In turns: pace, forms, pace, ... and now
and then whether those who watch may still do so.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog

from campaigns.book.book import Book
from campaigns.lifecycle.waiting import Waiting, select_waiting
from service.desk.desk import Desk
from service.desk.forms import WINDOW, FormCounts, FormKey, shape_of
from service.desk.sessions import LONGEST, UPDATE_STILL_THERE
from service.postgres.database import DATABASE_ERRORS
from service.runtime.keyring import SealBroken, Sealer
from service.runtime.logs import describe_failure
from service.runtime.tasks import cancel_and_wait

log = structlog.get_logger("desk")

QUERY_SECONDS = 1.0
"""From one query to the next, whoever asks."""
FRESH_SECONDS = 3.0
"""A page is made with what is no older than this."""
RARE_SECONDS = 15.0
"""The same of what changes slowly: who is at the desk, and how units spread."""
SESSIONS_EVERY = 15
"""Of so many turns one asks whether those who watch may still do so."""
FORMS_MAX = 3_000
"""Messages read in one turn, the newest: beyond that the shapes are those of a sample."""
OVERLAP = timedelta(seconds=5)
"""Messages are stored a moment after they came, and not quite in that order."""
SEEN_MAX = 20_000
WAITING_MAX = 6
"""Questions of pages that wait for their second; who comes then is asked to come again."""
SPREAD_MAX = 5_000
"""Messages of which units are told: the newest of the last hour."""
HERE_FOR = timedelta(minutes=2)
"""Whoever used a session so lately is at the desk."""
HERE_MAX = 100
FORM_READINGS = ("wrong_syntax", "unknown_keyword")

# Of five minutes and of sixty the running one is the last, as in the public chart of the hour.
SELECT_PACE = """
SELECT m.campaign_id, m.carrier, max(m.minute) AS last_minute,
       coalesce(sum(m.messages) FILTER (WHERE m.minute >= t.minute - interval '1 minute' AND m.minute < t.minute), 0)
           ::bigint AS minute,
       coalesce(sum(m.messages) FILTER (WHERE m.minute > t.minute - interval '5 minutes'), 0)::bigint AS five,
       sum(m.messages)::bigint AS hour, sum(m.pledged_vnd)::bigint AS hour_vnd
FROM campaign_minute AS m, (SELECT date_trunc('minute', now()) AS minute) AS t
WHERE m.campaign_id = ANY($1::integer[]) AND m.minute > t.minute - interval '60 minutes' AND m.messages > 0
GROUP BY m.campaign_id, m.carrier
"""
SELECT_FORMS = """
SELECT f.id, f.received_at, f.short_code, p.day, p.text_sealed
FROM unnest($1::text[]) AS r (reading)
CROSS JOIN LATERAL (
    SELECT m.id, m.received_at, m.short_code FROM message AS m
    WHERE m.reading = r.reading AND m.reading <> 'counted' AND m.id > $2
    ORDER BY m.id DESC LIMIT $3
) AS f JOIN message_person AS p ON p.message_id = f.id
"""
# What came late is of the hour in which it was sent, as in the pace.
SELECT_SPREAD = """
SELECT f.campaign_id, f.units, count(*) AS messages FROM (
    SELECT m.campaign_id, m.units, m.message_at FROM message AS m
    WHERE m.id > $1 AND m.units IS NOT NULL ORDER BY m.id DESC LIMIT $2
) AS f WHERE f.message_at >= date_trunc('minute', now()) - interval '59 minutes' GROUP BY 1, 2 ORDER BY 1, 2
"""
SELECT_HERE = """
SELECT u.name, u.role FROM desk_user AS u WHERE u.disabled_at IS NULL AND EXISTS (
    SELECT FROM desk_session AS s WHERE s.user_id = u.id AND s.is_complete AND s.seen_at > now() - $1::interval
) ORDER BY u.name LIMIT $2
"""


class PulseBusy(Exception):
    """So many questions wait for their second that one more would wait too long."""


class Spread(NamedTuple):
    """Units of a message among the newest: how many were looked at, the middle one, and between which 80 % lie."""

    messages: int
    middle: int
    low: int
    high: int


class Here(NamedTuple):
    """Somebody who is at the desk now, over any worker."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class CarrierPace:
    """What a carrier brought lately: messages of the last five minutes and of the hour, and its last minute."""

    last_minute: datetime
    five: int
    hour: int


@dataclass(frozen=True, slots=True)
class CampaignPace:
    """Messages of the last whole minute, of five minutes and of the hour (by message time), and the hour's VND."""

    minute: int = 0
    five: int = 0
    hour: int = 0
    hour_vnd: int = 0
    carriers: Mapping[str, CarrierPace] = field(default_factory=dict)


class Pulse:
    """What was read last, and the one task that reads. `generation` rises with each turn that brought something."""

    def __init__(self, desk: Desk, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._monotonic = monotonic
        self.pace: Mapping[int, CampaignPace] = {}
        self.forms = FormCounts()
        self.spread: Mapping[int, Spread] = {}
        self.here: tuple[Here, ...] = ()
        self.waiting: tuple[Waiting, ...] | None = None
        """What waits for a second person; None until it was read."""
        self.generation = 0
        self.queries = 0
        """How often the database was asked."""
        self.watching: dict[object, bytes] = {}
        """Who watches, with the SHA-256 of their session's token."""
        self.gone: set[bytes] = set()
        """Those of them whose session has ended."""
        self.changed = asyncio.Event()
        self.is_ending = False
        self._asked_at = -QUERY_SECONDS
        self._pace_at = self._forms_at = -FRESH_SECONDS * 10
        self._spread_at = self._here_at = -RARE_SECONDS * 10
        self._turn = 0
        self._waiting_of: int | None = None
        """The version of the book when `waiting` was read: an emergency makes another."""
        self._seen: OrderedDict[UUID, None] = OrderedDict()
        self._forms_since: datetime | None = None
        self._days: dict[date, Sealer | None] = {}
        self._asking = asyncio.Lock()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None

    async def fresh(self) -> None:
        """For a page that is about to be made: what is older than FRESH_SECONDS is read, as far as a query is due."""
        if self._task is not None or self._is_fresh():
            return
        async with self._asking:
            if not self._is_fresh():
                await self._ask(self._read_page)

    def _is_fresh(self) -> bool:
        return self._monotonic() - min(self._pace_at, self._forms_at) < FRESH_SECONDS

    def _is_rare_fresh(self) -> bool:
        return self._monotonic() - min(self._spread_at, self._here_at) < RARE_SECONDS

    @property
    def has_forms(self) -> bool:
        """Whether the wrong forms were read at all: until then nobody knows that there are none."""
        return self._forms_since is not None

    async def ask(self, read: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        """A question of a page in the one line of all: also by it the database is asked once a second at most.

        Where the database does not answer, `read` is not done. Raises PulseBusy.
        """
        if self._waiting >= WAITING_MAX:
            raise PulseBusy
        self._waiting += 1
        try:
            async with self._asking:
                await self._ask(read)
        finally:
            self._waiting -= 1

    def watch(self, key: object, token_sha256: bytes) -> None:
        """Somebody watches from now on."""
        self.watching[key] = token_sha256
        if self._task is None and not self.is_ending:
            # Nobody knows what came since somebody watched last.
            self.waiting, self._waiting_of = None, None
            if not self._is_rare_fresh():
                self.spread, self.here = {}, ()
            self._task = asyncio.create_task(self._run(), name="desk pulse")

    def unwatch(self, key: object) -> None:
        """And no longer."""
        self.watching.pop(key, None)

    def end(self) -> None:
        """Let everybody who watches go."""
        self.is_ending = True
        self._tell()

    async def stop(self) -> None:
        """Read no more."""
        self.end()
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        try:
            while self.watching and not self.is_ending:
                async with self._asking:
                    await self._ask(self._next())
                self._tell()
        finally:
            self._task = None

    def _next(self) -> Callable[[asyncpg.Connection], Awaitable[None]]:
        self._turn += 1
        if self._turn % SESSIONS_EVERY == 0:
            return self._read_sessions
        if self._waiting_of not in (None, self._desk.book().version):
            return self.read_waiting
        return self._rare.get(self._turn % SESSIONS_EVERY) or (
            self._read_pace if self._turn % 2 else self._read_forms
        )

    @property
    def _rare(self) -> Mapping[int, Callable[[asyncpg.Connection], Awaitable[None]]]:
        """Turns that are for what changes slowly."""
        waiting = dict.fromkeys((2, 6, 10, 14), self.read_waiting)
        return {3: self._read_here, 7: self._read_spread, 11: self._read_here, **waiting}

    async def _ask(self, read: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        wait = self._asked_at + QUERY_SECONDS - self._monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._asked_at = self._monotonic()
        self.queries += 1
        try:
            async with self._desk.borrow() as connection:
                await read(connection)
        except (TimeoutError, *DATABASE_ERRORS) as error:
            # The totals of the board say how old they are; the next turn tries again.
            log.warning("desk_not_read", **describe_failure(error))

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def _read_page(self, connection: asyncpg.Connection) -> None:
        await self._read_pace(connection)
        await self._read_forms(connection)
        if not self._is_rare_fresh():
            await self._read_spread(connection)
            await self._read_here(connection)

    async def _read_pace(self, connection: asyncpg.Connection) -> None:
        campaigns = [each.id for each in self._desk.book().campaigns]
        by_campaign: dict[int, list[asyncpg.Record]] = {}
        for row in await connection.fetch(SELECT_PACE, campaigns):
            by_campaign.setdefault(row["campaign_id"], []).append(row)
        self.pace = {campaign_id: _pace(rows) for campaign_id, rows in by_campaign.items()}
        self._pace_at = self._monotonic()
        self.generation += 1

    async def _read_forms(self, connection: asyncpg.Connection) -> None:
        now = self._desk.clock()
        since = now - WINDOW if self._forms_since is None else self._forms_since - OVERLAP
        rows = await connection.fetch(SELECT_FORMS, FORM_READINGS, _first_id(since), FORMS_MAX)
        fresh = [row for row in rows if row["id"] not in self._seen]
        for row in fresh:
            if row["day"] not in self._days:
                # A day's key more: once a day.
                self._days[row["day"]] = await self._desk.keyring.find_day(connection, row["day"])
            self._seen[row["id"]] = None
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        shaped = await asyncio.to_thread(_shaped, fresh, dict(self._days), self._desk.book())
        for at, key in shaped:
            self.forms.add(at, [key])
        self.forms.forget_before(now - WINDOW)
        self.generation += bool(shaped) or self._forms_since is None
        self._forms_since = now
        self._forms_at = self._monotonic()

    async def _read_spread(self, connection: asyncpg.Connection) -> None:
        since = _first_id(self._desk.clock() - WINDOW)
        by_campaign: dict[int, list[tuple[int, int]]] = {}
        for row in await connection.fetch(SELECT_SPREAD, since, SPREAD_MAX):
            by_campaign.setdefault(row["campaign_id"], []).append((row["units"], row["messages"]))
        self.spread = {campaign_id: spread_of(counts) for campaign_id, counts in by_campaign.items()}
        self._spread_at = self._monotonic()
        self.generation += 1

    async def _read_here(self, connection: asyncpg.Connection) -> None:
        here = tuple(Here(*row) for row in await connection.fetch(SELECT_HERE, HERE_FOR, HERE_MAX))
        self.generation += here != self.here
        self.here = here
        self._here_at = self._monotonic()

    async def read_waiting(self, connection: asyncpg.Connection) -> None:
        """What waits for a second person, for all who watch. Raises what the database raises."""
        # What fails has its next turn soon, and holds up none of the others.
        self._waiting_of = self._desk.book().version
        waiting = await select_waiting(connection)
        self.generation += waiting != self.waiting
        self.waiting = waiting

    async def _read_sessions(self, connection: asyncpg.Connection) -> None:
        asked = set(self.watching.values())
        rows = await connection.fetch(UPDATE_STILL_THERE, list(asked), LONGEST)
        self.gone = asked - {bytes(row["token_sha256"]) for row in rows}


def spread_of(counts: Sequence[tuple[int, int]]) -> Spread:
    """Of units and how many messages had so many, in ascending order; not empty."""
    whole = sum(messages for _, messages in counts)

    def at(tenths: int) -> int:
        seen = 0
        for units, messages in counts:
            seen += messages
            if seen * 10 >= whole * tenths:
                return units
        return counts[-1][0]

    return Spread(whole, at(5), at(1), at(9))


def _pace(rows: list[asyncpg.Record]) -> CampaignPace:
    return CampaignPace(
        minute=sum(row["minute"] for row in rows),
        five=sum(row["five"] for row in rows),
        hour=sum(row["hour"] for row in rows),
        hour_vnd=sum(row["hour_vnd"] for row in rows),
        carriers={row["carrier"]: CarrierPace(row["last_minute"], row["five"], row["hour"]) for row in rows},
    )


def _shaped(
    rows: list[asyncpg.Record], days: Mapping[date, Sealer | None], book: Book
) -> list[tuple[datetime, FormKey]]:
    shaped = []
    for row in rows:
        sealer = days.get(row["day"])
        if sealer is None:
            continue
        try:
            text = sealer.unseal(bytes(row["text_sealed"]), b"message_person.text:" + row["id"].bytes).decode()
        except SealBroken:
            continue
        shaped.append((row["received_at"], shape_of(row["short_code"], text, book)))
    return shaped


def _first_id(since: datetime) -> UUID:
    """Below every id that was made at `since` or later (RFC 9562, section 5.7)."""
    return UUID(int=int(since.timestamp() * 1000) << 80)
