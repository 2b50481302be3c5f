"""Several workers on one port: the same figures, and nothing lost when one dies, all are replaced, or all stop."""

import asyncio
import os
import re
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.support.databases import cloned_database
from tests.support.fleet import Carriers, Connection, Fleet, fleet, is_alive
from tests.support.portal import eventually
from tests.support.postgres import TestServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds its processes by /proc"),
]

TOTALS = "/api/v1/campaigns/vnn/totals"
TAKEN = re.compile(r'portal1400_callbacks_total\{account="hub",outcome="accepted"\} (\S+)')


@pytest.fixture(scope="module")
async def two(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two workers, for all tests that leave two behind."""
    async with cloned_database(server) as dsn, fleet(dsn, tmp_path_factory.mktemp("two")) as started:
        yield started


async def taken(site: Fleet) -> list[float]:
    """How many callbacks each worker has accepted since its start."""
    found = [TAKEN.search(await site.metrics(index)) for index in range(site.workers)]
    return [float(each[1]) if each else 0.0 for each in found]


async def test_two_workers_share_one_port_and_publish_the_same_bytes(two: Fleet) -> None:
    connections: list[Connection] = []
    count = 0
    while min(await taken(two)) == 0:
        assert count < 300, "one worker never gets a connection"
        connections.append(Connection(two.port))
        assert await connections[-1].post(f"shared-{count}") == 200
        count += 1
    bodies: dict[int, set[bytes]] = defaultdict(set)

    async def all_show_everything() -> bool:
        answers = [await each.ask("GET", TOTALS) for each in connections]
        for _, body in answers:
            bodies[orjson.loads(body)["version"]].add(body)
        return all(orjson.loads(body)["messages"] == count for _, body in answers)

    await eventually(all_show_everything)
    assert all(len(same) == 1 for same in bodies.values())
    for each in connections:
        each.close()
    assert sum(await taken(two)) == count


async def test_a_worker_that_is_killed_comes_back_and_loses_nothing(two: Fleet) -> None:
    carriers = Carriers(two.port, "killed", may_repeat=True)
    async with carriers.playing():
        await carriers.more(50)
        before = two.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        await carriers.more(50)

        async def is_back() -> bool:
            return len(two.worker_pids()) == 2 and before[0] not in two.worker_pids()

        await eventually(is_back, 90)
        await two.ready()
        await carriers.more(50)
    assert before[1] in two.worker_pids()
    ended = await two.until_said("worker_ended", 1)
    assert (ended["pid"], ended["code"]) == (before[0], -signal.SIGKILL)
    assert set(carriers.answers) == {200}
    stored = {each for each in await two.stored() if each.startswith("killed")}
    assert carriers.acknowledged <= stored <= carriers.sent


async def test_replacing_all_workers_under_load_breaks_nothing(two: Fleet) -> None:
    before = two.worker_pids()
    rolls = len(two.said("rolling_restart_done"))
    carriers = Carriers(two.port, "rolled")
    viewers = [asyncio.create_task(_follow_to_the_end(two)) for _ in range(6)]
    async with carriers.playing():
        await carriers.more(50)
        os.kill(two.pid, signal.SIGHUP)
        await two.until_said("rolling_restart_done", rolls + 1)
        await carriers.more(50)
    assert not set(before) & set(two.worker_pids())
    assert len(two.worker_pids()) == 2
    assert (carriers.broken, carriers.not_taken, set(carriers.answers)) == ([], [], {200})
    assert carriers.acknowledged == carriers.sent
    stored = {each for each in await two.stored() if each.startswith("rolled")}
    assert stored == carriers.sent
    retries = await asyncio.gather(*viewers)
    assert all(200 <= each <= 2_000 for each in retries)
    assert len(set(retries)) > 1, "all would come back at once"


async def _follow_to_the_end(site: Fleet) -> int:
    """Follow the stream until its clean end; the last `retry` it was told, in milliseconds."""
    url, limit = f"http://127.0.0.1:{site.port}/api/v1/stream", aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=limit) as http, http.get(url) as answer:
        whole = await answer.read()
    assert b"event: totals" in whole
    frames = whole.rstrip(b"\n").split(b"\n\n")
    assert frames[-1].startswith(b"retry: ")
    return int(frames[-1].removeprefix(b"retry: "))


async def test_a_successor_that_refuses_leaves_its_predecessor_serving(two: Fleet) -> None:
    before = two.worker_pids()
    given_up = len(two.said("rolling_restart_given_up"))
    ended = len(two.said("worker_ended"))
    async with two.made_by_a_later_release():
        carriers = Carriers(two.port, "refused", pause_seconds=0.25)
        async with carriers.playing(4):
            os.kill(two.pid, signal.SIGHUP)
            await two.until_said("rolling_restart_given_up", given_up + 1)
            assert two.worker_pids() == before
            # One that dies now cannot come back either: it is tried again, later and later, and the other one serves.
            carriers.may_repeat = True
            os.kill(before[1], signal.SIGKILL)
            third = await two.until_said("worker_ended", ended + 3)
            assert third["times_in_a_row"] == 3
            assert "9999_later.sql" in str(third["reason"])
            pauses = [float(str(line["again_in_seconds"])) for line in two.said("worker_ended")[ended:]]
            assert pauses[:3] == sorted(set(pauses[:3])), "the pauses grow"
            await carriers.more(20)
    await two.ready()
    assert len(two.worker_pids()) == 2
    assert carriers.acknowledged <= set(await two.stored())


async def test_workers_end_when_their_supervisor_is_killed_and_the_next_one_takes_the_port(two: Fleet) -> None:
    carriers = Carriers(two.port, "orphaned", may_repeat=True)
    async with carriers.playing():
        await carriers.more(50)
        workers = two.worker_pids()
        os.kill(two.pid, signal.SIGKILL)
        assert await two.ended() == -signal.SIGKILL
        # At once: the old workers still hold the sockets for a moment.
        two.start()
        await two.ready()
        await carriers.more(50)

        async def are_gone() -> bool:
            return not any(map(is_alive, workers))

        await eventually(are_gone, 60)
    assert carriers.broken == []
    stored = {each for each in await two.stored() if each.startswith("orphaned")}
    assert carriers.acknowledged <= stored <= carriers.sent


REFUSED = {
    "another key": (
        {"PORTAL1400_SECRET_KEY": "another key, long enough to be one of them"},
        "is not the key this data",
    ),
    "no key": ({"PORTAL1400_SECRET_KEY": ""}, "PORTAL1400_SECRET_KEY: too short"),
    "no database": ({"PORTAL1400_DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/portal"}, "cannot connect to"),
}


@pytest.mark.parametrize(("changes", "sentence"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_no_worker_can_start_with_is_said_once(
    two: Fleet, tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    site = Fleet(two.dsn, tmp_path, 2)
    site.changes = changes
    site.start()
    assert await site.ended() == 1
    said = site.log_file.read_text()
    assert said.count(sentence) == 1, said
    assert said.splitlines()[-1].startswith("portal1400: "), said
    assert "Traceback" not in said
    assert "hunter2" not in said


async def test_an_address_that_stays_taken_is_refused(two: Fleet, tmp_path: Path) -> None:
    second = Fleet(two.dsn, tmp_path)
    second.changes = {"PORTAL1400_LISTEN": f"127.0.0.1:{two.port}"}
    second.start()
    assert await second.ended() == 1
    assert second.log_file.read_text() == (
        f"portal1400: PORTAL1400_LISTEN=127.0.0.1:{two.port} cannot be used (Address already in use): "
        "stop what listens there or set another address\n"
    )


async def test_a_public_port_among_the_internal_ones_is_refused(two: Fleet, tmp_path: Path) -> None:
    site = Fleet(two.dsn, tmp_path, 3)
    site.changes = {"PORTAL1400_LISTEN": f"127.0.0.1:{site.internal_port + 2}"}
    site.start()
    assert await site.ended() == 1
    assert f"PORTAL1400_INTERNAL_LISTEN=127.0.0.1:{site.internal_port + 2} cannot be" in site.log_file.read_text()


async def test_told_to_stop_all_workers_answer_what_they_have_and_end(two: Fleet) -> None:
    carriers = Carriers(two.port, "stopped")
    workers = two.worker_pids()
    async with carriers.playing():
        await carriers.more(50)
        os.kill(two.pid, signal.SIGTERM)
        assert await two.ended() == 0
    assert not any(map(is_alive, workers))
    assert carriers.broken == [], "a connection that was used before got no answer"
    assert set(carriers.answers) == {200}
    assert {each for each in await two.stored() if each.startswith("stopped")} >= carriers.acknowledged
    assert len(two.said("stopped")) >= 2
    assert len(two.said("all_workers_stopped")) == 1


async def test_one_worker_under_a_supervisor_is_replaced_without_a_gap(database_dsn: str, tmp_path: Path) -> None:
    async with fleet(database_dsn, tmp_path, 1) as one:
        carriers = Carriers(one.port, "alone")
        idle = Connection(one.port)
        assert await idle.post("idle-1") == 200
        (before,) = one.worker_pids()
        async with carriers.playing(4):
            os.kill(one.pid, signal.SIGHUP)
            await one.until_said("rolling_restart_done", 1)
        (after,) = one.worker_pids()
        assert before != after
        assert (carriers.broken, carriers.not_taken, set(carriers.answers)) == ([], [], {200})
        assert set(await one.stored()) == carriers.sent | {"idle-1"}
        # A connection that sent nothing for PORTAL1400_DRAIN_SECONDS was closed.
        with pytest.raises((EOFError, OSError)):
            await idle.post("idle-2")
        idle.close()
