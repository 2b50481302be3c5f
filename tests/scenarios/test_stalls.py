"""A database that stands still for some seconds is no overload: pages and streams go on, and no gift is lost."""

import asyncio
import time
from pathlib import Path

import asyncpg

from service.listeners.overload import Signals
from tests.support.away import replayed, stored_ids
from tests.support.databases import cloned_database
from tests.support.portal import Portal, message, running
from tests.support.postgres import TestServer
from tests.support.streams import following

STALL_SECONDS = 3.0
AFTER_SECONDS = 1.0
PAUSE_SECONDS = 0.01
"""Between callbacks: a hundred a second."""
PUBLIC = ("/", "/c/vnn", "/api/v1/totals", "/api/v1/campaigns", "/api/v1/campaigns/vnn")


def without_lag(portal: Portal) -> list[int]:
    """Let the load be judged by the queue alone: this test keeps the event loop as well. Returns its levels."""
    load = portal.service.intake.load
    update = load.update
    levels: list[int] = []

    def judged(signals: Signals, now: float) -> None:
        update(signals._replace(lag_seconds=0.0), now)
        levels.append(load.level)

    load.update = judged  # type: ignore[method-assign]  # one fact less, everything else as it is
    return levels


async def test_while_the_table_of_messages_is_locked_nothing_public_is_refused(
    server: TestServer, tmp_path: Path
) -> None:
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path, shed_under_load="true", queue_wait_seconds="1") as portal,
        following(portal, "?campaign=vnn") as viewer,
    ):
        await viewer.totals()
        levels = without_lag(portal)
        posted: list[asyncio.Task[int]] = []
        statuses: list[tuple[str, int]] = []

        async def post(number: int) -> int:
            return (await portal.post(message(f"m-{number}"))).status

        async def look(path: str) -> None:
            async with portal.http.get(portal.base + path) as answer:
                statuses.append((path, answer.status))

        async def go_on(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                posted.append(asyncio.create_task(post(len(posted))))
                await asyncio.sleep(PAUSE_SECONDS)
                if len(posted) % 20 == 0:
                    await asyncio.gather(*map(look, PUBLIC))
                    async with following(portal):
                        pass

        await go_on(0.5)
        admin = await asyncpg.connect(dsn)
        async with admin.transaction():
            await admin.execute("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
            await go_on(STALL_SECONDS)
        await admin.close()
        await go_on(AFTER_SECONDS)
        assert set(await asyncio.gather(*posted)) == {200}
        assert {status for _, status in statuses} == {200}
        assert (set(levels), len(levels) > 10) == ({0}, True)
        await replayed(portal)
        assert len(await stored_ids(portal)) == len(posted)
