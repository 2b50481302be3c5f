"""The story of a callback as a trace: wraps intake and writer, which know nothing of it.

Kept always, within a limit: what ended as a warning, late, from the spool, or gave money back. Of the rest a share.
"""

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import asyncpg

from gateways.callback import Callback
from gateways.events import Reversal
from gateways.outcome import Answer, Outcome
from metrics.service_levels import ANSWER_SECONDS_MAX
from service.catalog.catalog import Party
from service.intake.bodies import Sender
from service.intake.ending import Ending
from service.intake.entry import Commit, Entry, EventResult
from service.intake.intake import LOUD, REFUSED, Intake, Opened, Verified
from service.intake.writer import Writer
from service.live.traced import NANOSECONDS, Following

if TYPE_CHECKING:
    from service.runtime.traces import Trace, Traces

DATABASE: dict[str, str | int] = {"db.system.name": "postgresql", "db.operation.name": "BATCH"}
"""https://opentelemetry.io/docs/specs/semconv/database/postgresql/"""
SERVER_ERROR = 500
SAMPLED = "-01"
"""The end of a traceparent whose sender keeps the trace: https://www.w3.org/TR/trace-context/, section 3.2.2.5.1."""


class Story:
    """What is noted of one callback while it is taken. Times are ns since the epoch."""

    __slots__ = ("began", "callback", "entry", "gives_back", "spooled")

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.began = time.time_ns()
        self.entry: Entry | None = None
        self.spooled: tuple[int, int] | None = None
        self.gives_back = False


_story: ContextVar[Story | None] = ContextVar("story", default=None)
"""Of the task that takes a callback; a connection's callbacks follow one another in it."""


class TracedWriter(Writer):
    """Notes which commit an entry was in."""

    async def store(self, entry: Entry, timeout_seconds: float) -> list[EventResult]:
        """As a writer does."""
        story = _story.get()
        if story is not None and not entry.is_replayed:
            story.entry = entry
        return await super().store(entry, timeout_seconds)

    async def _commit(self, connection: asyncpg.Connection, slot: int, batch: list[Entry]) -> None:
        began = time.time_ns()
        try:
            await super()._commit(connection, slot, batch)
        finally:
            # Whoever waits for an entry runs only after this. The halves of a batch have noted their own.
            commit = Commit(began, time.time_ns(), len(batch))
            for entry in batch:
                entry.commit = entry.commit or commit


class TracedIntake(Intake):
    """Notes what the intake does, and makes a trace of it when it is over and worth keeping."""

    def __init__(self, traces: "Traces", following: Following, **parts: Any) -> None:
        super().__init__(**parts)
        self._traces = traces
        self._following = following
        self._exemplar: dict[str, str] | None = None
        self._instruments.intake.exemplar = lambda: self._exemplar

    async def take(
        self,
        party: Party,
        callback: Callback,
        *,
        sender: Sender | None = None,
        verified: Verified = lambda: None,
        tried: str = "",
    ) -> Answer:
        """As an intake does."""
        _story.set(Story(callback))
        return await super().take(party, callback, sender=sender, verified=verified, tried=tried)

    async def _store(self, opened: Opened) -> Ending:
        if (story := _story.get()) is not None:
            story.gives_back = any(isinstance(event, Reversal) for event in opened.events)
        return await super()._store(opened)

    async def _spool(self, opened: Opened, reason: str) -> Ending:
        began = time.time_ns()
        ending = await super()._spool(opened, reason)
        if (story := _story.get()) is not None:
            story.spooled = began, time.time_ns()
        return ending

    def finish(self, party: Party, ending: Ending, seconds: float, callback: Callback, tried: str = "") -> None:
        """As an intake does, and keep the trace."""
        if ending.aside is None:
            self._exemplar = self._traced(party, ending, seconds, callback)
        super().finish(party, ending, seconds, callback, tried)
        self._exemplar = None

    def _traced(self, party: Party, ending: Ending, seconds: float, callback: Callback) -> dict[str, str] | None:
        """Make the trace, where it is kept; what the histograms then say of this callback."""
        story = _story.get()
        if story is None or story.callback is not callback:
            story = Story(callback)  # it was refused before it was taken
        is_known = party.account is not None and ending.outcome not in REFUSED
        always = is_known and (
            ending.outcome in LOUD
            or seconds > ANSWER_SECONDS_MAX
            or story.spooled is not None
            or story.gives_back
            # A carrier that keeps its own trace of this callback finds our part of it.
            or callback.headers.get("traceparent", "").endswith(SAMPLED)
        )
        if not self._traces.is_wanted(always=always):
            return None
        trace = self._keep(party, ending, story, story.began + int(seconds * NANOSECONDS), is_known=is_known)
        return {"trace_id": self._traces.id_of(trace)}

    def _keep(self, party: Party, ending: Ending, story: Story, ended: int, *, is_known: bool) -> "Trace":
        callback, status = story.callback, ending.answer.status
        is_failure = ending.outcome in LOUD or status >= SERVER_ERROR
        trace = self._traces.root(
            f"{callback.method} /gw/{party.adapter}/{{account}}",
            story.began,
            ended,
            {
                "http.request.method": callback.method,
                "http.route": f"/gw/{party.adapter}/{{account}}",
                "http.response.status_code": status,
                "portal1400.account": party.label,
                "portal1400.outcome": ending.outcome.value,
                "portal1400.events": ending.events,
                "portal1400.request": str(callback.request_id),
            },
            # A stranger's word about a trace is nobody's.
            headers=callback.headers if is_known else None,
            failure=ending.outcome.value if is_failure else "",
        )
        if story.spooled is not None:
            self._traces.child(trace, "spool", *story.spooled, {})
        commit = story.entry.commit if story.entry is not None else None
        if commit is None:
            return trace
        size = {"db.operation.batch.size": commit.callbacks}
        self._traces.child(trace, "BATCH gifts", commit.began, commit.ended, DATABASE | size, is_query=True)
        if ending.outcome is Outcome.ACCEPTED and story.spooled is None:
            self._following.see_stored(trace, commit.ended)
        return trace
