"""Each invariant holds over real facts, breaks when its figure is tampered with, and says where."""

import argparse
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from metrics.invariants import INVARIANTS, check
from service.commands import verify
from service.operations.rereading import reread
from tests.support.portal import Portal, eventually, message, running
from tests.support.reports import REPORT_BOOK, charge, gift, taken_back

BY_NAME = {each.name: each for each in INVARIANTS}

# What is tampered with -> the statement, the invariants it breaks, and what the first of them says.
TAMPERED: dict[str, tuple[str, set[str], str]] = {
    "a total's VND": (
        "UPDATE campaign_total SET pledged_vnd = pledged_vnd + 1 WHERE carrier = 'viettel'",
        {"totals_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a total's messages": (
        "UPDATE campaign_total SET messages = messages - 1 WHERE carrier = 'viettel'",
        {"totals_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a total's lines": ("UPDATE campaign_total SET lines = 0", {"totals_equal_money_lines"}, "campaign 1, viettel"),
    "a total that is gone": (
        "DELETE FROM campaign_total",
        {"totals_equal_money_lines", "uncounted_equal_messages"},
        "campaign 1, viettel",
    ),
    "a confirmed figure": (
        "UPDATE campaign_total SET confirmed_vnd = 5",
        {"later_stages_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a minute's units": (
        "UPDATE campaign_minute SET units = units + 1",
        {"minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a minute that is moved": (
        "UPDATE campaign_minute SET minute = minute + interval '1 hour'",
        {"minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a wrong-syntax figure": (
        "UPDATE campaign_total SET wrong_syntax = 0",
        {"uncounted_equal_messages"},
        "campaign 1, viettel",
    ),
    "an unallocated figure": (
        "UPDATE unallocated_total SET unknown_keyword = unknown_keyword + 1",
        {"unallocated_equal_messages"},
        "unallocated messages",
    ),
    "an orphan figure": (
        "UPDATE unallocated_total SET orphan_vnd = orphan_vnd - 1",
        {"orphans_equal_charges"},
        "orphan charges",
    ),
    "a money line that is gone": (
        "DELETE FROM money_line WHERE cause = 'message' AND vnd = 40000",
        {"each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a money line that grew": (
        "UPDATE money_line SET vnd = vnd + 1 WHERE cause = 'message' AND vnd = 40000",
        {"each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a stored amount": (
        "UPDATE message SET amount_vnd = amount_vnd + 1 WHERE reading = 'counted' AND units = 2",
        {"each_counted_message_is_pledged_once"},
        "message ",
    ),
    "a gift's projection": (
        "UPDATE gift SET reversed_vnd = reversed_vnd + 1",
        {"no_gift_is_overdrawn"},
        "gift ",
    ),
    "an event that was not joined": (
        "INSERT INTO waiting_event SELECT account_id, native_id, id, 'charge' FROM message WHERE native_id = 'm-1'",
        {"nothing_waits_for_what_is_here"},
        "event ",
    ),
    "a message of nobody's account": (
        "UPDATE message SET account_id = 99 WHERE reading = 'unknown_keyword'",
        {"references_hold"},
        "message account 99",
    ),
    "a message of a book nobody applied": (
        "UPDATE message SET book_version = 7 WHERE native_id = 'm-1'",
        {"references_hold"},
        "book version 7",
    ),
}

OF_REPORTS = {"reported_gifts_follow_their_charges"}

# The same for gifts that count on report.
TAMPERED_REPORTS: dict[str, tuple[str, set[str]]] = {
    "a gift that is not counted any more": (
        "UPDATE gift SET state = 'pending' WHERE state = 'counted' AND reversed_vnd = 0",
        {"each_counted_message_is_pledged_once", "reported_gifts_follow_their_charges"},
    ),
    "a gift that counts without a charge": (
        "UPDATE gift SET state = 'counted' WHERE state = 'received'",
        {"each_counted_message_is_pledged_once", "reported_gifts_follow_their_charges"},
    ),
    "a charge that is gone": ("DELETE FROM charge_notice WHERE charge_id = 'c-2'", OF_REPORTS),
    "a pledge that is gone": (
        "DELETE FROM money_line WHERE cause = 'charge' AND vnd = 40000",
        {"each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
    ),
    "a gift whose row is gone": (
        "DELETE FROM gift WHERE state = 'received'",
        {"each_counted_message_is_pledged_once"},
    ),
    "a reversal that is not on its gift": (
        "UPDATE gift SET reversed_vnd = 0 WHERE reversed_vnd = 10000",
        {"no_gift_is_overdrawn"},
    ),
}


async def fill_reports(portal: Portal) -> None:
    """Reported gifts: waiting, counted, less a part, reversed, reversed before it counted; and an orphan."""
    for number in range(1, 6):
        await portal.post(gift(f"VNN {number}", f"m-{number}"))
    await portal.post(charge("succeeded", "c-2", "m-2", 40_000))
    await portal.post(charge("succeeded", "c-3", "m-3", 60_000))
    await portal.post(taken_back("r-3", 10_000, "m-3"))
    await portal.post(charge("succeeded", "c-4", "m-4", 80_000))
    await portal.post(taken_back("r-4", 80_000, "m-4"))
    await portal.post(taken_back("r-5", 100_000, "m-5"))
    await portal.post(charge("succeeded", "c-9", "m-9"))


async def test_each_fact_of_a_reported_gift_that_is_tampered_with_breaks_its_invariant(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK) as portal:
        await fill_reports(portal)
        connection = await asyncpg.connect(portal.dsn)
        assert await broken(connection) == {}
        for label, (sql, names) in TAMPERED_REPORTS.items():
            tampering = connection.transaction()
            await tampering.start()
            assert await connection.execute(sql) in ("UPDATE 1", "DELETE 1"), label
            assert set(await broken(connection)) == names, label
            await tampering.rollback()
        await connection.close()


async def fill(portal: Portal) -> None:
    """Gifts, a refused form, an unknown keyword, an orphan charge, a partial reversal."""
    for number in range(1, 4):
        await portal.post(message(f"m-{number}", f"VNN {number}", operator_time="2026-11-20T10:00:00"))
    await portal.post(message("m-4", "VNN x"))
    await portal.post(message("m-5", "XYZ"))
    charge = {"charge_id": "c-1", "amount": 20_000, "currency": "VND"}
    await portal.post({"type": "charge.succeeded", "timestamp": "2026-11-21T08:30:00Z", "data": charge})
    reversal = {"reversal_id": "r-1", "amount": 10_000, "message_id": "m-3"}
    await portal.post({"type": "charge.reversed", "timestamp": "2026-11-21T08:30:00Z", "data": reversal})


async def broken(connection: asyncpg.Connection) -> dict[str, Any]:
    """The first difference of each invariant that is broken."""
    found = {each.name: await check(connection, each) for each in INVARIANTS}
    return {name: differences[0] for name, differences in found.items() if differences}


async def test_each_figure_that_is_tampered_with_breaks_its_invariant(portal: Portal) -> None:
    await fill(portal)
    connection = await asyncpg.connect(portal.dsn)
    try:
        assert await broken(connection) == {}
        for label, (sql, names, place) in TAMPERED.items():
            tampering = connection.transaction()
            await tampering.start()
            assert await connection.execute(sql) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0"), label
            found = await broken(connection)
            assert set(found) == names, label
            first = found[next(each.name for each in INVARIANTS if each.name in names)]
            assert first.place.startswith(place), label
            assert first.expected != first.found, label
            await tampering.rollback()
        assert {name for _, names, _ in TAMPERED.values() for name in names} == set(BY_NAME) - OF_REPORTS
        assert await broken(connection) == {}
    finally:
        await connection.close()


async def test_a_reading_that_was_changed_is_found_by_reading_the_texts_again(portal: Portal) -> None:
    await fill(portal)
    connection = await asyncpg.connect(portal.dsn)
    try:
        for sql, differences in (
            ("SELECT 1", 0),
            ("UPDATE message SET units = 9, amount_vnd = 180000 WHERE native_id = 'm-1'", 1),
            ("UPDATE message SET keyword = 'UH' WHERE native_id = 'm-4'", 1),
            ("UPDATE message SET grammar_version = 7", 5),
            ("UPDATE message_person SET text_sealed = (SELECT text_sealed FROM message_person LIMIT 1)", 4),
            ("UPDATE message_person SET text_sealed = 'junk'", 5),
        ):
            tampering = connection.transaction()
            await tampering.start()
            await connection.execute(sql)
            report = await reread(connection, portal.opened.keyring)
            assert (report.read, len(report.differences)) == (5, differences), sql
            await tampering.rollback()
        async with connection.transaction():
            # Whose person was deleted is not read again, and breaks nothing.
            await connection.execute(
                "DELETE FROM message_person WHERE message_id = (SELECT min(id::text)::uuid FROM message)"
            )
            report = await reread(connection, portal.opened.keyring)
            assert (report.read, report.without_text, report.differences) == (4, 1, [])
            await connection.execute("DELETE FROM data_key")
            report = await reread(connection, portal.opened.keyring)
            assert (report.read, report.without_text) == (0, 5)
    finally:
        await connection.close()


async def test_verify_lists_every_invariant_and_the_first_difference(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(portal)
    monkeypatch.setattr(verify, "read_settings", lambda: portal.service.settings)
    assert await verify.run(argparse.Namespace(deep=True)) == 0
    said = capsys.readouterr().out
    for each in INVARIANTS:
        assert f"holds    {each.name}: {each.sentence}" in said
    assert "holds    texts_read_the_same: 5 stored texts read as they were, 0 no longer held" in said
    assert said.endswith("every figure can be recomputed from its facts\n")
    await portal.fetch("UPDATE campaign_total SET pledged_vnd = pledged_vnd + 7")
    await portal.fetch("UPDATE message SET units = 9, amount_vnd = 180000 WHERE native_id = 'm-1'")
    assert await verify.run(argparse.Namespace(deep=True)) == 1
    said = capsys.readouterr().out
    assert "broken   totals_equal_money_lines" in said
    assert "first difference at campaign 1, viettel: expected 4 lines, 3 messages, 6 units, 110000 VND, found" in said
    assert "broken   texts_read_the_same" in said
    assert said.endswith("3 invariant(s) broken\n")


async def test_the_service_finds_a_difference_by_itself(portal: Portal) -> None:
    await fill(portal)
    name = "totals_equal_money_lines"
    connection = await asyncpg.connect(portal.dsn)
    await portal.service.housekeeping.check_invariants(connection)
    assert await portal.metric("portal1400_invariant_difference", invariant=name) == 0
    await portal.fetch("UPDATE campaign_total SET units = units + 1")
    await portal.service.housekeeping.check_invariants(connection)
    assert await portal.metric("portal1400_invariant_difference", invariant=name) == 1
    await portal.fetch("UPDATE campaign_total SET units = units - 1")
    await portal.service.housekeeping.check_invariants(connection)
    await connection.close()

    async def is_zero() -> bool:
        return await portal.metric("portal1400_invariant_difference", invariant=name) == 0

    await eventually(is_zero)
