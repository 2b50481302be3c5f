"""Folders for embedded servers, and users of them."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.postgres.embedded.handle import EmbeddedHandle, connect_embedded
from tests.support.embedded import Users, copy_made, data_folder, open_folder, rest


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder for one test."""
    folder = open_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder whose programs may be run: in memory this can be forbidden."""
    folder = open_folder(Path(tempfile.gettempdir()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
async def made() -> AsyncIterator[Path]:
    """A data folder that a server has made and left, to be copied: sparing each test its own initdb."""
    base = open_folder()
    with data_folder(base) as folder:
        user = await connect_embedded(folder, timeout_seconds=60)
        await user.close()
        await rest(folder)
        yield folder
    shutil.rmtree(base)


@pytest.fixture
def new_dir(base: Path) -> Iterator[Path]:
    """Where a server may be made."""
    with data_folder(base) as folder:
        yield folder


@pytest.fixture
def data_dir(made: Path, new_dir: Path) -> Path:
    """Where a server has been before."""
    copy_made(made, new_dir)
    return new_dir


@pytest.fixture
async def handle(data_dir: Path) -> AsyncIterator[EmbeddedHandle]:
    """A user of a fresh server."""
    user = await connect_embedded(data_dir, timeout_seconds=60)
    yield user
    await user.close()


@pytest.fixture
def users(new_dir: Path) -> Iterator[Users]:
    """The processes of a test."""
    entered = Users()
    yield entered
    for user in entered:
        user.kill()
