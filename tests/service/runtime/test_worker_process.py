"""When a silent worker hangs, and when it is only loaded, or everybody was suspended."""

from pathlib import Path

import pytest

from service.runtime.worker_process import BUSY_SECONDS_MAX, HEARTBEAT_SECONDS, IDLE_SECONDS_MAX, Silence, python_now

IDLE = round(IDLE_SECONDS_MAX / HEARTBEAT_SECONDS)
BUSY = round(BUSY_SECONDS_MAX / HEARTBEAT_SECONDS)

# label, states in turn, CPU ticks used between looks, looks it may be silent for while it serves
SILENT = [
    ("stopped by a signal", "T", 0, IDLE + 1),
    ("waits for a lock in its loop", "S", 0, IDLE + 1),
    ("computes without end", "R", 50, BUSY),
    ("computes, and is asleep at each look", "S", 1, BUSY),
    ("waits for a core", "R", 0, BUSY),
    ("waits for a disk", "D", 0, BUSY),
    ("waits for a core now and then", "SSSR", 0, BUSY),
]


@pytest.mark.parametrize(("states", "ticks", "looks"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_a_silent_worker_hangs_after(states: str, ticks: int, looks: int) -> None:
    silence, used = Silence(), 0
    for look in range(looks):
        silence.lasts(HEARTBEAT_SECONDS, states[look % len(states)], used := used + ticks)
        assert not silence.is_too_long(is_ready=True), look
        assert not silence.is_too_long(is_ready=False)
    silence.lasts(HEARTBEAT_SECONDS, states[looks % len(states)], used + ticks)
    assert silence.is_too_long(is_ready=True)


def test_a_heartbeat_ends_the_silence() -> None:
    silence = Silence()
    for _ in range(10):
        for _ in range(IDLE):
            silence.lasts(HEARTBEAT_SECONDS, "S", 7)
        silence.broken()
    assert not silence.is_too_long(is_ready=True)


def test_a_worker_that_is_not_ready_has_more_time() -> None:
    silence = Silence()
    for _ in range(BUSY):
        silence.lasts(HEARTBEAT_SECONDS, "S", 7)
    assert not silence.is_too_long(is_ready=False)
    silence.lasts(HEARTBEAT_SECONDS, "S", 7)
    assert silence.is_too_long(is_ready=False)


def test_the_next_worker_is_of_the_release_that_the_link_names_now(tmp_path: Path) -> None:
    pythons = {name: tmp_path / "releases" / name / "bin" / "python" for name in ("1", "2")}
    for python in pythons.values():
        python.parent.mkdir(parents=True)
        python.touch()
    assert python_now(pythons["1"]) == pythons["1"]
    link = tmp_path / "current"
    for name in ("1", "2", "1"):
        link.unlink(missing_ok=True)
        link.symlink_to(f"releases/{name}")
        assert python_now(pythons["1"]) == pythons[name]
    link.unlink()
    link.symlink_to("releases/removed")
    assert python_now(pythons["2"]) == pythons["2"]
