"""What the database says of itself, and that nothing is said of one that cannot be asked."""

import asyncio
from pathlib import Path

import asyncpg
from prometheus_client import CollectorRegistry

from metrics.families.database import DatabaseFamilies
from metrics.families.register import Register
from service.operations.database_watch import SELECT_SIZE, SELECT_STANDBYS, DatabaseWatch
from tests.support.portal import Portal, eventually


def families() -> DatabaseFamilies:
    return DatabaseFamilies(Register(CollectorRegistry()))


async def scraped(portal: Portal) -> dict[str, float]:
    """Samples as a Prometheus would see them."""
    async with portal.http.get(portal.internal + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def test_size_sessions_pool_and_queue_are_figures_of_each_scrape(lasting_portal: Portal) -> None:
    async def is_known() -> bool:
        return "portal1400_database_bytes" in await scraped(lasting_portal)

    await eventually(is_known)
    async with lasting_portal.opened.database.borrow():
        samples = await scraped(lasting_portal)
    assert samples["portal1400_database_bytes"] > 1_000_000
    assert 0 < samples["portal1400_database_connections"] < samples["portal1400_database_connections_max"]
    assert samples['portal1400_pool_connections{state="busy"}'] >= 1
    assert samples["portal1400_pool_connections_max"] == 6
    assert samples["portal1400_writers_connected"] == samples["portal1400_writers"] == 2
    assert samples["portal1400_queue_events"] == samples["portal1400_queue_oldest_seconds"] == 0
    assert samples["portal1400_queue_events_max"] == 20_000
    assert samples['portal1400_standbys{sync_state="sync"}'] == 0
    assert samples['portal1400_connections{state="stranger"}'] >= 0


async def test_who_waits_for_the_pool_is_counted(lasting_portal: Portal) -> None:
    database = lasting_portal.opened.database
    held = [database.borrow() for _ in range(6)]
    for each in held:
        await each.__aenter__()

    async def borrow() -> None:
        async with database.borrow():
            pass

    waiting = asyncio.create_task(borrow())
    await asyncio.sleep(0)
    assert database.pool_usage == (6, 0, 1)
    for each in held:
        await each.__aexit__(None, None, None)
    await waiting
    assert database.pool_usage[2] == 0


async def test_standbys_are_counted_by_state_and_the_last_of_them_is_told() -> None:
    made = families()
    made.see_standbys({"sync": (2, 0.5, 4096.0), "hidden": (1, 0.0, 0.0)})
    made.see_standbys({"sync": (1, 0.25, 0.0)})
    found = {
        (sample.name, sample.labels["sync_state"]): sample.value
        for family in (made.standbys, made.standby_lag_seconds)
        for each in family.collect()
        for sample in each.samples
    }
    assert found["portal1400_standbys", "sync"] == 1
    assert found["portal1400_standbys", "hidden"] == 0
    assert found["portal1400_standby_lag_seconds", "sync"] == 0.25
    assert ("portal1400_standby_lag_seconds", "hidden") not in found


async def test_an_owner_that_may_see_nothing_of_others_is_answered_too(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    try:
        await connection.execute("CREATE ROLE nobody_special; SET ROLE nobody_special")
        size = await connection.fetchrow(SELECT_SIZE)
        assert size is not None
        assert size["connections"] >= 1
        assert await connection.fetch(SELECT_STANDBYS) == []
    finally:
        await connection.execute("RESET ROLE; DROP ROLE nobody_special")
        await connection.close()


async def test_nothing_is_said_of_a_database_that_cannot_be_asked(lasting_portal: Portal, tmp_path: Path) -> None:
    made = families()
    watch = DatabaseWatch(lasting_portal.opened.database, made)
    async with lasting_portal.opened.database.borrow() as connection:
        await watch.look(connection)
    assert made.bytes_now
    watch._failed(OSError("away"), 0)
    assert made.bytes_now is made.connections_now is made.connections_max_now is None
    assert [sample for family in made.standbys.collect() for sample in family.samples] == []
