"""Thirty midnights: the clock is an argument, partitions are there, keys are of the day, intake never stops."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import orjson
import pytest

from campaigns.gifts.privacy import select_acts
from campaigns.schema.partitions import list_partitions
from tests.support.away import require_invariants
from tests.support.databases import MIGRATED, cloned_database
from tests.support.portal import Portal, eventually, message, running, signed
from tests.support.postgres import TestServer

START = datetime(2026, 11, 20, 23, 59, 58, tzinfo=UTC)


@pytest.fixture
async def database_dsn(server: TestServer) -> AsyncIterator[str]:
    """A database on which nobody has made a day yet."""
    async with cloned_database(server, MIGRATED) as dsn:
        yield dsn


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def take(portal: Portal, clock: Clock, native_id: str) -> None:
    """One callback at the clock's time."""
    body = orjson.dumps(message(native_id, "VNN 1"))
    answer = await portal.post(body, headers=signed(body, at=clock.now))
    assert (answer.status, answer.outcome) == (200, "accepted"), clock.now


async def test_thirty_midnights_pass_without_anybody_looking_after_the_days(
    database_dsn: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with running(database_dsn, tmp_path, clock=clock) as portal:
        for day in range(31):
            for second in range(4):
                clock.now = START + timedelta(days=day, seconds=second)
                await take(portal, clock, f"m-{day}-{second}")
        rows = await portal.fetch(
            "SELECT received_on, count(*) AS rows, bool_and(tableoid::regclass::text ="
            " 'raw_callback_' || to_char(received_on, 'YYYYMMDD')) AS at_home FROM raw_callback GROUP BY 1 ORDER BY 1"
        )
        assert [row["received_on"] for row in rows] == [START.date() + timedelta(days=n) for n in range(32)]
        assert [row["rows"] for row in rows] == [2, *[4] * 30, 2]
        assert all(row["at_home"] for row in rows)
        keys = await portal.fetch("SELECT day FROM data_key ORDER BY day")
        assert [row["day"] for row in keys] == [START.date() + timedelta(days=n) for n in range(32)]
        (money,) = await portal.fetch("SELECT count(*) AS lines FROM money_line")
        assert money["lines"] == 124
        assert await portal.fetch("SELECT FROM quarantine") == []


async def test_looking_after_the_days_makes_them_ahead_and_drops_the_old_ones(
    database_dsn: str, tmp_path: Path
) -> None:
    # Behind the database's clock all the time: nothing is dropped before both call it old.
    start = datetime.now(UTC).replace(hour=12) - timedelta(days=40)
    clock = Clock()
    clock.now = start
    async with running(database_dsn, tmp_path, clock=clock, raw_retention_days="14") as portal:
        await take(portal, clock, "m-first")
        connection = await asyncpg.connect(portal.dsn)
        for day in range(1, 31):
            clock.now = start + timedelta(days=day)
            await portal.service.operations.housekeeping._days(connection)
            present = sorted(await list_partitions(connection))
            today = clock.now.date()
            assert present[0] == max(start.date(), today - timedelta(days=14))
            assert present[-1] == today + timedelta(days=14)
            assert len(present) == (present[-1] - present[0]).days + 1
            assert portal.opened.keyring.day(today + timedelta(days=1)) is not None
        assert await connection.fetchval("SELECT count(*) FROM raw_callback") == 0
        # Money needs none of it.
        assert await connection.fetchval("SELECT count(*) FROM money_line") == 1
        await connection.close()


async def test_a_day_is_forgotten_with_its_key_when_its_time_is_over_and_the_proofs_hold(
    database_dsn: str, tmp_path: Path
) -> None:
    clock = Clock()
    # By the database's clock, and so by the earlier of both, 100 days ago.
    clock.now = datetime.now(UTC).replace(hour=12) - timedelta(days=100)
    async with running(database_dsn, tmp_path, clock=clock, person_retention_days="90") as portal:
        await take(portal, clock, "m-old")
        day, housekeeping = clock.now.date(), portal.service.operations.housekeeping
        connection = await asyncpg.connect(portal.dsn)
        assert await housekeeping.forget(connection) is None, "not by one clock alone"
        clock.now = datetime.now(UTC)
        await take(portal, clock, "m-new")
        assert await housekeeping.forget(connection) == day
        assert await connection.fetchval("SELECT count(*) FROM message_person") == 1
        assert await connection.fetchval("SELECT count(*) FROM data_key WHERE day = $1", day) == 0
        assert portal.opened.keyring.day(day) is None
        (act,) = await select_acts(connection, 10)
        assert (act["what"], act["about"]) == ("day_forgotten", {"day": day.isoformat(), "messages": 1})
        assert await connection.fetchval("SELECT count(*) FROM money_line") == 2
        await connection.close()
        await require_invariants(portal.dsn)


async def test_a_clock_that_is_ahead_deletes_nothing_and_is_told(database_dsn: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    clock = Clock()
    clock.now = now
    async with running(database_dsn, tmp_path, clock=clock, raw_retention_days="14") as portal:
        await take(portal, clock, "m-1")
        connection = await asyncpg.connect(portal.dsn)
        # The number is kept for a day, for a charge that names no message.
        await connection.execute(
            "INSERT INTO uncharged_person (message_id, account_id, message_ref, msisdn_hash, short_code, campaign_id,"
            " amount_vnd, message_at, received_at) SELECT id, account_id, native_id, '', short_code, campaign_id,"
            " amount_vnd, message_at, received_at FROM message"
        )
        for ahead in (timedelta(days=92), timedelta(days=3650)):
            clock.now = now + ahead
            for _ in range(5):
                await portal.service.operations.housekeeping._days(connection)
        assert await connection.fetchval("SELECT count(*) FROM raw_callback") == 1
        assert await connection.fetchval("SELECT count(*) FROM uncharged_person") == 1
        await connection.close()
        assert await portal.metric("portal1400_clock_ahead_of_database_seconds") == pytest.approx(315_360_000, abs=60)
        assert any("s ahead of the database's" in each for each in portal.service.health().degraded)


async def test_a_day_s_destroyed_key_leaves_what_it_sealed_closed_for_ever(portal: Portal) -> None:
    await portal.post(message("m-1"))
    (row,) = await portal.fetch("SELECT wrapped FROM data_key WHERE day = (SELECT day FROM message_person)")
    (person,) = await portal.fetch("SELECT day, msisdn_sealed, text_sealed FROM message_person")
    assert len(bytes(row["wrapped"])) == 12 + 32 + 16
    connection = await asyncpg.connect(portal.dsn)
    assert await portal.opened.keyring.find_day(connection, person["day"]) is not None
    await connection.execute("DELETE FROM data_key")
    assert await portal.opened.keyring.find_day(connection, person["day"]) is None
    await connection.close()


async def test_one_process_of_the_cluster_checks_the_invariants_and_the_next_takes_over(
    database_dsn: str, tmp_path: Path
) -> None:
    def exported(portal: Portal) -> set[float]:
        (family,) = portal.service.instruments.operations.invariant_difference.collect()
        return {sample.value for sample in family.samples}

    def passes(portal: Portal) -> set[float]:
        (family,) = portal.service.instruments.operations.invariants_pass.collect()
        return {sample.value for sample in family.samples}

    async with running(database_dsn, tmp_path, invariant_seconds="1") as second:
        async with running(database_dsn, tmp_path, "", invariant_seconds="1") as first:
            both = (first, second)

            async def somebody_checks() -> bool:
                return any(map(exported, both))

            await eventually(somebody_checks)
            for _ in range(3):
                # Whoever does not check claims nothing; the other one says what it found.
                assert sorted(map(len, map(exported, both))) == [0, 1]
                assert all(exported(portal) or not passes(portal) for portal in both)
                await asyncio.sleep(0.5)
            checker = first if exported(first) else second
            await checker.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'portal1400 invariants'"
            )

            async def it_noticed() -> bool:
                return not exported(checker) and not passes(checker)

            await eventually(it_noticed)
            await eventually(somebody_checks)

        async def the_other_checks() -> bool:
            return exported(second) == {0}

        await eventually(the_other_checks)
