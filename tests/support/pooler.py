"""A real PgBouncer in front of a test's server."""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.postgres.session import server_settings
from tests.support.ports import free_ports
from tests.support.postgres import TestServer

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
IGNORED = ",".join(("extra_float_digits", *server_settings("", 1.0, 1.0)))
"""Everything that a session of ours asks for at its start."""
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


@asynccontextmanager
async def pooled(server: TestServer, dsn: str, mode: str, *, ignored: str = IGNORED) -> AsyncIterator[str]:
    """The DSN of the same database through a pooler in `mode`, which drops the startup parameters in `ignored`."""
    assert PGBOUNCER is not None
    name = dsn.partition("@/")[2].partition("?")[0]
    port = free_ports()
    with tempfile.TemporaryDirectory(prefix="p1400-pooler-") as folder:
        settings = Path(folder) / "pgbouncer.ini"
        lines = (
            f"[databases]\n{name} = host={server.socket_folder} dbname={name} user=app\n[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any",
            f"pool_mode = {mode}\nserver_reset_query =\nignore_startup_parameters = {ignored}",
        )
        settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        settings.parent.chmod(0o755)
        settings.chmod(0o644)
        run_as = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        process = subprocess.Popen(  # noqa: ASYNC220 -- it starts in no time, and the test waits for it
            [PGBOUNCER, "--quiet", settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **(run_as if os.geteuid() == 0 else {}),  # type: ignore[call-overload]  # user, group and groups together
        )
        try:
            await _listening(port)
            yield f"postgresql://app@127.0.0.1:{port}/{name}"
        finally:
            process.kill()
            process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            await asyncio.sleep(0.02)
