"""A start that fails at any of its steps stops what it had started: no task, no lock and no connection is left."""

import asyncio
from operator import attrgetter
from pathlib import Path

import asyncpg
import pytest

from service.app import Service
from service.commands.opening import opened
from service.intake.spool_claim import claim_own
from service.listeners.listening_socket import bind
from service.runtime.settings import read_settings
from tests.support.portal import SECRET_KEY, eventually

STEPS = (
    "live.high_water.open",
    "catalog.load",
    "operations.housekeeping.prepare",
    "live.feed.read_first",
    "intake.writer.wait_connected",
    "listener",
)

SELECT_SESSIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'portal1400%'
"""


async def fail(*_arguments: object, **_keywords: object) -> None:
    """Stands for what may go wrong at a step."""
    raise RuntimeError("planted")


@pytest.mark.parametrize("step", STEPS)
async def test_what_was_started_before_a_failure_is_stopped(
    database_dsn: str, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(
        {
            "PORTAL1400_DATABASE_URL": database_dsn,
            "PORTAL1400_SECRET_KEY": SECRET_KEY,
            "PORTAL1400_DATA_DIR": str(tmp_path),
        }
    )
    before = asyncio.all_tasks()
    async with opened(settings) as ready:
        service = Service(settings, ready.database, ready.keyring, environ={})
        with bind("127.0.0.1", 0) as public, bind("127.0.0.1", 0) as inside:
            expected: type[Exception] = RuntimeError
            if step == "listener":
                # The public one listens already when the internal one cannot.
                inside.close()
                expected = OSError
            else:
                owner, name = step.rsplit(".", 1)
                monkeypatch.setattr(attrgetter(owner)(service), name, fail)
            with pytest.raises(expected):
                await service.start(public, inside)
        left = claim_own(tmp_path / "spool", key_check=ready.keyring.key_check, bytes_max=2**30)
        assert left.path.name == "00.sqlite", "its spool was not given back"
        left.close()
    assert asyncio.all_tasks() - before == set()
    admin = await asyncpg.connect(database_dsn)

    async def is_alone() -> bool:
        # The server ends a session a moment after its connection.
        return bool(
            await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^portal'") == 0
        )

    try:
        await eventually(is_alone)
    finally:
        await admin.close()
