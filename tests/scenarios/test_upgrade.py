"""An upgrade and its way back: workers follow the link `current` under load, over a migration that only adds."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from campaigns.schema.migrate import ADDITIVE, shipped_migrations
from tests.support.away import require_invariants
from tests.support.fleet import Carriers, Fleet
from tests.support.processes import ROOT

PACKAGES = ("service", "campaigns", "gateways", "metrics")
LATER = f"{ADDITIVE}\nALTER TABLE message ADD COLUMN later_thought text; CREATE TABLE later_table (id uuid);"


def release(prefix: Path, name: str, migration: str = "") -> Path:
    """What `make install` leaves, without the download: a Python of its own, code of its own; its Python."""
    place = prefix / "releases" / name
    venv.create(place, symlinks=True)
    code = place / "code"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, code / package)  # byte code too
    if migration:
        number = shipped_migrations()[-1].number + 1
        (code / f"campaigns/schema/migrations/{number:04}_later.sql").write_text(migration, encoding="utf-8")
    (own,) = place.glob("lib/python*/site-packages")
    (own / "release.pth").write_text(f"{code}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    (place / ".done").touch()
    return place / "bin" / "python"


def turn(prefix: Path, name: str) -> None:
    """`make switch`."""
    subprocess.run([sys.executable, ROOT / "deploy/environment.py", "switch", prefix, name], check=True, timeout=60)


def releases_of(site: Fleet) -> set[str]:
    """Which releases the workers are of."""
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in site.worker_pids()]
    return {Path(os.fsdecode(command[0])).parents[1].name for command in commands}


@pytest.mark.slow
async def test_an_upgrade_and_its_way_back_lose_and_refuse_nothing(database_dsn: str, tmp_path: Path) -> None:
    first = release(tmp_path, "first")
    release(tmp_path, "second", LATER)
    turn(tmp_path, "first")
    site = Fleet(database_dsn, tmp_path, 2, tmp_path, python=first)
    site.changes = {"PYTHONPATH": "", "PORTAL1400_DRAIN_SECONDS": "1.5"}
    await site.apply()
    site.start()
    try:
        await site.ready()
        carriers = Carriers(site.port, "upgraded", pause_seconds=0.2)
        async with carriers.playing(6):
            for turns, name in enumerate(("second", "first"), start=1):
                await carriers.more(25)
                turn(tmp_path, name)
                os.kill(site.pid, signal.SIGHUP)
                await site.until_said("rolling_restart_done", turns)
                assert releases_of(site) == {name}
                assert len(await site.fetch("SELECT FROM pg_class WHERE relname = 'later_table'")) == 1
            await carriers.more(25)
        assert (carriers.broken, carriers.not_taken, set(carriers.answers)) == ([], [], {200})
        assert set(await site.stored()) == carriers.sent == carriers.acknowledged
    finally:
        await site.end()
    await require_invariants(database_dsn)
