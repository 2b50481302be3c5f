"""The proxy itself: what it promises about bytes and connections, shown with a server that sends all back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.portal import eventually
from tests.torture.proxy import FaultProxy, Mode


class Echo:
    """A server on a unix socket that answers with what it reads."""

    def __init__(self) -> None:
        self.heard = b""
        self.open = 0

    async def is_alone(self) -> bool:
        """Whether every connection has ended."""
        return self.open == 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self.open += 1
        try:
            while data := await reader.read(1000):
                self.heard += data
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[tuple[Echo, FaultProxy]]:
    """The server and a proxy before it."""
    server = Echo()
    listening = await asyncio.start_unix_server(server.serve, str(tmp_path / "echo"))
    async with FaultProxy(tmp_path / "echo") as proxy:
        yield server, proxy
    listening.close()
    await eventually(server.is_alone)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Ends]]


@pytest.fixture
async def connect(echo: tuple[Echo, FaultProxy]) -> AsyncIterator[Connect]:
    """Makes connections through the proxy and ends them after the test."""
    made: list[Ends] = []

    async def one_more() -> Ends:
        made.append(await asyncio.open_connection("127.0.0.1", echo[1].port))
        return made[-1]

    yield one_more
    for _, writer in made:
        writer.transport.abort()


async def said(ends: Ends, word: bytes, seconds: float = 2.0) -> bytes:
    """What comes back for `word`; empty where the connection ends, TimeoutError where nothing comes."""
    reader, writer = ends
    writer.write(word)
    async with asyncio.timeout(seconds):
        return await reader.read(1000)


async def test_a_healthy_proxy_passes_bytes_both_ways(connect: Connect) -> None:
    assert await said(await connect(), b"one") == b"one"


async def test_latency_is_added_in_each_direction(echo: tuple[Echo, FaultProxy], connect: Connect) -> None:
    _, proxy = echo
    ends = await connect()
    proxy.mode, proxy.latency_seconds = Mode.LATENCY, 0.1
    before = asyncio.get_running_loop().time()
    assert await said(ends, b"one") == b"one"
    assert asyncio.get_running_loop().time() - before >= 0.2


async def test_a_reset_ends_what_is_open_and_new_connections_pass(
    echo: tuple[Echo, FaultProxy], connect: Connect
) -> None:
    _, proxy = echo
    ends = await connect()
    assert await said(ends, b"one") == b"one"
    proxy.reset_all()
    with pytest.raises(ConnectionResetError):
        await said(ends, b"two")
    assert await said(await connect(), b"three") == b"three"


async def test_dropped_connections_end_in_order(echo: tuple[Echo, FaultProxy], connect: Connect) -> None:
    server, proxy = echo
    ends = await connect()
    assert await said(ends, b"one") == b"one"
    proxy.drop_all()
    async with asyncio.timeout(2):
        assert await ends[0].read(10) == b""
    await eventually(server.is_alone)


async def test_refused_connections_are_reset_and_open_ones_go_on(
    echo: tuple[Echo, FaultProxy], connect: Connect
) -> None:
    _, proxy = echo
    ends = await connect()
    assert await said(ends, b"one") == b"one"
    proxy.mode = Mode.REFUSE
    with pytest.raises(ConnectionResetError):
        await said(await connect(), b"two")
    assert await said(ends, b"three") == b"three"


@pytest.mark.parametrize(
    ("mode", "is_heard"),
    [
        pytest.param(Mode.SILENT_UP, False, id="what the service says is lost"),
        pytest.param(Mode.SILENT_DOWN, True, id="what the server answers is lost"),
        pytest.param(Mode.SILENT, False, id="both are lost"),
    ],
)
async def test_a_silent_network_tells_nobody_and_its_connections_stay_dead(
    echo: tuple[Echo, FaultProxy], connect: Connect, mode: Mode, is_heard: bool
) -> None:
    server, proxy = echo
    ends = await connect()
    assert await said(ends, b"one") == b"one"
    proxy.mode = mode
    with pytest.raises(TimeoutError):
        await said(ends, b"two", seconds=0.2)
    assert server.heard.endswith(b"two") is is_heard
    proxy.heal()
    with pytest.raises(TimeoutError):
        await said(ends, b"three", seconds=0.2)
    # The service gives up; the server is not told and keeps its side open until the proxy resets it.
    ends[1].close()
    with pytest.raises(AssertionError):
        await eventually(server.is_alone, seconds=0.2)
    proxy.reset_all()
    await eventually(server.is_alone)
    assert await said(await connect(), b"four") == b"four"
