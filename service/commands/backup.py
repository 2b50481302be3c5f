"""portal1400 backup [FILE]: the database as one snapshot shows it, and a manifest with its figures beside it."""

import argparse
import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg

from service.commands.opening import CommandRefused
from service.live.high_water import select_identity
from service.operations.backup import times
from service.operations.backup.manifest import FORMAT, BackupRefused, Manifest, beside, collect, measure
from service.operations.backup.tools import choose_tools, dump
from service.operations.day_seals import DaySeals, SealedDays, SealsUnusable, written
from service.postgres.database import DATABASE_ERRORS, Database
from service.postgres.embedded.data_folder import try_lock
from service.runtime.files import sync, write_durably
from service.runtime.keyring import Keyring
from service.runtime.refusals import Refused
from service.runtime.settings import Settings, read_settings

NAMED_BY_TIME = "portal1400-*.dump"
"""Backups that were given a folder: in the order of their names they are in that of their times."""
NO_TIME_LIMITS = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)
"""
SELECT_SNAPSHOT = """
SELECT pg_export_snapshot() AS snapshot, current_setting('server_version_num')::integer / 10000 AS major
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        default=Path(),
        help="file to make, or the folder for one named by the time (default: this folder)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Make the backup; print where it is and what it holds."""
    settings = read_settings()
    keyring = Keyring.of(settings)
    now = datetime.now(UTC)
    file = chosen_file(arguments.file, now)
    try:
        async with await Database.open(settings) as database:
            await database.open_pool()
            manifest = await back_up(settings, database, keyring, file, now)
    except Refused as refused:
        raise CommandRefused([f"no backup was made: {refused}"]) from None
    except DATABASE_ERRORS as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise CommandRefused(
            [f"no backup was made ({reason}): see that {file.parent} can be written and that the database runs"]
        ) from None
    record(settings, "backup")
    if arguments.json:
        print(json.dumps(described(file, manifest)))
        return 0
    print(f"{file}: {manifest.dump_bytes} bytes, SHA-256 {manifest.dump_sha256}")
    print(f"{beside(file)}: its figures, {summary(manifest)}")
    return 0


def record(settings: Settings, act: times.Act) -> None:
    """Remember the act for the metrics; that it cannot be remembered is told, and is no failure of the act."""
    try:
        times.record(settings.data_dir, act)
    except OSError as error:
        print(f"portal1400: the time of this {act} is not in the metrics ({error.strerror})", file=sys.stderr)


def described(file: Path, manifest: Manifest) -> dict[str, object]:
    """A backup in the keys of `--json`."""
    return {
        "file": str(file),
        "made_at": manifest.made_at.isoformat(),
        "bytes": manifest.dump_bytes,
        "sha256": manifest.dump_sha256,
        "campaigns": len(manifest.figures.campaigns),
        "messages": manifest.figures.rows["message"],
        "pledged_vnd": sum(each["pledged_vnd"] for each in manifest.figures.campaigns.values()),
    }


def chosen_file(given: Path, now: datetime) -> Path:
    """The file to make: in a folder, it is named by the time in UTC."""
    given = given.expanduser()
    return (given / f"portal1400-{now:%Y%m%dT%H%M%SZ}.dump" if given.is_dir() else given).absolute()


async def back_up(settings: Settings, database: Database, keyring: Keyring, file: Path, now: datetime) -> Manifest:
    """Dump and manifest, of one snapshot. FILE appears when both are whole and on disk; until then `FILE.partial`."""
    partial = file.with_name(f"{file.name}.partial")
    output = _reserve(file, partial)
    try:
        connection = await database.connect("portal1400 backup", may_take_long=True)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(NO_TIME_LIMITS)
                seen = await connection.fetchrow(SELECT_SNAPSHOT)
                assert seen is not None  # noqa: S101 -- a SELECT without FROM always has a row
                figures = await collect(connection)
                seals = await _sealed_days(settings, keyring, connection)
                keyring.require_own(bytes.fromhex(figures.key_check))
                tools = await asyncio.to_thread(choose_tools, settings.postgres, seen["major"])
                await dump(tools, database.dsn, seen["snapshot"], partial, output)
        finally:
            connection.terminate()
        await asyncio.to_thread(os.fsync, output)
        size, sha256 = await asyncio.to_thread(measure, partial)
        manifest = Manifest(
            format=FORMAT,
            made_at=now,
            software=version("portal1400"),
            server=seen["major"],
            tools=tools.major,
            dump_bytes=size,
            dump_sha256=sha256,
            figures=figures,
            seals=seals,
        )
        write_durably(beside(file), manifest.sealed(keyring))
        _name(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(output)
    return manifest


async def _sealed_days(settings: Settings, keyring: Keyring, connection: asyncpg.Connection) -> SealedDays:
    """The days that this machine has sealed, for the manifest. A file that cannot be used stops no backup."""
    try:
        return written(DaySeals(settings.data_dir, keyring).read(await select_identity(connection)))
    except SealsUnusable as unusable:
        print(f"portal1400: no sealed day is in the manifest: {unusable}", file=sys.stderr)
        return {}


def _reserve(file: Path, partial: Path) -> int:
    """The open, locked and empty `FILE.partial`; what a killed backup left is written over. Raises BackupRefused."""
    output = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(output):
            raise BackupRefused(f"another backup to {file} is running: wait for it or name another file")
        if file.exists():
            partial.unlink()
            raise BackupRefused(f"{file} exists, and a backup is never written over: name another file")
        os.ftruncate(output, 0)
        os.fchmod(output, 0o600)
    except BaseException:
        os.close(output)
        raise
    return output


def _name(partial: Path, file: Path) -> None:
    """Give the dump its name, in one step and never over another file."""
    try:
        os.link(partial, file)
        partial.unlink()
    except FileExistsError:
        raise BackupRefused(f"{file} was made by somebody else meanwhile: name another file") from None
    except OSError:
        partial.rename(file)  # a file system without hard links
    sync(file.parent)


def summary(manifest: Manifest) -> str:
    """One phrase about what a backup holds."""
    campaigns = manifest.figures.campaigns.values()
    pledged = sum(each["pledged_vnd"] for each in campaigns)
    counted = sum(each["messages"] for each in campaigns)
    return (
        f"{len(manifest.figures.campaigns)} campaign(s), {manifest.figures.rows['message']} message(s), "
        f"{counted} of them counted, {pledged} VND pledged"
    )
