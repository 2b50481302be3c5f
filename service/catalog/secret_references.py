"""Where a secret lies when the database does not hold it: a variable of the environment, or a file.

Stored as {"env": NAME} or {"file": PATH}, written `env:NAME` or `file:PATH`, and looked up by the serving process.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from service.runtime.settings import PREFIX

ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,199}")
FILE_BYTES_MAX = 4096
PATH_CHARACTERS_MAX = 1000
KINDS = ("env", "file")


class SecretMissing(Exception):
    """The secret cannot be had. The text names the variable or file, and why; never a value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that was found, and what is wrong with where it lies, if anything."""

    value: str
    warning: str | None = None


def reference(written: str) -> dict[str, str] | None:
    """The stored form of `env:NAME` or `file:PATH`; None for a literal."""
    kind, colon, rest = written.partition(":")
    return {kind: rest} if colon and kind in KINDS else None


def name_of(stored: Mapping[str, str]) -> str | None:
    """The variable or the file behind a stored reference; None where none is stored."""
    return next((stored[kind] for kind in KINDS if kind in stored), None)


def fault_of(written: str) -> str | None:
    """What is wrong with a reference of the apply file; None where nothing is, or where it is a literal."""
    stored = reference(written)
    if stored is None:
        return None
    if "env" in stored:
        if not ENV_NAME.fullmatch(stored["env"]):
            return "must be env: and a name of A-Z, 0-9 and _; correct the name"
        if stored["env"].startswith(PREFIX):
            return (
                f"must not name a variable beginning with {PREFIX}, which are the service's own; choose another name"
            )
        return None
    path = stored["file"]
    if not PurePosixPath(path).is_absolute() or len(path) > PATH_CHARACTERS_MAX:
        return f"must be file: and an absolute path of at most {PATH_CHARACTERS_MAX} characters; correct the path"
    return None


def find(stored: Mapping[str, str], environ: Mapping[str, str]) -> Secret:
    """The secret behind a stored reference. Raises SecretMissing."""
    if "file" in stored:
        return _read(stored["file"])
    value = environ.get(stored["env"])
    if not value:
        raise SecretMissing(f"{stored['env']} is not set")
    return Secret(value)


def _read(path: str) -> Secret:
    """A file's content without the line's end that editors add."""
    try:
        # Without waiting: at a pipe nobody may ever write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SecretMissing(f"{path} is no file")
            content = file.read(FILE_BYTES_MAX + 1)
        value = content.decode()
    except OSError as error:
        raise SecretMissing(f"{path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise SecretMissing(f"{path} is not text in UTF-8") from None
    if len(content) > FILE_BYTES_MAX:
        raise SecretMissing(f"{path} holds more than {FILE_BYTES_MAX} bytes")
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise SecretMissing(f"{path} is empty")
    warning = f"{path} can be read by everybody on this machine: take that right away"
    return Secret(value, warning if mode & stat.S_IROTH else None)
