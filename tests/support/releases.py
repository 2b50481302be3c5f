"""Releases before this one, from the repository's history."""

import subprocess
import tarfile
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
        archive.extractall(folder, filter="data")
    return folder
