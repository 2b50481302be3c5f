"""The client of replies: a hub's answer is read whole, and of none is told whether the call can have arrived."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from gateways.replier import Call, Fate, Judgement
from service.delivery import client
from service.delivery.client import NO_ANSWER, HubClient

CHUNKED = (b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n0:\r\n", b"3\r\n ok\r\n0\r\n\r\n")
ANSWERS: dict[str, tuple[Sequence[bytes], object]] = {
    "in two packets": ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0:", b" ok"), (200, b"0: ok")),
    "in two chunks": (CHUNKED, (202, b"0: ok")),
    "cut off": ((b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n0:", b" ok"), NO_ANSWER),
    "until it closes": ((b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0:", b" ok"), (200, b"0: ok")),
}


@asynccontextmanager
async def hub(pieces: Sequence[bytes]) -> AsyncIterator[str]:
    """One that sends its answer piece by piece, each when the one before is on its way; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(1)) == b"P":  # else a handshake of TLS, which has no end that we know
            await reader.readuntil(b"\r\n\r\ntext")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            # Long enough that the client sees the first alone; where it does not, nothing fails.
            await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def posted(address: str) -> tuple[int, bytes] | Judgement:
    async with HubClient() as calls:
        return await calls.post(Call(address, {"Content-Type": "text/plain"}, b"text"))


@pytest.mark.parametrize("label", ANSWERS)
async def test_an_answer_is_judged_when_it_is_whole(label: str) -> None:
    pieces, read = ANSWERS[label]
    async with hub(pieces) as address:
        assert await posted(f"http://{address}/send") == read


async def test_an_answer_that_never_ends_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    async with hub([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", *[b"0:"] * 50]) as address:
        assert await posted(f"http://{address}/send") == NO_ANSWER


async def test_why_a_hub_is_not_reached_is_told_and_the_call_may_go_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with hub([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as address:
        spoken = await posted(f"https://{address}/send")
    gone = await posted(f"http://{address}/send")

    async def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    nameless = await posted("http://hub.invalid/send")
    judged = [each for each in (spoken, gone, nameless) if isinstance(each, Judgement)]
    assert [each.fate for each in judged] == [Fate.LATER] * 3
    assert [(each.reason or "").partition(":")[0] for each in judged] == [
        "no TLS with the hub", "the hub cannot be reached", "the name of the hub leads nowhere",
    ]  # fmt: skip
