"""Each invariant holds over real facts, breaks when its figure is tampered with, and says where."""

import argparse
import re
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from metrics.proofs import GIFTS_FOLLOW_EVENTS, PROOFS, prove
from service.commands import verify
from service.operations.rereading import reread
from tests.support.portal import Portal, eventually, running
from tests.support.reports import REPORT_BOOK
from tests.support.tampering import (
    PAST_THE_LOCKS,
    TAMPERED,
    TAMPERED_EVENTS,
    TAMPERED_REPORTS,
    fill,
    fill_reports,
    tamper,
)

EVERY_NAME = {each.name for each in PROOFS} | {GIFTS_FOLLOW_EVENTS}


async def test_each_fact_of_a_reported_gift_that_is_tampered_with_breaks_its_invariant(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK) as portal:
        await fill_reports(portal)
        connection = await asyncpg.connect(portal.dsn)
        await connection.execute(PAST_THE_LOCKS)
        assert await broken(connection) == {}
        for label, (sql, names) in (TAMPERED_REPORTS | TAMPERED_EVENTS).items():
            tampering = connection.transaction()
            await tampering.start()
            assert await connection.execute(sql) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0"), label
            assert set(await broken(connection)) == names, label
            await tampering.rollback()
        every_case = (*TAMPERED.values(), *TAMPERED_REPORTS.values(), *TAMPERED_EVENTS.values())
        assert {name for case in every_case for name in case[1]} == EVERY_NAME
        await connection.close()


async def broken(connection: asyncpg.Connection) -> dict[str, Any]:
    """The first difference of each invariant that is broken."""
    async with connection.transaction():
        return {name: differences[0] async for name, _, differences in prove(connection) if differences}


async def test_each_figure_that_is_tampered_with_breaks_its_invariant(portal: Portal) -> None:
    await fill(portal)
    connection = await asyncpg.connect(portal.dsn)
    await connection.execute(PAST_THE_LOCKS)
    try:
        assert await broken(connection) == {}
        for label, (sql, names, place) in TAMPERED.items():
            tampering = connection.transaction()
            await tampering.start()
            assert await connection.execute(sql) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0"), label
            found = await broken(connection)
            assert set(found) == names, label
            first = found[next(each.name for each in PROOFS if each.name in names)]
            assert first.place.startswith(place), label
            assert first.expected != first.found, label
            await tampering.rollback()
        assert await broken(connection) == {}
    finally:
        await connection.close()


async def test_a_reading_that_was_changed_is_found_by_reading_the_texts_again(portal: Portal) -> None:
    await fill(portal)
    connection = await asyncpg.connect(portal.dsn)
    await connection.execute(PAST_THE_LOCKS)
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
    assert await verify.run(argparse.Namespace(deep=True, json=False)) == 0
    said = capsys.readouterr().out
    assert re.search(r"verified at [0-9T:.+-]+, book version 1\n", said)
    assert "3 messages, 6 units, 110000 VND pledged; 0 messages, 10000 VND given back; 1 uncounted" in said
    for each in PROOFS:
        assert f"holds    {each.name}: {each.sentence}" in said
    assert "holds    sealed_days_hold: 0 day(s) sealed on this machine" in said
    assert "holds    texts_read_the_same: 5 stored texts read as they were, 0 no longer held" in said
    assert said.endswith("every figure can be recomputed from its facts\n")
    assert await verify.run(argparse.Namespace(deep=False, json=True)) == 0
    report = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["book_version"], report["broken"]) == (1, 0)
    assert report["campaigns"][0]["reversed"] == {"messages": 0, "vnd": 10_000}
    await portal.fetch("UPDATE campaign_total SET pledged_vnd = pledged_vnd + 7")
    await tamper(portal.dsn, "UPDATE message SET units = 9, amount_vnd = 180000 WHERE native_id = 'm-1'")
    assert await verify.run(argparse.Namespace(deep=True, json=False)) == 1
    said = capsys.readouterr().out
    assert "broken   totals_equal_money_lines" in said
    assert "first difference at campaign 1, viettel: expected 4 lines, 3 messages, 6 units, 110000 VND, found" in said
    assert "broken   texts_read_the_same" in said
    assert said.endswith("3 invariant(s) broken\n")


async def test_the_service_finds_a_difference_by_itself(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, invariant_seconds="1") as portal:
        await fill(portal)
        # Of all metrics this one alone: it is asked for again and again.
        differences = portal.service.instruments.registry.restricted_registry(["portal1400_invariant_difference"])

        def exported() -> float | None:
            samples = [sample for family in differences.collect() for sample in family.samples]
            wanted = {"invariant": "totals_equal_money_lines"}
            return next((sample.value for sample in samples if sample.labels == wanted), None)

        async def is_found() -> bool:
            return (exported() or 0) > 0

        async def is_sound() -> bool:
            return exported() == 0

        await eventually(is_sound, 30)
        await portal.fetch("UPDATE campaign_total SET units = units + 1")
        await eventually(is_found, 30)
        await portal.fetch("UPDATE campaign_total SET units = units - 1")
        await eventually(is_sound, 30)
