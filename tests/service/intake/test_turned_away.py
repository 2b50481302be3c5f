"""What an engineer finds in log and metrics of requests that were refused, and what no line may hold."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from service.listeners import turned_away
from service.runtime import logs
from tests.support.portal import BOOK, PATH_SECRET, message, running, signed
from tests.support.protocols import fetch

MORE = """
[[gateway]]
code = "off"
adapter = "standard"
carrier = "viettel"
charging = "on_message"
secrets = ["{secret}"]
networks = ["127.0.0.0/8"]
enabled = false

[[gateway]]
code = "elsewhere"
adapter = "kannel"
carrier = "viettel"
charging = "on_message"
path_secret = "{path}"
networks = ["203.0.113.0/24"]
"""
KANNEL = "?id=i-1&from=84950000001&to=1408&text=VNN+5"

# What is sent -> how it must stand in the log; the address, then what its line must hold, then its event.
REFUSED: dict[str, tuple[str, str, str]] = {
    "address not listed": (f"GET /gw/kannel/elsewhere/{PATH_SECRET}", "address not listed", "account=elsewhere"),
    "path secret": ("GET /gw/kannel/vina/wrong-word", "path secret", "account=vina"),
    "both": ("GET /gw/kannel/elsewhere/wrong-word", "address not listed, path secret", "account=elsewhere"),
    "no signature": ("POST /gw/standard/hub", "signature missing", "account=hub"),
    "an account of another protocol": ("POST /gw/standard/vina", "account of another protocol (vina)", "tried=vina"),
    "a disabled account": ("POST /gw/standard/off", "account disabled (off)", "tried=off"),
    "an unknown account": ("POST /gw/standard/nobody", "unknown account", "tried=nobody"),
    "a secret for an account": (f"GET /gw/kannel/{PATH_SECRET}", "unknown account", "tried='[a path secret]'"),
    "a misspelt protocol": (f"POST /gw/standart/hub/{PATH_SECRET}", "wrong_address", "address=/gw/standart/hub"),
    "no account": ("POST /gw/standard", "wrong_address", "address=/gw/standard"),
    "another method": ("GET /gw/standard/hub", "wrong_method", "account=hub"),
}


@contextmanager
def log_lines(path: Path) -> Iterator[list[str]]:
    """The log's lines, once the block has ended."""
    lines: list[str] = []
    with path.open("w+", encoding="utf-8") as stream:
        logs.configure("console", stream)
        try:
            yield lines
        finally:
            logs.close()
            logs.configure("console")
            stream.seek(0, io.SEEK_SET)
            lines += stream.read().splitlines()


async def test_the_log_names_what_failed_and_for_whom(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turned_away, "LINE_SECONDS", 0.0)
    secret = re.search(r"whsec_[^\"]+", BOOK)
    assert secret is not None
    book = BOOK + MORE.format(secret=secret[0], path=PATH_SECRET)
    # The portal's loggers are made with it: all of its life is one log.
    with log_lines(tmp_path / "log") as lines:
        async with running(database_dsn, tmp_path, book=book) as portal:
            for request, _, _ in REFUSED.values():
                method, _, address = request.partition(" ")
                await fetch(portal, method, address + (KANNEL if method == "GET" else ""))
            body = orjson.dumps(message("m-1"))
            await portal.post(body, headers=signed(b"another body"))
            await portal.post(body, headers=signed(body, at=datetime.now(UTC) - timedelta(hours=1)))
            counted = await portal.post(message("m-2"))
            wrong = await portal.post(message("m-3", "VNN xx"))
            assert [each.headers["x-portal1400-reading"] for each in (counted, wrong)] == ["counted", "wrong_syntax"]
            for kind, count in {"wrong_address": 2, "wrong_method": 1}.items():
                adapters = ("none", "standard")
                seen = [await portal.metric("portal1400_turned_away_total", adapter=a, kind=kind) for a in adapters]
                assert sum(seen) == count, kind
    told = [line for line in lines if "peer=" in line]
    assert len(told) == len(REFUSED) + 2
    for line, (label, (_, reason, whose)) in zip(told, REFUSED.items(), strict=False):
        assert reason in line, label
        assert whose in line, label
        assert "peer=127.0.0.1" in line, label
    everything = "\n".join(lines)
    assert [word for word in (PATH_SECRET, "wrong-word", "84950000001", "VNN") if word in everything] == []
    for word in ("signature wrong", "freshness", "reading=counted", "reading=wrong_syntax"):
        assert word in everything, word


async def test_a_client_that_waits_for_the_challenge_is_no_failure(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal:
        first = await fetch(portal, "POST", "/gw/vn_soap_mo/soap")
        wrong = await fetch(portal, "POST", "/gw/vn_soap_mo/soap", headers={"authorization": "Basic bjpu"})
        assert (first.status, first.body) == (wrong.status, wrong.body)
        assert first.status == 401
        assert await portal.metric("portal1400_callbacks_total", account="soap", outcome="unauthenticated") == 1
        assert await portal.metric("portal1400_turned_away_total", adapter="vn_soap_mo", kind="challenged") == 1
        await fetch(portal, "GET", "/gw/vn_soap_mo/soap?wsdl")
        assert await portal.metric("portal1400_callbacks_total", account="soap", outcome="accepted") == 0
