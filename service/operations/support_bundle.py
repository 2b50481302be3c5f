"""What goes into a support bundle, and what never does: no row of a table, no secret, no line that is not ours.

Everything is gathered by its name: what nobody thought of is left out, not cleaned.
"""

import io
import os
import platform
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import orjson
from pydantic import SecretStr

from service.runtime.dsn import servers_of
from service.runtime.phone_numbers import without_numbers
from service.runtime.settings import Settings

LINES_MAX = 2_000
LOG_BYTES_MAX = 8 * 1024 * 1024
"""Of a log only its end is read."""
OUR_KEYS = frozenset({"event", "level", "timestamp"})
OUR_CONSOLE_LINE = re.compile(r"\d{4}-\d\d-\d\d[T ]\S+ \[[a-z]+ *\] [a-z0-9_]+( |$)")
FREE_TEXT = re.compile(r"\b(native_id|id|message|path|address)=\S+")
"""What a sender chose may stand behind these in a console line."""

SELECT_SERVER = (
    "SELECT version() AS server, pg_postmaster_start_time()::text AS started, pg_is_in_recovery() AS standby"
)
SELECT_PARAMETERS = """
SELECT name, setting, unit, source FROM pg_settings WHERE name = ANY($1::text[]) ORDER BY name
"""
PARAMETERS = (
    "max_connections", "superuser_reserved_connections", "shared_buffers", "fsync", "full_page_writes",
    "synchronous_commit", "wal_level", "max_wal_size", "checkpoint_timeout", "autovacuum", "statement_timeout",
    "lock_timeout", "idle_in_transaction_session_timeout", "default_transaction_isolation", "server_encoding",
    "data_checksums", "archive_mode", "hot_standby", "TimeZone",
)  # fmt: skip
SELECT_MIGRATIONS = "SELECT name, applied_at::text AS applied_at FROM schema_migration ORDER BY number"
SELECT_SIZES = """
SELECT c.relname AS name, c.reltuples::bigint AS rows_about, pg_relation_size(c.oid) AS table_bytes,
       pg_indexes_size(c.oid) AS index_bytes, s.n_dead_tup AS dead_rows, s.last_autovacuum::text AS vacuumed_at
FROM pg_class AS c LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'message'::regclass)
ORDER BY 3 DESC
"""
SELECT_SESSIONS = """
SELECT application_name AS application, state, wait_event_type AS waits_for, count(*) AS sessions,
       max(extract(epoch FROM now() - xact_start))::bigint AS longest_transaction_seconds
FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
SELECT_COUNTERS = """
SELECT xact_commit, xact_rollback, blks_read, blks_hit, deadlocks, temp_bytes, conflicts, checksum_failures,
       pg_database_size(datname) AS bytes FROM pg_stat_database WHERE datname = current_database()
"""
SELECT_STANDBYS = """
SELECT application_name AS name, state, sync_state, extract(epoch FROM replay_lag)::float8 AS lag_seconds
FROM pg_stat_replication ORDER BY 1
"""
SELECT_ACCOUNTS = "SELECT code, adapter, carrier, charging, enabled, book_version FROM gateway_account ORDER BY code"
SELECT_BOOK = "SELECT max(version) AS version, max(applied_at)::text AS applied_at FROM book_version"

_STATE: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "server": (SELECT_SERVER, ()),
    "parameters": (SELECT_PARAMETERS, (list(PARAMETERS),)),
    "migrations": (SELECT_MIGRATIONS, ()),
    "sizes": (SELECT_SIZES, ()),
    "sessions": (SELECT_SESSIONS, ()),
    "counters": (SELECT_COUNTERS, ()),
    "standbys": (SELECT_STANDBYS, ()),
    "accounts": (SELECT_ACCOUNTS, ()),
    "book": (SELECT_BOOK, ()),
}


async def database_state(connection: asyncpg.Connection) -> dict[str, Any]:
    """What the server says of itself, the schema and the sizes; a view that this role may not read says so."""
    state: dict[str, Any] = {}
    for name, (sql, arguments) in _STATE.items():
        try:
            state[name] = [dict(row) for row in await connection.fetch(sql, *arguments)]
        except asyncpg.PostgresError as error:
            state[name] = f"the database answered with {type(error).__name__}"
    return state


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Every setting; of a secret whether it is set, of the database's address the servers alone."""
    shown: dict[str, Any] = {}
    for name, value in settings:
        if isinstance(value, SecretStr):
            shown[name] = "set, not shown"
        elif value is None or isinstance(value, bool | int | float):
            shown[name] = value
        else:
            shown[name] = [str(each) for each in value] if isinstance(value, tuple) else str(value)
    if settings.database_url is not None:
        shown["database_url"] = [f"{server.host}:{server.port}" for server in _servers(settings)]
    return shown


def _servers(settings: Settings) -> Sequence[Any]:
    return servers_of(settings.database_url.get_secret_value()) if settings.database_url else ()


def machine() -> dict[str, Any]:
    """Where this runs."""
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        memory = dict(line.split(":", 1) for line in file.read().splitlines())
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": {name: memory[name].strip() for name in ("MemTotal", "MemAvailable") if name in memory},
    }


def files_of(folder: Path) -> list[dict[str, Any]]:
    """Names and sizes of the spool's files, and the room on the disk under them."""
    shown: list[dict[str, Any]] = []
    for path in sorted(folder.glob("spool/*")):
        stat = path.stat()
        shown.append({"name": path.name, "bytes": stat.st_size, "changed": int(stat.st_mtime)})
    if folder.exists():
        disk = os.statvfs(folder)
        shown.append({"name": ".", "disk_free_bytes": disk.f_bavail * disk.f_frsize, "inodes_free": disk.f_favail})
    return shown


class Lines(NamedTuple):
    """The last lines of a log that are ours, without numbers, and how many others were left out."""

    kept: list[str]
    left_out: int


def own_lines(lines: Iterable[str]) -> Lines:
    """What our log writes, and nothing else that may stand between: a traceback quotes what it met."""
    kept: list[str] = []
    left_out = 0
    for line in lines:
        bare = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
        if not bare:
            continue
        ours = _as_json(bare) if bare.startswith("{") else _as_text(bare)
        if ours is None:
            left_out += 1
        else:
            kept.append(ours)
    return Lines(kept[-LINES_MAX:], left_out)


def _as_json(line: str) -> str | None:
    try:
        said = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or not said.keys() >= OUR_KEYS:
        return None
    # What a sender has chosen is no part of it: an id may be made of a name.
    return without_numbers(orjson.dumps({key: said[key] for key in said if key not in SENT}).decode())


SENT = frozenset({"native_id", "id", "message", "path", "address", "tried"})
"""Keys of the log with what came from outside."""


def _as_text(line: str) -> str | None:
    return FREE_TEXT.sub(r"\1=[left out]", without_numbers(line)) if OUR_CONSOLE_LINE.match(line) else None


def tail(path: Path) -> list[str]:
    """The last lines of a file. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - LOG_BYTES_MAX))
        return file.read().decode("utf-8", "replace").splitlines()[-LINES_MAX:]


def pack(file: Path, members: Mapping[str, bytes], secrets: Sequence[bytes], made_at: int) -> None:
    """Write the bundle, for its owner alone. Raises OSError, and AssertionError before a secret is written."""
    for name, content in members.items():
        if any(secret in content for secret in secrets):
            raise AssertionError(f"{name} holds a secret of this installation: nothing was written, report it")
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened, tarfile.open(fileobj=opened, mode="w:gz") as bundle:
        for name, content in members.items():
            about = tarfile.TarInfo(f"portal1400-support/{name}")
            about.size, about.mtime, about.mode = len(content), made_at, 0o600
            bundle.addfile(about, io.BytesIO(content))
