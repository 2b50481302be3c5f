"""The load level: what raises it, what it waits for before it falls, and what each level refuses."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from service.listeners.overload import (
    CALM_SECONDS,
    COMMITTING_SECONDS,
    IDLE,
    LEVELS,
    LOOKS,
    OverloadMonitor,
    Signals,
    level_of,
)
from service.listeners.shedding import SURFACES, surface_of
from service.live.openapi import routes as openapi_routes
from tests.support.databases import cloned_database
from tests.support.portal import Portal, eventually, message, running
from tests.support.postgres import TestServer
from tests.support.streams import following

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"

FACTS = {
    "nothing": (IDLE, 0),
    "a hiccup below every figure": (Signals(0.149, 0.24, 0.24), 0),
    "a late loop": (Signals(0.15, 0.0, 0.0), 1),
    "a later loop": (Signals(0.4, 0.0, 0.0), 2),
    "a loop that stands": (Signals(3.0, 0.0, 0.0), 3),
    "a quarter of the queue": (Signals(0.0, 0.25, 0.0), 1),
    "half of the queue": (Signals(0.0, 0.5, 0.0), 2),
    "most of the queue": (Signals(0.0, 0.75, 0.0), 3),
    "events that wait": (Signals(0.0, 0.0, 0.5), 2),
    "the worst figure counts": (Signals(0.15, 0.75, 0.25), 3),
}


@pytest.fixture
async def portal(server: TestServer, tmp_path: Path) -> AsyncIterator[Portal]:
    """A service that sheds, as it does outside of tests."""
    async with cloned_database(server) as dsn, running(dsn, tmp_path, shed_under_load="true") as started:
        yield started


@pytest.mark.parametrize(("signals", "level"), FACTS.values(), ids=FACTS)
def test_each_figure_alone_is_enough(signals: Signals, level: int) -> None:
    assert level_of(signals) == level


def weighing() -> tuple[OverloadMonitor, list[int]]:
    told: list[int] = []
    return OverloadMonitor(lambda: (0.0, 0.0), told.append), told


def test_one_hiccup_is_no_overload_and_several_in_a_row_are() -> None:
    load, told = weighing()
    stands = Signals(2.0, 0.0, 0.0)
    for look in range(20):
        load.update(stands if look % LOOKS == 0 else IDLE, look * 0.1)
    assert (load.level, told) == (0, [])
    for look in range(LOOKS):
        load.update(stands, 3 + look)
    assert (load.level, told) == (3, [3])


def test_it_falls_one_level_at_a_time_each_after_calm_seconds() -> None:
    load, told = weighing()
    for look in range(LOOKS):
        load.update(Signals(0.0, 0.9, 0.0), look * 0.1)
    started = now = LOOKS * 0.1
    fell_at = []
    while load.level:
        before = load.level
        now += 0.1
        load.update(IDLE, now)
        if load.level < before:
            fell_at.append(now - started)
    assert told == [3, 2, 1, 0]
    assert fell_at == pytest.approx([CALM_SECONDS * turn for turn in (1, 2, 3)], abs=0.3)


def test_it_does_not_flap_around_a_threshold() -> None:
    load, told = weighing()
    above, below = Signals(0.16, 0.0, 0.0), Signals(0.10, 0.0, 0.0)
    for look in range(600):
        load.update(above if look % 10 < LOOKS else below, look * 0.1)
    assert told == [1]


async def test_a_blocked_loop_raises_it_and_a_stalled_database_does_not(portal: Portal) -> None:
    load = portal.service.intake.load
    load._queue = lambda: (0.9, 0.9)

    # Nothing was committed lately: what waits, waits for the database.
    load._committed_at = time.monotonic() - 60
    await asyncio.sleep(0.5)
    assert load.level == 0

    async def is_high() -> bool:
        load.see_commit(0.01)
        return load.level == 3

    await eventually(is_high)
    load._queue = lambda: (0.0, 0.0)
    assert await portal.metric("portal1400_load_level") == 3


BACKLOGS: dict[str, tuple[float, tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "a full queue, served in turns": (0.05, (0.9, 0.85), (0.9, 0.9), (0.9, 0.8)),
    "a commit that stood still for long": (3.0, (0.4, 1.0), (0.4, 1.0), (0.0, 0.0)),
    "a queue that was emptied meanwhile": (0.05, (0.9, 0.85), (0.0, 0.0), (0.0, 0.0)),
    "a stall that begins after a commit that left nothing": (0.05, (0.0, 0.0), (0.9, 0.9), (0.0, 0.0)),
}


@pytest.mark.parametrize(("seconds", "at_commit", "later", "backlog"), BACKLOGS.values(), ids=BACKLOGS)
def test_only_what_a_commit_leaves_behind_is_load(
    seconds: float, at_commit: tuple[float, float], later: tuple[float, float], backlog: tuple[float, float]
) -> None:
    load, _ = weighing()
    load._queue = lambda: at_commit
    load.see_commit(seconds)
    load._queue = lambda: later
    assert load._backlog(time.monotonic()) == pytest.approx(backlog)
    assert load._backlog(time.monotonic() + COMMITTING_SECONDS) == (0, 0)


async def test_a_late_loop_is_noticed(portal: Portal) -> None:
    async def is_high() -> bool:
        time.sleep(0.7)  # noqa: ASYNC251 -- the very thing: the loop is kept from everything else
        return portal.service.intake.load.level >= 2

    await eventually(is_high, 20)


def hold(portal: Portal, level: int) -> None:
    """Set the level, for the calm seconds that it takes to fall."""
    load = portal.service.intake.load
    load.level, load._near_at = level, time.monotonic()


PATHS = {
    "/api/v1/stream?campaign=vnn": ("stream", 1),
    "/": ("page", 2),
    "/c/vnn": ("page", 2),
    "/c/nobody": ("page", 2),
    "/robots.txt": ("page", 2),
    "/nothing/here": ("page", 2),
    "/api/docs": ("docs", 2),
    "/api/docs/rapidoc.js": ("docs", 2),
    "/api/v1/openapi.json": ("docs", 2),
    "/api/v1/campaigns": ("api", 2),
    "/api/v1/campaigns/vnn": ("api", 2),
    "/api/v1/campaigns/vnn/series": ("series", 2),
    "/api/v1/campaigns/vnn/totals": ("totals", 3),
    "/api/v1/totals": ("totals", 3),
    "/desk/login": ("desk", 3),
}


@pytest.mark.parametrize("path", PATHS)
async def test_each_address_is_refused_from_its_level_on(lasting_portal: Portal, path: str) -> None:
    portal, (name, refused_from) = lasting_portal, PATHS[path]
    shed = await portal.metric("portal1400_shed_total", surface=name)
    try:
        for level in range(4):
            hold(portal, level)
            async with portal.http.get(portal.base + path) as answer:
                if level < refused_from:
                    assert answer.status in (200, 404), (level, answer.status)
                    continue
                body = await answer.text()
            assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True), level
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Server"] == "portal1400"
            if name in ("desk", "page"):
                assert body.index("Tin nhắn ủng hộ vẫn được tiếp nhận") < body.index(
                    "Text gifts are still being taken"
                )
            else:
                assert answer.headers["Content-Type"].startswith("application/problem+json")
            # What is inside is never shed, and intake has only its own bounds.
            async with portal.http.get(portal.internal + "/readyz") as ready:
                assert ready.status == 200
            assert (await portal.post(message(f"m-{path}-{level}"))).status == 200
        assert await portal.metric("portal1400_shed_total", surface=name) == shed + 4 - refused_from
    finally:
        hold(portal, 0)


async def test_open_streams_go_on_calmer_and_are_closed_last(portal: Portal) -> None:
    async with following(portal, "?campaign=vnn") as viewer:
        await viewer.totals()
        for level in (1, 2):
            hold(portal, level)
            seen: list[float] = []
            for number in range(3):
                await portal.post(message(f"m-{level}-{number}"))
                await viewer.totals()
                seen.append(time.monotonic())
            assert seen[2] - seen[1] > 0.9, "at most one update a second"
            async with portal.http.get(portal.base + "/api/v1/stream") as refused:
                assert refused.status == 503
        hold(portal, 3)
        await portal.post(message("m-last"))
        frame = await viewer.next()
        while not frame.startswith(b"retry:"):
            frame = await viewer.next()
        assert 15_000 <= int(frame.split()[1]) <= 45_000
        with pytest.raises(EOFError):
            await viewer.next()
    hold(portal, 0)


def test_every_surface_is_some_address_and_every_address_some_surface() -> None:
    assert {surface_of(path.partition("?")[0]).name for path in PATHS} == {surface.name for surface in SURFACES}
    for route in openapi_routes(None):
        assert surface_of(route.path).name == "docs"


def test_the_documented_table_is_the_one_in_use() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    for level, signals in LEVELS.items():
        row = (
            f"| {level} | {signals.lag_seconds:.2f} s | {signals.queue_share:.0%} | {signals.oldest_seconds:.2f} s |"
        )
        assert row.replace("%", " %") in text, row


async def test_a_client_that_is_refused_keeps_its_connection(lasting_portal: Portal) -> None:
    hold(lasting_portal, 3)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
            for _ in range(3):
                async with http.get(lasting_portal.base + "/") as answer:
                    assert answer.status == 503
                    assert answer.headers.get("Connection") != "close"
    finally:
        hold(lasting_portal, 0)
