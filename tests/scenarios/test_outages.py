"""The database frozen or gone: acknowledged from the spool in each protocol's words, and back without help."""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from campaigns.schema.migrate import migrate
from service.runtime.refusals import Refused
from tests.support import postgres
from tests.support.away import readiness, replayed, require_invariants, signalled, stored_ids
from tests.support.portal import Portal, Reply, eventually, message, running, within
from tests.support.postgres import TestServer, start_server
from tests.support.promptness import is_prompt
from tests.support.protocols import SENDERS, fetch

pytestmark = pytest.mark.slow
ANSWER_SECONDS_MAX = 3.5
CIRCUIT_SECONDS_MAX = 0.9
"""Less than a callback waits for a commit."""


@pytest.fixture(scope="module")
def victim() -> Iterator[TestServer]:
    """A PostgreSQL for these tests alone."""
    with tempfile.TemporaryDirectory(prefix="p1400-") as folder:
        started = start_server(Path(folder), os.environ.get("PORTAL_TEST_POSTGRES", "auto"))
        try:
            yield started
        finally:
            signalled(started, signal.SIGCONT)
            started.stop()


@pytest.fixture
async def outage(victim: TestServer, tmp_path: Path) -> AsyncIterator[Portal]:
    """A service whose database may be taken away."""
    name = victim.next_name()
    admin = await asyncpg.connect(victim.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    connection = await asyncpg.connect(victim.dsn(name))
    await migrate(connection)
    await connection.close()
    async with running(
        victim.dsn(name), tmp_path, queue_wait_seconds="1", statement_seconds="4", shutdown_seconds="3"
    ) as started:
        yield started
        signalled(victim, signal.SIGCONT)


def start_again(server: TestServer, **settings: str) -> None:
    """The same server on the same data, some of its settings changed."""
    server.process.wait(timeout=10)
    arguments = list(server.process.args)  # type: ignore[arg-type]  # started from a list
    for name, value in settings.items():
        arguments += ["-c", f"{name}={value}"]
    user = postgres._server_user()
    run_as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    server.process = subprocess.Popen(arguments, cwd="/", start_new_session=True, **run_as)  # type: ignore[call-overload]  # user and groups go together or not at all


async def all_send(portal: Portal, prefix: str) -> dict[str, Reply]:
    """One new message over each protocol, at once."""
    answers = await asyncio.gather(*(each.send(portal, f"{prefix}-{name}") for name, each in SENDERS.items()))
    return dict(zip(SENDERS, answers, strict=True))


async def require_acknowledged(portal: Portal, prefix: str, seconds_max: float) -> set[str]:
    """Every protocol is told that we have it, soon; returns the accounts and ids."""
    started = time.monotonic()
    answers = await all_send(portal, prefix)
    assert is_prompt(time.monotonic() - started, seconds_max)
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(SENDERS, 200)
    return {f"{each.account} {prefix}-{name}" for name, each in SENDERS.items()}


async def require_malformed_is_kept(portal: Portal) -> None:
    """What cannot be kept for a person now waits for it in the spool; the answer is the usual one."""
    started = time.monotonic()
    answers = await asyncio.gather(*(each.send(portal, "m-bad", number="12") for each in SENDERS.values()))
    assert is_prompt(time.monotonic() - started, ANSWER_SECONDS_MAX)
    assert [answer.status for answer in answers] == [400, 200, 500]


async def require_alive(portal: Portal) -> None:
    """The liveness probe touches no dependency."""
    started = time.monotonic()
    async with portal.http.get(portal.internal + "/livez") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "alive", "degraded": []})
    async with portal.http.get(portal.internal + "/metrics") as answer:
        assert answer.status == 200
    assert is_prompt(time.monotonic() - started, 1)


async def require_recovery(portal: Portal, acknowledged: set[str]) -> None:
    """By itself the spool empties into the database; the ids agree; every total can be recomputed."""
    await replayed(portal, 30)
    answers = await all_send(portal, "m-back")
    assert {answer.status for answer in answers.values()} == {200}
    assert await readiness(portal) == 200

    async def is_shown() -> bool:
        return bool((await portal.totals())["messages"] == len(await stored_ids(portal)))

    await eventually(is_shown)
    stored = [native_id for native_id in await stored_ids(portal) if "m-back" not in native_id]
    assert sorted(acknowledged) == stored
    assert len(await portal.fetch("SELECT FROM quarantine")) >= len(SENDERS)
    await require_invariants(portal.dsn)


async def test_a_frozen_database_costs_a_second_once_and_nothing_is_lost(outage: Portal, victim: TestServer) -> None:
    acknowledged = await require_acknowledged(outage, "m-before", ANSWER_SECONDS_MAX)
    signalled(victim, signal.SIGSTOP)
    acknowledged |= await require_acknowledged(outage, "m-during", ANSWER_SECONDS_MAX)
    # From now on nobody waits to learn that it does not commit.
    for number in range(5):
        acknowledged |= await require_acknowledged(outage, f"m-during-{number}", CIRCUIT_SECONDS_MAX)
    assert await readiness(outage) == 200
    await require_malformed_is_kept(outage)
    await require_alive(outage)
    age = (await fetch(outage, "GET", "/api/v1/totals")).headers["x-portal1400-age-seconds"]
    assert float(age) > 1
    signalled(victim, signal.SIGCONT)
    await require_recovery(outage, acknowledged)


async def test_a_killed_database_is_noticed_survived_and_found_again(outage: Portal, victim: TestServer) -> None:
    acknowledged = set()
    for number in range(5):
        assert (await outage.post(message(f"m-{number}"))).status == 200
        acknowledged.add(f"hub m-{number}")
    signalled(victim, signal.SIGKILL)

    async def is_noticed() -> bool:
        return outage.service.intake.writer.connected == 0

    await within(3, is_noticed)
    await require_alive(outage)
    acknowledged |= await require_acknowledged(outage, "m-during", CIRCUIT_SECONDS_MAX)
    assert await readiness(outage) == 200
    await require_malformed_is_kept(outage)
    series = await fetch(outage, "GET", "/api/v1/campaigns/vnn/series")
    assert (series.status, series.json()["type"]) == (503, "urn:portal1400:problem:unavailable")
    assert int(series.headers["Retry-After"]) > 0
    assert (await fetch(outage, "GET", "/api/v1/totals")).status == 200
    start_again(victim)
    await require_recovery(outage, acknowledged)


async def test_a_service_stopped_while_it_works_answers_what_it_accepted(outage: Portal) -> None:
    answers = [asyncio.create_task(outage.post(message(f"m-{number}"))) for number in range(100)]

    async def some_wait() -> bool:
        return outage.service.intake.writer.queued_events > 0 or answers[0].done()

    await eventually(some_wait)
    await outage.service.stop()
    ended = await asyncio.gather(*answers, return_exceptions=True)
    acknowledged = {f"m-{at}" for at, each in enumerate(ended) if isinstance(each, Reply) and each.status == 200}
    # Whoever was not let in any more got no answer at all; nobody got a wrong one.
    assert all(isinstance(each, OSError) or (isinstance(each, Reply) and each.status == 200) for each in ended)
    assert acknowledged
    stored = {row["native_id"] for row in await outage.fetch("SELECT native_id FROM message")}
    assert acknowledged == stored


LOSING = ["fsync", "full_page_writes"]


@pytest.mark.parametrize("setting", LOSING)
async def test_a_server_that_could_lose_what_it_acknowledged_is_refused(
    victim: TestServer, tmp_path: Path, setting: str
) -> None:
    victim.process.send_signal(signal.SIGQUIT)
    start_again(victim, **{setting: "off"})

    async def answers() -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await (await asyncpg.connect(victim.dsn("postgres"))).close()
            return True
        return False

    await eventually(answers, 20)
    try:
        with pytest.raises(Refused, match=r"fsync or full_page_writes off: a gift .* set both to on"):
            async with running(victim.dsn("postgres"), tmp_path):
                pytest.fail("it serves")
    finally:
        victim.process.send_signal(signal.SIGQUIT)
        start_again(victim, **{setting: "on"})
        await eventually(answers, 20)
