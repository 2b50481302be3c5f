"""A message centre that speaks SMPP 3.4 to whoever binds to it: it delivers SMS of donors, and takes ours."""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# Section 5.1.2.1 of SMPP 3.4.
_RESPONSE = 0x80000000
_BINDS = frozenset({0x1, 0x2, 0x9})
_SUBMIT, _DELIVER, _UNBIND, _ENQUIRE = 0x4, 0x5, 0x6, 0x15
_HEAD = struct.Struct(">IIII")
_RECEIPT = 0x04
"""esm_class of a delivery receipt (section 5.2.12)."""


@dataclass(frozen=True)
class Submitted:
    """One SMS as it was handed over for a donor."""

    sender: str
    receiver: str
    text: bytes
    coding: int
    wants_receipt: bool


@dataclass
class MessageCentre:
    """`taken`: what was handed over so far. `reports`: whether it says at once that an SMS was delivered."""

    port: int = 0
    reports: bool = True
    taken: list[Submitted] = field(default_factory=list)
    bound: asyncio.Event = field(default_factory=asyncio.Event)
    _peer: asyncio.StreamWriter | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _answers: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[int]] = field(default_factory=set)

    async def deliver(self, sender: str, receiver: str, text: bytes, coding: int = 0, esm_class: int = 0) -> int:
        """One SMS to the gateway; the status that it answers, 0 for taken."""
        assert self._peer is not None, "nobody has bound"
        number = next(self._numbers)
        body = b"\0" + b"\1\1" + sender.encode() + b"\0" + b"\1\1" + receiver.encode() + b"\0"
        body += bytes((esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, coding, 0, len(text))) + text
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._peer.write(_HEAD.pack(16 + len(body), _DELIVER, 0, number) + body)
        async with asyncio.timeout(20):
            return await self._answers[number]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                length, command, status, number = _HEAD.unpack(await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if command & _RESPONSE:
                    if (waiting := self._answers.get(number)) is not None:
                        waiting.set_result(status)
                    continue
                said = b""
                if command in _BINDS:
                    self._peer, said = writer, b"centre\0"
                elif command == _SUBMIT:
                    said = f"{len(self.taken) + 1:x}\0".encode()
                writer.write(_HEAD.pack(16 + len(said), command | _RESPONSE, 0, number) + said)
                if command in _BINDS:
                    self.bound.set()
                elif command == _SUBMIT:
                    await self._take(body, said[:-1].decode())
                elif command == _UNBIND:
                    break
        writer.close()

    async def _take(self, body: bytes, name: str) -> None:
        rest = body.partition(b"\0")[2]
        sender, _, rest = rest[2:].partition(b"\0")
        receiver, _, rest = rest[2:].partition(b"\0")
        rest = rest[3:].partition(b"\0")[2].partition(b"\0")[2]
        registered, _, coding, _, length = rest[:5]
        sms = Submitted(sender.decode(), receiver.decode(), rest[5 : 5 + length], coding, bool(registered & 1))
        self.taken.append(sms)
        if sms.wants_receipt and self.reports:
            # In the form of appendix B; its answer is nobody's to wait for.
            said = (
                f"id:{name} sub:001 dlvrd:001 submit date:2611211530 done date:2611211531 stat:DELIVRD err:000 text:-"
            )
            task = asyncio.create_task(self.deliver(sms.receiver, sms.sender, said.encode(), 0, _RECEIPT))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def message_centre() -> AsyncIterator[MessageCentre]:
    """A message centre that listens."""
    centre = MessageCentre()
    server = await asyncio.start_server(centre._talk, "127.0.0.1", 0)
    centre.port = server.sockets[0].getsockname()[1]
    try:
        yield centre
    finally:
        server.close()
        if centre._peer is not None:
            centre._peer.close()
        for task in centre._tasks:
            task.cancel()
