"""The service as processes of its own, and its commands in this one: how they are called, and their environment."""

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli import main
from tests.support.portal import SECRET_KEY

ROOT = Path(__file__).parents[2]
SERVICE = (sys.executable, "-m", "service")
"""What `portal1400` is on a command line of the tests."""


def environ_for(data_dir: Path, port: int, internal_port: int, **settings: str) -> dict[str, str]:
    """Our environment, of its settings only those a test chooses: no developer's own may reach a process here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL1400_")}
    chosen = {
        "secret_key": SECRET_KEY,
        "data_dir": str(data_dir),
        "listen": f"127.0.0.1:{port}",
        "internal_listen": f"127.0.0.1:{internal_port}",
        "log_format": "json",
    }
    return kept | {f"PORTAL1400_{name.upper()}": value for name, value in (chosen | settings).items()}


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int | None
    out: str
    err: str


async def command(environ: Mapping[str, str], *arguments: str | Path) -> Ended:
    """A command in a thread of this process, of our settings with those of `environ` alone.

    A start of its own costs more than most of what is tried; a command that starts a server wants one all the same.
    """
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("PORTAL1400_")]:
            patched.delenv(name)
        for name, value in environ.items():
            patched.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = await asyncio.wait_for(asyncio.to_thread(main, [str(each) for each in arguments]), 180)
    return Ended(code, out.getvalue(), err.getvalue())
