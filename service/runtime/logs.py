"""Structured logs: one line per callback, constant event names. Numbers and texts cannot reach them."""

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

FORBIDDEN_KEYS = frozenset({"msisdn", "number", "text", "body", "query", "secret", "password", "path", "url"})
_NUMBER = re.compile(r"(?<!\d)(?:\+|00)?(?:84|0)\d{9}(?!\d)")
NUMBER_CHARACTERS_MIN = 10
SMALLEST_NUMBER = 10**8
PLAIN = (int, float, bool, type(None))
"""Counts and durations; everything else is turned into text and looked through."""
REDACTED = "[redacted]"


def redact(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Drop what must not be logged: values of forbidden keys, and anything shaped like a phone number."""
    for key, value in event.items():
        if key in FORBIDDEN_KEYS:
            event[key] = REDACTED
        elif isinstance(value, str):
            # Nothing shorter can be a number: most values are done here.
            if len(value) >= NUMBER_CHARACTERS_MIN and _NUMBER.search(value):
                event[key] = _NUMBER.sub(REDACTED, value)
        elif type(value) not in PLAIN or (type(value) is int and abs(value) >= SMALLEST_NUMBER):
            event[key] = _NUMBER.sub(REDACTED, repr(value))
    return event


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


def always_with(keys: Mapping[str, int]) -> structlog.typing.Processor:
    """Adds keys that every line has, unless it has them by itself."""

    def add(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        return {**keys, **event}

    return add


def describe_failure(error: BaseException) -> dict[str, Any]:
    """An exception as log fields: kind and places, never its message, which may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(
        f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
    return {"error": type(error).__name__, "where": places}


def configure(
    log_format: Literal["console", "json"], stream: TextIO | None = None, *, worker: int | None = None
) -> None:
    """Set up structlog for the process, and keep the libraries' own loggers from printing requests.

    `worker`: the process's number among several, which every line then has as a key.
    """
    stream = sys.stderr if stream is None else stream
    always = {} if worker is None else {"worker": worker}
    factory: structlog.PrintLoggerFactory | structlog.BytesLoggerFactory
    processors: list[structlog.typing.Processor]
    if log_format == "json":
        processors = [AsJson(always)]
        factory = structlog.BytesLoggerFactory(stream.buffer)
    else:
        processors = [
            always_with(always),
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=_plain_failure),
        ]
        factory = structlog.PrintLoggerFactory(stream)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    # aiohttp prints the bad request line and asyncio a task's exception: both may quote a donor.
    for name in ("aiohttp", "asyncio"):
        quiet = logging.getLogger(name)
        quiet.handlers[:] = [_KindOnly()]
        quiet.propagate = False


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
