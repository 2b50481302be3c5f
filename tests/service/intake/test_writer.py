"""Group commit: a row that cannot be stored stands alone, a lost connection is not the data's fault, no deadlock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from campaigns.gifts.messages import lock_accounts
from campaigns.schema.partitions import make_partitions
from service.intake import writer as writing
from service.intake.entry import Row
from service.intake.writer import DatabaseDown, QueueFull, Unstorable
from service.postgres.embedded.handle import EmbeddedServerFailed
from tests.support.portal import eventually
from tests.support.rows import NOW, Driven, charge_row, digest, driven, entry, message_row, reversal_row

Start = Callable[..., Driven]
WAITING_FOR_A_LOCK = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"


@pytest.fixture
async def start(database_dsn: str, connection: asyncpg.Connection) -> AsyncIterator[Start]:
    """Makes writers on a fresh database that has today's partition, and stops them afterwards."""
    await make_partitions(connection, NOW.date(), days=1)
    made: list[Driven] = []

    def make(connect: Callable[[], Awaitable[asyncpg.Connection]] | None = None, **limits: int) -> Driven:
        made.append(driven(connect or (lambda: asyncpg.connect(database_dsn)), **limits))
        return made[-1]

    yield make
    for each in made:
        await each.writer.stop(5)


async def counts(connection: asyncpg.Connection) -> tuple[int, int, int]:
    """Messages stored, money lines, and messages in the roll-up."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM money_line),"
        " (SELECT coalesce(sum(messages), 0)::int FROM campaign_total)"
    )
    assert row is not None
    return tuple(row)


async def handed_over(writer: Driven, entries: list[Any]) -> "asyncio.Task[list[Any]]":
    """All entries wait in the queue of a writer that has not begun."""
    task = asyncio.create_task(writer.store(entries))
    wanted = sum(len(each.rows) for each in entries)

    async def all_wait() -> bool:
        return writer.writer.queued_events == wanted

    await eventually(all_wait)
    return task


async def store_as_one_batch(writer: Driven, entries: list[Any]) -> list[Any]:
    """All entries wait before the writer begins, so that it takes them together."""
    task = await handed_over(writer, entries)
    writer.writer.start()
    return await task


def uncommitted(writer: Driven) -> list[str]:
    """What it says of commits; whether it has connected again by now is another matter."""
    return [each for each in writer.writer.troubles() if "commit" in each]


UNSTORABLE: dict[str, dict[str, Any]] = {
    "NUL in a text field": {"keyword": "V\x00N"},
    "half a surrogate pair": {"carrier": "\ud800"},
    "a number beyond its column": {"units": 2**31},
    "a reading the table does not know": {"reading": "guessed"},
    "a counted message without money": {"amount_vnd": None},
}


@pytest.mark.parametrize("fault", UNSTORABLE.values(), ids=UNSTORABLE.keys())
async def test_one_unstorable_event_stands_alone_and_all_others_count(
    start: Start, connection: asyncpg.Connection, fault: dict[str, Any]
) -> None:
    rows = [message_row(f"m-{number}") for number in range(1000)]
    rows[617] = rows[617]._replace(**fault)
    writer = start()
    ended = await store_as_one_batch(writer, [entry(row) for row in rows])
    assert [number for number, each in enumerate(ended) if each != ["new"]] == [617]
    assert isinstance(ended[617], Unstorable)
    assert "V\x00N" not in str(ended[617])
    assert await counts(connection) == (999, 999, 999)


async def test_a_missing_partition_is_made_and_nothing_is_refused(
    start: Start, connection: asyncpg.Connection
) -> None:
    days = [NOW + timedelta(days=offset) for offset in (40, 41)]
    writer = start()
    entries = [entry(message_row(f"m-{day:%d}-{n}", at=day), day=day.date()) for day in days for n in range(3)]
    assert await store_as_one_batch(writer, entries) == [["new"]] * 6
    kept = await connection.fetch("SELECT received_on FROM raw_callback ORDER BY 1")
    assert {row["received_on"] for row in kept} == {day.date() for day in days}
    assert len(kept) == 6


FAIL_TWICE = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= 2 THEN RAISE 'again' USING ERRCODE = '{state}'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail AFTER INSERT ON money_line FOR EACH STATEMENT EXECUTE FUNCTION fail();
"""


@pytest.mark.parametrize("state", ["40001", "40P01", "23505"])
async def test_a_transaction_that_lost_to_another_is_tried_again(
    start: Start, connection: asyncpg.Connection, state: str
) -> None:
    await connection.execute(FAIL_TWICE.format(state=state))
    assert await store_as_one_batch(start(), [entry(message_row("m-1"))]) == [["new"]]
    assert await counts(connection) == (1, 1, 1)


async def test_a_row_whose_own_id_is_taken_stands_alone(start: Start, connection: asyncpg.Connection) -> None:
    row = message_row("m-1")
    ended = await store_as_one_batch(start(), [entry(row), entry(message_row("m-2", id=row.id))])
    assert ended[0] == ["new"]
    assert isinstance(ended[1], Unstorable)
    assert await counts(connection) == (1, 1, 1)


@pytest.mark.parametrize(
    ("state", "told"),
    [("25006", "set to read only"), ("57P01", None), ("53100", "disk of the database is full"), ("XX000", None)],
)
async def test_trouble_of_the_server_is_never_taken_for_the_data_and_is_told(
    start: Start, connection: asyncpg.Connection, state: str, told: str | None
) -> None:
    await connection.execute(FAIL_TWICE.format(state=state))
    writer = start()
    (ended,) = await store_as_one_batch(writer, [entry(message_row("m-1"))])
    assert isinstance(ended, DatabaseDown)
    # The first 67 letters are what the smallest terminal has of a sentence.
    assert [told is not None and told in each[:67] for each in uncommitted(writer)] == ([True] if told else [])
    assert await writer.store([entry(message_row("m-1"))]) != [["new"]]
    assert await writer.store([entry(message_row("m-1"))]) == [["new"]]
    assert uncommitted(writer) == [], "what was mended is told no longer"
    assert await counts(connection) == (1, 1, 1)


async def test_a_terminated_backend_costs_one_batch_and_the_writer_comes_back(
    start: Start, connection: asyncpg.Connection
) -> None:
    writer = start()
    writer.writer.start()
    assert await writer.store([entry(message_row("m-1"))]) == [["new"]]
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
        "current_database()"
    )

    async def is_stored() -> bool:
        (ended,) = await writer.store([entry(message_row("m-2"))])
        return ended in (["new"], ["duplicate"])

    await eventually(is_stored)
    assert await counts(connection) == (2, 2, 2)


CANNOT_CONNECT = [
    OSError("refused"),
    asyncpg.InternalClientError("died within an exchange"),
    asyncpg.CannotConnectNowError("starting up"),
    TimeoutError(),
    asyncpg.InvalidPasswordError('password authentication failed for user "portal"'),
]


@pytest.mark.parametrize("error", CANNOT_CONNECT, ids=lambda error: type(error).__name__)
async def test_a_writer_survives_whatever_connecting_raises(
    start: Start, database_dsn: str, error: Exception
) -> None:
    failures = [error, error]
    told: list[str] = []

    async def connect() -> asyncpg.Connection:
        told.extend(writer.writer.troubles())
        if failures:
            raise failures.pop()
        return await asyncpg.connect(database_dsn)

    writer = start(connect)
    writer.writer.start()
    assert await writer.store([entry(message_row("m-1"))]) == [["new"]]
    nobody, *again = told
    reason = {TimeoutError: ": it does not answer", asyncpg.InvalidPasswordError: ": it refuses the password"}
    assert nobody == "no writer is connected to the database", "nobody has tried"
    assert all(each.startswith(nobody + reason.get(type(error), "")) for each in again)
    assert not any("authentication" in each for each in told), "never the server's own words"
    assert not list(writer.writer.troubles())


async def test_a_writer_survives_a_server_that_cannot_be_started_again(start: Start, database_dsn: str) -> None:
    failures = [OSError("refused"), OSError("refused")]
    reasons = [RuntimeError("number 0912345678"), EmbeddedServerFailed("its disk is full: make room")]

    async def connect() -> asyncpg.Connection:
        if failures:
            raise failures.pop()
        return await asyncpg.connect(database_dsn)

    async def cannot_ensure() -> None:
        raise reasons.pop()

    writer = start(connect, lost=cannot_ensure)
    with capture_logs() as lines:
        writer.writer.start()
        assert await writer.store([entry(message_row("m-1"))]) == [["new"]]
    told = [line for line in lines if line["event"] == "database_not_brought_back"]
    assert [line.get("reason") for line in told] == ["its disk is full: make room", None]
    assert told[1]["error"] == "RuntimeError", "and never the words of what is no sentence of ours"


async def test_a_writer_survives_an_observer_that_fails(start: Start, connection: asyncpg.Connection) -> None:
    writer = start()

    def observe(_commit: object) -> None:
        raise KeyError("a label nobody knows")

    writer.writer._observe = observe
    writer.writer.start()
    for number in range(3):
        assert await writer.store([entry(message_row(f"m-{number}"))]) == [["new"]]
    assert await counts(connection) == (3, 3, 3)


async def test_a_writer_that_idles_notices_that_its_server_is_gone(
    start: Start, connection: asyncpg.Connection, database_dsn: str
) -> None:
    is_open = True

    async def connect() -> asyncpg.Connection:
        if not is_open:
            raise OSError("refused")
        return await asyncpg.connect(database_dsn)

    writer = start(connect)
    writer.writer.start()

    async def is_connected() -> bool:
        return writer.writer.connected == 1

    await eventually(is_connected)
    is_open = False
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
        "current_database()"
    )

    async def is_away() -> bool:
        return writer.writer.connected == 0

    await eventually(is_away)


async def test_inside_one_batch_the_first_arrival_wins_and_later_ones_are_compared(
    start: Start, connection: asyncpg.Connection
) -> None:
    first, other = message_row("m-1"), message_row("m-1", digest=digest("other"), units=9)
    writer = start()
    entries = [entry(first), entry(other), entry(first), entry(message_row("m-2"), other)]
    assert await store_as_one_batch(writer, entries) == [["new"], ["conflict"], ["duplicate"], ["new", "conflict"]]
    assert len(writer.commits) == 1
    assert await connection.fetchval("SELECT units FROM message WHERE native_id = 'm-1'") == 5
    # Once per id and digest, however often it comes.
    assert await connection.fetchval("SELECT count(*) FROM conflict") == 1
    assert (await writer.store([entry(other)])) == [["conflict"]]
    assert await connection.fetchval("SELECT count(*) FROM conflict") == 1
    assert sum(len(commit.conflicts) for commit in writer.commits) == 1


async def test_the_events_of_one_callback_are_never_split(start: Start, connection: asyncpg.Connection) -> None:
    writer = start(batch_events_max=10)
    whole = [message_row(f"whole-{number}") for number in range(15)]
    entries = [entry(message_row("m-1")), entry(*whole), entry(message_row("m-2"))]
    assert await store_as_one_batch(writer, entries) == [["new"], ["new"] * 15, ["new"]]
    assert sorted(len(commit.messages) for commit in writer.commits) == [1, 1, 15]
    assert len(await connection.fetch("SELECT DISTINCT xmin FROM message WHERE native_id LIKE 'whole%'")) == 1


async def test_more_than_may_wait_is_told_at_once(start: Start) -> None:
    writer = start(queue_events_max=100)
    waiting = [entry(message_row(f"m-{number}")) for number in range(100)]
    task = await handed_over(writer, waiting)
    with pytest.raises(QueueFull):
        await writer.writer.store(entry(message_row("m-late")), 10)
    writer.writer.start()
    assert await task == [["new"]] * 100
    assert writer.writer.queued_events == 0
    assert await writer.store([entry(message_row("m-late"))]) == [["new"]]


async def test_whoever_waits_too_long_is_told_and_is_not_stored_later(
    start: Start, connection: asyncpg.Connection, database_dsn: str
) -> None:
    is_open = False

    async def connect() -> asyncpg.Connection:
        if not is_open:
            raise OSError("refused")
        return await asyncpg.connect(database_dsn)

    writer = start(connect)
    writer.writer.start()
    async with asyncio.timeout(20):
        (ended,) = await writer.store([entry(message_row("m-1"))], 0.3)
    assert isinstance(ended, DatabaseDown)
    is_open = True
    assert await writer.store([entry(message_row("m-2"))]) == [["new"]]
    assert await counts(connection) == (1, 1, 1)


async def test_two_writers_with_each_other_s_repeats_do_not_deadlock(
    start: Start, connection: asyncpg.Connection
) -> None:
    writers = [start(), start()]
    for each in writers:
        each.writer.start()
    before = await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    fates: list[str] = []
    for turn in range(10):
        rows = [message_row(f"m-{turn}-{number}") for number in range(300)]
        others = [row._replace(digest=digest("other " + row.native_id)) for row in rows]
        pair = await asyncio.gather(
            writers[0].store([entry(row) for row in rows]), writers[1].store([entry(row) for row in reversed(others)])
        )
        fates += [ended[0] for ending in pair for ended in ending]
    assert (fates.count("new"), fates.count("conflict")) == (3000, 3000)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert (
        await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        == before
    )
    assert await counts(connection) == (3000, 3000, 3000)


async def test_while_one_commit_is_held_up_what_comes_is_committed_beside_it(
    start: Start, connection: asyncpg.Connection
) -> None:
    writer = start(writers=2)
    writer.writer.start()
    async with connection.transaction():
        await lock_accounts(connection, (), (1,))
        held = asyncio.create_task(writer.store([entry(message_row("m-1"))]))

        async def is_waiting() -> bool:
            return bool(await connection.fetchval(WAITING_FOR_A_LOCK))

        await eventually(is_waiting)
        assert await writer.store([entry(message_row("m-2", account_id=2))]) == [["new"]]
        assert not held.done()
    assert await held == [["new"]]


async def test_a_few_that_wait_for_a_commit_are_the_next_one_together(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "BESIDE_SECONDS", 60)
    writer = start(writers=2)
    writer.writer.start()
    async with connection.transaction():
        await lock_accounts(connection, (), (1,))
        tasks = [asyncio.create_task(writer.store([entry(message_row("m-0"))]))]

        async def is_waiting() -> bool:
            return bool(await connection.fetchval(WAITING_FOR_A_LOCK))

        await eventually(is_waiting)
        for number in range(1, 5):
            tasks.append(asyncio.create_task(writer.store([entry(message_row(f"m-{number}", account_id=2))])))
            # A writer of its own would have taken it by now.
            await connection.fetchval("SELECT pg_sleep(0.01)")
    assert await asyncio.gather(*tasks) == [[["new"]]] * 5
    assert [len(commit.messages) for commit in writer.commits] == [1, 4]


async def test_a_message_its_charge_and_its_reversal_meet_in_whatever_order_they_commit(
    start: Start, connection: asyncpg.Connection
) -> None:
    writers = [start() for _ in range(3)]
    for each in writers:
        each.writer.start()
    for number in range(40):
        name = f"m-{number}"
        events: list[Row] = [
            message_row(name),
            charge_row(f"c-{number}", name),
            reversal_row(f"r-{number}", name, 40_000),
        ]
        order = [(number + offset) % 3 for offset in range(3)]
        await asyncio.gather(*(writers[at].store([entry(events[kind])]) for at, kind in enumerate(order)))
    totals = await connection.fetchrow("SELECT sum(messages), sum(pledged_vnd)::bigint FROM campaign_total")
    assert totals is not None
    assert tuple(totals) == (40, 40 * 60_000)
    assert await connection.fetchval("SELECT count(*) FROM waiting_event") == 0
    assert await connection.fetchval("SELECT sum(orphan_charges) FROM unallocated_total") in (0, None)
    assert await connection.fetchval("SELECT count(*) FROM review") == 0


async def test_two_reversals_at_one_instant_never_exceed_the_gift(
    start: Start, connection: asyncpg.Connection
) -> None:
    writers = [start(), start()]
    for each in writers:
        each.writer.start()
    for number in range(30):
        name = f"m-{number}"
        await writers[0].store([entry(message_row(name))])
        await asyncio.gather(
            *(each.store([entry(reversal_row(f"r-{number}-{at}", name, 70_000))]) for at, each in enumerate(writers))
        )
    left = await connection.fetchrow("SELECT sum(messages), sum(pledged_vnd)::bigint FROM campaign_total")
    assert left is not None
    assert tuple(left) == (30, 30 * 30_000)
    assert await connection.fetchval("SELECT count(*) FROM review") == 30


async def test_stopping_stores_what_waits(start: Start, connection: asyncpg.Connection) -> None:
    writer = start()
    task = await handed_over(writer, [entry(message_row(f"m-{number}")) for number in range(50)])
    writer.writer.start()
    await writer.writer.stop(10)
    assert await task == [["new"]] * 50
    with pytest.raises(QueueFull):
        await writer.writer.store(entry(message_row("m-late")), 1)
    assert await counts(connection) == (50, 50, 50)
