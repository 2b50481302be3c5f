"""The demo as a new user runs it: one command, a moving and exact number, a clean end."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.book.apply_file import load
from campaigns.book.book import VIETNAM
from service.commands.demo import demo_book, prepared_folder, settings_of
from service.commands.opening import CommandRefused
from tests.support.ports import free_ports
from tests.support.processes import SERVICE

NOW = datetime(2026, 12, 31, 23, 59, tzinfo=VIETNAM)


def get(address: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.loads(answer.read())


def opened(
    browser: urllib.request.OpenerDirector, address: str, form: dict[str, str] | None = None
) -> tuple[str, str]:
    """Path and text of the page one is led to."""
    body = urllib.parse.urlencode(form).encode() if form else None
    with browser.open(address, body, timeout=60) as answer:
        return urllib.parse.urlsplit(answer.url).path, answer.read().decode()


def enter_the_desk(base: str, said: str, login: str) -> str:
    """Log in as the demo's output says, and return the desk's first page."""
    password = re.search(r"has the password  (\S+)", said)
    code = re.search(rf"^  {login} +(\S+)", said, re.MULTILINE)
    assert password, said
    assert code, said
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.addheaders = [("Origin", base), ("Sec-Fetch-Site", "same-origin")]
    page = "/desk/login"
    for form in ({"login": login, "password": password[1]}, {"code": code[1]}):
        hidden = re.search(r'name="csrf" value="([^"]*)"', opened(browser, f"{base}{page}")[1])
        page, text = opened(browser, f"{base}{page}", {**form, "csrf": hidden[1] if hidden else ""})
    assert page == "/desk"
    return "".join([text, *(opened(browser, f"{base}/desk/{path}")[1] for path in ("proposals", "design"))])


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
        file.write_text(demo_book(now, "demo_before.toml"), encoding="utf-8")
        last_year, to_come = (each.decision for each in load(file).campaigns)
        assert last_year.closes_at < now < to_come.opens_at


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


def test_a_busy_machine_does_not_have_it_turn_its_own_carriers_away(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "0" * 64, 1400).shed_under_load is False


@pytest.mark.slow
def test_the_demo_moves_is_exact_and_ends_cleanly(tmp_path: Path) -> None:
    port = free_ports()
    command = [*SERVICE, "demo", "--data", str(tmp_path / "demo"), "--port", str(port)]
    # DATABASE_URL is not the demo's business, and must not be asked.
    environ = {**os.environ, "PORTAL1400_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    started = time.monotonic()
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen([*command, "--rate", "60"], env=environ, stdout=file, stderr=subprocess.STDOUT)
    try:
        base = f"http://127.0.0.1:{port}"
        slug = "vi-nguoi-ngheo"
        first = within(60, lambda: get(f"{base}/api/v1/campaigns/{slug}/totals")["messages"])
        seconds = time.monotonic() - started
        within(30, lambda: get(f"{base}/api/v1/campaigns/{slug}/totals")["messages"] > first)
        assert "₫" in opened(urllib.request.build_opener(), f"{base}/c/{slug}")[1]
        # Those whose protocol tells no time bring no gifts of earlier days: with them the drives are played.
        accounts = [each["code"] for each in tomllib.loads((tmp_path / "demo" / "book.toml").read_text())["gateway"]]
        log = tmp_path / "demo" / "demo.log"
        within(60, lambda: all(f"account={each} " in log.read_text() for each in accounts))
        desk = enter_the_desk(base, output.read_text(), "finance")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    said = output.read_text()
    assert process.returncode == 0, said
    assert "equal: the totals grew by exactly what was sent" in said
    assert f"{base}/" in said
    assert re.search(r"http://127\.0\.0\.1:\d+/metrics", said)
    assert seconds < 60
    assert "Quỹ vắc-xin" in desk
    assert "Ngôn ngữ thiết kế" in desk
    assert "Đề xuất số 1" in desk, "an extension waits for somebody else"
    logged = (tmp_path / "demo" / "demo.log").read_text()
    assert not any(word in logged for word in re.findall(r"\b[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}\b", said))
    gateways = tomllib.loads((tmp_path / "demo" / "book.toml").read_text())["gateway"]
    protocols = [gateway["adapter"] for gateway in gateways]
    assert len(set(protocols)) == 6
    assert f"speak 6 protocols to it at once: {', '.join(protocols)}." in said
    for gateway in gateways:
        assert re.search(rf"account={gateway['code']}\s", logged)
        for name in ("path_secret", "password", "secrets"):
            given = gateway.get(name, "no secret here")
            for secret in [given] if isinstance(given, str) else given:
                assert secret not in said + logged
