"""Log lines are written behind: a reader that is gone or stalls and a full disk cost lines, which are counted."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.runtime import log_writer
from service.runtime.log_writer import LINE_BYTES_MAX, LogWriter
from tests.support.promptness import is_prompt

PIPE_BYTES = 4096
TOLD = b"lines lost: "


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends; either may be closed meanwhile."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


@contextlib.contextmanager
def writer_to(descriptor: int, lines_max: int = 1000) -> Iterator[LogWriter]:
    writer = LogWriter(descriptor, lambda count: TOLD + str(count).encode(), lines_max=lines_max)
    try:
        yield writer
    finally:
        writer.close(0.1)


def soon(probe: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_closing_twice_closes_no_file_that_got_the_number_meanwhile(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno(), lambda count: TOLD + str(count).encode())
        descriptor = writer._descriptor
        writer.close()
        with (tmp_path / "another").open("wb") as another:
            assert another.fileno() == descriptor
            writer.close()
            another.write(b"whole")
    assert (tmp_path / "another").read_bytes() == b"whole"


def test_lines_are_written_in_order_from_every_thread(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file, writer_to(file.fileno(), 10_000) as writer:

        def write(mark: int) -> None:
            for number in range(500):
                writer.write(b"%c%d" % (mark, number))

        threads = [threading.Thread(target=write, args=(mark,)) for mark in b"abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.write("cộng".encode())
        writer.close()
        assert (writer.lost, list(writer.troubles())) == (0, [])
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines.pop().decode() == "cộng"
    for mark in "abc":
        assert [line[1:] for line in map(bytes.decode, lines) if line[0] == mark] == [str(n) for n in range(500)]


def test_a_reader_that_is_gone_costs_lines_and_nothing_else() -> None:
    with pipe() as (reading, writing), writer_to(writing) as writer:
        os.close(reading)
        writer.write(b"nobody reads this")
        soon(lambda: writer.lost == 1)
        assert "log lines are being lost (1 so far)" in next(writer.troubles())


def test_a_full_disk_costs_lines() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, writer_to(full.fileno()) as writer:
        for _ in range(3):
            writer.write(b"no room")
        soon(lambda: writer.lost == 3)


def test_a_reader_that_stalls_makes_nobody_wait_and_hears_how_much_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(log_writer, "STUCK_SECONDS", 0.05)
    line = b"x" * 99
    with pipe() as (reading, writing), writer_to(writing, lines_max=200) as writer:
        for _ in range(200):
            writer.write(line)
        # What the pipe and the write that hangs hold is no longer in the queue.
        soon(lambda: any("not being read" in trouble for trouble in writer.troubles()))
        started = time.monotonic()
        for _ in range(5000):
            writer.write(line)
        assert is_prompt(time.monotonic() - started, 1.0)
        lost = writer.lost
        assert 4700 < lost < 5000
        got = b""
        while TOLD not in got or not got.endswith(b"\n"):
            got += os.read(reading, 65536)
        written = got.splitlines()
        assert TOLD + str(lost).encode() in written
        assert set(written) == {line, TOLD + str(lost).encode()}, "no line was cut"


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [3]

    def write(descriptor: int, what: memoryview) -> int:
        if room[0] == 0:
            raise OSError(28, "no room")
        taken = min(room[0], len(what))
        room[0] -= taken
        return os.write(descriptor, what[:taken])

    monkeypatch.setattr(log_writer, "FAILED_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("service.runtime.log_writer.os", SimpleNamespace(write=write, dup=os.dup, close=os.close))
    with (tmp_path / "log").open("wb") as file, writer_to(file.fileno()) as writer:
        writer.write(b"the first")
        soon(lambda: writer.lost == 1)
        room[0] = 1000
        writer.write(b"the second")
        writer.close()
    assert (tmp_path / "log").read_bytes() == b"the\nlines lost: 1\nthe second\n"


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file, writer_to(file.fileno()) as writer:
        writer.write(b"y" * (LINE_BYTES_MAX + 1))
        writer.close()
    assert (tmp_path / "log").read_bytes() == b"y" * LINE_BYTES_MAX + b"\n"


def test_the_end_waits_for_a_stalled_reader_in_bounded_time() -> None:
    with pipe() as (_, writing), writer_to(writing) as writer:
        for _ in range(200):
            writer.write(b"z" * 100)
        started = time.monotonic()
        writer.close(0.2)
        took = time.monotonic() - started
        assert took > 0.1
        assert is_prompt(took, 5.0)
