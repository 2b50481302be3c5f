"""What a crowd of viewers costs: little memory each, and nothing of the carriers' while half of them stop reading."""

import asyncio
import gc
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from service.live.broadcast import SEND_BUFFER_BYTES
from tests.support.portal import Portal, eventually, message, running
from tests.support.streams import following

VIEWERS = 300
"""So many that what one costs stands out of the noise."""
HALF = 50
FILLER = b": " + b"x" * SEND_BUFFER_BYTES + b"\n\n"
REQUEST = b"GET /api/v1/stream?campaign=vnn HTTP/1.1\r\nHost: x\r\nUser-Agent: " + b"a" * 400 + b"\r\n\r\n"


async def seated(portal: Portal, count: int) -> list[socket.socket]:
    """Viewers that read nothing unless somebody reads for them, from small buffers."""
    host, port = portal.base.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    viewers = []
    before = len(portal.service.live.streams.broadcaster)
    for _ in range(count):
        viewer = socket.socket()
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.setblocking(False)
        await loop.sock_connect(viewer, (host, int(port)))
        await loop.sock_sendall(viewer, REQUEST)
        viewers.append(viewer)

    async def are_seated() -> bool:
        return len(portal.service.live.streams.broadcaster) == before + count

    await eventually(are_seated, 20)
    return viewers


async def test_a_viewer_keeps_nothing_of_its_request_and_no_task(portal: Portal) -> None:
    warm = await seated(portal, 20)
    gc.collect()
    tasks = len(asyncio.all_tasks())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    viewers = await seated(portal, VIEWERS)
    await asyncio.sleep(0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for each in (*warm, *viewers):
        each.close()
    # The sockets of this test are in the figure too.
    assert (after - before) / VIEWERS < 6 * 1024
    assert len(asyncio.all_tasks()) <= tasks + 2


@pytest.mark.slow
async def test_half_stop_reading_and_are_dropped_while_carriers_and_the_others_go_on(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, stream_write_seconds="1") as portal:
        deaf = await seated(portal, HALF)
        for subscriber in portal.service.live.streams.broadcaster.subscribers:
            # Most of what the kernel keeps for one: totals do the rest, and hundreds of them need not be waited for.
            subscriber.transport.write(FILLER)
        reading = await seated(portal, HALF)
        loop = asyncio.get_running_loop()
        buffer = bytearray(1 << 16)

        def read(viewer: socket.socket) -> None:
            viewer.recv_into(buffer)

        for each in reading:
            loop.add_reader(each, read, each)
        sent = 0

        async def deaf_are_dropped() -> bool:
            nonlocal sent
            sent += 1
            assert (await portal.post(message(f"m-{sent}"))).status == 200
            return len(portal.service.live.streams.broadcaster) == len(reading)

        await eventually(deaf_are_dropped, 120)
        assert await portal.metric("portal1400_stream_viewers_dropped_total") == len(deaf)
        async with following(portal, "?campaign=vnn") as late:
            await late.totals()
        for each in reading:
            loop.remove_reader(each)
        for each in (*deaf, *reading):
            each.close()


async def test_what_a_deaf_viewer_holds_is_bounded(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, stream_write_seconds="60") as portal:
        (deaf,) = await seated(portal, 1)
        (subscriber,) = portal.service.live.streams.broadcaster.subscribers
        transport = subscriber.transport

        async def is_behind() -> bool:
            # Each is far larger than a total: so many rounds need not be waited for.
            if not transport.get_write_buffer_size():
                transport.write(b": " + os.urandom(2048).hex().encode() + b"\n\n")
            return transport.get_write_buffer_size() > 0

        await eventually(is_behind, 20)
        held = transport.get_write_buffer_size()
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER_BYTES
        for number in range(5):
            await portal.post(message(f"m-{number}"))
            await asyncio.sleep(0.25)
        assert transport.get_write_buffer_size() <= held, "what it did not take is not added to"
        deaf.close()
