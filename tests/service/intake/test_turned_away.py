"""What an engineer finds in log and metrics of requests that were refused, and what no line may hold."""

import asyncio
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import structlog
from prometheus_client import CollectorRegistry

from gateways.registry import ADAPTERS
from metrics.families.listeners import PEERS
from metrics.instruments import Instruments
from service.listeners import turned_away
from service.listeners.bad_http import HttpFault
from service.listeners.turned_away import Kind, TurnedAway
from service.runtime import logs
from service.runtime.addresses import address
from tests.support.hostile_wire import END, exchange
from tests.support.portal import BOOK, PATH_SECRET, Portal, eventually, message, running, signed
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
    "path secret": ("GET /gw/kannel/vina/wrong-word", "path secret wrong", "account=vina"),
    "no path secret": ("GET /gw/kannel/vina", "path secret missing", "account=vina"),
    "both": ("GET /gw/kannel/elsewhere/wrong-word", "address not listed, path secret wrong", "account=elsewhere"),
    "no signature": ("POST /gw/standard/hub", "signature missing", "account=hub"),
    "an account of another protocol": ("POST /gw/standard/vina", "account of another protocol (vina)", "tried=vina"),
    "a disabled account": ("POST /gw/standard/off", "account disabled (off)", "tried=off"),
    "an unknown account": ("POST /gw/standard/nobody", "unknown account", "tried=nobody"),
    "a secret for an account": (f"GET /gw/kannel/{PATH_SECRET}", "unknown account", "tried='[a path secret]'"),
    "a secret behind an account": (f"GET /gw/kannel/vina%2F{PATH_SECRET}", "unknown account", "'[a path secret]'"),
    "a secret encoded twice": (
        f"GET /gw/kannel/%25{ord(PATH_SECRET[0]):02X}{PATH_SECRET[1:]}%20",
        "",
        "'[a path secret]'",
    ),
    "a secret for a protocol": (f"POST /gw/{PATH_SECRET.upper()}./x", "wrong_address", "'/gw/[a path secret]/x'"),
    "a number for an account": ("GET /gw/kannel/0912%3B345%3B678/x", "unknown account", "tried='[a number]'"),
    "nine digits for an account": ("POST /gw/standard/912345678", "unknown account", "tried='[a number]'"),
    "a text for an account": ("GET /gw/kannel/VNN%205%20toi%20la/x", "unknown account", "tried=[words]"),
    "a text for a protocol": ("GET /gw/VNN%205%20toi/x", "wrong_address", "address=/gw/[words]/x"),
    "a misspelt protocol": (f"POST /gw/standart/hub/{PATH_SECRET}", "wrong_address", "address=/gw/standart/hub"),
    "no account": ("POST /gw/standard", "wrong_address", "address=/gw/standard"),
    "another method": ("GET /gw/standard/hub", "wrong_method", "account=hub"),
    "two slashes": ("POST //gw/standard/hub", "wrong_address", "address=//gw/standard/hub"),
    "no door": (f"GET /kannel/vina/{PATH_SECRET}", "wrong_address", "address=/kannel/vina/?"),
    "another door": (f"POST /api/{PATH_SECRET}", "wrong_address", "address=/?/?"),
}
# A form of the desk that leads nowhere is somebody's old tab, and no callback.
FORMS_NOWHERE = ("/desk/proposals/9/gw", "/desk/gw/standard", "/api/v1/desk/nowhere", "/api/v1/desk/gw")
# What is sent -> the kind under which it is counted, and the fault that the log and the answer name.
BAD_HTTP: dict[str, tuple[bytes, str, HttpFault]] = {
    "https": (bytes.fromhex("1603010200010001fc0303") + bytes(64), "tls", HttpFault.TLS),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", "bad_http", HttpFault.LINE_FEED),
    "a blank in the text": (b"GET /gw/kannel/vina?text=VNN 5 HTTP/1.1\r\n\r\n", "bad_http", HttpFault.BLANK),
    "Vietnamese in the text": (
        "GET /gw/kannel/vina?text=ủng hộ HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "bad_http", HttpFault.ADDRESS,
    ),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", "bad_http", HttpFault.TOO_MANY_HEADERS),
    "a long header": (b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"y" * 9000), "bad_http", HttpFault.TOO_LONG),
    "garbage": (b"\x00\x00\x00\x10 84950000001", "bad_http", HttpFault.METHOD),
    "version 2": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "bad_http", HttpFault.VERSION),
    "half a line": (b"GET /gw/kannel/vi", "bad_http", HttpFault.HEAD_LATE),
}  # fmt: skip


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
            structlog.reset_defaults()
            stream.seek(0, io.SEEK_SET)
            lines += stream.read().splitlines()


async def away(portal: Portal, kind: str) -> float:
    """How many requests of this kind were turned away, all from listed networks."""
    name = "portal1400_turned_away_total"
    counts = {
        peer: [await portal.metric(name, adapter=each, kind=kind, peer=peer) for each in ("none", *ADAPTERS)]
        for peer in PEERS
    }
    assert not any(counts["unlisted"])
    return sum(counts["listed"])


async def break_off_inside_the_body(portal: Portal) -> None:
    """End the connection while its request is in hand, which the invitation to send the body shows."""
    host, port = portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /gw/standard/hub HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert (await reader.readuntil(END)).startswith(b"HTTP/1.1 100 ")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_the_log_names_what_failed_and_for_whom(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turned_away, "LINE_SECONDS", 0.0)
    secret = re.search(r"whsec_[^\"]+", BOOK)
    assert secret is not None
    book = BOOK + MORE.format(secret=secret[0], path=PATH_SECRET)
    # The portal's loggers are made with it: all of its life is one log.
    with log_lines(tmp_path / "log") as lines:
        async with running(
            database_dsn, tmp_path, book=book, head_read_seconds="0.4", body_read_seconds="0.4"
        ) as portal:
            for raw, kind, fault in BAD_HTTP.values():
                before = await away(portal, kind)
                heard = await exchange(portal, raw)
                assert heard.is_closed
                assert heard.statuses[0] in (400, 408, 505)
                assert fault.value.encode() in heard.body
                assert await away(portal, kind) == before + 1
            await break_off_inside_the_body(portal)

            async def is_seen() -> bool:
                return await away(portal, "incomplete") == 1

            await eventually(is_seen)
            for request, _, _ in REFUSED.values():
                method, _, address = request.partition(" ")
                await fetch(portal, method, address + (KANNEL if method == "GET" else ""))
            for address in FORMS_NOWHERE:
                astray = await fetch(portal, "POST", address, headers={"sec-fetch-site": "same-origin"})
                assert astray.status in (400, 404)
            body = orjson.dumps(message("m-1"))
            await portal.post(body, headers=signed(b"another body"))
            await portal.post(body, headers=signed(body, at=datetime.now(UTC) - timedelta(hours=1)))
            counted = await portal.post(message("m-2"))
            wrong = await portal.post(message("m-3", "VNN xx"))
            await portal.post(message("m-4", operator_time="soon"))
            assert [each.headers["x-portal1400-reading"] for each in (counted, wrong)] == ["counted", "wrong_syntax"]
            for kind, count in {"wrong_address": 7, "wrong_method": 1, "unknown_account": 9}.items():
                assert await away(portal, kind) == count, kind
    *bad, incomplete = (line for line in lines if "fault=" in line)
    assert f"fault='{HttpFault.BODY_BROKEN_OFF.value}'" in incomplete
    for line, (label, (_, kind, fault)) in zip(bad, BAD_HTTP.items(), strict=True):
        assert kind in line, label
        assert f"fault='{fault.value}'" in line, label
        assert "listed=True peer=127.0.0.1" in line, label
    told = [line for line in lines if "peer=" in line and "fault=" not in line]
    assert len(told) == len(REFUSED) + 2
    for line, (label, (_, reason, whose)) in zip(told, REFUSED.items(), strict=False):
        assert reason in line, label
        assert whose in line, label
        assert "peer=127.0.0.1" in line, label
    everything = "\n".join(lines)
    assert [
        word
        for word in (PATH_SECRET, PATH_SECRET[1:], PATH_SECRET.upper(), "wrong-word", "84950000001", "VNN")
        if word in everything
    ] == []
    assert not {"Traceback", "request_failed"} & set(everything.split())
    for word in ("signature wrong", "behind our clock", "reading=wrong_syntax", "flags=field_left_out"):
        assert word in everything, word


async def test_a_client_that_waits_for_the_challenge_is_no_failure(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, public_url="http://portal.example/") as portal:
        first = await fetch(portal, "POST", "/gw/vn_soap_mo/soap")
        wrong = await fetch(portal, "POST", "/gw/vn_soap_mo/soap", headers={"authorization": "Basic bjpu"})
        assert (first.status, first.body) == (wrong.status, wrong.body)
        assert first.status == 401
        assert await portal.metric("portal1400_callbacks_total", account="soap", outcome="unauthenticated") == 1
        assert (
            await portal.metric(
                "portal1400_turned_away_total", adapter="vn_soap_mo", kind="challenged", peer="listed"
            )
            == 1
        )
        described = await fetch(portal, "GET", "/gw/vn_soap_mo/soap?wsdl")
        assert b'location="http://portal.example/gw/vn_soap_mo/soap"' in described.body
        assert await portal.metric("portal1400_callbacks_total", account="soap", outcome="accepted") == 0


async def test_of_usual_callbacks_a_sample_has_lines_and_all_others_theirs(database_dsn: str, tmp_path: Path) -> None:
    with log_lines(tmp_path / "log") as lines:
        async with running(database_dsn, tmp_path, log_callbacks_one_in="3") as portal:
            for number in range(7):
                await portal.post(message(f"m-{number}"))
            await portal.post(message("m-0"))
            await fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}{KANNEL}&smsc=vnp1")
            for _ in range(2):
                await portal.post(message("m-0", "VNN 6"))
                await portal.post(b"{}")
            assert await portal.metric("portal1400_callbacks_total", account="hub", outcome="accepted") == 7
    told = [line for line in lines if " callback " in line]
    usual = [line for line in told if "one_in=3" in line]
    assert ["account=hub" in line for line in usual] == [True, True, True, False]
    others = [line for line in told if line not in usual]
    assert [("warning" in line, "conflict" in line, "malformed" in line) for line in others] == [
        (True, True, False), (True, False, True)
    ] * 2  # fmt: skip


def test_a_carrier_that_mends_its_address_sees_each_try_in_the_log_and_a_stranger_does_not(tmp_path: Path) -> None:
    instruments = Instruments(CollectorRegistry(), version="0", adapters=tuple(ADAPTERS), outcomes=())
    carrier, stranger = address("203.0.113.7"), address("198.51.100.1")
    with log_lines(tmp_path / "log") as lines:
        seen = TurnedAway(instruments, lambda peer: peer == carrier, steady=lambda: 1.0)
        for peer in (carrier, stranger):
            for tried in ("/gw/kanel/vina", "/gw/kanel/vina", "/gw/Kannel/vina"):
                seen.see(Kind.WRONG_ADDRESS, peer, tried=tried)
    told = [re.findall(r"(?:address|peer)=(\S+)", line) for line in lines]
    assert told == [
        ["/gw/kanel/vina", "203.0.113.7"], ["/gw/Kannel/vina", "203.0.113.7"], ["/gw/kanel/vina", "198.51.100.1"],
    ]  # fmt: skip
