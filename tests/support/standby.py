"""A streaming standby of a test server, on the same machine and found by its own socket folder."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import asyncpg

from tests.support import postgres
from tests.support.postgres import TestServer, binaries, launch


def start_standby(primary: TestServer, folder: Path, choice: str) -> TestServer:
    """Copy `primary` into `folder`, whatever was there before, and follow it."""
    user = postgres._server_user()
    folder.chmod(0o755)
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    run_as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    if run_as:
        shutil.chown(folder, user)
    copy = ["-D", data, "-h", primary.socket_folder, "-U", "app", "-R", "-X", "stream", "-c", "fast"]
    subprocess.run(
        [binaries(choice) / "pg_basebackup", *copy], check=True, capture_output=True, cwd="/", timeout=60, **run_as
    )  # type: ignore[call-overload]  # user, group and groups go together or not at all
    return launch(folder, choice)


async def wait_for_standby(primary: TestServer, *, synchronous: bool) -> None:
    """Until a standby follows `primary`; with `synchronous` every commit waits for it from now on."""
    admin = await asyncpg.connect(primary.dsn("postgres"))
    try:
        await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{'*' if synchronous else ''}'")
        await admin.execute("SELECT pg_reload_conf()")
        wanted = "sync" if synchronous else "async"
        for _ in range(500):
            if await admin.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = $1", wanted):
                return
            await admin.execute("SELECT pg_sleep(0.02)")
        raise RuntimeError(f"no standby became {wanted}: {primary.log.read_text()[-2000:]}")
    finally:
        await admin.close()


async def promote(standby: TestServer) -> None:
    """Make the standby the primary; it then waits for nobody, until `wait_for_standby` says otherwise."""
    admin = await asyncpg.connect(standby.dsn("postgres"))
    try:
        assert await admin.fetchval("SELECT pg_promote(true, 30)")
        await admin.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        await admin.execute("SELECT pg_reload_conf()")
    finally:
        await admin.close()
