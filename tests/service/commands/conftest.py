"""What the tests of commands share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.portal import SECRET_KEY

LIBRARIES = {name: logging.getLogger(name) for name in ("aiohttp", "asyncio")}


@pytest.fixture
def environ(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a command on a fresh database."""
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", database_dsn)
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("PORTAL1400_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PORTAL1400_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("PORTAL1400_INTERNAL_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    before = {name: (list(logger.handlers), logger.propagate) for name, logger in LIBRARIES.items()}
    yield monkeypatch
    # `serve` sets up logging for its process, which here is the tests' own.
    structlog.reset_defaults()
    for name, logger in LIBRARIES.items():
        logger.handlers[:], logger.propagate = before[name]
