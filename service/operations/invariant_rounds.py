"""Rounds of checking the invariants, at a cost that goes with what is new: by the one process of the cluster.

A round looks at the roll-ups as a whole, at the newest hour, at what was found broken, and then goes on with the pass
over everything, piece by piece. Each piece has a snapshot of its own and is followed by a rest; the rests are such
that a round ends in its time, and each place of the newest hour is looked at once in a round.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog

from metrics.instruments import Instruments
from metrics.invariant import Difference, check
from metrics.invariants import INVARIANTS
from metrics.passes import Pass, save_broken, save_pass, select_broken, select_pass
from metrics.roll_up_checks import ROLL_UP_CHECKS
from metrics.stretches import BEGINNING, FOREVER, Stretch, Subject, check_stretch, cut, joined
from metrics.subjects import GIFTS, SUBJECTS, newest_gifts

log = structlog.get_logger("invariants")

LIMITS = """
SET LOCAL statement_timeout = 0;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL plan_cache_mode = force_custom_plan
"""
"""One core: over ten million gifts a check in parallel took every core of a small machine, and half the intake."""
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off"
"""A piece is ten thousand rows of each table. The planner knows little of a range of ids: it takes it for the whole
table, or for one row, and joins row by row what is ten thousand on both sides."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is checked at once, and how long the rests are."""

    piece_rows: int = 10_000
    """Rows of a piece, about; a single minute, or millisecond, with more is one piece."""
    newest: timedelta = timedelta(hours=1)
    """What is looked at in every round."""
    newest_gifts_max: int = 500_000
    """Of the gifts in it the newest so many, and the minutes in which they came."""
    brief_rest_seconds_max: float = 0.35
    """Before the pass: the fullest hour has some fifty pieces of a subject and is done in two thirds of a minute."""
    pass_share: float = 0.75
    """Of a round's time, from its beginning: then the pass rests until the next one."""
    pass_pieces_max: int = 100
    """Of each subject, in one round: a pass over ten million gifts takes ten rounds and more."""
    pass_pieces_min: int = 4
    """Even if there is no time left for it: the pass ends one day, however busy the hour is."""
    rest_factor: float = 29.0
    """After each statement of the pass so many times its length passes: a thirtieth of one core at most."""
    rest_seconds_max: float = 30.0
    apart_factor: float = 100.0
    """A check of roll-ups that took long is not repeated for so many times its length."""
    broken_max: int = 50
    """Stretches of a subject that are remembered as broken; more are found again by the next pass."""


class InvariantRounds:
    """The rounds of one process on `connection`, which has the lock. `rest` is given the seconds of each rest.

    Publishes by how many rows each invariant is broken and when the last whole pass ended.
    """

    def __init__(
        self,
        connection: asyncpg.Connection,
        instruments: Instruments,
        clock: Callable[[], datetime],
        rest: Callable[[float], Awaitable[None]],
        *,
        round_seconds: float,
        pace: Pace | None = None,
    ) -> None:
        self._connection = connection
        self._instruments = instruments
        self._clock = clock
        self._rest = rest
        self._round_seconds = round_seconds
        self._pace = Pace() if pace is None else pace
        self._due = [0.0] * len(ROLL_UP_CHECKS)
        self._roll_ups: list[Counter[str]] = [Counter() for _ in ROLL_UP_CHECKS]
        self._broken: dict[Subject, dict[Stretch, Counter[str]]] = {}
        self._passes: dict[Subject, Pass] = {}
        self._is_complete = False

    async def check(self) -> None:
        """One round. Raises what the database does when it is gone."""
        started = time.monotonic()
        if not self._passes:
            await self._read_passes()
        newest = self._clock().replace(second=0, microsecond=0) - self._pace.newest
        await self._check_roll_ups()
        gifts_begin = await self._newest_gifts(newest)
        for subject in SUBJECTS:
            # A minute is looked at as a whole.
            begins = gifts_begin if subject is GIFTS else gifts_begin.replace(second=0, microsecond=0)
            for stretch in joined([*self._broken[subject], Stretch(begins, FOREVER)]):
                await self._check_again(subject, stretch)
            await self._remember_broken(subject)
        self._is_complete = True
        self._publish()
        await self._continue_passes(newest, started)

    async def _read_passes(self) -> None:
        for subject in SUBJECTS:
            # How much is broken there, the first round says before it publishes anything.
            self._broken[subject] = {each: Counter() for each in await select_broken(self._connection, subject)}
            self._passes[subject] = await select_pass(self._connection, subject)
            self._publish_pass(subject)

    async def _check_roll_ups(self) -> None:
        for place, invariant in enumerate(ROLL_UP_CHECKS):
            started = time.monotonic()
            if started < self._due[place]:
                continue
            async with self._snapshot():
                differences = await check(self._connection, invariant)
            self._roll_ups[place] = _counted({invariant.name: differences})
            if differences:
                self._publish()
            self._due[place] = started + (time.monotonic() - started) * self._pace.apart_factor
            await self._rest_after(started, self._pace.brief_rest_seconds_max)

    async def _newest_gifts(self, newest: datetime) -> datetime:
        started = time.monotonic()
        async with self._snapshot(BY_INDEX):
            found = await newest_gifts(self._connection, newest, self._pace.newest_gifts_max)
        await self._rest_after(started, self._pace.brief_rest_seconds_max)
        return found

    async def _check_again(self, subject: Subject, whole: Stretch) -> None:
        """Check `whole` piece by piece; what was broken in it and holds now is broken no more."""
        before = {each for each in self._broken[subject] if whole.begins_at <= each.begins_at < whole.ends_at}
        again = set()
        left = whole
        while left.begins_at < whole.ends_at:
            piece = await self._check_piece(subject, left, self._pace.brief_rest_seconds_max)
            again.add(piece)
            left = Stretch(piece.ends_at, whole.ends_at)
        for each in before - again:
            del self._broken[subject][each]

    async def _check_piece(self, subject: Subject, whole: Stretch, rest_seconds_max: float) -> Stretch:
        """Check the first piece of `whole` and rest from it; returns it."""
        started = time.monotonic()
        async with self._snapshot(BY_INDEX):
            piece = await cut(self._connection, subject, whole, self._pace.piece_rows)
            found = await check_stretch(self._connection, subject, piece)
        broken = self._broken[subject]
        if not found:
            broken.pop(piece, None)
        elif piece in broken or len(broken) < self._pace.broken_max:
            broken[piece] = _counted(found)
            self._publish()
        await self._rest_after(started, rest_seconds_max)
        return piece

    async def _continue_passes(self, until: datetime, started: float) -> None:
        """Go on with the passes up to `until`, where the newest stretch begins, in turns."""
        unfinished = list(SUBJECTS)
        for number in range(self._pace.pass_pieces_max):
            is_late = time.monotonic() - started > self._round_seconds * self._pace.pass_share
            if not unfinished or (is_late and number >= self._pace.pass_pieces_min):
                return
            unfinished = [each for each in unfinished if await self._continue_pass(each, until)]

    async def _continue_pass(self, subject: Subject, until: datetime) -> bool:
        """Check the next piece of a pass; whether there is more."""
        where = self._passes[subject]
        if where.next_at >= until:
            # The clock was set back: what this pass has left out is not known.
            where = where.on(BEGINNING)
        known = len(self._broken[subject])
        piece = await self._check_piece(subject, Stretch(where.next_at, until), self._pace.rest_seconds_max)
        has_ended = piece.ends_at >= until
        self._passes[subject] = Pass(BEGINNING, self._clock()) if has_ended else where.on(piece.ends_at)
        # Before the pass moves on: whoever takes over must not find it beyond a stretch that nobody looks at again.
        if len(self._broken[subject]) != known:
            await self._remember_broken(subject)
        await save_pass(self._connection, subject, self._passes[subject])
        if has_ended:
            self._publish_pass(subject)
            log.info("invariants_pass_ended", subject=subject.name)
        return not has_ended

    async def _remember_broken(self, subject: Subject) -> None:
        broken = joined(self._broken[subject])
        if broken != await select_broken(self._connection, subject):
            await save_broken(self._connection, subject, broken)

    @asynccontextmanager
    async def _snapshot(self, *limits: str) -> AsyncIterator[None]:
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            await self._connection.execute(";".join((LIMITS, *limits)))
            yield

    async def _rest_after(self, started: float, seconds_max: float) -> None:
        seconds = (time.monotonic() - started) * self._pace.rest_factor
        await self._rest(min(seconds, seconds_max))

    def _publish(self) -> None:
        """By how many rows each invariant is broken; before the first round has ended only those that are."""
        found: Counter[str] = Counter()
        for counted in (*self._roll_ups, *(each for pieces in self._broken.values() for each in pieces.values())):
            found.update(counted)
        for invariant in INVARIANTS:
            if self._is_complete or found[invariant.name]:
                self._instruments.operations.invariant_difference.labels(invariant.name).set(found[invariant.name])

    def _publish_pass(self, subject: Subject) -> None:
        ended_at = self._passes[subject].ended_at
        if ended_at is not None:
            self._instruments.operations.invariants_pass.labels(subject.name).set(ended_at.timestamp())


def _counted(found: dict[str, list[Difference]]) -> Counter[str]:
    """How many rows each invariant is broken by; says so in the log."""
    for name, differences in found.items():
        if differences:
            log.error("invariant_broken", invariant=name, place=differences[0].place)
    return Counter({name: len(differences) for name, differences in found.items()})
