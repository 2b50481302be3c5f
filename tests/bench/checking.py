"""What the background check of the invariants costs the intake, how long it takes, and how soon it finds something.

Intake with the check and without are measured in turns of one run: a machine that is shared with others says nothing
about two runs. Without means that this process holds the lock of the one that checks.
"""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from math import inf
from statistics import mean, median, stdev
from typing import Any

import asyncpg

from campaigns.schema.locks import INVARIANT_LOCK, UNLOCK, try_lock
from service.operations.invariant_rounds import Pace
from tests.bench.__main__ import cpu_seconds
from tests.support.rounds import LONG_AFTER, Rounds
from tests.support.tampering import PAST_THE_LOCKS

Serving = Callable[[dict[str, str]], AbstractContextManager[int]]
"""The service, with changes to its environment; yields the supervisor's pid."""
Flat = Callable[[int, str, float], Awaitable[dict[str, Any]]]

TURNS = 5
"""A turn wants the length of a round: the check works for three quarters of it, and rests for the last."""
END_CHECKER = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = $1 AND granted
"""
SELECT_CHECKER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = $1 AND granted"
FOUND_SECONDS_MAX = 300.0
TAMPER_NEWEST = """
UPDATE campaign_minute SET pledged_vnd = pledged_vnd + $1
WHERE (campaign_id, minute, carrier, slot) = (
    SELECT campaign_id, minute, carrier, slot FROM campaign_minute ORDER BY minute DESC LIMIT 1)
"""
TAMPER_OLD = """
UPDATE message SET amount_vnd = amount_vnd + $1
WHERE id = (SELECT id FROM message WHERE reading = 'counted' ORDER BY id OFFSET $2 LIMIT 1)
"""


@asynccontextmanager
async def nobody_checks(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Hold the lock of the process that checks, taken from it, on the connection that is yielded."""
    connection = await asyncpg.connect(dsn)
    while not await try_lock(connection, INVARIANT_LOCK):
        await connection.execute(END_CHECKER, INVARIANT_LOCK)
        await asyncio.sleep(0.05)
    try:
        yield connection
    finally:
        await connection.execute(UNLOCK, INVARIANT_LOCK)
        await connection.close()


@asynccontextmanager
async def somebody_checks(dsn: str) -> AsyncIterator[int]:
    """Wait until a process checks; yields the pid of its backend."""
    connection = await asyncpg.connect(dsn)
    while (pid := await connection.fetchval(SELECT_CHECKER, INVARIANT_LOCK)) is None:
        await asyncio.sleep(0.05)
    await connection.close()
    yield pid


async def intake_beside(dsn: str, serving: Serving, flat_out: Flat, seconds: float) -> dict[str, Any]:
    """Callbacks per second with the check and without, in turns; which comes first alternates, too."""
    rates: dict[str, list[float]] = {"off": [], "on": []}
    shares = []
    with serving({}) as service:
        await flat_out(service, "warm-checking", 3)
        for turn in range(TURNS):
            for which in ("off", "on") if turn % 2 == 0 else ("on", "off"):
                async with nobody_checks(dsn) if which == "off" else somebody_checks(dsn) as backend:
                    before = cpu_seconds(backend) if isinstance(backend, int) else 0.0
                    figures = await flat_out(service, f"{which}-{turn}", seconds)
                    if isinstance(backend, int):
                        shares.append((cpu_seconds(backend) - before) / seconds)
                rates[which].append(figures["per_second"])
                print(f"  check {which:3}: {figures['per_second']:.0f}/s, p99 {figures['p99_ms']:.1f} ms", flush=True)
    pairs = [1 - on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    lost, error = mean(pairs), stdev(pairs) / len(pairs) ** 0.5
    of_all = 1 - median(rates["on"]) / median(rates["off"])
    print(
        f"intake beside the check: {100 * lost:.1f} % less than without it (mean of {TURNS} neighbouring turns, "
        f"standard error {100 * error:.1f}; by the medians of all {100 * of_all:.1f} %); "
        f"the check took {100 * median(shares):.1f} % of one core",
        flush=True,
    )
    return {"rates": rates, "lost": lost, "standard_error": error, "cpu_shares": shares}


async def whole_pass(dsn: str, tampered: int) -> dict[str, Any]:
    """A pass over everything without its rests, with the old message number `tampered` tampered with."""
    async with nobody_checks(dsn) as connection:
        await connection.execute(f"{PAST_THE_LOCKS}; DELETE FROM invariant_pass")
        await connection.execute(TAMPER_OLD, 1, tampered)
        # How long a piece took is told by its rest, which is not to be cut short; nothing is of the newest hour.
        pace = Pace(brief_rest_seconds_max=inf, rest_seconds_max=inf)
        rounds = Rounds(connection, LONG_AFTER, pace)
        lengths: list[float] = []
        found_after = None
        while len(rounds.passes) < 2:
            started = time.monotonic()
            await rounds.check()
            lengths.append(time.monotonic() - started)
            if found_after is None and rounds.broken:
                found_after = sum(lengths)
        await connection.execute(TAMPER_OLD, -1, tampered)
        await rounds.check()
    pieces = [seconds / pace.rest_factor for seconds in rounds.rests]
    work = sum(pieces)
    found: dict[str, Any] = {
        "rounds": len(lengths),
        "statements": len(pieces),
        "work_seconds": work,
        "seconds_with_rests": work * (1 + pace.rest_factor),
        "piece_ms_median": 1000 * median(pieces),
        "piece_ms_max": 1000 * max(pieces),
        "round_work_seconds_max": max(lengths),
        "found_after_work_seconds": found_after,
        "mended": not rounds.broken,
    }
    print(
        f"a whole pass: {len(pieces)} pieces in {len(lengths)} rounds, {work:.0f} s of work, "
        f"{found['seconds_with_rests'] / 60:.0f} min with its rests; a piece {found['piece_ms_median']:.0f} ms, the "
        f"longest {found['piece_ms_max']:.0f} ms; an old amount found after {found_after or -1:.0f} s of work",
        flush=True,
    )
    return found


async def found_in(dsn: str, serving: Serving, ports: range) -> float:
    """Seconds until a minute of now that was tampered with is on /metrics of a running service; -1 if never."""
    with serving({}):
        while not any(map(exported, ports)):
            await asyncio.sleep(0.5)
        connection = await asyncpg.connect(dsn)
        await connection.execute(TAMPER_NEWEST, 1)
        started = time.monotonic()
        seconds = -1.0
        while time.monotonic() - started < FOUND_SECONDS_MAX:
            if any(value > 0 for port in ports for value in exported(port)):
                seconds = time.monotonic() - started
                break
            await asyncio.sleep(0.5)
        await connection.execute(TAMPER_NEWEST, -1)
        await connection.close()
    print(f"a newest minute that was tampered with: found after {seconds:.0f} s", flush=True)
    return seconds


def exported(port: int) -> list[float]:
    """The figures of the invariants on a worker's internal port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("portal1400_invariant_difference{")]


async def checking(
    dsn: str, serving: Serving, flat_out: Flat, ports: range, stored: int, seconds: float
) -> dict[str, Any]:
    """All of it, on a database that holds `stored` gifts."""
    return {
        "intake": await intake_beside(dsn, serving, flat_out, seconds),
        "pass": await whole_pass(dsn, stored // 2),
        "newest_found_seconds": await found_in(dsn, serving, ports),
    }
