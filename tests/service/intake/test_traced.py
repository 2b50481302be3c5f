"""Traces from a callback to the viewers, as a collector gets them; and that nothing personal or secret is in one."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from aiohttp import test_utils, web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from service.intake.intake import Intake
from service.intake.writer import Writer
from service.listeners.listening_socket import bind
from service.operations.tracing import NONE, make_tracing
from service.runtime import traces
from service.runtime.refusals import Refused
from service.runtime.settings import read_settings
from service.runtime.traces import Traces
from tests.support.canary import NUMBER, TEXT, found_in
from tests.support.portal import PATH_SECRET, SIGNING_SECRET, Portal, message, running, signed
from tests.support.protocols import get_kannel

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SENDER = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}


@dataclass
class Collector:
    """What an OTLP receiver was sent."""

    endpoint: str
    bodies: list[bytes] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {each.key: each.value.string_value for each in resource.resource.attributes}
                assert named["service.name"] == "portal1400"
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def roots(self, account: str) -> list[Span]:
        return [span for span in self.spans if attributes(span).get("portal1400.account") == account]

    def children(self, root: Span) -> dict[str, Span]:
        return {span.name: span for span in self.spans if span.parent_span_id == root.span_id}


def attributes(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector of our own; every body is kept as it came."""

    async def take(request: web.Request) -> web.Response:
        collector.bodies.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    async with test_utils.TestServer(application) as served:
        collector = Collector(f"http://{served.host}:{served.port}")
        yield collector


async def watch(portal: Portal, messages: int) -> None:
    """A viewer until so many messages are shown."""
    async with portal.http.get(f"{portal.base}/api/v1/stream?campaign=vnn") as stream:
        async for line in stream.content:
            if b'"messages":%d,' % messages in line:
                return


async def test_a_callback_is_followed_from_its_sender_to_the_viewers_and_nothing_of_a_person_is_told(
    database_dsn: str, tmp_path: Path
) -> None:
    async with collecting() as collector:
        service = running(
            database_dsn, tmp_path, traces_endpoint=collector.endpoint, traces_share="1", queue_wait_seconds="20"
        )
        async with service as portal:
            viewer = asyncio.create_task(watch(portal, 2))
            raw = orjson.dumps(message("m-1", f"VNN 5 {TEXT}", msisdn=NUMBER))
            assert (await portal.post(raw, headers=signed(raw) | SENDER)).outcome == "accepted"
            await portal.post(message("m-2", "VNN 5", msisdn=NUMBER))
            await get_kannel(portal, "k-1", "VNN 7", NUMBER)
            await portal.post(message("m-2", TEXT, msisdn=NUMBER))
            await portal.post(message("m-3", TEXT, msisdn=f"{NUMBER}0"))
            await portal.post(message("m-4"), account="nobody", headers={"webhook-id": "x", **SENDER})
            await asyncio.wait_for(viewer, 20)
            async with portal.http.get(f"{portal.internal}/metrics", headers={"Accept": OPENMETRICS}) as answer:
                metrics = await answer.text()
        spans = collector.spans
    unread, accepted, conflict, malformed = collector.roots("hub")
    assert (unread.trace_id.hex(), unread.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert accepted.trace_id.hex() != TRACE_ID
    assert accepted.name == "POST /gw/standard/{account}"
    assert accepted.kind == Span.SPAN_KIND_SERVER
    told = attributes(accepted)
    assert len(str(told.pop("portal1400.request"))) == 36
    assert told == {
        "http.request.method": "POST",
        "http.route": "/gw/standard/{account}",
        "http.response.status_code": 200,
        "portal1400.account": "hub",
        "portal1400.outcome": "accepted",
        "portal1400.events": 1,
    }
    parts = collector.children(accepted)
    assert set(parts) == {"BATCH gifts", "notify", "read totals", "push"}
    commit = parts["BATCH gifts"]
    assert commit.kind == Span.SPAN_KIND_CLIENT
    assert attributes(commit)["db.system.name"] == "postgresql"
    assert accepted.start_time_unix_nano <= commit.start_time_unix_nano <= commit.end_time_unix_nano
    times = [parts[name] for name in ("BATCH gifts", "notify", "read totals", "push")]
    assert [each.end_time_unix_nano for each in times] == sorted(each.end_time_unix_nano for each in times)
    for failed, outcome in ((conflict, "conflict"), (malformed, "malformed")):
        assert failed.status.code == Status.STATUS_CODE_ERROR
        assert attributes(failed)["error.type"] == outcome
    # A stranger's trace is nobody's.
    (stranger,) = collector.roots("unknown")
    assert stranger.trace_id.hex() != TRACE_ID
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)
    exemplars = set(re.findall(r'trace_id="(\w+)"', metrics))
    assert exemplars
    assert exemplars <= {span.trace_id.hex() for span in spans}
    whole = b"".join(collector.bodies)
    assert found_in(whole) == []
    for canary in (PATH_SECRET, SIGNING_SECRET, "m-1", "k-1", "nobody"):
        assert canary.encode() not in whole, canary


async def test_what_is_spooled_late_or_gives_money_back_is_kept_whatever_the_share(
    database_dsn: str, tmp_path: Path
) -> None:
    reversal = {"reversal_id": "r-1", "amount": 20_000, "message_id": "m-1"}
    raw = orjson.dumps(message("m-2"))
    sampled = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
    async with collecting() as collector:
        service = running(
            database_dsn, tmp_path, traces_endpoint=collector.endpoint, traces_share="0", queue_wait_seconds="20"
        )
        async with service as portal:
            await portal.post(message("m-1"))
            await portal.post({"type": "charge.reversed", "timestamp": "2026-11-21T08:30:00Z", "data": reversal})
            await portal.post(raw, headers=signed(raw) | sampled)
            portal.service.intake.circuit.open()
            for number in range(3):
                assert (await portal.post(message(f"s-{number}"))).outcome == "accepted"
        kept = [set(collector.children(root)) & {"spool", "BATCH gifts"} for root in collector.roots("hub")]
    assert len(kept) >= 4
    assert kept[:2] == [{"BATCH gifts"}, {"BATCH gifts"}]
    assert {"spool"} in kept
    assert collector.roots("hub")[1].trace_id.hex() == TRACE_ID


async def test_a_collector_that_is_away_disturbs_nobody(database_dsn: str, tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as nobody:
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces, "EXPORT_SECONDS", 0.3)
        async with running(
            database_dsn, tmp_path, traces_endpoint=endpoint, traces_share="1", queue_wait_seconds="20"
        ) as portal:
            assert (await portal.post(message("m-1"))).outcome == "accepted"


def test_a_flood_of_what_is_always_kept_is_sampled() -> None:
    chance = iter([0.5] * 1000)
    kept = Traces("http://127.0.0.1:9", 0.01, chance=lambda: next(chance))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.runtime.traces.time.monotonic", lambda: 7.5)
        assert [kept.is_wanted(always=True) for _ in range(80)] == [True] * 50 + [False] * 30
        patch.setattr("service.runtime.traces.time.monotonic", lambda: 8.5)
        assert kept.is_wanted(always=True)
    assert not kept.is_wanted(always=False)
    assert Traces("http://127.0.0.1:9", 0.51, chance=lambda: 0.5).is_wanted(always=False)


def test_without_an_endpoint_nothing_is_wrapped_and_opentelemetry_is_not_even_imported() -> None:
    asked = "import sys, service.app; print([each for each in sys.modules if each.startswith('opentelemetry')])"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
    assert make_tracing(read_settings({})) is NONE
    assert (NONE.wrapped.intake, NONE.wrapped.writer) == (Intake, Writer)


def test_an_endpoint_without_the_extra_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "service.runtime.traces")
    with pytest.raises(Refused, match="WITH=otel"):
        make_tracing(read_settings({"PORTAL1400_TRACES_ENDPOINT": "http://127.0.0.1:4318"}))
