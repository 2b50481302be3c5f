"""Server-sent events: a snapshot at once, each change, a sign of life; and nobody who stops reading is waited for."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest

from campaigns.book.book import Book
from campaigns.totals.totals import UnallocatedTotals
from metrics.board import Board
from service.commands.apply import apply_file
from service.live import broadcast as audience_module
from service.live.broadcast import Broadcaster
from service.runtime.clock import utc_now
from tests.support.portal import BOOK, Portal, book_file, eventually, message, running
from tests.support.promptness import is_prompt
from tests.support.protocols import fetch
from tests.support.streams import following

NOTHING = UnallocatedTotals(0, None, (0, 0, 0), 0, 0)


async def test_a_viewer_gets_a_snapshot_at_once_and_then_each_change(portal: Portal) -> None:
    async with following(portal, "?campaign=vnn", **{"Last-Event-ID": "999999"}) as viewer:
        assert viewer.answer.headers["Content-Type"] == "text/event-stream"
        assert viewer.answer.headers["Access-Control-Allow-Origin"] == "*"
        version, data = await viewer.totals(1)
        assert (version, orjson.loads(data)["messages"]) == (0, 0)
        for number in range(1, 4):
            await portal.post(message(f"m-{number}"))
            version, data = await viewer.totals()
            assert (version, orjson.loads(data)["version"], orjson.loads(data)["messages"]) == (number,) * 3
            # The bytes of the event are the bytes of the JSON address: they are the same snapshot.
            assert (await fetch(portal, "GET", "/api/v1/campaigns/vnn/totals")).body == data
    async with following(portal, "?campaign=vnn&lastEventId=3", **{"Last-Event-ID": "3"}) as again:
        assert (await again.totals(1))[0] == 3


async def test_a_stream_tells_its_age_and_each_new_book(portal: Portal, tmp_path: Path) -> None:
    async with following(portal, "?campaign=vnn&state=true") as viewer:
        first = await viewer.state()
        assert is_prompt(first["age_seconds"], 2)
        assert first["book_version"] == 1
        await apply_file(portal.opened, book_file(tmp_path, BOOK.replace("Cả nước", "Toàn dân")))
        assert (await viewer.state())["book_version"] == 2
        await portal.service.live.feed.stop()
        assert (await viewer.state())["age_seconds"] >= 2


async def test_who_comes_while_the_board_is_old_is_told_when_it_is_read_again_however_soon() -> None:
    board, book = Board(), Book(1, ())
    loop = asyncio.get_running_loop()
    audience = Broadcaster(
        board, lambda: book, clock=utc_now, write_seconds=5, level=int, changed=lambda _: None, dropped=lambda: None
    )
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        board.post((), None, monotonic())
        await audience._round()
        # It grows old, is seen so by a newcomer alone, and is read before anybody looks at its age again.
        board.post((), None, monotonic() - 3)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        audience.subscribe(transport, None, b"", hears_state=True)
        assert b'"age_seconds":3.0' in await loop.sock_recv(theirs, 4096)
        board.post((), None, monotonic())
        await audience._round()
        async with asyncio.timeout(20):
            assert b'"age_seconds":0.0' in await loop.sock_recv(theirs, 4096)
        transport.abort()


async def test_without_a_name_all_open_campaigns_are_followed_and_closed_ones_are_not(portal: Portal) -> None:
    async with following(portal) as viewer, following(portal, "?campaign=old") as closed:
        assert orjson.loads((await viewer.totals())[1])["campaign"] == "vnn"
        assert orjson.loads((await closed.totals())[1])["campaign"] == "old"
        await portal.post(message("m-1", "UH", short_code="1409"))
        assert orjson.loads((await closed.totals())[1])["uncounted"]["after_close"] == 1
        await portal.post(message("m-2"))
        assert orjson.loads((await viewer.totals())[1])["campaign"] == "vnn"


async def test_versions_never_decrease_and_no_figure_jumps_back_under_load(portal: Portal) -> None:
    async with following(portal, "?campaign=vnn") as viewer:

        async def follow() -> list[dict[str, Any]]:
            seen = [orjson.loads((await viewer.totals())[1])]
            while seen[-1]["messages"] < 600:
                seen.append(orjson.loads((await viewer.totals())[1]))
            return seen

        watching = asyncio.create_task(follow())
        for turn in range(60):
            await asyncio.gather(*(portal.post(message(f"m-{turn}-{number}")) for number in range(10)))
        seen = await watching
    versions = [totals["version"] for totals in seen]
    assert versions == sorted(set(versions))
    assert len(versions) > 2
    for totals in seen:
        assert totals["pledged_vnd"] == totals["messages"] * 100_000 == totals["units"] * 20_000
        assert sum(share["pledged_vnd"] for share in totals["by_carrier"]) == totals["pledged_vnd"]


async def test_a_quiet_stream_gives_a_sign_of_life(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audience_module.HEARTBEAT_SECONDS < 15
    monkeypatch.setattr(audience_module, "HEARTBEAT_SECONDS", 0.1)
    async with running(database_dsn, tmp_path) as portal, following(portal, "?campaign=old") as viewer:
        await viewer.totals()
        for _ in range(3):
            assert (await viewer.next()).startswith(b":")


REFUSED = {
    "a campaign nobody knows": ("?campaign=nobody", 404, "unknown-campaign"),
    "a misspelt parameter": ("?campain=vnn", 400, "bad-parameter"),
    "a parameter given twice": ("?campaign=vnn&campaign=old", 400, "bad-parameter"),
}


async def test_a_wrong_question_is_refused(portal: Portal) -> None:
    for label, (query, status, kind) in REFUSED.items():
        answer = await fetch(portal, "GET", f"/api/v1/stream{query}")
        assert (answer.status, answer.json()["type"]) == (status, f"urn:portal1400:problem:{kind}"), label
        assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_a_full_house_answers_and_never_evicts(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, stream_viewers_max="2") as portal:
        async with following(portal) as first, following(portal) as second:
            await first.totals()
            await second.totals()
            refused = await fetch(portal, "GET", "/api/v1/stream")
            assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
            assert await portal.metric("portal1400_stream_viewers") == 2
            await portal.post(message("m-1"))
            assert (await first.totals())[0] == (await second.totals())[0] == 1

        async def all_left() -> bool:
            return await portal.metric("portal1400_stream_viewers") == 0

        # Noticed when they hang up, not when there is next something to tell them.
        await eventually(all_left)
        async with following(portal) as third:
            assert (await third.totals())[0] == 1


async def test_a_viewer_that_stops_reading_is_dropped_and_the_others_go_on(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, stream_write_seconds="0.3") as portal:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        host, port = portal.base.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (host, int(port)))
        await loop.sock_sendall(deaf, b"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            async with following(portal) as viewer:
                await viewer.totals()
                board = portal.service.live.board
                newest = board.get("vnn")
                assert newest is not None

                async def is_dropped() -> bool:
                    nonlocal newest
                    assert newest is not None
                    for _ in range(200):
                        figures = replace(newest.totals, version=newest.totals.version + 1)
                        board.post([figures], NOTHING, 0.0)
                        newest = board.get("vnn")
                        assert newest is not None
                        await asyncio.sleep(0)
                        await asyncio.sleep(0)
                    return len(portal.service.live.streams.broadcaster) == 1

                await eventually(is_dropped, 20)
                while (await viewer.totals())[0] < newest.totals.version:
                    pass
                assert (await portal.post(message("m-1"))).status == 200
        finally:
            deaf.close()


async def test_at_the_end_of_the_service_every_stream_ends_in_order(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal, following(portal) as viewer:
        await viewer.totals()
        stopping = asyncio.create_task(portal.service.stop())
        assert (await viewer.next()).startswith(b"retry:")
        with pytest.raises(EOFError):
            await viewer.next()
        async with asyncio.timeout(20):
            await stopping
