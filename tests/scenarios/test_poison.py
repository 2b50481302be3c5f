"""A record of the spool that the database cannot store in time: it alone suffers, live callbacks notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from campaigns.gifts.messages import lock_accounts
from service.intake.replay import LOOK_AGAIN_SECONDS
from service.runtime.tasks import cancel_and_wait
from tests.support.away import database_away, replayed, require_invariants
from tests.support.portal import Portal, eventually, message, running
from tests.support.protocols import SENDERS

LIVE_SECONDS = 0.05
SPOOLED = 5
TRIES = 2
SELECT_WRITERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'portal1400 writer' ORDER BY pid
"""
SLOW = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.native_id = 'poison' THEN PERFORM pg_sleep(5); END IF; RETURN NEW; END $$;
CREATE TRIGGER be_slow BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION be_slow()
"""


@pytest.fixture
async def spooled(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A service in whose spool one record among others takes the database five seconds."""
    async with running(database_dsn, tmp_path) as portal:
        async with database_away(portal):
            for name in ("s-1", "s-2", "poison", "s-3", "s-4"):
                assert (await portal.post(message(name))).status == 200
            assert portal.service.intake.replay.records == SPOOLED
            # Nothing is replayed before the database has become slow.
            await portal.service.intake.replay.stop()
        connection = await asyncpg.connect(database_dsn)
        await connection.execute(SLOW)
        await connection.close()
        async with running(database_dsn, tmp_path, book="") as again:
            yield again


def ever_spooled(portal: Portal) -> int:
    """How many records its spool was ever given."""
    database = portal.service.intake.replay.own._file._database
    (number,) = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    return int(number)


async def live(portal: Portal, outcomes: list[str | None], until: asyncio.Event) -> None:
    """A carrier that posts all the while."""
    while not until.is_set():
        answer = await portal.post(message(f"live-{len(outcomes)}"))
        outcomes.append(answer.outcome)
        await asyncio.sleep(LIVE_SECONDS)


async def test_a_record_that_takes_too_long_is_set_apart_and_live_callbacks_notice_nothing(spooled: Portal) -> None:
    replay = spooled.service.intake.replay
    replay.suspect_seconds, replay.suspect_pauses = 0.0, (0.1,)
    outcomes: list[str | None] = []
    until = asyncio.Event()
    carrier = asyncio.create_task(live(spooled, outcomes, until))
    await replayed(spooled, 60)
    until.set()
    await carrier
    rows = await spooled.fetch("SELECT native_id FROM message WHERE native_id NOT LIKE 'live-%' ORDER BY 1")
    assert [row["native_id"] for row in rows] == ["s-1", "s-2", "s-3", "s-4"]
    (apart,) = await spooled.fetch("SELECT reason FROM quarantine")
    assert "in time" in apart["reason"]
    (counted,) = await spooled.fetch("SELECT count(*) FROM message WHERE native_id LIKE 'live-%'")
    assert counted["count"] == len(outcomes)
    assert set(outcomes) == {"accepted"}
    assert ever_spooled(spooled) == SPOOLED, "a live callback went into the spool"
    await require_invariants(spooled.dsn)


async def test_without_proof_that_the_fault_is_its_own_a_record_stays_and_is_stored_in_the_end(
    spooled: Portal,
) -> None:
    replay = spooled.service.intake.replay

    async def others_are_in() -> bool:
        return replay.records == 1

    await eventually(others_are_in, 30)
    connection = await asyncpg.connect(spooled.dsn)
    await connection.execute("DROP TRIGGER be_slow ON message")
    await connection.close()
    await replayed(spooled, 60)
    assert await spooled.fetch("SELECT FROM quarantine") == []
    (row,) = await spooled.fetch("SELECT count(*) FROM message")
    assert row["count"] == 5


@pytest.fixture(params=[(1000, 20), (1, 3)], ids=["in one commit", "in a commit each"])
async def paired(
    database_dsn: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Portal, int]]:
    """A service that stores so many events in a commit, and of how many records of two accounts it is to be asked."""
    events_max, pairs = request.param
    async with running(database_dsn, tmp_path, batch_events_max=str(events_max)) as portal:
        yield portal, pairs


async def test_an_account_that_somebody_locks_waits_alone_and_is_never_called_at_fault(
    paired: tuple[Portal, int],
) -> None:
    portal, pairs = paired
    replay = portal.service.intake.replay
    replay.suspect_seconds, replay.lock_pauses = 0.0, (0.05,)
    async with database_away(portal):
        await cancel_and_wait(replay._task)
        for number in range(pairs):
            assert (await portal.post(message(f"m-{number}"))).status == 200
            assert (await SENDERS["kannel"].send(portal, f"m-{number}")).status == 200
    holder = await asyncpg.connect(portal.dsn)
    hub = await holder.fetchval("SELECT id FROM gateway_account WHERE code = 'hub'")
    transaction = holder.transaction()
    await transaction.start()
    await lock_accounts(holder, (), (hub,))
    replay.start()

    async def others_are_in() -> bool:
        hold = replay._progress[replay.own.name].held.get("hub")
        return replay.records == pairs and hold is not None and hold.failures > TRIES

    await eventually(others_are_in, 20)
    writers = await portal.fetch(SELECT_WRITERS)
    assert await portal.fetch("SELECT FROM message WHERE account_id = $1", hub) == []
    await transaction.rollback()
    # Those that were passed over are tried again at once, and not when all are looked at again.
    await replayed(portal, LOOK_AGAIN_SECONDS / 2)
    assert await portal.fetch(SELECT_WRITERS) == writers, "a lock cost a writer its connection"
    assert await portal.fetch("SELECT FROM quarantine") == []
    assert len(await portal.fetch("SELECT FROM message")) == 2 * pairs
    await holder.close()
    await require_invariants(portal.dsn)
