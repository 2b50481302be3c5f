"""Migrations under load: the service that runs meanwhile, of this release or the one before, fails no callback."""

import asyncio
import subprocess
import time
from pathlib import Path

import asyncpg
import pytest

from campaigns.schema.migrate import Migration, MigrationRefused, migrate, migrations_in, shipped_migrations
from campaigns.schema.migrate import __name__ as migrate_module
from tests.support.fleet import Carriers, Fleet
from tests.support.portal import Portal, book_file, eventually, message
from tests.support.postgres import TestServer
from tests.support.processes import SERVICE
from tests.support.promptness import is_prompt
from tests.support.releases import release_before

LATER = shipped_migrations()[-2:]
"""Each met databases that a release without it serves. Neither a released migration nor the release before it ever
changes: what was shown when it came stays shown, so the newest are played."""
ADDITIVE = """
ALTER TABLE message ADD COLUMN later_thought text;
ALTER TABLE money_line ADD COLUMN later_thought bigint NOT NULL DEFAULT 0;
CREATE TABLE later_table (id uuid PRIMARY KEY);
CREATE INDEX later_index ON message (carrier, message_at);
"""


@pytest.fixture
def next_release(tmp_path: Path) -> tuple[Migration, ...]:
    """What a release after this one would ship: an additive migration more, read from a folder as they all are."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for each in shipped_migrations():
        (folder / each.name).write_text(each.sql, encoding="utf-8")
    (folder / f"{shipped_migrations()[-1].number + 1:04}_later.sql").write_text(ADDITIVE, encoding="utf-8")
    return migrations_in(folder)


PAUSE_SECONDS = 0.05
"""Of a client between its callbacks: what is asked is whether one waits or fails."""


async def post_until(portal: Portal, stopping: asyncio.Event, label: str) -> list[tuple[int, float]]:
    """Post callbacks one after the other; each one's status and seconds."""
    answers: list[tuple[int, float]] = []
    while not stopping.is_set():
        started = time.monotonic()
        answer = await portal.post(message(f"{label}-{len(answers)}"))
        answers.append((answer.status, time.monotonic() - started))
        await asyncio.sleep(PAUSE_SECONDS)
    return answers


async def test_the_next_release_s_migration_fails_no_callback_of_this_one(
    portal: Portal, next_release: tuple[Migration, ...]
) -> None:
    stopping = asyncio.Event()
    clients = [asyncio.create_task(post_until(portal, stopping, f"m{number}")) for number in range(4)]
    connection = await asyncpg.connect(portal.dsn)

    async def come(more: int) -> None:
        """Wait until so many more are stored."""
        stored = await connection.fetchval("SELECT count(*) FROM message")

        async def have_come() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM message") >= stored + more)

        await eventually(have_come)

    await come(10)
    assert await migrate(connection, next_release) == (next_release[-1].name,)
    await come(10)
    stopping.set()
    answers = [answer for client in await asyncio.gather(*clients) for answer in client]
    assert {status for status, _ in answers} == {200}
    assert await connection.fetchval("SELECT count(*) FROM message") == len(answers) > 20
    await connection.close()


async def test_a_migration_that_waits_for_a_lock_lets_intake_pass(
    portal: Portal, next_release: tuple[Migration, ...]
) -> None:
    holder, connection = await asyncpg.connect(portal.dsn), await asyncpg.connect(portal.dsn)
    open_transaction = holder.transaction()
    await open_transaction.start()
    await holder.execute("LOCK TABLE message IN ROW EXCLUSIVE MODE")
    stopping = asyncio.Event()
    clients = [asyncio.create_task(post_until(portal, stopping, f"m{number}")) for number in range(2)]
    migrating = asyncio.create_task(migrate(connection, next_release))
    await asyncio.sleep(3)
    assert not migrating.done()
    await open_transaction.rollback()
    assert await migrating == (next_release[-1].name,)
    stopping.set()
    answers = [answer for client in await asyncio.gather(*clients) for answer in client]
    assert {status for status, _ in answers} == {200}
    assert is_prompt(max(seconds for _, seconds in answers), 1.5), "intake stood in line behind the migration"
    await holder.close()
    await connection.close()


async def test_a_lock_that_never_comes_is_a_sentence_and_nothing_is_half_done(
    portal: Portal, next_release: tuple[Migration, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{migrate_module}.LOCK_PATIENCE_SECONDS", 0.5)
    connection = await asyncpg.connect(portal.dsn)
    holder = await asyncpg.connect(portal.dsn)
    async with holder.transaction():
        await holder.execute("LOCK TABLE money_line IN ROW EXCLUSIVE MODE")
        with pytest.raises(MigrationRefused, match=r"_later.sql does not get its locks .* pg_stat_activity"):
            await migrate(connection, next_release)
    columns = await connection.fetch("SELECT FROM pg_attribute WHERE attname = 'later_thought'")
    assert columns == []
    assert await migrate(connection, next_release) == (next_release[-1].name,)
    await connection.close()
    await holder.close()


@pytest.mark.slow
@pytest.mark.parametrize("migration", LATER, ids=lambda migration: migration.name)
async def test_a_shipped_migration_fails_no_callback_of_the_release_before_it(
    server: TestServer, tmp_path: Path, migration: Migration
) -> None:
    root = release_before(migration, tmp_path / "before")
    name = server.next_name()
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(server.dsn(name))
    # Migrations that came together are unknown to the release before them together.
    known = {file.name for file in root.rglob("migrations/*.sql")}
    await migrate(connection, tuple(each for each in shipped_migrations() if each.name in known))
    site = Fleet(server.dsn(name), tmp_path, 1, root, changes={}, arguments=("serve",))
    # The test's own windows are unusual; releases before the question do not know how to answer it.
    meant = ["--yes"] if (root / "campaigns/book/unusual.py").exists() else []
    applying = [*SERVICE, "apply", *meant, str(book_file(tmp_path))]
    await asyncio.to_thread(subprocess.run, applying, env=site.environ, cwd=root, check=True, timeout=60)
    site.start()
    try:
        await site.ready()
        carriers = Carriers(site.port, "before")
        async with carriers.playing(8):
            await carriers.more(40)
            upto = tuple(each for each in shipped_migrations() if each.number <= migration.number)
            assert await migrate(connection, upto) == tuple(each.name for each in upto if each.name not in known)
            await carriers.more(80)
        assert (carriers.broken, carriers.not_taken, set(carriers.answers)) == ([], [], {200})
        assert set(await site.stored()) == carriers.sent
    finally:
        await site.end()
        await connection.close()
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()
