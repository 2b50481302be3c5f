"""portal1400 restore FILE: a backup into an empty database, every figure compared; --drill: only to try it."""

import argparse
import asyncio
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from campaigns.totals.rollups import select_totals, select_unallocated
from service.commands.backup import NAMED_BY_TIME, described, record, summary
from service.commands.opening import CommandRefused
from service.delivery.outbox import hold_back
from service.live import high_water as published
from service.live.high_water_file import HighWaterFile, HighWaterFileUnusable
from service.operations.backup.manifest import BackupRefused, Manifest, read_manifest, require_whole
from service.operations.backup.restore import Proof, bring_back
from service.operations.day_seals import DaySeals, SealsUnusable, read_days
from service.postgres.database import DATABASE_ERRORS, Database, is_away
from service.postgres.embedded.data_folder import DataFolder, open_lock, try_lock
from service.runtime.keyring import Keyring
from service.runtime.refusals import Refused
from service.runtime.settings import Settings, read_settings

SERVER_STOP_SECONDS = 90.0
POLL_SECONDS = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="what `portal1400 backup` made; its manifest beside it. With --drill also a folder: the newest in it",
    )
    parser.add_argument(
        "--drill",
        action="store_true",
        help="restore into a new embedded PostgreSQL in a temporary folder (TMPDIR), check it, remove it; the "
        "configured database is not touched",
    )
    parser.add_argument("--deep", action="store_true", help="also open and read every stored text again")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Restore, or try to; print what was proved. 1 when anything differs, and then nothing is left of it."""
    settings = read_settings()
    keyring = Keyring.of(settings)
    begun = time.monotonic()
    try:
        file = chosen_file(arguments.file, drill=arguments.drill)
        manifest = await asyncio.to_thread(read_manifest, file, keyring)
        await asyncio.to_thread(require_whole, file, manifest)
        async with _target(settings, drill=arguments.drill) as (target, database):
            proof = await bring_back(
                database, keyring, file, manifest, preference=target.postgres, deep=arguments.deep
            )
            if not arguments.drill:
                async with database.borrow() as connection:
                    held = await hold_back(connection)
                if held:
                    were = "1 reply was" if held == 1 else f"{held} replies were"
                    _tell(f"{were} due when the backup was made: in doubt now, and not sent again")
                await _keep_days(settings, keyring, database, manifest)
                await _warn_of_newer(settings, database)
    except CommandRefused:
        raise
    except Refused as refused:
        raise CommandRefused([f"the restore failed: {refused}"]) from None
    except DATABASE_ERRORS as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        cause = "the database went away" if is_away(error) else "the database refused a statement of ours"
        raise CommandRefused(
            [f"the restore failed: {cause} ({reason}); make a new database before you try again"]
        ) from None
    if arguments.drill:
        record(settings, "drill")
    if arguments.json:
        said = described(file, manifest) | dataclasses.asdict(proof) | {"drill": arguments.drill}
        print(json.dumps(said | {"seconds": round(time.monotonic() - begun, 1)}))
        return 0
    _tell_proof(manifest, proof, time.monotonic() - begun, is_drill=arguments.drill)
    return 0


def chosen_file(given: Path, *, drill: bool) -> Path:
    """The file to restore: for a drill, of a folder, the newest by its name. Raises BackupRefused."""
    given = given.expanduser().absolute()
    if not given.is_dir():
        return given
    if not drill:
        raise BackupRefused(f"{given} is a folder: name the file to restore")
    if not (found := sorted(given.glob(NAMED_BY_TIME))):
        raise BackupRefused(f"{given} holds no backup ({NAMED_BY_TIME}): name a file")
    return found[-1]


@asynccontextmanager
async def _target(settings: Settings, *, drill: bool) -> AsyncIterator[tuple[Settings, Database]]:
    """The configured database, or a new embedded one that is gone afterwards."""
    if not drill:
        async with await Database.open(settings, progress=_tell) as database:
            await database.open_pool()
            yield settings, database
        return
    folder = Path(tempfile.mkdtemp(prefix="portal1400-drill-"))
    try:
        chosen = settings.model_copy(update={"data_dir": folder, "database_url": None})
        async with await Database.open(chosen, embedded_only=True, progress=_tell) as database:
            await database.open_pool()
            yield chosen, database
    finally:
        await asyncio.shield(asyncio.to_thread(_remove, folder))


def _remove(folder: Path) -> None:
    """Wait until the embedded server has stopped, which it does when its user is gone, and remove its folder."""
    lock = open_lock(DataFolder(folder.resolve()).keeper_lock)
    try:
        deadline = time.monotonic() + SERVER_STOP_SECONDS
        while not try_lock(lock) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    finally:
        os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _tell(f"{folder} could not be removed: remove it by hand")


async def _keep_days(settings: Settings, keyring: Keyring, database: Database, manifest: Manifest) -> None:
    """Let this machine go on comparing the days that were sealed before the backup."""
    try:
        async with database.borrow() as connection:
            installation = await published.select_identity(connection)
        await asyncio.to_thread(
            DaySeals(settings.data_dir, keyring).keep_restored, installation, read_days(manifest.seals)
        )
    except SealsUnusable as unusable:
        _tell(str(unusable))
    except OSError as error:
        _tell(f"the sealed days of the backup were not kept on this machine ({error.strerror})")


async def _warn_of_newer(settings: Settings, database: Database) -> None:
    """Say now what `serve` would refuse later: this machine has published more than the backup holds."""
    try:
        mark = await asyncio.to_thread(HighWaterFile(settings.data_dir).read)
        if mark is None or not mark.says_something:
            return
        async with database.borrow() as connection:
            identity = await published.select_identity(connection)
            totals, unallocated = await select_totals(connection), await select_unallocated(connection)
        sentences = published.compare(mark, identity, totals, unallocated)
    except (HighWaterFileUnusable, asyncpg.PostgresError) as error:
        sentences = [str(error)]
    for sentence in sentences:
        _tell(sentence)
    if sentences:
        _tell(published.TOLD)


def _tell_proof(manifest: Manifest, proof: Proof, seconds: float, *, is_drill: bool) -> None:
    print(f"backup of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC: {summary(manifest)}")
    newer = "every figure that lasts" if proof.migrations_applied else "every figure"
    print(f"{newer} is what the manifest says")
    if proof.migrations_applied:
        print(f"{proof.migrations_applied} migration(s) applied")
    print(f"{proof.invariants} invariants hold: every figure can be recomputed from its facts")
    if proof.days_sealed:
        print(f"{proof.days_sealed} sealed day(s) hold the facts that they held")
    if proof.texts_read is not None:
        print(f"{proof.texts_read} stored texts read as they were")
    print(f"drill passed in {seconds:.1f} s, nothing is left of it" if is_drill else f"restored in {seconds:.1f} s")


def _tell(sentence: str) -> None:
    print(f"portal1400: {sentence}", file=sys.stderr)
