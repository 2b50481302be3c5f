"""Connections that dawdle, never end, send too much or too early: none holds the service, none makes it grow."""

import asyncio
import contextlib
import resource
import socket
import time
from pathlib import Path

import pytest

from service.listeners.http_connection import HEAD_BYTES_MAX
from tests.support.hostile_requests import BOMB, ENCODINGS
from tests.support.hostile_wire import END, HUB, chunked, exchange, gift, kannel, post, request, stored
from tests.support.portal import Portal, message, running
from tests.support.promptness import is_prompt
from tests.support.protocols import SOAP_LOGIN, envelope, fetch

HEAD = f"POST {HUB} HTTP/1.1\r\nHost: x\r\n".encode()
WAIT_SECONDS = 0.4
"""What the portal of this module grants a head, and a body."""


async def lasts(portal: Portal, *pieces: bytes, pause_seconds: float) -> tuple[float, bytes]:
    """Send `pieces` with pauses until the service ends the connection; how long that took, and what it said."""
    host, port = portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    started = time.monotonic()

    async def drip() -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_seconds)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(10):
            return time.monotonic() - started, await reader.read()
    finally:
        dripping.cancel()
        writer.close()


SLOW_HEADS: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "nothing at all": ((), b""),
    "half a line": ((b"POST /gw/sta",), b"HTTP/1.1 408 Request Timeout\r\n"),
    "the words of HTTP/0.9": ((b"GET /gw/kannel/vina\r\n",), b"HTTP/1.1 408 Request Timeout\r\n"),
    "a header at a time": ((HEAD, *[b"X: y\r\n"] * 100), b"HTTP/1.1 408 Request Timeout\r\n"),
    "a letter at a time": (tuple(HEAD[at : at + 1] for at in range(len(HEAD))), b"HTTP/1.1 408 Request Timeout\r\n"),
    "empty lines": ((b"\r\n",) * 100, b"HTTP/1.1 408 Request Timeout\r\n"),
}


@pytest.mark.parametrize("label", SLOW_HEADS)
async def test_a_head_that_does_not_come_is_not_waited_for(hasty_portal: Portal, label: str) -> None:
    pieces, answered = SLOW_HEADS[label]
    started = time.monotonic()
    _, said = await lasts(hasty_portal, *pieces, pause_seconds=0.05)
    took = time.monotonic() - started
    assert took >= WAIT_SECONDS * 0.9
    assert is_prompt(took, 5)
    assert said[: len(answered)] == answered
    assert bool(said) == bool(answered)
    assert b"x" not in said.lower().partition(END)[0].replace(b"text", b""), "nothing is repeated"


async def test_after_an_answer_the_next_head_is_waited_for_no_longer(hasty_portal: Portal) -> None:
    first = post(gift("before a slow one"), is_last=False)
    _, said = await lasts(hasty_portal, first, HEAD, *[b"X: y\r\n"] * 99, pause_seconds=0.05)
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 408 Request Timeout\r\n" in said


async def test_a_sender_that_rests_between_two_callbacks_keeps_its_connection(hasty_portal: Portal) -> None:
    host, port = hasty_portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for native_id in ("rest-1", "rest-2", "rest-3"):
        sent = post(gift(native_id), is_last=False)
        # In two halves, the first of which ends inside the head.
        writer.write(sent[:40])
        await asyncio.sleep(WAIT_SECONDS / 4)
        writer.write(sent[40:])
        assert (await reader.readuntil(END)).startswith(b"HTTP/1.1 200 OK\r\n")
        await reader.readexactly(len(f'{{"accepted":["{native_id}"]}}'))
        await asyncio.sleep(WAIT_SECONDS * 1.5)
    writer.close()


async def test_an_idle_connection_ends_too(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_dsn, tmp_path) as portal:
        portal.service.listeners.public._kwargs["keepalive_timeout"] = 0.3
        server = portal.service.listeners.public.server
        assert server is not None
        server._kwargs["keepalive_timeout"] = 0.3
        heard = await exchange(portal, post(gift("m-1"), is_last=False))
        assert (heard.statuses, heard.is_closed) == ((200,), True)


async def test_a_head_in_pieces_is_bounded_in_bytes(hasty_portal: Portal) -> None:
    fields = [b"X-%d: %b\r\n" % (number, b"y" * 8_000) for number in range(2 + HEAD_BYTES_MAX // 8_000)]
    started = time.monotonic()
    _, said = await lasts(hasty_portal, HEAD, *fields, pause_seconds=0.005)
    assert said.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert is_prompt(time.monotonic() - started, WAIT_SECONDS)


async def test_a_hundred_dawdlers_delay_nobody(hasty_portal: Portal) -> None:
    dawdlers = [asyncio.create_task(lasts(hasty_portal, HEAD, pause_seconds=1)) for _ in range(100)]
    await asyncio.sleep(0.1)
    assert (await hasty_portal.post(message("beside"))).status == 200
    ended = await asyncio.gather(*dawdlers)
    assert {said[:12] for _, said in ended} == {b"HTTP/1.1 408"}


async def test_whoever_waits_to_be_asked_for_the_body_is_asked(hasty_portal: Portal) -> None:
    body = gift("asked for")
    head, _, _ = post(body, "Expect: 100-continue").partition(END)
    host, port = hasty_portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head + END)
    assert await reader.readuntil(END) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    too_long = request(f"POST {HUB} HTTP/1.1", "Expect: 100-continue", f"Content-Length: {2**21}")
    assert (await exchange(hasty_portal, too_long)).statuses == (413,)
    unasked = await exchange(hasty_portal, post(gift("unasked"), "Expect: 100-continue"))
    assert unasked.statuses == (200,)


async def test_pipelined_callbacks_are_answered_in_their_order_and_all_stored(hasty_portal: Portal) -> None:
    names = [f"pipe-{number:03}" for number in range(100)]
    sent = b"".join(post(gift(name), is_last=name == names[-1]) for name in names)
    heard = await exchange(hasty_portal, sent)
    assert heard.statuses == (200,) * 100
    places = [heard.content.index(f'["{name}"]'.encode()) for name in names]
    assert places == sorted(places)
    assert set(names) <= set(await stored(hasty_portal))


# What is offered -> what is answered to it and to the callback right behind it. For others than websocket
# the parser drops what came in the same read; senders that offer h2c wait for the first answer.
UPGRADES = {"websocket": (200, 200), "tcp": (200,), "h2c": (200,)}


@pytest.mark.parametrize("protocol", UPGRADES)
async def test_an_offered_upgrade_is_let_pass(hasty_portal: Portal, protocol: str) -> None:
    offer = post(gift(f"{protocol}-1"), f"Upgrade: {protocol}", "Connection: upgrade", is_last=False)
    heard = await exchange(hasty_portal, offer + post(gift(f"{protocol}-2")), quiet_seconds=1)
    assert heard.statuses == UPGRADES[protocol]
    names = [name for name in await stored(hasty_portal) if name.startswith(protocol)]
    assert len(names) == len(heard.statuses), "what is not answered is not stored"


BREAKS = {
    "inside the head": HEAD,
    "before the body": post(gift("broken off"))[: -len(gift("broken off"))],
    "one byte before the end": post(gift("broken off"))[:-1],
    "inside a chunk": post(gift("broken off"), "Transfer-Encoding: chunked", wire=b"50\r\n{"),
    "before the last chunk": post(gift("broken off"), "Transfer-Encoding: chunked", wire=chunked(b"{}")[:-5]),
}


@pytest.mark.parametrize("label", BREAKS)
async def test_a_request_that_breaks_off_is_never_taken_for_a_whole_one(hasty_portal: Portal, label: str) -> None:
    heard = await exchange(hasty_portal, BREAKS[label], is_half_closed=True)
    assert heard.is_closed
    assert 200 not in heard.statuses
    assert "broken off" not in await stored(hasty_portal)


async def test_a_sender_that_closes_its_direction_behind_its_request_hears_the_answer(hasty_portal: Portal) -> None:
    alone = await exchange(hasty_portal, post(gift("half-closed"), is_last=False), is_half_closed=True)
    assert (alone.statuses, alone.is_closed) == ((200,), True)
    assert b"Connection: close" in alone.content
    several = b"".join(post(gift(f"half-closed-{number}"), is_last=False) for number in range(3))
    heard = await exchange(hasty_portal, several, is_half_closed=True)
    assert (heard.statuses, heard.is_closed) == ((200, 200, 200), True)
    page = await exchange(hasty_portal, request("GET /api/v1/totals HTTP/1.1", is_last=False), is_half_closed=True)
    assert (page.statuses, page.is_closed) == ((200,), True)


async def test_a_whole_callback_in_front_of_half_a_one_is_answered(hasty_portal: Portal) -> None:
    pieces = post(gift("whole"), is_last=False) + post(gift("never whole"))[:-1]
    heard = await exchange(hasty_portal, pieces, is_half_closed=True)
    assert (heard.statuses[:1], heard.is_closed) == ((200,), True)
    names = await stored(hasty_portal)
    assert "whole" in names
    assert "never whole" not in names


async def test_a_viewer_that_closes_its_direction_is_gone_at_once(hasty_portal: Portal) -> None:
    heard = await exchange(hasty_portal, request("GET /api/v1/stream HTTP/1.1"), quiet_seconds=1, is_half_closed=True)
    assert heard.is_closed


async def test_an_answer_that_nobody_takes_is_cut_off(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, stream_write_seconds="0.3") as portal:
        host, port = portal.base.removeprefix("http://").split(":")
        server = portal.service.listeners.public.server
        assert server is not None
        asked = request("GET /api/v1/openapi.json HTTP/1.1", is_last=False)
        deaf = []
        for _ in range(5):
            quiet = socket.socket()
            quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            quiet.connect((host, int(port)))
            deaf.append(quiet)
            quiet.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(1_000):
                    quiet.send(asked)
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(8):
            # Slower than the others' time, but it reads.
            writer.write(asked)
            assert (await reader.readuntil(END)).startswith(b"HTTP/1.1 200 OK\r\n")
            await asyncio.sleep(0.1)
            while len(reader._buffer) > 0:  # type: ignore[attr-defined]  # what came is thrown away
                await reader.read(1 << 20)
        assert {connection for connection in server.connections if not connection._waiter} == set()
        writer.close()
        for each in deaf:
            each.close()


@pytest.mark.parametrize("label", ENCODINGS)
async def test_a_compressed_body_is_refused_in_each_protocol_and_never_unpacked(
    hasty_portal: Portal, label: str
) -> None:
    body, encoding = ENCODINGS[label]
    before = len(await hasty_portal.fetch("SELECT FROM quarantine"))
    heard = await exchange(hasty_portal, post(body, f"Content-Encoding: {encoding}"))
    fault = b'{"path":"headers.content-encoding","reason":"is not understood: send the body as it is"}'
    assert (heard.statuses, heard.body) == ((400,), b'{"error":"malformed","errors":[%b]}' % fault)
    headers = {"content-encoding": encoding, "authorization": SOAP_LOGIN, "content-type": "text/xml"}
    soap = await fetch(hasty_portal, "POST", "/gw/vn_soap_mo/soap", data=body, headers=headers)
    assert soap.status == 500
    assert b"malformed; headers.content-encoding is not understood" in soap.body
    assert len(await hasty_portal.fetch("SELECT FROM quarantine")) == before + 2


async def test_a_body_that_says_it_is_as_it_is_is_read(hasty_portal: Portal) -> None:
    assert (await exchange(hasty_portal, post(gift("plain"), "Content-Encoding: identity"))).statuses == (200,)
    headers = {"content-encoding": "Identity", "authorization": SOAP_LOGIN}
    call = envelope("plain", "VNN", "84950000001", "1408")
    assert (await fetch(hasty_portal, "POST", "/gw/vn_soap_mo/soap", data=call, headers=headers)).status == 200


async def test_a_body_on_a_get_is_bounded_and_plays_no_part(hasty_portal: Portal) -> None:
    line = f"GET {kannel('with a body'.replace(' ', '+'))} HTTP/1.1"
    assert (await exchange(hasty_portal, request(line, "Content-Length: 5", body=b"hello"))).statuses == (200,)
    large = request(line, "Content-Length: 70000", body=bytes(70_000))
    assert (await exchange(hasty_portal, large)).statuses == (413,)


async def test_bodies_beyond_the_limit_do_not_make_the_service_grow(hasty_portal: Portal) -> None:
    endless = post(b"", "Transfer-Encoding: chunked", wire=chunked(*[bytes(60_000)] * 400))
    bomb = post(BOMB, "Content-Encoding: gzip")
    flood = post(b"", *(f"X-{number}: {'y' * 8_000}" for number in range(99)))
    # In pieces: what the client has not sent yet would count as ours, for both are one process.
    sent = [[each[at : at + 65_536] for at in range(0, len(each), 65_536)] for each in (endless, bomb, flood)]
    for pieces in sent:
        await exchange(hasty_portal, *pieces)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):
        heard = await asyncio.gather(*(exchange(hasty_portal, *pieces) for pieces in sent * 4))
        assert {each.statuses for each in heard[::3]} <= {(413,), ()}
        assert {each.statuses for each in heard[1::3]} == {(400,)}
    # Unpacked and collected these would be 680 MB; what twelve connections may hold at once is 12 x 1.3 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
