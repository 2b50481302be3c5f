"""The demo as a new user runs it: one command, a moving and exact number, a clean end."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.book.apply_file import load
from campaigns.book.book import VIETNAM
from service.commands.demo import demo_book, prepared_folder
from service.commands.opening import CommandRefused
from tests.support.ports import free_ports
from tests.support.processes import SERVICE

NOW = datetime(2026, 12, 31, 23, 59, tzinfo=VIETNAM)


def get(address: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.loads(answer.read())


def within(seconds: float, probe: Callable[[], Any]) -> Any:
    """What `probe` returns once it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = probe()
        except OSError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def test_its_campaigns_are_open_whatever_the_day(tmp_path: Path) -> None:
    for offset in range(0, 366, 61):
        now = NOW + timedelta(days=offset)
        file = tmp_path / f"{offset}.toml"
        file.write_text(demo_book(now), encoding="utf-8")
        assert all(
            each.decision.opens_at < now < each.decision.closes_at - timedelta(days=30)
            for each in load(file).campaigns
        )


def test_a_folder_is_used_again_while_its_campaigns_are_open(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    book, key = prepared_folder(folder, NOW)
    assert prepared_folder(folder, NOW + timedelta(days=30)) == (book, key)
    assert (book.stat().st_mode & 0o777, (folder / "secret.key").stat().st_mode & 0o777) == (0o600, 0o600)
    _, other = prepared_folder(folder, NOW + timedelta(days=90))
    assert other != key


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(CommandRefused, match="not a demo's folder"):
        prepared_folder(tmp_path, NOW)
    assert [each.name for each in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.slow
def test_the_demo_moves_is_exact_and_ends_cleanly(tmp_path: Path) -> None:
    port = free_ports()
    command = [*SERVICE, "demo", "--data", str(tmp_path / "demo"), "--port", str(port)]
    # DATABASE_URL is not the demo's business, and must not be asked.
    environ = {**os.environ, "PORTAL1400_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, "--rate", "60"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        base = f"http://127.0.0.1:{port}"
        slug = "vi-nguoi-ngheo"
        first = within(60, lambda: get(f"{base}/api/v1/campaigns/{slug}/totals")["messages"])
        seconds = time.monotonic() - started
        within(30, lambda: get(f"{base}/api/v1/campaigns/{slug}/totals")["messages"] > first)
        with urllib.request.urlopen(f"{base}/c/{slug}", timeout=20) as page:
            assert "₫" in page.read().decode()
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "equal: the totals grew by exactly what was sent" in said
    assert f"{base}/" in said
    assert re.search(r"http://127\.0\.0\.1:\d+/metrics", said)
    assert seconds < 60
    gateways = tomllib.loads((tmp_path / "demo" / "book.toml").read_text())["gateway"]
    assert len({gateway["adapter"] for gateway in gateways}) == 6
    logged = (tmp_path / "demo" / "demo.log").read_text()
    for gateway in gateways:
        assert re.search(rf"account={gateway['code']}\s", logged)
        for name in ("path_secret", "password", "secrets"):
            given = gateway.get(name, "no secret here")
            for secret in [given] if isinstance(given, str) else given:
                assert secret not in said + logged
