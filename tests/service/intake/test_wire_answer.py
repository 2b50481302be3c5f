"""Answers sent in one piece: the bytes aiohttp would send, and nothing that could end a head early."""

import asyncio
import re
from uuid import UUID

import pytest
from aiohttp import web

from gateways.outcome import Answer
from service.intake.wire_answer import WireAnswer, plain_response_of, response_of

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
ANSWERS = {
    "json": Answer(200, b'{"accepted":["m-1"]}', "application/json", (("x-portal1400-outcome", "accepted"),)),
    "later": Answer(503, b"{}", "application/json", (("retry-after", "5"), ("x-a", "b"))),
    "xml": Answer(500, "<a>ủ</a>".encode(), 'text/xml; charset="utf-8"'),
    "no type": Answer(202, b"0: Accepted"),
    "no body": Answer(200, b"", "text/plain"),
}


async def exchange(answer: Answer, *, whole: bool, version: str = "1.1", header: str = "") -> bytes:
    """What comes back over a connection, up to its end or the end of the body; the date is blanked."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        return response_of(request, answer, ID) if whole else plain_response_of(answer, ID)

    server = web.Server(respond)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        writer.write(f"POST / HTTP/{version}\r\nHost: a\r\n{header}Content-Length: 2\r\n\r\n{{}}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert re.search(rb"\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n", head)
        return re.sub(rb"Date: [^\r]+", b"Date: -", head) + await reader.readexactly(len(answer.body))
    finally:
        writer.close()
        listening.close()
        await server.shutdown()


@pytest.mark.parametrize("label", ANSWERS)
@pytest.mark.parametrize(("version", "header"), [("1.1", ""), ("1.1", "Connection: close\r\n"), ("1.0", "")])
async def test_an_answer_is_the_same_bytes_either_way(label: str, version: str, header: str) -> None:
    answer = ANSWERS[label]
    whole = await exchange(answer, whole=True, version=version, header=header)
    assert whole == await exchange(answer, whole=False, version=version, header=header)
    assert b"\r\nCache-Control: no-store\r\nServer: portal1400\r\n" in whole
    assert f"\r\nx-portal1400-request: {ID}\r\n".encode() in whole


def test_a_header_cannot_end_the_head_early() -> None:
    with pytest.raises(ValueError, match="control character"):
        WireAnswer(Answer(200, b"x", "text/plain", (("x-a", "b\r\nx-c: d"),)), ID)
