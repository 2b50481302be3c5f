"""A backup that was made once, and databases to restore it into."""

import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.operations.backup.manifest import beside
from tests.support.backups import as_a_process, give
from tests.support.databases import cloned_database, empty_database
from tests.support.portal import message, running
from tests.support.postgres import TestServer


@pytest.fixture(scope="session")
async def made(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of three gifts and a message without a campaign; the dump's path."""
    folder = tmp_path_factory.mktemp("made")
    async with cloned_database(server) as dsn, running(dsn, folder) as portal:
        await give(portal, "a", "b", "c")
        await portal.post(message("d", "NOBODY KNOWS"))
        ended = await as_a_process(dsn, folder, "backup", "--json", folder / "made.dump")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["messages"] == 4
        assert await portal.metric("portal1400_last_backup_timestamp_seconds", act="backup") > time.time() - 60
        assert await portal.metric("portal1400_last_backup_timestamp_seconds", act="drill") == 0
    return folder / "made.dump"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    for path in (made, beside(made)):
        shutil.copy(path, tmp_path)
    return tmp_path / made.name


@pytest.fixture
async def target(server: TestServer) -> AsyncIterator[str]:
    """The DSN of a database without a table."""
    async with empty_database(server) as dsn:
        yield dsn
