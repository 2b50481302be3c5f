"""A day that is over keeps its facts: what was removed, changed or added later is named by its day and kind."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.operations import day_seals
from service.operations.day_seals import DaySeals, SealsUnusable
from service.runtime.keyring import Keyring
from tests.support.portal import SECRET_KEY, Portal, message, running, signed
from tests.support.reports import REPORT_BOOK, charge, gift, taken_back
from tests.support.tampering import PAST_THE_LOCKS

LONG_AGO = timedelta(days=5)
# What is done to the facts of a day that is sealed -> the kinds of it that are named.
DONE: dict[str, tuple[str, set[str]]] = {
    "nothing": ("SELECT 1", set()),
    "a flag is added": ("UPDATE message SET flags = flags || '{charged_not_counted}'", set()),
    "everybody is forgotten": ("DELETE FROM message_person; DELETE FROM data_key", set()),
    "a conflict is removed": ("DELETE FROM conflict", {"conflicts"}),
    "a message is moved, with its line and minute": (
        """
        UPDATE message SET message_at = message_at + interval '1 hour';
        UPDATE money_line SET at = at + interval '1 hour';
        UPDATE campaign_minute SET minute = minute + interval '1 hour'
        """,
        {"messages"},
    ),
    "a message is removed with all that speaks of it": (
        """
        DELETE FROM gift WHERE message_ref = 'm-1';
        DELETE FROM message_person WHERE message_id = (SELECT id FROM message WHERE native_id = 'm-1');
        DELETE FROM message WHERE native_id = 'm-1'
        """,
        {"messages"},
    ),
    "a gift is halved everywhere": (
        """
        UPDATE message SET units = 1, amount_vnd = 20000 WHERE native_id = 'm-2';
        UPDATE money_line SET units = 1, vnd = 20000 WHERE vnd = 40000;
        UPDATE gift SET units = 1, pledged_vnd = 20000 WHERE message_ref = 'm-2'
        """,
        {"messages"},
    ),
    "an orphan's amount": (
        """
        UPDATE charge_notice SET amount_vnd = 1 WHERE charge_id = 'c-9';
        UPDATE unallocated_total SET orphan_vnd = 1
        """,
        {"charges"},
    ),
    "a reversal's kind": ("UPDATE reversal SET kind = 'other'", {"reversals"}),
    "a forged message": (
        """
        INSERT INTO message SELECT (m).* FROM (
            SELECT jsonb_populate_record(message, jsonb_build_object(
                'native_id', 'forged', 'id', left(id::text, 24) || left(md5('x'), 12))) AS m
            FROM message WHERE native_id = 'm-2') AS made
        """,
        {"messages"},
    ),
    "a price of long ago": ("UPDATE route SET unit_vnd = 10000", {"books"}),
    "a window of long ago": ("UPDATE campaign_decision SET closes_at = closes_at + interval '1 day'", {"books"}),
}

STORED_LATE = "INSERT INTO late_fact (recorded_on, id) SELECT current_date, id FROM message WHERE native_id = 'm-4'"


async def post(portal: Portal, event: dict[str, Any], at: datetime) -> None:
    """As a carrier posts whose clock, like the service's, says `at`."""
    raw = orjson.dumps(event)
    assert (await portal.post(raw, headers=signed(raw, at=at))).status in (200, 409)


async def test_what_is_done_to_a_sealed_day_is_named(database_dsn: str, tmp_path: Path) -> None:
    at = datetime.now(UTC) - LONG_AGO
    seals = DaySeals(tmp_path, Keyring(SECRET_KEY))
    async with running(database_dsn, tmp_path, REPORT_BOOK, clock=lambda: at, invariant_seconds="86400") as portal:
        for event in (
            *(gift(f"VNN {number}", f"m-{number}") for number in range(1, 4)),
            charge("succeeded", "c-2", "m-2", 40_000),
            taken_back("r-2", 10_000, "m-2"),
            charge("succeeded", "c-9", "m-9"),
            message("m-1", "VNN 9"),
        ):
            await post(portal, event, at)
        connection = await portal.opened.database.connect(may_take_long=True)
        # Stored long after it was received, as from a spool that lay about: facts of the day on which it was stored.
        late = await connection.fetchval("SELECT count(*) FROM late_fact WHERE recorded_on >= current_date - 1")
        assert late == 7, "three messages, two charges, a reversal, the callback of a conflict: each by its id"
        # And now as if all of it had been stored in time.
        await connection.execute(f"{PAST_THE_LOCKS}; DELETE FROM late_fact")
        await connection.execute("UPDATE book_version SET applied_at = applied_at - interval '5 days'")
        rests: list[float] = []

        async def rest(seconds: float) -> None:
            rests.append(seconds)

        # Where a day is followed by all the rest that a round may take, the next one waits for the next round.
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(day_seals, "REST_SECONDS_MAX", 0.0)
            first = await seals.add_missing(connection, rest)
        assert first == (at.date(),)
        sealed = (*first, *await seals.add_missing(connection, rest))
        assert sealed[-1] < datetime.now(UTC).date() - timedelta(days=1)
        assert len(rests) == len(sealed)
        assert await seals.add_missing(connection, rest) == ()
        for label, (sql, kinds) in DONE.items():
            doing = connection.transaction()
            await doing.start()
            await connection.execute(sql)
            count, differences = await seals.compare(connection)
            assert count == len(sealed)
            assert {each.place for each in differences} == {f"day {at.date()} (UTC), {kind}" for kind in kinds}, label
            await doing.rollback()
        # What comes late reopens no day; hidden among the facts of that day it is named.
        await post(portal, gift("VNN 4", "m-4"), at)
        assert await seals.compare(connection) == (len(sealed), [])
        await connection.execute("DELETE FROM late_fact")
        assert len((await seals.compare(connection))[1]) == 1
        # The running service looks at one day in each round, and says how much differs in all it has seen.
        found = [await seals.check_next(connection, rest) for _ in range(2 * len(sealed))]
        assert found == [1] * len(found), "the day that differs is the first"
        await connection.execute(STORED_LATE)
        assert await seals.check_next(connection, rest) == 0
        await connection.close()


def test_a_file_that_is_damaged_changed_or_of_another_database_is_refused(tmp_path: Path) -> None:
    seals = DaySeals(tmp_path, Keyring(SECRET_KEY))
    assert seals.read("one") == {}
    day = datetime(2026, 11, 21, tzinfo=UTC).date()
    seals.write("one", {day: {}})
    assert seals.read("one") == {day: {}}
    with pytest.raises(SealsUnusable, match="another database"):
        seals.read("two")
    with pytest.raises(SealsUnusable, match="cannot be trusted"):
        DaySeals(tmp_path, Keyring(SECRET_KEY + "!")).read("one")
    whole = seals.path.read_bytes()
    for damaged in (whole.replace(b"2026-11-21", b"2026-11-22"), whole[:40], b"[]", b'{"days": 1}'):
        seals.path.write_bytes(damaged)
        with pytest.raises(SealsUnusable, match="cannot be trusted"):
            seals.read("one")
