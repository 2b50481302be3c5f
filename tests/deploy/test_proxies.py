"""nginx, HAProxy and Caddy as `deploy/proxy` configures them, each in front of the real service."""

import asyncio
import base64
import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest

from gateways.adapters.standard.adapter import Standard
from gateways.gateway import Gateway
from service.live.broadcast import HEARTBEAT_SECONDS
from service.runtime.settings import Settings
from tests.support.canary import NUMBER, TEXT, found_in
from tests.support.databases import cloned_database
from tests.support.fronts import KINDS, NAME, PROXIES, ROOT, Front, Tap, front, pin_of, program, self_signed, tapped
from tests.support.portal import (
    BOOK,
    PATH_SECRET,
    SIGNING_SECRET,
    Portal,
    Reply,
    eventually,
    message,
    running,
    signed,
)
from tests.support.postgres import TestServer
from tests.support.streams import Frames

CARRIERS_PAGE = ROOT / "docs" / "carriers.md"
CARRIER, STRANGER = "127.0.0.7", "127.0.0.8"
CERTIFICATE, OTHER_CERTIFICATE = self_signed("carrier.example"), self_signed("carrier.example")
PINNED = f"""
[[gateway]]
code = "pinned"
adapter = "standard"
carrier = "viettel"
charging = "on_message"
secrets = ["{SIGNING_SECRET}"]
client_certificates = "{pin_of(CERTIFICATE[0])}"
"""
LISTING = BOOK.replace('networks = ["127.0.0.0/8"]', f'networks = ["{CARRIER}/32"]') + PINNED
CROWD = 60


@dataclass
class Site:
    """The service, a tap in front of it, and a proxy in front of that."""

    front: Front
    tap: Tap
    portal: Portal

    @asynccontextmanager
    async def client(self, address: str = CARRIER, *, keeps: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
        """Somebody who comes from `address`, and keeps connections or not."""
        connector = aiohttp.TCPConnector(
            local_addr=(address, 0), ssl=self.front.trust, limit=4, force_close=not keeps
        )
        async with aiohttp.ClientSession(self.front.base, connector=connector, headers={"Host": NAME}) as http:
            yield http

    async def ask(self, http: aiohttp.ClientSession, method: str, path: str, **more: Any) -> Reply:
        """One request and its whole answer."""
        async with http.request(method, path, server_hostname=NAME, allow_redirects=False, **more) as answer:
            return Reply(answer.status, answer.headers, await answer.read())


@pytest.fixture(scope="module")
async def behind(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    folder = tmp_path_factory.mktemp("behind")
    async with (
        cloned_database(server) as dsn,
        running(
            dsn, folder, LISTING, trusted_proxies="127.0.0.1/32", client_certificate_header="Client-Cert"
        ) as portal,
    ):
        yield portal


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=pytest.mark.proxy) for kind in KINDS])
async def site(request: pytest.FixtureRequest, behind: Portal) -> AsyncIterator[Site]:
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    async with tapped(int(behind.base.rpartition(":")[2])) as tap, front(request.param, tap.port) as made:
        yield Site(made, tap, behind)


def showing(site: Site, certificate: tuple[bytes, bytes]) -> ssl.SSLContext:
    """Who trusts the proxy and has a certificate to show."""
    context = ssl.create_default_context(cadata=(site.front.folder / "tls" / "chain.pem").read_text())
    file = site.front.folder / "tls" / f"client-{pin_of(certificate[0])}.pem"
    file.write_bytes(b"".join(certificate))
    context.load_cert_chain(file)
    return context


def kannel(site: Site, **changes: str) -> str:
    """A GET callback of an account with a path secret."""
    fields = {
        "from": NUMBER,
        "to": "1408",
        "text": TEXT,
        "id": f"{site.front.kind}-k",
        "smsc": "vnp1",
        "coding": "0",
        "charset": "UTF-8",
    } | changes
    return f"/gw/kannel/vina/{PATH_SECRET}?{urlencode(fields)}"


async def test_a_carrier_is_known_by_its_address_and_nobody_passes_for_it(site: Site) -> None:
    raw = orjson.dumps(message(f"{site.front.kind}-1"))
    claims: tuple[dict[str, str], ...] = (
        {},
        {"X-Forwarded-For": CARRIER},
        {"X-Forwarded-For": f"{CARRIER}, 127.0.0.1"},
    )
    async with site.client() as carrier, site.client(STRANGER) as stranger:
        for claim in claims:
            refused = await site.ask(stranger, "POST", "/gw/standard/hub", data=raw, headers=signed(raw) | claim)
            assert refused.status == 401, claim
        taken = await site.ask(carrier, "POST", "/gw/standard/hub", data=raw, headers=signed(raw))
    assert (taken.status, taken.headers["x-portal1400-outcome"]) == (200, "accepted")


async def test_a_carrier_is_known_by_the_certificate_that_it_has_shown(site: Site) -> None:
    der = ssl.PEM_cert_to_DER_cert(CERTIFICATE[0].decode())
    named = f":{base64.b64encode(der).decode()}:"
    raw = orjson.dumps(message(f"{site.front.kind}-pinned"))
    heard: dict[str, int] = {}
    for shown, context in {
        "none": site.front.trust,
        "another": showing(site, OTHER_CERTIFICATE),
        "the pinned one": showing(site, CERTIFICATE),
    }.items():
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        async with aiohttp.ClientSession(connector=connector, headers={"Host": NAME}) as http:
            for port in (site.front.port, site.front.pinned_port):
                for says, claim in {"": {}, ", names it": {"Client-Cert": named}}.items():
                    who = f"{shown}{says}" + (", at the port of all" if port == site.front.port else "")
                    url = f"https://127.0.0.1:{port}/gw/standard/pinned"
                    async with http.post(url, data=raw, headers=signed(raw) | claim, server_hostname=NAME) as answer:
                        heard[who] = answer.status
    documented = re.search(r"```sh\n(openssl x509 .*?)\n```", CARRIERS_PAGE.read_text("utf-8"))
    assert documented is not None
    command = ["sh", "-c", documented[1].replace("carrier.pem", "/dev/stdin")]
    pinned = subprocess.run(command, input=CERTIFICATE[0], check=True, capture_output=True).stdout  # noqa: ASYNC221 -- a moment, and nothing else is asked meanwhile
    assert pinned.split()[-1].decode() == pin_of(CERTIFICATE[0])
    right = {"the pinned one", "the pinned one, names it"}
    assert {who for who, status in heard.items() if status == 200} == right
    assert set(heard.values()) == {200, 401}


async def test_the_stream_is_not_held_back_and_no_figure_is_kept(site: Site) -> None:
    async with site.client() as http:
        async with (
            asyncio.timeout(20),
            http.get("/api/v1/stream?campaign=vnn", server_hostname=NAME, timeout=None) as answer,
        ):
            frames = Frames(answer)
            version, _ = await frames.totals()
            raw = orjson.dumps(message(f"{site.front.kind}-2"))
            assert (await site.ask(http, "POST", "/gw/standard/hub", data=raw, headers=signed(raw))).status == 200
            told, data = await frames.totals()
            assert told > version

        async def is_shown() -> bool:
            return (await site.ask(http, "GET", "/api/v1/campaigns/vnn/totals")).body == data

        await eventually(is_shown)


async def test_a_crowd_is_answered_from_the_cache_each_in_its_coding(site: Site) -> None:
    async with site.client(STRANGER) as http:
        before = site.tap.count(b"GET / ")
        pages = await asyncio.gather(*(site.ask(http, "GET", "/") for _ in range(CROWD)))
        came = site.tap.count(b"GET / ") - before
        assert {page.status for page in pages} == {200}
        # Of four who come at once, each second that the crowd lasts.
        assert came < CROWD / 2 if KINDS[site.front.kind].keeps else came == CROWD
        for coding in ("identity", "gzip", "identity"):
            page = await site.ask(http, "GET", "/", headers={"Accept-Encoding": coding})
            assert page.headers.get("Content-Encoding", "identity") == coding
            assert b"<!doctype html>" in page.body.lower()
        assert "Strict-Transport-Security" in page.headers


async def test_a_callback_comes_once_whatever_breaks(site: Site) -> None:
    raw = orjson.dumps(message(f"{site.front.kind}-3"))
    headers = signed(raw)
    # A client of a kept connection may try a GET again by itself.
    async with site.client(keeps=False) as http:
        # Connections that the proxy keeps to the service, if it does, are there.
        for path in (kannel(site), "/"):
            assert (await site.ask(http, "GET", path)).status < 300
        site.tap.requests.clear()
        site.tap.breaks = True
        try:
            for _ in range(2):
                broken = await site.ask(http, "POST", "/gw/standard/hub", data=raw, headers=headers)
                assert broken.status in (502, 503)
                assert (await site.ask(http, "GET", kannel(site, id="broken"))).status in (502, 503)
        finally:
            site.tap.breaks = False
        assert (site.tap.count(b"POST /gw/"), site.tap.count(b"GET /gw/")) == (2, 2)
        # No callback is answered by what was kept of another.
        for _ in range(2):
            await site.ask(http, "GET", kannel(site))
        assert site.tap.count(b"GET /gw/") == 4


async def test_no_callback_is_lost_to_a_service_that_is_away(site: Site) -> None:
    """Of nginx only that it serves: it has one service behind it."""
    async with site.client(keeps=False) as http:
        for number in range(12):
            assert (await site.ask(http, "GET", kannel(site, id=f"away-{number}"))).status < 300


async def test_what_is_too_large_is_refused_by_the_service_in_its_own_words(site: Site) -> None:
    most, beyond = Standard.body_bytes_max, Gateway.query_bytes_max + 1
    async with site.client() as http:
        for size, status in ((most, 400), (most + 1, 413)):
            raw = b"{" + b" " * (size - 1)
            answer = await site.ask(http, "POST", "/gw/standard/hub", data=BytesIO(raw), headers=signed(raw))
            assert (answer.status, "x-portal1400-request" in answer.headers) == (status, True)
        long = await site.ask(http, "GET", kannel(site, text="x" * beyond))
        assert (long.status, "x-portal1400-request" in long.headers) == (413, True)


async def test_nothing_of_a_callback_lies_in_a_log(site: Site) -> None:
    wrong = kannel(site).replace("/gw/", "/api/gw/"), kannel(site).replace("/gw/kannel/vina", ""), kannel(site)[3:]
    async with site.client(keeps=False) as http:
        answer = await site.ask(http, "GET", kannel(site, id="logged"))
        request_id = answer.headers["x-portal1400-request"].encode()
        for path in wrong:
            assert (await site.ask(http, "GET", path)).status == 404
        form = {"from": NUMBER, "text": TEXT}
        await site.ask(http, "POST", f"/gw/kannel/vina/{PATH_SECRET}", data=form)
        site.tap.breaks = True
        try:
            await site.ask(http, "GET", kannel(site))
            await site.ask(http, "POST", f"/gw/kannel/vina/{PATH_SECRET}", data=form)
            await site.ask(http, "GET", wrong[0])
        finally:
            site.tap.breaks = False

    async def is_told() -> bool:
        return request_id in site.front.logged()

    await eventually(is_told)
    assert found_in(site.front.logged()) == []
    assert PATH_SECRET.encode() not in site.front.logged()


async def test_in_the_clear_people_are_sent_on_and_carriers_refused(site: Site) -> None:
    plain = f"http://127.0.0.1:{site.front.plain_port}"
    async with aiohttp.ClientSession(headers={"Host": NAME}) as http:
        for path, status in (("/c/vnn", 308), (kannel(site), 403)):
            async with http.get(plain + path, allow_redirects=False) as answer:
                assert answer.status == status
                assert answer.headers.get("Location", f"https://{NAME}/c/vnn") == f"https://{NAME}/c/vnn"


# What is waited for -> how the file names it, and what of ours it must exceed, in seconds.
WAITS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "nginx, an answer": ("nginx.conf", (r"proxy_read_timeout (\d+)s",), 0),
    "nginx, the stream": ("nginx.conf", (r"proxy_read_timeout (60)s",), HEARTBEAT_SECONDS),
    "HAProxy, an answer": ("haproxy.cfg", (r"timeout server (\d+)s",), 0),
    "HAProxy, the stream": ("haproxy.cfg", (r"timeout server (60)s",), HEARTBEAT_SECONDS),
    "Caddy, an answer": ("Caddyfile", (r"response_header_timeout (\d+)s",), 0),
}


@pytest.mark.parametrize(("file", "patterns", "least"), WAITS.values(), ids=WAITS)
def test_a_proxy_waits_longer_than_the_service_takes(file: str, patterns: tuple[str, ...], least: float) -> None:
    defaults = {name: each.default for name, each in Settings.model_fields.items()}
    ours = least or defaults["body_read_seconds"] + defaults["statement_seconds"] + defaults["queue_wait_seconds"]
    text = (PROXIES / file).read_text(encoding="utf-8")
    found = [float(seconds) for pattern in patterns for seconds in re.findall(pattern, text)]
    assert found
    assert min(found) > ours


@pytest.mark.parametrize(
    ("file", "pattern"), [("nginx.conf", r"    keepalive_timeout (\d+)s;\n    }"), ("Caddyfile", r"keepalive (\d+)s")]
)
def test_a_proxy_closes_an_idle_connection_before_the_service_does(file: str, pattern: str) -> None:
    (seconds,) = re.findall(pattern, (PROXIES / file).read_text(encoding="utf-8"))
    assert float(seconds) < Settings.model_fields["idle_connection_seconds"].default
