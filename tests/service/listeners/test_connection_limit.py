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
from service.listeners.connection_limit import RESERVED_DESCRIPTORS, ConnectionLimit
from service.runtime.settings import read_settings
from tests.support.portal import Portal, book_file, eventually, message, running, signed
from tests.support.ports import free_ports
from tests.support.processes import ROOT, SERVICE, environ_for
from tests.support.streams import following

DESCRIPTORS = 160


class Pretended:
    """A connection that only says what it is."""

    def __init__(self, *, is_idle: bool, is_carrier: bool) -> None:
        self.is_idle = is_idle
        self.is_carrier = is_carrier
        self.is_closed = False

    def force_close(self) -> None:
        self.is_closed = True


WHO_GOES = {
    "room for all": (30, [], "nobody"),
    "the oldest idle one of the public": (25, [(False, False), (True, False), (True, False)], 1),
    "never an idle carrier": (25, [(True, True), (True, True)], "the new one"),
    "never one with a request in hand": (25, [(False, False), (False, True)], "the new one"),
}


@pytest.mark.parametrize(("maximum", "present", "goes"), WHO_GOES.values(), ids=WHO_GOES)
def test_who_goes_when_the_house_is_full(maximum: int, present: list[tuple[bool, bool]], goes: int | str) -> None:
    connection_limit = ConnectionLimit(maximum, lambda: 20)
    new = Pretended(is_idle=True, is_carrier=False)
    known = [*(Pretended(is_idle=idle, is_carrier=carrier) for idle, carrier in present), new]
    connection_limit.enter(new, known, 6)
    closed = [number for number, each in enumerate(known) if each.is_closed]
    assert closed == {"nobody": [], "the new one": [len(known) - 1]}.get(str(goes), [goes])


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
