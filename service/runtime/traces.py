"""Traces in OpenTelemetry's words, sent by OTLP over HTTP. Imported only where an endpoint is set (the extra `otel`).

A span is made when what it tells of is over, with the times that were noted: a story that is not kept costs a few
comparisons. Names and attributes follow the semantic conventions; whoever makes a span hands it only names and counts
of our own making, never what a sender wrote.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    SpanKind,
    Status,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

EXPORT_SECONDS = 5.0
"""The longest one delivery to the collector may take, and what a clean stop waits for the last one."""
QUEUED_SPANS_MAX = 4096
"""What waits for the collector; beyond it spans are dropped, as are those that it does not take."""
ALWAYS_PER_SECOND_MAX = 50
"""Stories that are kept whatever chance says: of a flood of them so many a second."""

Attributes = Mapping[str, str | int | bool]
Trace = Context
"""Where further spans of a trace belong."""


class Traces:
    """What keeps the traces of one worker. `share`: of the usual stories so many, 0 to 1."""

    def __init__(self, endpoint: str, share: float, *, chance: Callable[[], float] = random.random) -> None:
        """`endpoint` is the collector's address, to which `/v1/traces` is added."""
        self._share = share
        self._chance = chance
        self._second = 0
        self._always = 0
        resource = Resource.create({"service.name": "portal1400", "service.version": version("portal1400")})
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUED_SPANS_MAX))
        self._tracer = self._provider.get_tracer("portal1400")
        self._propagator = TraceContextTextMapPropagator()

    def is_wanted(self, *, always: bool) -> bool:
        """Whether a story is kept: `always`, within the limit, or by chance."""
        if always:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._always = second, 0
            self._always += 1
            if self._always <= ALWAYS_PER_SECOND_MAX:
                return True
        return self._share > 0 and self._chance() < self._share

    def root(
        self,
        name: str,
        began: int,
        ended: int,
        attributes: Attributes,
        *,
        headers: Mapping[str, str] | None = None,
        failure: str = "",
    ) -> Trace:
        """A request that was answered; times in ns since the epoch.

        `headers` (lower-case names) may hold the sender's trace (W3C traceparent), of which it then is a part;
        `failure` is the kind of an error.
        """
        sender = self._propagator.extract(dict(headers)) if headers else Context()
        return self._span(name, began, ended, attributes, sender, SpanKind.SERVER, failure)

    def child(
        self, trace: Trace, name: str, began: int, ended: int, attributes: Attributes, *, is_query: bool = False
    ) -> None:
        """A part of a story; times in ns since the epoch. `is_query`: done by the database."""
        self._span(name, began, ended, attributes, trace, SpanKind.CLIENT if is_query else SpanKind.INTERNAL, "")

    def _span(
        self, name: str, began: int, ended: int, attributes: Attributes, parent: Context, kind: SpanKind, failure: str
    ) -> Trace:
        span = self._tracer.start_span(name, parent, kind, attributes, start_time=began)
        if failure:
            span.set_attribute("error.type", failure)
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(began, ended))
        return set_span_in_context(span, Context())

    @staticmethod
    def id_of(trace: Trace) -> str:
        """The id of a trace, 32 hexadecimal digits."""
        return format_trace_id(get_current_span(trace).get_span_context().trace_id)

    async def stop(self) -> None:
        """Send what waits, within `EXPORT_SECONDS`."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has not waited for it
                loop.call_soon_threadsafe(done.set)

        # A thread of its own: one that hangs at a collector must not hold up the end of the process.
        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), EXPORT_SECONDS)
