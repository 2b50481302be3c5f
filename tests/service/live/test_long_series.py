"""A crowd that asks for a long series over HTTP: one reading, one encoding, and an event loop that goes on."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncGenerator

import aiohttp
import orjson
import pytest

from campaigns.totals.rollups import Question, Series
from service.listeners import large_answer
from service.live.series import LONG
from tests.support.portal import Portal
from tests.support.protocols import fetch

FILL = """
    INSERT INTO campaign_minute (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
    SELECT 1, '2026-01-01'::timestamptz + make_interval(mins => n), carrier, 0, 1, 2, 40000
    FROM generate_series(1, $1::int) AS n,
         unnest('{viettel,vinaphone,mobifone,vietnamobile,gmobile,mvno}'::text[]) AS carrier
"""
MINUTES = 8_000
CLIENTS = 40
PATH = "/api/v1/campaigns/vnn/series?bucket=minute"
WORK_SECONDS_MAX = 0.5
"""Encoded for each client in a row it would be seconds of the loop's own work; in slices it is milliseconds."""


@pytest.fixture(scope="module")
async def written(lasting_portal: Portal) -> Portal:
    """A running service with a long series."""
    await lasting_portal.fetch(FILL, MINUTES)
    return lasting_portal


@pytest.fixture
def filled(written: Portal) -> Portal:
    """The same, of which nobody has asked yet."""
    written.service.live.series._kept.clear()
    return written


async def connected(portal: Portal, method: str = "GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which the series was asked for."""
    host, port = portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return reader, writer


async def taken(portal: Portal) -> bytes:
    """The whole answer of one client."""
    reader, writer = await connected(portal)
    whole = await reader.read()
    writer.close()
    return whole


async def test_a_crowd_is_given_one_encoding_and_the_loop_goes_on(
    filled: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled.service.live.series
    read, readings, pieces = cache._read_pieces, 0, 0

    async def counted(question: Question) -> AsyncGenerator[Series, None]:
        nonlocal readings, pieces
        readings += 1
        async for piece in read(question):
            pieces += 1
            yield piece

    monkeypatch.setattr(cache, "_read_pieces", counted)
    asked = asyncio.gather(*(taken(filled) for _ in range(CLIENTS)))
    longest = 0.0
    while not asked.done():
        # The processor's time: for how long a busy machine lets the loop wait, says nothing of it.
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    answers = await asked
    assert readings == 1
    assert pieces > 50
    bodies = {answer.partition(b"\r\n\r\n")[2] for answer in answers}
    assert len(bodies) == 1
    points = orjson.loads(bodies.pop())["points"]
    assert (len(points), len(points[-1]["by_carrier"]), points[0]["units"]) == (MINUTES, 6, 12)
    assert longest < WORK_SECONDS_MAX


async def test_more_than_are_borne_are_told_when_to_come_again(
    filled: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = filled.service.live.series._lanes[False]
    monkeypatch.setattr(lane, "limits", LONG._replace(answers=1))
    readers = [await connected(filled) for _ in range(3)]
    answers = [await reader.read() for reader, _ in readers]
    for _, writer in readers:
        writer.close()
    assert sorted(answer[9:12] for answer in answers) == [b"200", b"503", b"503"]
    refused = next(answer for answer in answers if answer[9:12] == b"503")
    assert b"Retry-After: 10\r\n" in refused
    assert b"urn:portal1400:problem:busy" in refused
    assert await filled.metric("portal1400_shed_total", surface="series") == 2
    # A short span, and afterwards the long one too, are answered.
    assert (await fetch(filled, "GET", PATH + "&from=2026-01-01&to=2026-01-02")).status == 200
    assert (await fetch(filled, "GET", PATH)).status == 200


def drain(reader: socket.socket) -> int:
    """Read to the end of the stream; how much came."""
    size = 0
    while read := reader.recv(1 << 20):
        size += len(read)
    return size


async def test_who_reads_nothing_is_cut_off(filled: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_answer, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(large_answer, "BYTES_PER_SECOND_MIN", 1e12)
    whole = len(await taken(filled))
    lane = filled.service.live.series._lanes[False]
    host, port = filled.base.removeprefix("http://").split(":")
    with socket.socket() as reader:
        # Small: the kernel must not take in for the reader what it never asks for.
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(20)
        reader.connect((host, int(port)))
        reader.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(20):
            while not lane._answers:  # noqa: ASYNC110 -- what is waited for is a count, which tells nobody
                await asyncio.sleep(0.01)
            while lane._answers:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.01)
        # What the kernel had taken over still comes.
        assert await asyncio.to_thread(drain, reader) < whole


async def test_compressed_it_is_the_same_for_a_tenth_of_the_bytes_and_known_again(filled: Portal) -> None:
    whole = (await taken(filled)).partition(b"\r\n\r\n")[2]
    async with aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "gzip"}) as http:
        for method in ("GET", "HEAD"):
            async with http.request(method, filled.base + PATH) as answer:
                packed, size, tag = await answer.read(), int(answer.headers["Content-Length"]), answer.headers["ETag"]
                assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
            if method == "GET":
                assert gzip.decompress(packed) == whole
                assert len(packed) == size < len(whole) / 10
        async with http.get(filled.base + PATH, headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
    # Its head has the size and no body.
    reader, writer = await connected(filled, "HEAD")
    head = await reader.read()
    writer.close()
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(whole) in head
