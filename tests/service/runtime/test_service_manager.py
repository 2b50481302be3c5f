"""systemd is told in its own words, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.runtime.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket of a service manager, and its address as NOTIFY_SOCKET names it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@portal1400-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("\0" + name[1:] if name.startswith("@") else name)
        bound.setblocking(False)
        yield name, bound


def said(bound: socket.socket) -> list[bytes]:
    lines: list[bytes] = []
    while True:
        try:
            lines.append(bound.recv(100))
        except BlockingIOError:
            return lines


def test_ready_alive_and_stopping_are_sent_and_children_inherit_nothing(listening: tuple[str, socket.socket]) -> None:
    name, bound = listening
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    manager = ServiceManager.of(environ)
    assert environ == {"PATH": "/bin"}
    manager.ready()
    for _ in range(5):
        manager.alive()
    manager.stopping()
    assert said(bound) == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"], "a sign of life is sent as often as needed"


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_no_sign_of_life_where_nobody_waits_for_one(
    listening: tuple[str, socket.socket], watchdog: dict[str, str]
) -> None:
    name, bound = listening
    ServiceManager.of({"NOTIFY_SOCKET": name, **watchdog}).alive()
    assert said(bound) == []


def test_without_a_manager_or_with_one_that_has_gone_nothing_happens(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        manager = ServiceManager.of(environ)
        manager.ready()
        manager.alive()
        manager.stopping()


def test_a_manager_that_does_not_read_holds_nobody_up(listening: tuple[str, socket.socket]) -> None:
    name, bound = listening
    manager = ServiceManager.of({"NOTIFY_SOCKET": name})
    for _ in range(2_000):
        manager.ready()
    assert 0 < len(said(bound)) < 2_000
