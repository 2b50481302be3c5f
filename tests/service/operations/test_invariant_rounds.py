"""Rounds of the invariants: what is tampered with is found, what is sound is not, the cost goes with what is new."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from metrics.invariants import INVARIANTS
from metrics.roll_up_checks import ROLL_UP_CHECKS
from metrics.stretches import FOREVER, Stretch, Subject, cut
from metrics.subjects import GIFTS, MINUTES, SUBJECTS, instant_of, least_id, newest_gifts
from service.operations import day_seals
from service.operations.invariant_rounds import BY_INDEX, LIMITS, Pace
from tests.bench.stored import store
from tests.support.databases import cloned_database, copied_database
from tests.support.embedded import eventually
from tests.support.portal import BOOK, Portal, message, running
from tests.support.postgres import TestServer
from tests.support.reports import DAY, REPORT_BOOK, charge, taken_back
from tests.support.rounds import LONG_AFTER, LONG_AGO, Rounds, keep, put_back
from tests.support.tampering import PAST_THE_LOCKS, TAMPERED, TAMPERED_REPORTS, fill, fill_reports

NO_PASS = Pace(pass_pieces_max=0)
FEW = 30_000
"""Messages among which a piece is looked for."""
# Money lines are compared with minutes and minutes with totals: the full check compares both with the lines.
SEEN_OTHERWISE = {
    "a minute's units": {"minutes_equal_money_lines", "totals_equal_money_lines"},
    "a minute of nobody's campaign": {
        "minutes_equal_money_lines",
        "references_hold",
        "totals_equal_money_lines",
    },
    "a money line that is gone": {"each_counted_message_is_pledged_once", "minutes_equal_money_lines"},
    "a money line that grew": {"each_counted_message_is_pledged_once", "minutes_equal_money_lines"},
    "a pledge that is gone": {"each_counted_message_is_pledged_once", "minutes_equal_money_lines"},
}
WATCHED = {each.name for each in INVARIANTS}
EVERY_TAMPERING = {
    label: (sql, names & WATCHED)
    for label, (sql, names) in ({label: row[:2] for label, row in TAMPERED.items()} | TAMPERED_REPORTS).items()
}


def test_every_invariant_is_checked_in_the_rounds_and_nothing_else_is() -> None:
    names = [each.name for each in ROLL_UP_CHECKS]
    names += [each.name for subject in SUBJECTS for each in subject.invariants]
    assert set(names) == {each.name for each in INVARIANTS}


@pytest.fixture(scope="module")
async def filled_dsns(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[str]]:
    """Databases with the facts that TAMPERED and TAMPERED_REPORTS tamper with; every test has a copy of one."""
    async with AsyncExitStack() as stack:
        dsns = []
        for book, fill_in in ((BOOK, fill), (REPORT_BOOK, fill_reports)):
            dsn = await stack.enter_async_context(cloned_database(server))
            folder = tmp_path_factory.mktemp("filled")
            async with running(dsn, folder, book, invariant_seconds="86400") as portal:
                await fill_in(portal)
                await portal.fetch("DELETE FROM invariant_pass")
            dsns.append(dsn)
        yield dsns


@asynccontextmanager
async def past_the_locks(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Whoever may tamper with facts."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(PAST_THE_LOCKS)
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def filled(server: TestServer, filled_dsns: list[str]) -> AsyncIterator[asyncpg.Connection]:
    """The facts that TAMPERED tampers with."""
    async with copied_database(server, filled_dsns[0]) as dsn, past_the_locks(dsn) as connection:
        yield connection


@pytest.mark.parametrize("cases", [TAMPERED, TAMPERED_REPORTS], ids=["on message", "on report"])
@pytest.mark.parametrize("is_newest", [True, False], ids=["in the newest hour", "long ago"])
async def test_whatever_is_tampered_with_is_found_in_a_round_or_by_the_pass_and_until_it_holds(
    server: TestServer, filled_dsns: list[str], cases: dict[str, Any], is_newest: bool
) -> None:
    at, pace = (LONG_AGO, NO_PASS) if is_newest else (LONG_AFTER, Pace(piece_rows=2))
    like = filled_dsns[cases is TAMPERED_REPORTS]
    async with copied_database(server, like) as dsn, past_the_locks(dsn) as connection:
        rounds = Rounds(connection, at, pace)
        assert await rounds.check() == set()
        assert rounds.figures == dict.fromkeys((each.name for each in INVARIANTS), 0)
        await keep(connection)
        for label in cases:
            sql, names = EVERY_TAMPERING[label]
            async with put_back(connection):
                await connection.execute(sql)
                again = Rounds(connection, at, pace)
                assert await again.check() == SEEN_OTHERWISE.get(label, names), label
                # A pass that has gone by does not make it right, nor does another process that takes over.
                assert await again.check() == SEEN_OTHERWISE.get(label, names), label
                other = Rounds(connection, at, NO_PASS)
                assert await other.check() == SEEN_OTHERWISE.get(label, names), label
            after = Rounds(connection, at, NO_PASS)
            assert await after.check() == set(), label
            assert after.figures == dict.fromkeys((each.name for each in INVARIANTS), 0), label
            assert await connection.fetch("SELECT FROM invariant_broken") == [], label


async def test_before_the_pass_comes_by_only_roll_ups_are_known_of_what_is_long_ago(
    filled: asyncpg.Connection,
) -> None:
    await filled.execute("UPDATE message SET amount_vnd = amount_vnd + 1 WHERE native_id = 'm-2'")
    assert await Rounds(filled, LONG_AFTER, NO_PASS).check() == set()
    assert await Rounds(filled, LONG_AFTER).check() == {"each_counted_message_is_pledged_once"}


UNWRITTEN = """
INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)
VALUES ($1, 'pledged', 'message', 1, 'viettel', 1, 1, 20000, $2)
"""


@pytest.mark.parametrize(
    "at",
    [
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 20, 3, 0, 59, 999999, tzinfo=UTC),
        datetime(2026, 11, 20, 3, 1, tzinfo=UTC),
        datetime(2026, 11, 20, 7, 7, tzinfo=UTC),
        datetime(2097, 12, 31, 22, 59, tzinfo=UTC),
        datetime(2097, 12, 31, 23, 0, tzinfo=UTC),
        datetime(2098, 12, 31, tzinfo=UTC),
    ],
    ids=str,
)
async def test_a_line_without_minute_and_message_is_found_in_whichever_gap_it_lies(
    filled: asyncpg.Connection, at: datetime
) -> None:
    await filled.execute(UNWRITTEN, least_id(at), at)
    found = await Rounds(filled, LONG_AFTER, Pace(piece_rows=1)).check()
    assert found == {
        "each_counted_message_is_pledged_once",
        "lines_follow_their_causes",
        "minutes_equal_money_lines",
    }


STORIES_MIN, CHECKS_MIN = 12, 3
"""So many stories of gifts come at least, and so often everything is checked while they do."""


async def come_late(portal: Portal, number: int) -> None:
    """Gifts of now and of days ago and with a carrier's clock ahead, counted later, taken back in part and whole."""
    days = timedelta(days=number % 9)
    for part, at in enumerate((DAY, DAY - days, datetime.now(UTC), datetime.now(UTC) + timedelta(minutes=9))):
        ref = f"m-{number}-{part}"
        await portal.post(message(ref, f"VNN {1 + number % 5}", operator_time=at.isoformat()))
        if part % 2 == number % 2:
            await portal.post(charge("succeeded", f"c-{ref}", ref))
        else:
            await portal.post(charge("failed", f"f-{ref}", ref))
        if number % 3 == part:
            await portal.post(taken_back(f"r-{ref}", 10_000, ref, minutes=-5000 * part))
            await portal.post(taken_back(f"s-{ref}", 90_000, ref))
    await portal.post(charge("succeeded", f"c-{number}", f"no-message-{number}"))
    await portal.post(charge("succeeded", f"d-{number}", None, msisdn="84950000001", short_code="1408"))
    await portal.post(message(f"w-{number}", "VNN many"))
    await portal.post(message(f"x-{number}", "??"))


@pytest.mark.parametrize("book", [BOOK, REPORT_BOOK], ids=["on message", "on report"])
async def test_nothing_is_found_broken_while_late_messages_charges_and_reversals_come(
    database_dsn: str, tmp_path: Path, book: str
) -> None:
    async with running(database_dsn, tmp_path, book, invariant_seconds="86400") as portal:
        connections = [await asyncpg.connect(database_dsn) for _ in range(3)]
        clocks = (LONG_AGO, datetime.now(UTC), LONG_AFTER)
        checkers = [
            Rounds(each, at, Pace(piece_rows=3, newest_gifts_max=5))
            for each, at in zip(connections, clocks, strict=True)
        ]
        checked = 0

        async def keep_coming() -> int:
            # Gifts come for as long as checks go on, however fast the one or the other is.
            came = 0
            while checked < CHECKS_MIN or came < STORIES_MIN:
                beside = 3 if came < STORIES_MIN else 1
                await asyncio.gather(*(come_late(portal, came + number) for number in range(beside)))
                came += beside
            return came

        posting = asyncio.create_task(keep_coming())
        while not posting.done():
            assert await asyncio.gather(*(each.check() for each in checkers)) == [set()] * 3
            checked += 1
        assert await posting >= STORIES_MIN
        await portal.service.operations.housekeeping.sweep(connections[0])
        assert await asyncio.gather(*(each.check() for each in checkers)) == [set()] * 3
        assert checked >= CHECKS_MIN
        assert checkers[2].passes.keys() == {"minutes", "gifts"}
        for each in connections:
            await each.close()


async def test_a_pass_goes_on_where_it_stood_when_its_process_ended(filled: asyncpg.Connection) -> None:
    pace = Pace(piece_rows=1, pass_pieces_max=1)
    stood = []
    for rounds in range(1, 10):  # noqa: B007 -- how many there were is asked for below
        # A process that is restarted after every piece.
        restarted = Rounds(filled, LONG_AFTER, pace)
        assert await restarted.check() == set()
        where = await filled.fetchrow("SELECT next_at, ended_at FROM invariant_pass WHERE subject = 'gifts'")
        assert where is not None
        if where["ended_at"] is not None:
            break
        assert "gifts" not in restarted.passes
        stood.append(where["next_at"])
    assert stood == sorted(set(stood))
    assert rounds == await filled.fetchval("SELECT count(*) FROM message") == 5
    assert restarted.passes["gifts"] == LONG_AFTER.timestamp()
    # The next process knows when it was.
    assert Rounds(filled, LONG_AFTER, NO_PASS).passes == {}
    later = Rounds(filled, LONG_AFTER + timedelta(days=1), NO_PASS)
    await later.check()
    assert later.passes["gifts"] == LONG_AFTER.timestamp()


async def test_a_clock_that_is_set_back_lets_the_pass_begin_again_and_claims_no_end(
    filled: asyncpg.Connection,
) -> None:
    await filled.execute("INSERT INTO invariant_pass SELECT unnest('{minutes,gifts}'::text[]), '2099-01-01'")
    rounds = Rounds(filled, LONG_AFTER, Pace(piece_rows=1, pass_pieces_max=1))
    await rounds.check()
    assert rounds.passes == {}
    assert await filled.fetchval("SELECT max(next_at) < '2098-01-01' FROM invariant_pass")


async def test_what_breaks_in_more_places_than_are_remembered_stays_above_zero(filled: asyncpg.Connection) -> None:
    await filled.execute("UPDATE message SET amount_vnd = amount_vnd + 1 WHERE native_id IN ('m-1', 'm-3')")
    rounds = Rounds(filled, LONG_AFTER, Pace(piece_rows=1, broken_max=1))
    for _ in range(3):
        assert await rounds.check() == {"each_counted_message_is_pledged_once"}
        assert await filled.fetchval("SELECT count(*) FROM invariant_broken") == 1


async def test_what_holds_again_is_broken_no_more_however_it_is_cut_then(filled: asyncpg.Connection) -> None:
    await filled.execute("UPDATE message SET amount_vnd = amount_vnd + 1 WHERE reading = 'counted'")
    rounds = Rounds(filled, LONG_AFTER, Pace(piece_rows=1))
    assert await rounds.check() == {"each_counted_message_is_pledged_once"}
    assert rounds.figures["each_counted_message_is_pledged_once"] == 3
    await filled.execute("UPDATE message SET amount_vnd = amount_vnd - 1 WHERE reading = 'counted'")
    rounds._rounds._pace = Pace()
    assert await rounds.check() == set()
    assert await filled.fetch("SELECT FROM invariant_broken") == []


async def test_after_each_statement_comes_its_rest_and_what_took_long_is_not_repeated_at_once(
    filled: asyncpg.Connection,
) -> None:
    pace = Pace(rest_factor=1e9, brief_rest_seconds_max=3, rest_seconds_max=7, apart_factor=1e9)
    rounds = Rounds(filled, LONG_AFTER, pace)
    await rounds.check()
    # The newest stretch of each subject and where it begins, and all that is older of each.
    each_time = [3] * 3 + [7] * 2
    assert rounds.rests == [3] * len(ROLL_UP_CHECKS) + each_time
    await filled.execute("UPDATE campaign_total SET units = units + 1")
    assert await rounds.check() == set()
    assert rounds.rests == [3] * len(ROLL_UP_CHECKS) + each_time * 2


APART = """
UPDATE money_line SET at = at - make_interval(mins => place)
FROM (SELECT ctid AS line, 10 * row_number() OVER (ORDER BY at DESC)::int - 10 AS place FROM money_line) AS each_line
WHERE ctid = line
"""
"""The newest line stays where it is, each one before it lies ten minutes earlier than the next."""


async def test_the_fullest_hour_is_looked_at_once_a_minute_however_long_a_piece_takes(
    filled: asyncpg.Connection,
) -> None:
    pace = Pace(rest_factor=1e9, piece_rows=1, pass_pieces_max=0)
    rounds = Rounds(filled, LONG_AGO, pace)
    await rounds.check()
    await rounds.check()
    pieces = len(rounds.rests) / 2
    assert pieces > 2 * 3
    # Roll-ups, where the newest begin, the newest two gifts and their minute: no more, whatever came before them.
    await filled.execute(APART)
    few = Rounds(filled, LONG_AGO, replace(pace, newest_gifts_max=1))
    await few.check()
    assert len(few.rests) == len(ROLL_UP_CHECKS) + 1 + 2 + 1
    fullest = len(SUBJECTS) * Pace().newest_gifts_max / Pace().piece_rows
    assert sum(rounds.rests) / 2 / pieces * fullest < 40


async def test_days_that_are_sealed_do_not_keep_the_next_look_at_the_newest_waiting(
    server: TestServer, filled_dsns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_seals, "REST_FACTOR", 1e9)
    async with (
        copied_database(server, filled_dsns[0]) as dsn,
        past_the_locks(dsn) as connection,
        running(dsn, tmp_path, BOOK, invariant_seconds="1") as portal,
    ):
        await store(dsn, 1, 40, 40)  # over days that are past
        published = portal.service.instruments.operations.invariant_difference

        def figures() -> list[float]:
            return [sample.value for family in published.collect() for sample in family.samples]

        await eventually(figures)
        await connection.execute("UPDATE campaign_minute SET units = units + 1")
        await eventually(lambda: any(figures()), seconds=day_seals.REST_SECONDS_MAX * 0.7)


async def test_pieces_are_bounded_meet_each_other_and_leave_nothing_out(portal: Portal) -> None:
    await store(portal.dsn, 1, 3000, 3000)
    connection = await asyncpg.connect(portal.dsn)
    for subject, count in (
        (GIFTS, "SELECT count(*) FROM message WHERE id >= $1 AND id < $2"),
        (MINUTES, "SELECT count(*) FROM money_line WHERE at >= $1 AND at < $2"),
    ):
        left, rows = Stretch(datetime(1970, 1, 1, tzinfo=UTC), FOREVER), []
        while left.begins_at < FOREVER:
            piece = await cut(connection, subject, left, 100)
            assert piece.begins_at == left.begins_at < piece.ends_at
            rows.append(
                await connection.fetchval(count, subject.bound(piece.begins_at), subject.bound(piece.ends_at))
            )
            left = Stretch(piece.ends_at, FOREVER)
        assert sum(rows) == 3000
        assert max(rows) <= 101
        assert min(rows[:-1]) >= 99
    # However many came in one millisecond, a piece ends after it.
    await connection.execute(PAST_THE_LOCKS)
    await connection.execute("UPDATE message SET id = (left(id::text, 13) || right(id::text, 23))::uuid")
    await connection.execute(
        "UPDATE message SET id = ('01900000-0000-7' || right(id::text, 21))::uuid WHERE units < 4"
    )
    whole = Stretch(instant_of(least_id(datetime(1970, 1, 1, tzinfo=UTC))), FOREVER)
    first = await cut(connection, GIFTS, whole, 100)
    crowded = await cut(connection, GIFTS, Stretch(first.ends_at, FOREVER), 100)
    assert crowded.ends_at - crowded.begins_at == timedelta(milliseconds=1)
    since = await newest_gifts(connection, LONG_AGO, 100)
    assert await connection.fetchval("SELECT count(*) FROM message WHERE id >= $1", least_id(since)) in (
        100,
        101,
        102,
    )
    await connection.close()


GIFTS_OF_ALL = """
INSERT INTO gift (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd, reversed_vnd)
SELECT id, account_id, native_id, 'counted', campaign_id, carrier, units, amount_vnd, 0 FROM message ORDER BY id
"""
AS_ROUNDS_PLAN = f"{LIMITS}; {BY_INDEX}".replace("SET LOCAL", "SET")


async def blocks_of_a_piece(connection: asyncpg.Connection, subject: Subject) -> dict[str, int]:
    """The blocks that each check of a piece of a thousand rows reads, in the middle of what is stored."""
    middle = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=9)
    found = {}
    piece = await cut(connection, subject, Stretch(middle, FOREVER), 1000)
    begins, ends = subject.bound(piece.begins_at), subject.bound(piece.ends_at)
    asked: dict[str, tuple[str, tuple[object, ...]]] = {
        each.name: (each.sql, (20, begins, ends)) for each in subject.invariants
    }
    asked[f"cut {subject.name}"] = (subject.cut, (begins, subject.bound(FOREVER), 1000))
    for name, (sql, arguments) in asked.items():
        (row,) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
        plan = orjson.loads(row[0])[0]["Plan"]
        found[name] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


async def blocks_among(connection: asyncpg.Connection, dsn: str, count: int) -> dict[str, int]:
    """The same of all subjects, where `count` messages are stored and nothing else; every one has a gift's row."""
    await connection.execute("TRUNCATE message, message_person, money_line, campaign_minute, campaign_total, gift")
    await store(dsn, 1, count, count)
    await connection.execute(GIFTS_OF_ALL)
    return {
        name: blocks
        for subject in SUBJECTS
        for name, blocks in (await blocks_of_a_piece(connection, subject)).items()
    }


@pytest.mark.slow
async def test_a_piece_reads_no_more_blocks_when_five_times_as_much_is_stored_and_late_lines_are_among_it(
    server: TestServer, filled_dsns: list[str]
) -> None:
    async with copied_database(server, filled_dsns[0]) as dsn, past_the_locks(dsn) as connection:
        await connection.execute(AS_ROUNDS_PLAN)
        few = await blocks_among(connection, dsn, FEW)
        many = await blocks_among(connection, dsn, 5 * FEW)
        pages = await connection.fetchval("SELECT pg_relation_size('money_line') / 8192")
        assert max(many.values()) < pages / 3
        for name, blocks in many.items():
            assert blocks <= 1.2 * few[name] + 40, (name, few, many)
        # A few lines in every range are of ten days before or after; the table is written anew in the same order.
        await connection.execute(
            "UPDATE money_line SET at = at + CASE WHEN at < now() - interval '9 days' THEN 1 ELSE -1 END"
            " * interval '10 days' WHERE right(gift_id::text, 3) = '000'"
        )
        await connection.execute("CLUSTER money_line USING money_line_once")
        pages = await connection.fetchval("SELECT pg_relation_size('money_line') / 8192")
        late = await blocks_of_a_piece(connection, MINUTES)
        assert late["minutes_equal_money_lines"] < pages / 3
