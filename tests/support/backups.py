"""Our commands, for the tests of backups, and what they are looked at by."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from service.runtime.keyring import Keyring
from tests.support import processes
from tests.support.portal import SECRET_KEY, Portal, message
from tests.support.processes import SERVICE, Ended

ROOT = Path(__file__).parents[2]
KEYRING = Keyring(SECRET_KEY)
COUNT_TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def environ(dsn: str | None, folder: Path, **settings: str) -> dict[str, str]:
    """What commands read: these settings and no others of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL1400_")}
    chosen = {"DATABASE_URL": dsn, "DATA_DIR": str(folder), "SECRET_KEY": SECRET_KEY, **settings}
    return kept | {f"PORTAL1400_{name}": value for name, value in chosen.items() if value is not None}


async def start(dsn: str | None, folder: Path, *arguments: str | Path, **settings: str) -> asyncio.subprocess.Process:
    """One of our commands, begun."""
    return await asyncio.create_subprocess_exec(
        *(*SERVICE, *arguments),
        cwd=ROOT,
        env=environ(dsn, folder, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def as_a_process(dsn: str | None, folder: Path, *arguments: str | Path, **settings: str) -> Ended:
    """A command as people call it: where a portal of this process prints beside it, and where it starts a server."""
    process = await start(dsn, folder, *arguments, **settings)
    out, err = await asyncio.wait_for(process.communicate(), 180)
    return Ended(process.returncode, out.decode(), err.decode())


async def command(dsn: str | None, folder: Path, *arguments: str | Path, **settings: str) -> Ended:
    """The same command in a thread of this process."""
    return await processes.command(environ(dsn, folder, **settings), *arguments)


async def ask(dsn: str, sql: str) -> Any:
    """One value from a database."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def give(portal: Portal, *ids: str) -> None:
    """One gift for each id."""
    for each in ids:
        assert (await portal.post(message(each))).outcome == "accepted"


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="p14-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
