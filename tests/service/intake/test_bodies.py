"""Bodies in flight: each sender has its share of the room, and what is refused leaves nothing behind."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import orjson
import pytest

from service.intake.bodies import (
    ACCOUNT_BYTES_MAX,
    BODIES_BYTES_MAX,
    LARGE_BYTES,
    MIB,
    STRANGER_BYTES_MAX,
    STRANGERS_BYTES_MAX,
    Bodies,
    NoRoom,
    Sender,
)
from service.runtime import garbage
from tests.support.databases import cloned_database
from tests.support.hostile_wire import HUB, exchange, gift, post, request
from tests.support.portal import BOOK, ELSEWHERE, Portal, eventually, message, running, signed_account
from tests.support.postgres import TestServer

FOREIGN = signed_account("elsewhere", network=ELSEWHERE)


def account(number: int) -> Sender:
    return Sender(f"hub-{number}", IPv4Address(1), is_stranger=False)


def stranger(number: int) -> Sender:
    return Sender("unknown", IPv4Address(number), is_stranger=True)


def provider(number: int) -> Sender:
    return Sender("unknown", IPv6Address(2**80 + number), is_stranger=True)


# Who sends bodies of 1 MiB without end -> how many are held.
SHARES: dict[str, tuple[Callable[[int], Sender], int]] = {
    "one account": (lambda _: account(1), ACCOUNT_BYTES_MAX),
    "many accounts": (account, BODIES_BYTES_MAX),
    "one stranger": (lambda _: stranger(1), STRANGER_BYTES_MAX),
    "one stranger with half of an IPv6 address": (provider, STRANGER_BYTES_MAX),
    "many strangers": (stranger, STRANGERS_BYTES_MAX),
}


@pytest.mark.parametrize("label", SHARES)
def test_each_has_its_share_of_the_room_and_gives_it_back(label: str) -> None:
    sender_of, bytes_max = SHARES[label]
    freed: list[int] = []
    bodies = Bodies(freed.append)
    with ExitStack() as held:
        for number in range(200):
            room = held.enter_context(bodies.room(partial(sender_of, number)))
            if number < bytes_max // MIB:
                room.require(MIB)
            else:
                with pytest.raises(NoRoom):
                    room.require(MIB)
        assert bodies.held_bytes == bytes_max
        with bodies.room(lambda: sender_of(1)) as small:
            small.require(LARGE_BYTES)
    assert (bodies.held_bytes, sum(freed), bodies._held_by) == (0, bytes_max, {})


def test_a_body_in_pieces_takes_room_as_it_grows() -> None:
    bodies = Bodies(lambda _: None)
    with bodies.room(lambda: stranger(1)) as room:
        for size in (LARGE_BYTES, LARGE_BYTES + 1, MIB, MIB, STRANGER_BYTES_MAX):
            room.require(size)
            assert bodies.held_bytes == (size if size > LARGE_BYTES else 0)
        with pytest.raises(NoRoom):
            room.require(STRANGER_BYTES_MAX + 1)
    assert bodies.held_bytes == 0


def test_the_collector_looks_when_enough_bytes_were_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: looks.append(1))
    by_bytes = garbage.CollectionByBytes()
    for _ in range(2 * garbage.COLLECT_BYTES // MIB):
        by_bytes.see(MIB)
    assert len(looks) == 2


@pytest.fixture(scope="module")
async def beset(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A service that waits for bodies for long."""
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path_factory.mktemp("beset"), book=BOOK + FOREIGN, body_read_seconds="20") as started,
    ):
        yield started


LARGE_GIFT = gift("m-1") + b" " * MIB
LENGTH = f"Content-Length: {MIB}"
REFUSED: dict[str, Callable[[], bytes]] = {
    "an unknown account": lambda: request("POST /gw/standard/nobody HTTP/1.1", LENGTH, body=bytes(MIB)),
    "an account that lists others": lambda: request("POST /gw/standard/elsewhere HTTP/1.1", LENGTH, body=bytes(MIB)),
    "a wrong signature": lambda: request(f"POST {HUB} HTTP/1.1", LENGTH, body=bytes(MIB)),
    "an old signature": lambda: post(LARGE_GIFT[:MIB]).replace(b"webhook-timestamp: ", b"webhook-timestamp: 0"),
    "not understood": lambda: post(bytes(MIB)),
    "too large": lambda: post(bytes(MIB + 1)),
    "another method": lambda: request(f"PUT {HUB} HTTP/1.1", LENGTH, body=bytes(MIB)),
    "not to its end": lambda: request("POST /gw/standard/nobody HTTP/1.1", LENGTH, body=bytes(MIB - 1)),
}
ROUNDS = 12


@pytest.mark.parametrize("label", REFUSED)
async def test_a_refused_body_is_free_when_it_is_answered(beset: Portal, label: str) -> None:
    sent = REFUSED[label]()
    half_closed = label == "not to its end"
    await exchange(beset, sent, is_half_closed=half_closed)
    await beset.service.intake.quarantine.stop()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(ROUNDS):
            heard = await exchange(beset, sent, is_half_closed=half_closed)
            assert all(400 <= status < 500 for status in heard.statuses)
        await beset.service.intake.quarantine.stop()
        assert tracemalloc.get_traced_memory()[0] - before < 2 * MIB
    finally:
        tracemalloc.stop()
        gc.enable()
    assert beset.service.intake.intake.bodies.held_bytes == 0


async def test_strangers_who_hold_back_fill_their_own_room_and_no_other(beset: Portal) -> None:
    head = request("POST /gw/standard/nobody HTTP/1.1", LENGTH, body=bytes(MIB - 1))
    held = STRANGER_BYTES_MAX // MIB
    waiting = [asyncio.create_task(exchange(beset, head, quiet_seconds=30)) for _ in range(held)]
    bodies = beset.service.intake.intake.bodies

    async def holds(size: int) -> bool:
        return bodies.held_bytes == size

    await eventually(lambda: holds(STRANGER_BYTES_MAX))
    # Known and unknown accounts hear the same, before the body is read.
    for account_code in ("nobody", "elsewhere"):
        line = f"POST /gw/standard/{account_code} HTTP/1.1"
        heard = await exchange(beset, request(line, LENGTH, body=b"the beginning"))
        assert (heard.statuses, heard.body, heard.is_closed) == ((429,), b'{"error":"overloaded"}', True)
        assert b"retry-after: " in heard.content.lower()
        small = request(line, "Content-Length: 2", body=b"{}")
        assert (await exchange(beset, small)).statuses == (401,)
    events = [message(f"b-{each}") for each in range(50)]
    reply = await beset.post(orjson.dumps({"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": events}))
    assert (reply.status, reply.outcome) == (200, "accepted")
    for each in waiting:
        each.cancel()
    await eventually(lambda: holds(0))
