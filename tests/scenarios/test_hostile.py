"""Requests whose end is told twice, wrongly or not at all: one is processed, or none, and never a hidden one."""

import pytest

from service.listeners.bad_http import HttpFault
from tests.support.hostile_requests import FRAMINGS, HEADS, IN_CHUNKS, LINES, OTHER_TONGUES, OWN
from tests.support.hostile_wire import chunked, exchange, gift, post, request, signature, stored
from tests.support.portal import Portal

HIDDEN = post(gift("hidden"))
UNNAMED = f"HTTP/1.1: {HttpFault.OTHER.value}".encode()
"""What a refusal says whose cause we cannot name: none of these is such a one."""


@pytest.mark.parametrize("label", FRAMINGS)
async def test_a_doubtful_frame_is_refused_and_hides_nothing(hasty_portal: Portal, label: str) -> None:
    framing, status = FRAMINGS[label]
    body = gift(label)
    told = [str(len(body)).join(line.split(OWN)) if isinstance(line, str) else line for line in framing]
    is_chunked = any(b"hunked" in (line if isinstance(line, bytes) else line.encode()) for line in told)
    wire = chunked(body) if is_chunked else body
    heard = await exchange(hasty_portal, post(body, *told, wire=wire, is_last=False) + HIDDEN)
    assert (heard.statuses, heard.is_closed) == ((status,), True)
    assert UNNAMED not in heard.content
    assert not {label, "hidden"} & set(await stored(hasty_portal))


# What stands in the place of chunks -> what is answered; 200 means that the gift is stored.
CHUNKS: dict[str, tuple[bytes, int]] = {
    "whole": (b"%(size)x\r\n%(body)b\r\n0\r\n\r\n", 200),
    "capital digits": (b"%(size)X\r\n%(body)b\r\n0\r\n\r\n", 200),
    "an extension": (b"%(size)x;a=b\r\n%(body)b\r\n0\r\n\r\n", 200),
    "trailers that pretend to be headers": (
        b"%(size)x\r\n%(body)b\r\n0\r\nwebhook-id: x\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n",
        200,
    ),
    "a trailer that tells a length": (b"%(size)x\r\n%(body)b\r\n0\r\nContent-Length: 7\r\n\r\n", 400),
    "a size that is none": (b"zz\r\n%(body)b\r\n0\r\n\r\n", 400),
    "a negative size": (b"-5\r\n%(body)b\r\n0\r\n\r\n", 400),
    "a size with 0x": (b"0x%(size)x\r\n%(body)b\r\n0\r\n\r\n", 400),
    "a size beyond 64 bits": (b"ffffffffffffffffff\r\n%(body)b\r\n0\r\n\r\n", 400),
    "a blank behind the size": (b"%(size)x \r\n%(body)b\r\n0\r\n\r\n", 400),
    "bare line feeds": (b"%(size)x\n%(body)b\n0\n\n", 400),
    "a chunk longer than told": (b"%(size)x\r\n%(body)bx\r\n0\r\n\r\n", 400),
    "a bad second chunk": (b"%(size)x\r\n%(body)b\r\nzz\r\n", 400),
    "a flood of trailers": (b"%(size)x\r\n%(body)b\r\n0\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", 400),
    "a chunk that never ends": (b"fffffffffffff\r\n%(body)b", 408),
    "no last chunk": (b"%(size)x\r\n%(body)b\r\n", 408),
}


@pytest.mark.parametrize("label", CHUNKS)
async def test_chunks_are_read_to_the_letter(hasty_portal: Portal, label: str) -> None:
    pattern, status = CHUNKS[label]
    body = gift(label)
    wire = pattern.replace(b"%(size)x", b"%x" % len(body)).replace(b"%(size)X", b"%X" % len(body))
    heard = await exchange(hasty_portal, post(body, IN_CHUNKS, wire=wire.replace(b"%(body)b", body)))
    assert (heard.statuses, heard.is_closed) == ((status,), True)
    assert UNNAMED not in heard.content
    assert (label in await stored(hasty_portal)) == (status == 200)


async def test_a_chunk_that_turns_bad_behind_the_head_is_a_400(hasty_portal: Portal) -> None:
    heard = await exchange(hasty_portal, post(b"", IN_CHUNKS, wire=b""), b"5\r\n{}xxx\r\n", b"zz\r\n")
    assert (heard.statuses, heard.is_closed) == ((400,), True)


@pytest.mark.parametrize("label", LINES)
async def test_a_request_line_is_ours_or_refused(hasty_portal: Portal, label: str) -> None:
    line, status = LINES[label]
    body = gift(label)
    sent = request(line, *signature(body), f"Content-Length: {len(body)}", body=body)
    heard = await exchange(hasty_portal, sent)
    assert (heard.statuses, heard.is_closed) == ((status,), True)
    assert b"aiohttp" not in heard.content
    assert UNNAMED not in heard.content
    assert (label in await stored(hasty_portal)) == (status == 200)


@pytest.mark.parametrize("label", HEADS)
async def test_headers_are_bounded_and_plain(hasty_portal: Portal, label: str) -> None:
    headers, status = HEADS[label]
    heard = await exchange(hasty_portal, post(gift(label), *headers))
    # Who is cut off while it still sends may see a reset in place of the answer.
    assert heard.statuses in ((status,), ()) if status == 400 else heard.statuses == (status,)
    assert heard.is_closed
    assert UNNAMED not in heard.content
    assert (label in await stored(hasty_portal)) == (status == 200)


async def test_a_request_without_a_host_is_refused(hasty_portal: Portal) -> None:
    heard = await exchange(hasty_portal, post(gift("homeless")).replace(b"Host: portal\r\n", b""))
    assert heard.statuses == (400,)


@pytest.mark.parametrize("label", OTHER_TONGUES)
async def test_another_protocol_is_told_so_and_shown_out(hasty_portal: Portal, label: str) -> None:
    heard = await exchange(hasty_portal, OTHER_TONGUES[label])
    assert (heard.statuses, heard.is_closed) == ((400,), True)
    assert UNNAMED not in heard.content


async def test_version_1_0_is_understood_but_has_no_chunks(hasty_portal: Portal) -> None:
    old = post(gift("old")).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert (await exchange(hasty_portal, old)).statuses == (200,)
    body = gift("old and chunked")
    sent = post(body, IN_CHUNKS, "Connection: keep-alive", wire=chunked(body), is_last=False)
    heard = await exchange(hasty_portal, sent.replace(b"HTTP/1.1", b"HTTP/1.0") + HIDDEN)
    assert (heard.statuses, heard.is_closed) == ((400,), True)
    assert not {"old and chunked", "hidden"} & set(await stored(hasty_portal))
