"""Requests whose end is told twice, wrongly or not at all: one is processed, or none, and never a hidden one."""

import pytest

from tests.support.hostile_wire import chunked, exchange, gift, post, request, signature, stored
from tests.support.portal import Portal

HIDDEN = post(gift("hidden"))
OWN = "as long as it is"
IN_CHUNKS = "Transfer-Encoding: chunked"

# What frames the body (OWN stands for its length) -> what is answered. Behind each stands a second request.
FRAMINGS: dict[str, tuple[tuple[str | bytes, ...], int]] = {
    "both": ((IN_CHUNKS, f"Content-Length: {OWN}"), 400),
    "both, the other way round": ((f"Content-Length: {OWN}", IN_CHUNKS), 400),
    "both, a length of nought": (("Content-Length: 0", IN_CHUNKS), 400),
    "chunks twice": ((IN_CHUNKS, IN_CHUNKS), 400),
    "chunks twice in one": (("Transfer-Encoding: chunked, chunked",), 400),
    "chunks, then another coding": (("Transfer-Encoding: chunked, identity",), 400),
    "another coding, then chunks": (("Transfer-Encoding: gzip, chunked",), 501),
    "a blank before the colon": (("Transfer-Encoding : chunked",), 400),
    "a tab before the colon": (("Transfer-Encoding\t: chunked",), 400),
    "nearly chunked": (("Transfer-Encoding: xchunked",), 400),
    "quoted": (('Transfer-Encoding: "chunked"',), 400),
    "identity": (("Transfer-Encoding: identity",), 400),
    "chunked and a control character": ((b"Transfer-Encoding: chunked\x0b",), 400),
    "on a folded line": (("Transfer-Encoding:\r\n chunked",), 400),
    "behind a bare line feed": (("X: y\nTransfer-Encoding: chunked",), 400),
    "behind a bare carriage return": (("X: y\rTransfer-Encoding: chunked",), 400),
    "a length twice": ((f"Content-Length: {OWN}", f"Content-Length: {OWN}"), 400),
    "two lengths": ((f"Content-Length: {OWN}", "Content-Length: 1"), 400),
    "two lengths in one": ((f"Content-Length: {OWN}, {OWN}",), 400),
    "a plus": ((f"Content-Length: +{OWN}",), 400),
    "a minus": ((f"Content-Length: -{OWN}",), 400),
    "hexadecimal": (("Content-Length: 0x40",), 400),
    "a word": (("Content-Length: many",), 400),
    "a fraction": ((f"Content-Length: {OWN}.0",), 400),
    "no length": (("Content-Length:",), 400),
    "beyond 64 bits": (("Content-Length: 18446744073709551617",), 400),
    "a blank before the length's colon": ((f"Content-Length : {OWN}",), 400),
    "a length of nought": (("Content-Length: 0",), 400),
}


@pytest.mark.parametrize("label", FRAMINGS)
async def test_a_doubtful_frame_is_refused_and_hides_nothing(hasty_portal: Portal, label: str) -> None:
    framing, status = FRAMINGS[label]
    body = gift(label)
    told = [str(len(body)).join(line.split(OWN)) if isinstance(line, str) else line for line in framing]
    is_chunked = any(b"hunked" in (line if isinstance(line, bytes) else line.encode()) for line in told)
    wire = chunked(body) if is_chunked else body
    heard = await exchange(hasty_portal, post(body, *told, wire=wire, is_last=False) + HIDDEN)
    assert (heard.statuses, heard.is_closed) == ((status,), True)
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
    assert (label in await stored(hasty_portal)) == (status == 200)


async def test_a_chunk_that_turns_bad_behind_the_head_is_a_400(hasty_portal: Portal) -> None:
    heard = await exchange(hasty_portal, post(b"", IN_CHUNKS, wire=b""), b"5\r\n{}xxx\r\n", b"zz\r\n")
    assert (heard.statuses, heard.is_closed) == ((400,), True)


LINES: dict[str, tuple[str, int]] = {
    "a later minor version": ("POST /gw/standard/hub HTTP/1.2", 400),
    "version 2": ("POST /gw/standard/hub HTTP/2.0", 505),
    "version 0.9": ("POST /gw/standard/hub HTTP/0.9", 505),
    "no version": ("POST /gw/standard/hub", 505),
    "two blanks": ("POST  /gw/standard/hub HTTP/1.1", 200),
    "an address with a blank": ("POST /gw/standard/hub x HTTP/1.1", 400),
    "a small method": ("post /gw/standard/hub HTTP/1.1", 400),
    "a method nobody has": ("GIVE /gw/standard/hub HTTP/1.1", 400),
    "HEAD": ("HEAD /gw/standard/hub HTTP/1.1", 405),
    "TRACE": ("TRACE /gw/standard/hub HTTP/1.1", 405),
    "OPTIONS": ("OPTIONS /gw/standard/hub HTTP/1.1", 405),
    "PUT": ("PUT /gw/standard/hub HTTP/1.1", 405),
    "CONNECT": ("CONNECT portal:1400 HTTP/1.1", 404),
    "an absolute address": ("POST http://portal/gw/standard/hub HTTP/1.1", 404),
    "an address that is none": ("POST gw/standard/hub HTTP/1.1", 400),
    "letters beyond ASCII": ("POST /gw/standard/hủb HTTP/1.1", 400),
    "a line of 20 KB": (f"POST /gw/standard/hub?{'x' * 20_000} HTTP/1.1", 400),
}


@pytest.mark.parametrize("label", LINES)
async def test_a_request_line_is_ours_or_refused(hasty_portal: Portal, label: str) -> None:
    line, status = LINES[label]
    body = gift(label)
    sent = request(line, *signature(body), f"Content-Length: {len(body)}", body=body)
    heard = await exchange(hasty_portal, sent)
    assert (heard.statuses, heard.is_closed) == ((status,), True)
    assert b"aiohttp" not in heard.content
    assert (label in await stored(hasty_portal)) == (status == 200)


HEADS: dict[str, tuple[tuple[str | bytes, ...], int]] = {
    "ten thousand": (tuple(f"X-{number}: y" for number in range(10_000)), 400),
    "a hundred and ten": (tuple(f"X-{number}: y" for number in range(110)), 400),
    "ninety": (tuple(f"X-{number}: y" for number in range(90)), 200),
    "the same ninety times": (("X: y",) * 90, 200),
    "one of a megabyte": ((f"X: {'y' * 1_000_000}",), 400),
    "one of 10 KB": ((f"X: {'y' * 10_000}",), 400),
    "one of 8,000": ((f"X: {'y' * 8_000}",), 200),
    "no colon": (("hello",), 400),
    "no name": ((": y",), 400),
    "a blank in front of the colon": (("X : y",), 400),
    "NUL": ((b"X: a\x00b",), 400),
    "a carriage return": ((b"X: a\rb",), 400),
    "a line feed": ((b"X: a\nY: b",), 400),
    "a folded line": ((b"X: a\r\n b",), 400),
    "an escape": ((b"X: \x1b[2J",), 400),
    "a control character in a name": ((b"X\x01: y",), 400),
    "a name beyond ASCII": (("ủ: y",), 400),
    "a second host": (("Host: other",), 400),
    "bytes that are no UTF-8": ((b"User-Agent: \xff\xfe", b"X: \xff"), 200),
}


@pytest.mark.parametrize("label", HEADS)
async def test_headers_are_bounded_and_plain(hasty_portal: Portal, label: str) -> None:
    headers, status = HEADS[label]
    heard = await exchange(hasty_portal, post(gift(label), *headers))
    # Who is cut off while it still sends may see a reset in place of the answer.
    assert heard.statuses in ((status,), ()) if status == 400 else heard.statuses == (status,)
    assert heard.is_closed
    assert (label in await stored(hasty_portal)) == (status == 200)


async def test_a_request_without_a_host_is_refused(hasty_portal: Portal) -> None:
    heard = await exchange(hasty_portal, post(gift("homeless")).replace(b"Host: portal\r\n", b""))
    assert heard.statuses == (400,)


OTHER_TONGUES = {
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS": bytes.fromhex("16030102000100 01fc0303") + bytes(64),
    "SOCKS": b"\x05\x01\x00",
    "SMPP": bytes.fromhex("00000010 00000009 00000000 00000001"),
    "a proxy's greeting": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "line feeds only": post(gift("lines")).replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("label", OTHER_TONGUES)
async def test_another_protocol_is_told_so_and_shown_out(hasty_portal: Portal, label: str) -> None:
    heard = await exchange(hasty_portal, OTHER_TONGUES[label])
    assert (heard.statuses, heard.is_closed) == ((400,), True)


async def test_version_1_0_is_understood_but_has_no_chunks(hasty_portal: Portal) -> None:
    old = post(gift("old")).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert (await exchange(hasty_portal, old)).statuses == (200,)
    body = gift("old and chunked")
    sent = post(body, IN_CHUNKS, "Connection: keep-alive", wire=chunked(body), is_last=False)
    heard = await exchange(hasty_portal, sent.replace(b"HTTP/1.1", b"HTTP/1.0") + HIDDEN)
    assert (heard.statuses, heard.is_closed) == ((400,), True)
    assert not {"old and chunked", "hidden"} & set(await stored(hasty_portal))
