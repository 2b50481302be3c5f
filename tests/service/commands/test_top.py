"""portal1400 top: asked of a running service, and drawn on the smallest terminal."""

import argparse
import io
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.cli import main
from service.commands import running as asking
from service.commands import top
from service.commands.top_screen import screen
from service.operations.night import night_of
from service.runtime.settings import read_settings
from tests.support.portal import Portal, message, running
from tests.support.ports import free_ports

COLUMNS, LINES = 80, 24


def drawn(night: dict[str, Any]) -> list[str]:
    console = Console(file=io.StringIO(), width=COLUMNS, height=LINES, highlight=False)
    console.print(screen(night))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return [line.rstrip() for line in text.splitlines()]


def night(**changes: Any) -> dict[str, Any]:
    campaign = {"campaign": "vnn", "pledged_vnd": 5_000_000_000, "messages": 250_000, "vnd_per_minute": 31_000_000,
                "messages_per_minute": 1_500}  # fmt: skip
    account = {"account": "hub", "state": "good", "light": "ok", "silent_seconds": 1.0, "callbacks_per_minute": 900,
               "error_share": 0.001, "our_error_share": 0.0}  # fmt: skip
    return {
        "at": 1_792_242_000.0, "seconds": 60.0, "workers": [{"index": 0, "ready": True, "answers": True}],
        "campaigns": [campaign], "carriers": [], "accounts": [account],
        "acknowledgement": {"per_second": 25.0, "told_later": 0, "p99_seconds": 0.009},
        "spool": {"records": 0, "oldest_seconds": 0.0, "writable": True},
        "totals_age_seconds": 0.4, "viewers": 1234, "load_level": 0, "invariants_broken": [], "wrong": [],
    } | changes  # fmt: skip


def test_a_good_night_says_so() -> None:
    text = "\n".join(drawn(night()))
    for part in (
        "1 of 1 workers ready", "1,234 viewers", "5,000,000,000", "31,000,000", "good", "acknowledged 25.0/s",
        "99 % within 9 ms", "spool empty", "nothing is shed", "totals 0.4 s old", "figures hold", "nothing is wrong",
    ):  # fmt: skip
        assert part in text


def test_the_worst_night_fits_on_the_smallest_terminal() -> None:
    made = night()
    made["campaigns"] = [{**made["campaigns"][0], "campaign": f"campaign-with-long-name-{n}" * 2} for n in range(30)]
    made["accounts"] = [
        {**made["accounts"][0], "account": f"account-{n}-" * 8, "state": "silent", "light": "call"} for n in range(40)
    ]
    made["wrong"] = [f"worker {n}: {'a long sentence about what is wrong ' * 6}" for n in range(20)]
    made |= {
        "spool": {"records": 987_654, "oldest_seconds": 4000.0, "writable": True}, "load_level": 3,
        "acknowledgement": {"per_second": 3000.0, "told_later": 12_345, "p99_seconds": 4.9},
        "totals_age_seconds": 900.0, "invariants_broken": ["totals_equal_money_lines", "uncounted_equal_messages"],
    }  # fmt: skip
    lines = drawn(made)
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    text = "\n".join(lines)
    for part in ("silent", "more", "987,654 wait, oldest 67 min", "totals are shed", "WRONG: totals_equal"):
        assert part in text


def test_a_name_cannot_move_the_cursor() -> None:
    made = night()
    made["accounts"][0]["account"] = "a\x1b[2Jb"
    made["wrong"] = ["worker 0: x\x1b[2J"]
    assert "\x1b" not in "".join(drawn(made))


async def test_a_running_service_is_read(lasting_portal: Portal) -> None:
    settings = read_settings({"PORTAL1400_INTERNAL_LISTEN": lasting_portal.internal.removeprefix("http://")})
    before = await top.look(settings)
    for number in range(3):
        await lasting_portal.post(message(f"m-{number}", "VNN 5"))
    now = await top.look(settings)
    shown = night_of(now, before)
    assert shown["workers"] == [{"index": 0, "ready": True, "answers": True}]
    assert {"vnn", "old"} == {row["campaign"] for row in shown["campaigns"]}
    assert [row["carrier"] for row in shown["carriers"]] == ["viettel"]
    assert shown["acknowledgement"]["per_second"] > 0
    assert next(row for row in shown["accounts"] if row["account"] == "hub")["callbacks_per_minute"] > 0
    assert json.loads(json.dumps(shown)) == shown


async def test_a_worker_that_hangs_makes_no_rate_of_the_others_higher(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the worker that lives has to answer in, also on a busy machine.
    waited, port = 3.0, free_ports(2)
    for module in (top, asking):
        monkeypatch.setattr(module, "ASK_SECONDS", waited)
    settings = read_settings({"PORTAL1400_INTERNAL_LISTEN": f"127.0.0.1:{port}"})
    async with running(database_dsn, tmp_path, internal_port=port):
        with socket.create_server(("127.0.0.1", port + 1)):  # the next worker: it listens and answers nothing
            looked = await top.look(settings)
    assert [each.samples is None for each in looked.workers] == [False, True]
    assert time.time() - looked.at >= waited, (
        "a look is of when the others answered, not of when the last was given up"
    )


async def test_one_object_is_printed_or_where_nobody_sees_a_screen_the_screen_once(
    lasting_portal: Portal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORTAL1400_INTERNAL_LISTEN", lasting_portal.internal.removeprefix("http://"))
    monkeypatch.setattr(top, "ONCE_SECONDS", 0.1)
    assert await top.run(argparse.Namespace(once=True, json=True)) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["spool"] == {"records": 0, "oldest_seconds": 0.0, "writable": True}
    assert printed.count("\n") == 1
    assert await top.run(argparse.Namespace(once=False, json=False)) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 workers ready" in printed
    assert "\x1b" not in printed


def test_where_nobody_listens_it_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_ports()
    monkeypatch.setenv("PORTAL1400_INTERNAL_LISTEN", f"127.0.0.1:{port}")
    assert main(["top", "--once"]) == 1
    assert "no worker listens at PORTAL1400_INTERNAL_LISTEN" in capsys.readouterr().err
