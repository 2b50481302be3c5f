"""Point-in-time recovery: the log is archived, a base backup is made, and a server is as it was at one moment."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import asyncpg

from tests.ha.cluster import DATABASE, Cluster, said
from tests.ha.nodes import ROOT, HaFailed, Node, end_with_parent
from tests.support.ports import free_ports
from tests.support.processes import SERVICE, environ_for

AROUND_SECONDS = 5.0
"""How long gifts come before and after the moment."""
ARCHIVED_SECONDS = 60.0
RECOVERED_SECONDS = 120.0
PGBACKREST = shutil.which("pgbackrest")
STANZA = "--stanza=portal1400"
ARCHIVE = f"archive_command=pgbackrest {STANZA} archive-push %p"
SELECT_UNTIL = "SELECT native_id FROM message WHERE pg_xact_commit_timestamp(xmin) <= $1"
SELECT_ALL = "SELECT native_id FROM message"


async def restored(cluster: Cluster, leader: Node) -> None:
    """Archive, back up, go on, and bring the database back beside the cluster as it was. Raises HaFailed."""
    if PGBACKREST is None:
        raise HaFailed("pgbackrest is not installed (apt: pgbackrest)")
    repository, beside = cluster.folder / "repository", cluster.folder / "beside"
    for folder in (repository, beside):
        folder.mkdir(mode=0o700)
        cluster.give(folder)

    def pgbackrest(folder: Path, *arguments: str) -> str:
        return said([PGBACKREST, STANZA, *arguments], **cluster.as_node(folder))

    await asyncio.to_thread(pgbackrest, leader.folder, "stanza-create")
    await asyncio.to_thread(cluster.patronictl, leader, "edit-config", "--force", "--quiet", "--pg", ARCHIVE)
    connection = await cluster.connect()
    try:
        await _until(connection, "SELECT current_setting('archive_command') <> '/bin/true'")
        await asyncio.to_thread(pgbackrest, leader.folder, "check")
        began = time.monotonic()
        await asyncio.to_thread(pgbackrest, leader.folder, "--type=full", "backup")
        print(f"  seconds for the base backup       {time.monotonic() - began:8.1f}")
        await asyncio.sleep(AROUND_SECONDS)
        moment = await connection.fetchval("SELECT clock_timestamp()")
        await asyncio.sleep(AROUND_SECONDS)
        segment = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        await _until(connection, f"SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver")
        wanted = {row["native_id"] for row in await connection.fetch(SELECT_UNTIL, moment)}
        after = await connection.fetchval("SELECT count(*) FROM message")
    finally:
        await connection.close()
    began = time.monotonic()
    await _beside(cluster, beside, moment, wanted, pgbackrest)
    print(f"  seconds for the recovery beside it {time.monotonic() - began:7.1f}")
    print(f"  messages at {moment:%H:%M:%S.%f}, all there {len(wanted):6}, of {after} in the end", flush=True)


async def _beside(
    cluster: Cluster, folder: Path, moment: datetime, wanted: set[str], pgbackrest: Callable[..., str]
) -> None:
    port = free_ports()
    cluster.write(folder / "pgbackrest.conf", cluster.archive_settings(folder / "data", port, folder))
    cluster.write(folder / "pgpass", f"*:*:*:postgres:{cluster.passwords['postgres']}\n")
    recovery = ("--type=time", f"--target={moment.isoformat(sep=' ')}", "--target-action=promote")
    await asyncio.to_thread(pgbackrest, folder, *recovery, "restore")
    places = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "archive_mode": "off",
              "synchronous_standby_names": "", "hba_file": folder / "data" / "pg_hba.conf"}  # fmt: skip
    options = [word for name, value in places.items() for word in ("-c", f"{name}={value}")]
    with (folder / "postgres.log").open("wb") as log:
        server = subprocess.Popen(
            [cluster.server_program, "-D", folder / "data", *options],
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent,
            **cluster.as_node(folder),
        )
    try:
        dsn = f"postgresql://{DATABASE}:{cluster.passwords['app']}@127.0.0.1:{port}/{DATABASE}"
        found = await _recovered(dsn, server, folder / "postgres.log")
        if found != wanted:
            raise HaFailed(
                f"the recovery lacks {len(wanted - found)} messages and has {len(found - wanted)} too many"
            )
        environ = environ_for(folder / "service", 0, 0, database_url=dsn)
        verified = await asyncio.to_thread(said, [*SERVICE, "verify", "--deep"], env=environ, cwd=ROOT)
        print("  " + verified.splitlines()[-1])
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


async def _recovered(dsn: str, server: subprocess.Popen[bytes], log: Path) -> set[str]:
    deadline = time.monotonic() + RECOVERED_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            await asyncio.sleep(0.2)
            continue
        try:
            if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                return {row["native_id"] for row in await connection.fetch(SELECT_ALL)}
        finally:
            await connection.close()
        await asyncio.sleep(0.2)
    raise HaFailed(f"it did not recover: see {log}")


async def _until(connection: asyncpg.Connection, question: str) -> None:
    deadline = time.monotonic() + ARCHIVED_SECONDS
    while not await connection.fetchval(question):
        if time.monotonic() > deadline:
            raise HaFailed(f"after {ARCHIVED_SECONDS:g} s this does not hold: {question}")
        await asyncio.sleep(0.2)
