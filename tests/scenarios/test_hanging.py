"""A worker that hangs is ended and replaced, and the service manager is told only what is so."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.databases import cloned_database
from tests.support.fleet import Carriers, Fleet
from tests.support.portal import eventually
from tests.support.postgres import TestServer
from tests.support.promptness import is_prompt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc"),
]


class Manager:
    """A service manager that listens all the time, as systemd does: a socket nobody reads takes few datagrams."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._heard: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        while (said := self._socket.recv(100)) != b"end":
            self._heard.append(said)

    def messages(self) -> list[bytes]:
        """What was heard since it was asked last."""
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Hear to the end what was said before, then no more. May be called twice."""
        if not self._ear.is_alive():
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", self.address)
        self._ear.join()
        self._socket.close()


Managed = tuple[Fleet, Manager]


@pytest.fixture(scope="module")
async def managed(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Managed]:
    """Two workers under a supervisor that a service manager waits for, and the manager's socket."""
    folder = tmp_path_factory.mktemp("managed")
    made = Fleet("", folder)
    with contextlib.closing(Manager(folder / "notify")) as manager:
        made.changes |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1500000"}
        async with cloned_database(server) as dsn:
            made.dsn = dsn
            await made.apply()
            made.start()
            try:
                await made.ready()
                yield made, manager
            finally:
                await made.end()


def environ_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def heard_living(manager: Manager, times: int) -> list[bytes]:
    """What the manager heard until it was told so often that we live."""
    said: list[bytes] = []

    async def is_enough() -> bool:
        said.extend(manager.messages())
        return said.count(b"WATCHDOG=1") >= times

    await eventually(is_enough)
    return said


async def test_the_manager_hears_ready_once_and_then_that_we_live(managed: Managed) -> None:
    site, manager = managed
    said = await heard_living(manager, 2)
    assert said.count(b"READY=1") == 1
    assert set(said) == {b"READY=1", b"WATCHDOG=1"}
    for pid in site.worker_pids():
        assert b"NOTIFY_SOCKET" not in environ_of(pid)


async def test_a_stopped_worker_is_ended_and_replaced_within_ten_seconds(
    managed: Managed,
) -> None:
    site, _ = managed
    carriers = Carriers(site.port, "hung", may_repeat=True)
    async with carriers.playing(4):
        await carriers.more(20)
        before = site.worker_pids()
        began = time.monotonic()
        os.kill(before[0], signal.SIGSTOP)

        async def is_replaced() -> bool:
            return len(site.worker_pids()) == 2 and before[0] not in site.worker_pids()

        await eventually(is_replaced, 60)
        hung = await site.until_said("worker_hangs", 1)
        await site.ready()
        seconds = time.monotonic() - began
        await carriers.more(20)
    assert hung["pid"] == before[0]
    assert before[1] in site.worker_pids(), "the other one lived, under the same load"
    assert len(site.said("worker_hangs")) == 1
    assert carriers.acknowledged <= set(await site.stored())
    counted = [await site.metrics(index) for index in range(2)]
    assert sum('portal1400_worker_restarts_total{reason="hung"} 1.0' in each for each in counted) == 1
    # A machine that others use starts a process late; it is ended in time all the same.
    assert is_prompt(float(str(hung["silent_seconds"])), 7)
    assert is_prompt(seconds, 10), seconds


async def test_after_the_supervisor_itself_was_suspended_nobody_is_ended(
    managed: Managed,
) -> None:
    site, manager = managed
    workers = site.worker_pids()
    hangs = len(site.said("worker_hangs"))
    for pid in (site.pid, *workers):
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(7)
    manager.messages()
    await asyncio.sleep(0.8)
    assert manager.messages() == [], "who is suspended does not say that it lives"
    for pid in (site.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(1.5)
    assert (site.worker_pids(), len(site.said("worker_hangs"))) == (workers, hangs)
    await heard_living(manager, 1)


async def test_the_manager_hears_that_we_stop(managed: Managed) -> None:
    site, manager = managed
    manager.messages()
    os.kill(site.pid, signal.SIGTERM)
    assert await site.ended() == 0
    manager.close()
    assert manager.messages()[-1:] == [b"STOPPING=1"]


async def test_one_process_alone_tells_the_manager_too(database_dsn: str, tmp_path: Path) -> None:
    site = Fleet(database_dsn, tmp_path, 1, arguments=("serve",))
    with contextlib.closing(Manager(tmp_path / "notify")) as manager:
        site.changes |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1500000"}
        await site.apply()
        site.start()
        try:
            await site.ready()
            said = await heard_living(manager, 1)
        finally:
            await site.end()
    said += manager.messages()
    assert [line for line in said if line != b"WATCHDOG=1"] == [b"READY=1", b"STOPPING=1"]
