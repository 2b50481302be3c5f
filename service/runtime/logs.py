"""Structured logs: one line per callback, constant event names. Numbers and texts cannot reach them.

A log call decides nothing: it neither waits nor raises, whatever is logged and whoever reads (log_writer.py).
"""

import atexit
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO
from uuid import UUID

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.runtime.journal import STANDARD_ERROR, is_journal, prefixed
from service.runtime.log_writer import LogWriter
from service.runtime.phone_numbers import CHARACTERS_MIN, REDACTED, without_numbers

FORBIDDEN_KEYS = frozenset({"msisdn", "number", "text", "body", "query", "secret", "password", "path", "url"})
RESERVED_KEYS = frozenset({"event", "level", "timestamp"})
"""What every line says of itself: an event's own value under one of these would be lost."""
SMALLEST_NUMBER = 10**8
PLAIN = (int, float, bool, type(None))
"""Counts and durations; everything else is turned into text and looked through."""


def redact(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Drop what must not be logged: values of forbidden keys, and anything shaped like a phone number."""
    for key, value in event.items():
        if key in FORBIDDEN_KEYS:
            event[key] = REDACTED
        elif isinstance(value, str):
            # Nothing shorter can be a number: most values are done here.
            if len(value) >= CHARACTERS_MIN:
                event[key] = without_numbers(value)
        elif isinstance(value, UUID):
            # One of our own making: its digits may look like a number, and are none.
            event[key] = str(value)
        elif type(value) not in PLAIN or (type(value) is int and abs(value) >= SMALLEST_NUMBER):
            event[key] = without_numbers(repr(value))
    return event


Render = Callable[[WrappedLogger, str, EventDict], bytes]


class AsJson:
    """Redacts and renders in one step: every callback writes a line, and each processor more costs a microsecond."""

    def __init__(self, always: Mapping[str, int]) -> None:
        """`always`: keys that every line has."""
        self._always = dict(always)

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        """One line."""
        event = redact(logger, level, event)
        whole = {**self._always, **event, "level": level, "timestamp": datetime.now(UTC)}
        return orjson.dumps(whole, option=orjson.OPT_UTC_Z)


class AsText:
    """Redacts and renders for a person's eyes."""

    def __init__(self, always: Mapping[str, int], *, colors: bool) -> None:
        """`always`: keys that every line has, unless it has them by itself."""
        self._always = dict(always)
        self._processors: tuple[Processor, ...] = (
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_plain_failure),
        )

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        """One line, which may hold line ends of its own."""
        done: Any = {**self._always, **event}
        for process in self._processors:
            done = process(logger, level, done)
        return str(done).encode("utf-8", "backslashreplace")


class Always:
    """Renders anything: what cannot be rendered becomes a line that says so, and raises nothing."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        """One line."""
        name = str(event.get("event"))
        try:
            return self._render(logger, level, event)
        except Exception as error:  # noqa: BLE001 -- whoever logs has something better to do than to fail
            return self._render(
                logger, "error", {"event": "log_line_not_rendered", "of": name, **describe_failure(error)}
            )


class ForJournal:
    """Renders with the priority before each line, as systemd's journal reads it."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        """One line with its priority."""
        return prefixed(self._render(logger, level, event), level)


def describe_failure(error: BaseException) -> dict[str, Any]:
    """An exception as log fields: kind and places, never its message, which may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(
        f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
    return {"error": type(error).__name__, "where": places}


class _Log:
    """What structlog hands rendered lines to."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.msg = self.info = self.warning = self.error = self.critical = write

    def __call__(self, *_arguments: object) -> "_Log":
        """The one logger for every name."""
        return self


class _Process:
    """The process's one log, if it has any."""

    writer: LogWriter | None = None


def configure(
    log_format: Literal["console", "json"], stream: TextIO | None = None, *, worker: int | None = None
) -> None:
    """Set up structlog for the process, and keep the libraries' own loggers from printing requests.

    `stream` has a file descriptor, which is written to directly; without, standard error. Where that is systemd's
    journal, each line has its priority. `worker`: the process's number among several, which every line then has as a
    key.
    """
    stream = sys.stderr if stream is None else stream
    always = {} if worker is None else {"worker": worker}
    as_format = AsJson(always) if log_format == "json" else AsText(always, colors=bool(stream and stream.isatty()))
    render: Render = Always(as_format)
    close()
    write: Callable[[bytes], None]
    if stream is not None:
        stream.flush()
        descriptor = _descriptor(stream)
        if is_journal(descriptor, os.environ):
            render = ForJournal(render)
        writer = _Process.writer = LogWriter(
            descriptor, lambda count: render(None, "warning", {"event": "log_lines_lost", "count": count})
        )
        write = writer.write
    else:
        # Started without a standard error: nobody wants lines.
        _Process.writer = None
        write = _drop
    structlog.configure(
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Log(write),
        cache_logger_on_first_use=False,
    )
    # aiohttp prints the bad request line and asyncio a task's exception: both may quote a donor.
    for name in ("aiohttp", "asyncio", "opentelemetry", "urllib3"):
        quiet = logging.getLogger(name)
        quiet.handlers[:] = [_KindOnly()]
        quiet.propagate = False
    # So does Python itself, of what fails where nobody can catch it.
    sys.unraisablehook = lambda failed: _complain("unraisable", failed.exc_value)
    threading.excepthook = lambda failed: _complain("thread", failed.exc_value)


def _descriptor(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except io.UnsupportedOperation:
        # Somebody put an object in the place of standard error; the process's own is still there.
        return STANDARD_ERROR


def lines_lost() -> int:
    """How many lines this process could not write."""
    return _Process.writer.lost if _Process.writer is not None else 0


def lines_waiting() -> int:
    """How many lines of this process are not written yet."""
    return _Process.writer.waiting if _Process.writer is not None else 0


def troubles() -> Iterator[str]:
    """Whether the log is being written."""
    if _Process.writer is not None:
        yield from _Process.writer.troubles()


@atexit.register
def close() -> None:
    """Write the last lines, in bounded time; what is logged later is written by whoever configures again."""
    if _Process.writer is not None:
        _Process.writer.close()


def _drop(_line: bytes) -> None:
    pass


def _complain(name: str, failure: BaseException | None) -> None:
    fields = describe_failure(failure) if failure is not None else {}
    structlog.get_logger(name).warning("library_complained", **fields)


class _KindOnly(logging.Handler):
    """Turns a library's record into one line of ours without its message."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            return
        failure = record.exc_info[1] if record.exc_info else None
        fields = describe_failure(failure) if failure else {}
        structlog.get_logger(record.name).warning("library_complained", place=record.funcName, **fields)


def _plain_failure(stream: TextIO, failure: Any) -> None:
    stream.write(f" {failure[0].__name__}")
