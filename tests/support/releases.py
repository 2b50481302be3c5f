"""Releases before this one, from the repository's history."""

import shutil
import subprocess
import tarfile
from importlib.util import cache_from_source
from io import BytesIO
from pathlib import Path

import pytest

from campaigns.schema.migrate import Migration
from tests.support.processes import ROOT

PACKAGES = ("campaigns", "gateways", "metrics")


def release_before(migration: Migration, folder: Path) -> Path:
    """The tree before `migration` came into it, from the repository's history; skips where there is none."""

    def git(*arguments: str) -> bytes:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False, timeout=60)
        if done.returncode != 0:
            pytest.skip(f"no history here: git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    # Wherever it lay then: the oldest commit that brought it.
    commits = git("log", "--diff-filter=A", "--format=%H", "--", f":(glob)**/migrations/{migration.name}")
    added = commits.decode().split()[-1] if commits.strip() else ""
    # Not committed yet: what is committed is the release before.
    tree = git("archive", "--format=tar", f"{added}~1" if added else "HEAD", "service", *PACKAGES)
    with tarfile.open(fileobj=BytesIO(tree)) as archive:
        # What git itself packed; the filter is younger than some Python 3.11.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]  # known to either
    _take_over_byte_code(folder)
    return folder


def _take_over_byte_code(folder: Path) -> None:
    """What this tree has as well was compiled here: two processes of that release need not do it again."""
    for source in folder.rglob("*.py"):
        ours = ROOT / source.relative_to(folder)
        compiled = Path(cache_from_source(str(ours)))
        if ours.is_file() and compiled.is_file() and ours.read_bytes() == source.read_bytes():
            shutil.copystat(ours, source)
            (source.parent / compiled.parent.name).mkdir(exist_ok=True)
            shutil.copy2(compiled, source.parent / compiled.parent.name)
