"""The environment of a process, and a file of variables that is read again while it runs.

A running process cannot be given another environment: where PORTAL1400_ENVIRONMENT_FILE names a file, its lines count
before what the process was started with, at every start of a worker and whenever secrets are looked up.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from service.runtime.refusals import Refused

FILE_VARIABLE = "PORTAL1400_ENVIRONMENT_FILE"
FILE_BYTES_MAX = 1_048_576
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
QUOTES = ("'", '"')


class EnvironmentFileRefused(Refused):
    """The file cannot be read as it is; the sentence names the file and the line, never a value."""


def with_environment_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ`, and above it the file that it names, if it names one. Raises EnvironmentFileRefused."""
    path = environ.get(FILE_VARIABLE)
    if path is not None and not path.strip():
        raise EnvironmentFileRefused("it is set and names nothing: name the file, or do not set it")
    return environ if path is None else dict(environ) | read_environment_file(path)


def read_environment_file(path: str) -> dict[str, str]:
    """The variables of the file at `path`. Raises EnvironmentFileRefused.

    A line is NAME=value, empty, or a comment that begins with # or ;. A value may stand in quotes. What systemd or a
    shell would read otherwise is refused: a backslash outside single quotes, a quote within a value, a name twice.
    Source: systemd.exec(5), EnvironmentFile.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        lines = content.decode().split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise EnvironmentFileRefused(f"{path} cannot be read ({reason}): correct it") from None
    if len(content) > FILE_BYTES_MAX:
        raise EnvironmentFileRefused(f"{path} holds over {FILE_BYTES_MAX} bytes: name another file")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        bare = line.removesuffix("\r").strip(" \t")
        if not bare or bare[0] in "#;":
            continue
        name, equals, value = bare.partition("=")
        fault = _fault(name, equals, value, found)
        if fault is not None:
            raise EnvironmentFileRefused(f"{path}, line {number}: {fault}")
        found[name] = value[1:-1] if value[:1] in QUOTES else value
    return found


def _fault(name: str, equals: str, value: str, found: Mapping[str, str]) -> str | None:
    quote = value[:1] if value[:1] in QUOTES else ""
    inner = value[1:-1] if quote else value
    is_closed = not quote or (len(value) > 1 and value[-1] == quote)
    has_quote = any(each in inner for each in quote or QUOTES)
    rules = (
        (not equals or not NAME.fullmatch(name), "want NAME=value, an empty line, or a comment that begins with #"),
        (name in found, f"{name} stands there twice; remove one"),
        (name == FILE_VARIABLE, f"{name} names this file; set it where the service is started"),
        (not is_closed, f"{name}: the quote is not closed at the line's end"),
        (has_quote, f"{name}: a quote within the value; use the other kind around"),
        ("\\" in inner and quote != "'", f"{name}: a backslash; put the value in single quotes"),
        ("\0" in inner, f"{name}: a NUL; remove it"),
    )
    return next((sentence for is_broken, sentence in rules if is_broken), None)


def process_environment() -> Mapping[str, str]:
    """What this process was started with, and the file that it names. Raises EnvironmentFileRefused."""
    return with_environment_file(os.environ)
