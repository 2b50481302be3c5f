"""A canary number and a canary text go every way a callback can go, and are sought wherever anything is left."""

# ruff: noqa: ASYNC240 - the test looks at files while nothing else runs in the loop

import asyncio
import base64
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import asyncpg
import orjson
import pytest
import structlog

from service.intake import row_builder
from service.runtime import logs
from tests.support.canary import NATIONAL, NUMBER, TEXT, WORDS, found_in
from tests.support.portal import PATH_SECRET, Portal, message, running, signed
from tests.support.postgres import TestServer
from tests.support.protocols import SENDERS, envelope, fetch, get_kannel, post_soap

HIDING: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda plain: b"number=" + plain,
    "with a country code": lambda plain: b"+84" + plain,
    "percent-encoded": lambda plain: quote(plain).encode(),
    "hex": lambda plain: b"\\x" + plain.hex().encode(),
    "base64 at offset 0": base64.b64encode,
    "base64 at offset 1": lambda plain: base64.b64encode(b"a" + plain + b"zz"),
    "base64 at offset 2": lambda plain: base64.b64encode(b"ab" + plain + b"z"),
    "utf-16": lambda plain: plain.decode().encode("utf-16"),
}


@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING.keys())
def test_the_search_finds_what_hides(hide: Callable[[bytes], bytes]) -> None:
    for plain in (NATIONAL.encode(), WORDS.encode()):
        assert found_in(b"before " + hide(plain) + b" behind")
    assert found_in(b"nothing of the kind: 84950000001 VNN 5") == []


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Where the service logs; everything about logging is put back afterwards."""
    libraries = [logging.getLogger(name) for name in ("aiohttp", "asyncio", "opentelemetry", "urllib3")]
    before = [(list(logger.handlers), logger.propagate) for logger in libraries]
    hooks = sys.unraisablehook, threading.excepthook
    yield tmp_path / "service.log"
    logs.close()
    sys.unraisablehook, threading.excepthook = hooks
    structlog.reset_defaults()
    for logger, (handlers, propagate) in zip(libraries, before, strict=True):
        logger.handlers[:] = handlers
        logger.propagate = propagate


def standard(native_id: str, **changes: Any) -> bytes:
    return orjson.dumps(message(native_id, TEXT, msisdn=NUMBER) | changes)


async def raw_exchange(portal: Portal, sent: bytes) -> bytes:
    """Bytes that are no good HTTP, and what comes back."""
    host, port = portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


ADDRESS = f"/gw/kannel/vina/{PATH_SECRET}?id=1&from={NUMBER}&to=1408&text={quote(TEXT)}"
BAD_HTTP = {
    "a bad method": f"G(T {ADDRESS} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad version": f"GET {ADDRESS} HTTP/x.y\r\nHost: x\r\n\r\n",
    "a line too long": f"GET {ADDRESS}{'&x=' + NUMBER * 2000} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad header": f"GET {ADDRESS} HTTP/1.1\r\nHost: x\r\n{TEXT}\r\n\r\n",
    "blanks in the address": f"GET /gw/kannel/vina/x?from={NUMBER}&text={TEXT} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad length": f"POST {ADDRESS} HTTP/1.1\r\nHost: x\r\nContent-Length: {TEXT}\r\n\r\n",
    "no HTTP at all": f"{TEXT} {NUMBER}\r\n\r\n",
    "a bad chunk": f"POST /gw/standard/hub HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{TEXT}\r\n{NUMBER}",
}


TOO_LARGE = {"standard": 60_000, "kannel": 300, "vn_soap_mo": 4_000}
"""How often the text is repeated to go beyond the protocol's limit; Kannel's still fits a request line."""


async def every_way(portal: Portal, turn: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bytes]:
    """Send the canary every way; returns how many callbacks took their way through the intake, and all answers."""
    answers: list[tuple[int, bytes, str]] = []
    for name, sender in SENDERS.items():
        for native_id, text, number in (
            ("taken", TEXT, NUMBER),
            ("taken", TEXT, NUMBER),
            ("taken", TEXT + "!", NUMBER),
            ("counted", "VNN 5", NUMBER),
            ("unknown", f"{WORDS} VNN", NUMBER),
            ("bad", TEXT, NUMBER + "x"),
            ("bad\x01", TEXT, NUMBER),
            ("long", TEXT * 200, NUMBER),
            ("too large", TEXT * TOO_LARGE[name], NUMBER),
            ("unstorable", TEXT, NUMBER),
            (f"{NATIONAL[:3]} is no canary", TEXT, NUMBER),
        ):
            answer = await sender.send(portal, f"{turn} {native_id}", text, number)
            answers.append((answer.status, answer.body, str(answer.headers)))
    others = [
        portal.post(standard(f"{turn} u-1"), headers={"webhook-id": NUMBER, "webhook-signature": TEXT}),
        portal.post(standard(f"{turn} u-2"), account="nobody"),
        portal.post(TEXT.encode()),
        portal.post(b'{"type": "%b"}' % TEXT.encode()),
        portal.post(b'{"%b": 1, "%b": 2}' % (TEXT.encode(), TEXT.encode())),
        portal.post({"type": "message.received", "data": {NUMBER: TEXT, "text": {WORDS: 1}}}),
        portal.post(
            standard(f"{turn} stale"), headers=signed(standard(f"{turn} stale")) | {"webhook-timestamp": "1"}
        ),
        get_kannel(portal, f"{turn} k-1", TEXT, NUMBER, path_secret=WORDS),
        get_kannel(portal, f"{turn} k-2", TEXT, NUMBER, path_secret=NUMBER, account="nobody"),
        get_kannel(portal, f"{turn} k-3", TEXT, NUMBER, code=NUMBER),
        fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}/dlr?ref={quote(WORDS)}&d=x{NUMBER}"),
        post_soap(portal, f"{turn} s-1", TEXT, NUMBER, login=aiohttp.encode_basic_auth(NUMBER, WORDS)),
        post_soap(portal, f"{turn} s-2", TEXT, NUMBER, account="nobody"),
        fetch(portal, "POST", "/gw/vn_soap_mo/soap", data=envelope("1", TEXT, NUMBER, "1408")[:-20]),
    ]
    for other in others:
        answer = await other
        answers.append((answer.status, answer.body, str(answer.headers)))

    def break_down(*_arguments: object) -> None:
        raise RuntimeError(f"{NUMBER} {TEXT}")

    with monkeypatch.context() as patched:
        # The one replaced function: a bug of ours whose exception quotes the donor.
        patched.setattr(row_builder, "read", break_down)
        for sender in SENDERS.values():
            answer = await sender.send(portal, f"{turn} bug", TEXT, NUMBER)
            assert answer.status == 503
            answers.append((answer.status, answer.body, str(answer.headers)))
    taken = len(answers)
    for path in (
        f"/gw/telex/{NUMBER}/{quote(WORDS)}",
        f"/gw/kannel/{NUMBER}/a/b/c",
        f"/c/{NUMBER}",
        f"/{quote(WORDS)}",
    ):
        answer = await fetch(portal, "GET", path)
        answers.append((answer.status, answer.body, str(answer.headers)))
    everything = b"\n".join(b"%d %b %b" % (status, body, head.encode()) for status, body, head in answers)
    for label, sent in BAD_HTTP.items():
        came_back = await raw_exchange(portal, sent.encode())
        assert came_back.split(b" ")[1].startswith(b"4"), label
        assert b"aiohttp" not in came_back, label
        everything += came_back
    return taken, everything


async def published(portal: Portal) -> bytes:
    """Everything that is to be seen from outside."""
    content = b""
    for path in ("/", "/c/vnn", "/api/v1/totals", "/api/v1/campaigns/vnn/series?bucket=minute", "/api/v1/campaigns"):
        answer = await fetch(portal, "GET", path)
        assert answer.status == 200, path
        content += answer.body
    for accept in ("text/plain", "application/openmetrics-text"):
        async with portal.http.get(portal.internal + "/metrics", headers={"Accept": accept}) as metrics:
            content += await metrics.read()
    async with portal.http.get(portal.base + "/api/v1/stream") as stream:
        content += await stream.content.readany()
    return content


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_number_and_no_text_is_left_anywhere(
    database_dsn: str,
    server: TestServer,
    tmp_path: Path,
    log_format: Literal["json", "console"],
    log_file: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with log_file.open("w", encoding="utf-8") as stream:
        logs.configure(log_format, stream)
        async with running(database_dsn, tmp_path) as portal:
            await portal.fetch("ALTER TABLE message ADD CHECK (native_id NOT LIKE '%unstorable')")
            taken, answers = await every_way(portal, log_format, monkeypatch)
            logging.getLogger("aiohttp.server").error("quoting %s %s", NUMBER, TEXT)
            assert found_in(answers) == []
            assert found_in(await published(portal)) == []
            await require_every_way_was_gone(portal)
            await require_clean_files(portal, server)
        logs.close()
    written = log_file.read_bytes()
    assert found_in(written) == []
    assert PATH_SECRET.encode() not in written
    is_callback = b'"event":"callback"' if log_format == "json" else b" callback  "
    assert sum(is_callback in line for line in written.splitlines()) == taken, "one line for each callback"
    assert sum(b"callback_failed" in line for line in written.splitlines()) == len(SENDERS)
    assert b"event_unstorable" in written
    assert b"library_complained" in written
    assert found_in(caplog.text.encode()) == []
    said = capfd.readouterr()
    assert found_in((said.out + said.err).encode()) == []


OUTCOMES = ("accepted", "duplicate", "conflict", "unallocated", "malformed", "unauthenticated", "too_large")
ROWS_MIN = {"message": 5, "message_person": 5, "raw_callback": 5, "conflict": 3, "quarantine": 10}


async def require_every_way_was_gone(portal: Portal) -> None:
    """Else the search would prove nothing."""
    for outcome in OUTCOMES:
        assert await portal.metric("portal1400_callbacks_total", account="hub", outcome=outcome), outcome
    assert await portal.metric("portal1400_quarantined_total", adapter="standard", reason="unstorable") == 1
    for table, rows_min in ROWS_MIN.items():
        (row,) = await portal.fetch(f"SELECT count(*) AS rows FROM {table}")
        assert row["rows"] >= rows_min, table


async def require_clean_files(portal: Portal, server: TestServer) -> None:
    """The database's own files, its write-ahead log, and what it said."""
    admin = await asyncpg.connect(portal.dsn)
    await admin.execute("CHECKPOINT")
    oid = await admin.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()")
    await admin.close()
    data = server.socket_folder / "data"
    files = [*(data / "base" / str(oid)).iterdir(), *data.glob("pg_wal/0*"), server.log]
    assert len(files) > 100
    newest = max(file.stat().st_mtime for file in data.glob("pg_wal/0*"))
    for file in files:
        # The server may put another in the place of `pg_internal.init` at any moment.
        with suppress(FileNotFoundError):
            if file.stat().st_mtime > newest - 60:
                assert found_in(file.read_bytes()) == [], file
