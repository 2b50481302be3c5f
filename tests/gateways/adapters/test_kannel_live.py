"""A real Kannel fetches our address: what it puts into the query is what the adapter was written for."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from gateways.callback import Callback
from gateways.events import Event, Message
from gateways.gateway import Gateway
from gateways.outcome import Outcome, Result
from gateways.registry import REPLIERS
from gateways.replier import Fate, Judgement, OutgoingReply, Replier
from service.delivery.client import HubClient
from tests.gateways.calls import KEY, gateway
from tests.support.ports import free_ports

BEARERBOX = shutil.which("bearerbox", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
SMSBOX = shutil.which("smsbox", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
FAKESMSC = shutil.which("fakesmsc", path="/usr/lib/kannel/test:/usr/local/lib/kannel/test")

pytestmark = [
    pytest.mark.kannel,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BEARERBOX and SMSBOX and FAKESMSC),
        reason="needs bearerbox, smsbox and fakesmsc (Debian: kannel, kannel-extras)",
    ),
]

SECRET = "tram-cuu-tro-1"
ALPHABET_TEXT = "Cam on Quy vi da ung ho 100.000 dong. Ma: AC-19 (1400.vn) !$%'*+,/;=?@_#"
"""Letters that a reply may hold, those among them that an encoding could lose."""
START_SECONDS = 20
ARRIVAL_SECONDS = 15

PAGE = (Path(__file__).parents[3] / "docs" / "carriers" / "kannel.md").read_text(encoding="utf-8")
SERVICE = PAGE[PAGE.index("group = sms-service") :].partition("```")[0]
"""What carriers' engineers are told to configure, to the letter."""
POSTED = PAGE[PAGE.index("post-url = ") :].partition("```")[0]
WAYS = {
    "get-url": SERVICE,
    "post-url": "".join(line for line in SERVICE.splitlines(True) if not line.startswith("get-url")) + POSTED,
}

CONFIGURATION = """
group = core
admin-port = {admin}
admin-password = nothing-to-guard
admin-interface = 127.0.0.1
admin-deny-ip = "*.*.*.*"
admin-allow-ip = "127.0.0.1"
smsbox-port = {boxes}
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"
log-level = 2

group = smsc
smsc = fake
smsc-id = vnp1
host = 127.0.0.1
port = {centre}
connect-allow-ip = 127.0.0.1

group = smsbox
bearerbox-host = 127.0.0.1
http-request-retry = 2
http-queue-delay = 1
sendsms-port = {sendsms}
log-level = 2

group = sendsms-user
username = portal
password = word

{service}
"""


@dataclass
class Site:
    """Our end: each request handed to the adapter as it came."""

    gateway: Gateway[Any]
    port: int = 0
    refusals: int = 0
    queries: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    arrived: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    async def handle(self, request: web.Request) -> web.Response:
        # The path as it came: other views of an address decode and encode it again.
        query = request.raw_path.partition("?")[2]
        self.queries.append(query)
        self.methods.append(request.method)
        callback = Callback(
            method=request.method,
            query=query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            peer=ip_address(request.remote or "0.0.0.0"),
            received_at=datetime.now(UTC),
            path_secret=request.match_info["secret"],
        )
        events = self.gateway.open(callback, KEY)
        outcome = Outcome.ACCEPTED
        if self.refusals:
            self.refusals -= 1
            outcome = Outcome.UNAVAILABLE
        answer = self.gateway.respond(Result(outcome=outcome, now=callback.received_at, events=events))
        for event in events:
            self.arrived.put_nowait(event)
        headers = {"content-type": answer.content_type or "", **dict(answer.headers)}
        return web.Response(status=answer.status, body=answer.body, headers=headers)


@dataclass
class Kannel:
    """A running bearerbox and smsbox."""

    site: Site
    centre_port: int
    sendsms_port: int
    folder: Path

    async def send(self, kind: str, content: str) -> Message:
        """Let the fake message centre deliver one message; what the adapter made of it."""
        sender = await asyncio.create_subprocess_exec(
            str(FAKESMSC), "-H", "127.0.0.1", "-r", str(self.centre_port), "-i", "0.01", "-m", "1",
            f"84950000001 1408 {kind} {content}",
            cwd=self.folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            event = await asyncio.wait_for(self.site.arrived.get(), ARRIVAL_SECONDS)
        finally:
            await end(sender)
        assert isinstance(event, Message)
        return event


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process that a test started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def wait_for_port(port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            await writer.wait_closed()
            return


@pytest.fixture
async def kannel(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Kannel]:
    """bearerbox and smsbox on free loopback ports, fetching from a server of this test, or posting to it."""
    service = WAYS[getattr(request, "param", "get-url")]
    settings = {"path_secret": SECRET, "carriers": {"vnp1": "vinaphone"}}
    site = Site(gateway("kannel", settings, carrier="from_message"))
    application = web.Application()
    application.router.add_route("*", "/gw/kannel/acc/{secret}", site.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    ports = {"admin": free_ports(), "boxes": free_ports(), "centre": free_ports(), "sendsms": free_ports()}
    configuration = tmp_path / "kannel.conf"
    told = service.replace("https://PORTAL/", f"http://127.0.0.1:{site.port}/")
    told = told.replace("/ACCOUNT/SECRET?", f"/acc/{SECRET}?")
    configuration.write_text(CONFIGURATION.format(**ports, service=told))
    started: list[asyncio.subprocess.Process] = []
    try:
        for binary, port in ((BEARERBOX, ports["boxes"]), (SMSBOX, None)):
            with (tmp_path / f"{Path(str(binary)).name}.out").open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    str(binary), str(configuration), cwd=tmp_path, stdout=output, stderr=output
                )
            started.append(process)
            if port is not None:
                await wait_for_port(port)
        await wait_for_port(ports["centre"])
        yield Kannel(site, ports["centre"], ports["sendsms"], tmp_path)
    finally:
        for process in reversed(started):
            await end(process)
        await runner.cleanup()


@pytest.mark.parametrize("kannel", WAYS, indirect=True)
async def test_what_a_donor_texts_arrives_as_it_was_texted(kannel: Kannel) -> None:
    seen: dict[str, Message] = {}
    vietnamese = "ủng hộ 5 & đồng bào + 1"
    seen["ascii"] = await kannel.send("text", "VNN 5")
    seen["signs"] = await kannel.send("text", "VNN+5 & UH=1 50% #?")
    seen["ucs-2"] = await kannel.send("ucs2", quote(vietnamese.encode("utf-16-be")))
    assert {name: message.text for name, message in seen.items()} == {
        "ascii": "VNN 5",
        "signs": "VNN+5 & UH=1 50% #?",
        "ucs-2": vietnamese,
    }
    for message in seen.values():
        assert message.msisdn == "84950000001"
        assert message.short_code == "1408"
        assert message.carrier == "vinaphone"
        assert message.flags == ()
        assert message.message_at is not None
        assert abs((datetime.now(UTC) - message.message_at).total_seconds()) < 120
    assert set(kannel.site.methods) == {
        "GET" if "post-url" not in (kannel.folder / "kannel.conf").read_text() else "POST"
    }
    # Each message was fetched once: an empty text/plain with 200 satisfies Kannel.
    assert len({message.native_id for message in seen.values()}) == len(kannel.site.queries) == 3


async def test_a_message_we_could_not_take_comes_again_as_the_same(kannel: Kannel) -> None:
    kannel.site.refusals = 1
    first = await kannel.send("text", "VNN 2")
    again = await asyncio.wait_for(kannel.site.arrived.get(), ARRIVAL_SECONDS)
    assert again == first
    assert kannel.site.queries[0] == kannel.site.queries[1]


async def test_a_reply_is_taken_and_reaches_the_message_centre_as_it_is_meant(kannel: Kannel) -> None:
    def replier(password: str) -> Replier[Any]:
        ours = {
            "path_secret": SECRET, "reply_url": f"http://127.0.0.1:{kannel.sendsms_port}/cgi-bin/sendsms",
            "reply_user": "portal", "reply_password": password, "reply_charged": {"binfo": "20000"},
        }  # fmt: skip
        return REPLIERS["kannel"](gateway("kannel", ours).settings)

    reply = OutgoingReply(
        reference="r-1", message_ref="m-1", msisdn="84950000001", short_code="1408", keyword="VNN",
        carrier="vinaphone", text=ALPHABET_TEXT, is_charged=True, is_counted=True, at=datetime.now(UTC),
        report_address=f"http://127.0.0.1:{kannel.site.port}/gw/kannel/acc/{SECRET}/dlr",
    )  # fmt: skip
    centre = await asyncio.create_subprocess_exec(
        str(FAKESMSC), "-H", "127.0.0.1", "-r", str(kannel.centre_port), "-i", "0.01", "-m", "1",
        "84950000002 1408 text VNN", cwd=kannel.folder, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await asyncio.wait_for(kannel.site.arrived.get(), ARRIVAL_SECONDS)
        await wait_for_port(kannel.sendsms_port)
        async with HubClient() as client:
            for password, fate in (("another", Fate.LATER), ("word", Fate.ACCEPTED)):
                said = await client.post(replier(password).call(reply))
                assert not isinstance(said, Judgement)
                assert replier(password).judge(*said).fate is fate, said
        assert centre.stdout is not None
        async with asyncio.timeout(ARRIVAL_SECONDS):
            while b"1408 84950000001" not in (line := await centre.stdout.readline()):
                assert line, "the message centre ended"
        assert f"text {ALPHABET_TEXT}>".encode() in line
    finally:
        await end(centre)
