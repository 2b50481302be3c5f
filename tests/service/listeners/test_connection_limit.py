"""The bound on connections: idle visitors go first, carriers stay; and out of descriptors, all recovers."""

import asyncio
import contextlib
import resource
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from service.commands.apply import apply_file
from service.commands.opening import opened
from service.listeners.connection_limit import CARRIER_SECONDS, RESERVED_DESCRIPTORS, ConnectionLimit
from service.listeners.strangers import LOOKS_MAX
from service.runtime.settings import read_settings
from tests.support.databases import cloned_database
from tests.support.hostile_wire import HUB, gift, post, request
from tests.support.portal import Portal, book_file, eventually, message, running, signed
from tests.support.ports import free_ports
from tests.support.postgres import TestServer
from tests.support.processes import ROOT, SERVICE, environ_for
from tests.support.streams import following

DESCRIPTORS = 160


@pytest.fixture(scope="module")
async def crowded(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A service with room for few connections, that waits for the rest of a request for long."""
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path_factory.mktemp("crowded"), connections_max="30", body_read_seconds="30") as started,
    ):
        yield started


class Pretended:
    """A connection that only says what it is."""

    def __init__(self, state: str = "idle", remote_address: str = "203.0.113.1") -> None:
        self.state = state
        self.remote_address = remote_address
        self.is_closed = False

    @property
    def is_idle(self) -> bool:
        return self.state in ("idle", "carrier")

    @property
    def is_stuck(self) -> bool:
        return self.state == "stuck"

    def force_close(self) -> None:
        self.is_closed = True


A, B, C = "203.0.113.1", "203.0.113.2", "203.0.113.3"
# How many there may be; who is there, in the order in which they came; who goes when one more comes from C.
WHO_GOES: dict[str, tuple[int, list[tuple[str, str]], int | str]] = {
    "room for all": (40, [], "nobody"),
    "the oldest idle one": (25, [("busy", A), ("idle", A), ("idle", A), *[("busy", A)] * 17], 1),
    "of the address that has the most": (25, [("idle", A), ("idle", B), ("idle", B), *[("carrier", A)] * 17], 1),
    "of the newcomer's own, where that has the most": (25, [("idle", A), *[("idle", C)] * 19], 1),
    "in one half of an IPv6 address": (
        25,
        [("idle", A), ("idle", "2001:db8::1"), *[("idle", "2001:db8::2")] * 18],
        1,
    ),
    "never an idle carrier": (25, [("carrier", A)] * 20, "the new one"),
    "an idle one before one that keeps us waiting": (25, [*[("stuck", A)] * 19, ("idle", B)], 19),
    "one that keeps us waiting": (25, [*[("busy", A)] * 18, ("stuck", A), ("stuck", A)], 18),
    "never one that we work for": (25, [("busy", A)] * 20, "the new one"),
    "more strangers than their share, and the house is not full": (40, [("idle", A)] * 30, 0),
    "the same, and none of them can go": (40, [("busy", A)] * 30, "nobody"),
}


@pytest.mark.parametrize("label", WHO_GOES)
def test_who_goes_when_the_house_is_full(label: str) -> None:
    maximum, present, goes = WHO_GOES[label]
    viewers = 5
    connection_limit = ConnectionLimit(maximum, lambda: viewers)
    known = [Pretended(state, remote) for state, remote in present]
    for each in known:
        connection_limit._strangers.add(each)
        if each.state == "carrier":
            connection_limit.trust(each)
    new = Pretended(remote_address=C)
    connection_limit.enter(new)
    closed = [number for number, each in enumerate([*known, new]) if each.is_closed]
    assert closed == {"nobody": [], "the new one": [len(known)]}.get(str(goes), [goes])


def test_a_carrier_is_one_for_ten_minutes_from_its_last_callback() -> None:
    now = 0.0
    connection_limit = ConnectionLimit(25, lambda: 0, clock=lambda: now)
    first, second = Pretended(), Pretended()
    for each in (first, second):
        connection_limit.enter(each)
        connection_limit.trust(each)
    for _ in range(23):
        busy = Pretended("busy", B)
        connection_limit._strangers.add(busy)
    now = CARRIER_SECONDS - 1
    connection_limit.trust(first)
    connection_limit.enter(Pretended("busy", C))
    assert not first.is_closed
    assert not second.is_closed
    now = CARRIER_SECONDS + 1
    connection_limit.enter(Pretended("busy", C))
    assert not first.is_closed
    assert second.is_closed


def test_whoever_ended_is_not_counted_and_not_closed() -> None:
    connection_limit = ConnectionLimit(25, lambda: 0)
    left = [Pretended() for _ in range(25)]
    for each in left:
        connection_limit.enter(each)
    connection_limit.trust(left[0])
    for each in left:
        connection_limit.leave(each)
        connection_limit.leave(each)
    connection_limit.trust(left[1])
    before = [each.is_closed for each in left]
    for _ in range(18):
        connection_limit.enter(Pretended())
    assert [each.is_closed for each in left] == before


def test_room_is_made_in_the_same_time_however_many_there_are() -> None:
    connection_limit = ConnectionLimit(1_000, lambda: 0)
    present = [Pretended("busy", f"198.51.{number // 100}.{number % 100}") for number in range(900)]
    looked = 0

    class Counting(Pretended):
        @property
        def is_idle(self) -> bool:
            nonlocal looked
            looked += 1
            return super().is_idle

    for each in present:
        connection_limit._strangers.add(Counting(each.state, each.remote_address))
    connection_limit.enter(Counting())
    assert 0 < looked <= LOOKS_MAX


def test_streams_leave_a_quarter_of_the_connections_to_others() -> None:
    connection_limit = ConnectionLimit(1000, lambda: 0)
    assert (connection_limit.connections_max, connection_limit.viewers_max) == (1000, 750)


async def test_carriers_come_in_while_viewers_and_idle_visitors_fill_the_house(
    database_dsn: str, tmp_path: Path
) -> None:
    async with (
        running(database_dsn, tmp_path, connections_max="40") as portal,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(30):
            await (await stack.enter_async_context(following(portal))).totals()
        async with portal.http.get(portal.base + "/api/v1/stream") as full:
            assert full.status == 503
        visitors = await silent_visitors(portal, 30)
        for number in range(5):
            async with aiohttp.ClientSession() as carrier:
                assert await posted(carrier, portal.base, f"m-{number}") == 200
        for _, writer in visitors:
            writer.close()
        assert len(portal.service.live.streams.broadcaster) == 30, "those who follow are not sent away for others"


# What strangers do on every connection there may be, before a carrier comes.
HABITS: dict[str, bytes] = {
    "nothing": b"",
    "a bogus callback": post(gift("bogus"), is_last=False).replace(b"/standard/hub", b"/standard/nobody"),
    "a forged callback for an account": post(gift("forged"), is_last=False).replace(b"v1,", b"v1,AAAA"),
    "a wrong method": request(f"PUT {HUB} HTTP/1.1", "Content-Length: 0", is_last=False),
    "half a head": b"POST /gw/standard/hub HTTP/1.1\r\n",
    "half a body": post(gift("half"), is_last=False)[:-1],
}


@pytest.mark.parametrize("habit", HABITS)
async def test_carriers_come_in_while_strangers_have_taken_every_connection(crowded: Portal, habit: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            # In waves, each of which has done what it does before the next comes: so all places are taken by such.
            for _, writer in await silent_visitors(crowded, 15):
                stack.callback(writer.close)
                writer.write(HABITS[habit])
            await asyncio.sleep(0.1)
        for number in range(10):
            async with aiohttp.ClientSession() as carrier:
                assert await posted(carrier, crowded.base, f"{habit.replace(' ', '-')}-{number}") == 200


async def test_who_was_verified_stays_while_strangers_come_and_go(crowded: Portal) -> None:
    async with aiohttp.ClientSession() as carrier:
        connections: set[int] = set()
        for turn in range(5):
            assert await posted(carrier, crowded.base, f"stays-{turn}") == 200
            assert carrier.connector is not None
            pool = carrier.connector._conns
            connections |= {id(each[0]) for held in pool.values() for each in held}
            for _, writer in await silent_visitors(crowded, 40):
                writer.close()
        assert len(connections) == 1


async def silent_visitors(portal: Portal, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = portal.base.removeprefix("http://").split(":")
    return [await asyncio.open_connection(host, int(port)) for _ in range(count)]


async def posted(http: aiohttp.ClientSession, base: str, name: str) -> int:
    raw = orjson.dumps(message(name))
    async with http.post(f"{base}/gw/standard/hub", data=raw, headers=signed(raw)) as answer:
        return answer.status


async def test_idle_connections_are_closed(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, idle_connection_seconds="0.3") as portal:
        visitors = await silent_visitors(portal, 3)
        visitors[0][1].write(b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await visitors[0][0].read()).startswith(b"HTTP/1.1 200")
            for reader, _ in visitors[1:]:
                await reader.read()
        for _, writer in visitors:
            writer.close()


@asynccontextmanager
async def serving(dsn: str, folder: Path) -> AsyncIterator[tuple[str, str, Path]]:
    """A service process that may have few file descriptors: its addresses and its log."""
    port, internal = free_ports(), free_ports()
    environ = environ_for(folder, port, internal, database_url=dsn)
    ours = {name: value for name, value in environ.items() if name.startswith("PORTAL1400_")}
    async with opened(read_settings(ours)) as ready:
        await apply_file(ready, book_file(folder))
    log = folder / "serve.log"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 -- once, before anything else runs here
            [*SERVICE, "serve"],
            env=environ, cwd=ROOT, stdout=output, stderr=output, preexec_fn=limited,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as http:

            async def is_up() -> bool:
                assert process.poll() is None, log.read_text()[-2000:]
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"http://127.0.0.1:{internal}/startupz") as answer:
                        return answer.status == 200
                return False

            await eventually(is_up, 60)
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{internal}", log
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 30)


@pytest.mark.slow
@pytest.mark.parametrize("reserved", [True, False], ids=["within the bound", "with nothing in reserve"])
async def test_with_few_file_descriptors_carriers_go_on_and_the_rest_recovers(
    database_dsn: str, tmp_path: Path, reserved: bool
) -> None:
    async with serving(database_dsn, tmp_path) as (base, internal, log), aiohttp.ClientSession() as carrier:
        assert await posted(carrier, base, "before") == 200
        # The internal listener has no bound of its own: through it the process can run out of descriptors altogether.
        host, port = (base if reserved else internal).removeprefix("http://").split(":")
        crowd = [await asyncio.open_connection(host, int(port)) for _ in range(DESCRIPTORS + 50)]
        for number in range(20):
            assert await posted(carrier, base, f"during-{number}") == 200
            await asyncio.sleep(0.02)
        for _, writer in crowd:
            writer.close()

        async def takes_new_ones() -> bool:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as new:
                    return await posted(new, base, "after") == 200
            return False

        await eventually(takes_new_ones, 20)
        lines = log.read_text().splitlines()
        event = "connections_full" if reserved else "no_file_descriptors"
        assert sum(event in line for line in lines) == 1
        assert any("connections_limited" in line for line in lines)
        assert not any("Traceback" in line for line in lines)
        assert DESCRIPTORS - RESERVED_DESCRIPTORS > 25
