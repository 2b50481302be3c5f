"""A test account is verified, read, answered and shown, and never moves money or a public figure."""

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from campaigns.gifts import test_mode
from campaigns.gifts.quarantined import Actor
from service.commands import find, verify
from service.commands import list as listing
from service.commands.apply import apply_file
from service.operations.erasure import erase_person, find_person
from tests.support.away import database_away, replayed
from tests.support.portal import BOOK, SECRET_KEY, Portal, book_file, eventually, message, running, signed_account
from tests.support.protocols import post_soap
from tests.support.reports import charge

TEST = "x-portal1400-test"
TRIAL = signed_account("trial", "test = true\n")
REAL = TRIAL.replace("test = true", "test = false")
SOAP_IS_TEST = BOOK + "test = true\n" + TRIAL
"""The last account of the book, which answers by the reading, is for tests too."""
SELECT_FACTS = """
SELECT (SELECT count(*) FROM message) AS messages, (SELECT count(*) FROM message_person) AS persons,
       (SELECT count(*) FROM money_line) AS lines, (SELECT count(*) FROM charge_notice) AS charges,
       (SELECT count(*) FROM waiting_event) AS waiting, (SELECT count(*) FROM conflict) AS conflicts,
       (SELECT count(*) FROM raw_callback) AS raws, (SELECT count(*) FROM quarantine) AS quarantined,
       (SELECT count(*) FROM keyword_read) AS keywords, (SELECT count(*) FROM late_fact) AS late,
       (SELECT count(*) FROM campaign_total WHERE lines > 0 OR wrong_syntax > 0) AS totals,
       (SELECT count(*) FROM unallocated_total) AS unallocated
"""
SELECT_ARRIVALS = "SELECT kind, native_id, is_first, outcome, reading, amount_vnd FROM test_event ORDER BY id"
MONEY = (
    "portal1400_messages_total", "portal1400_units_total", "portal1400_pledged_vnd_total",
    "portal1400_uncounted_messages_total", "portal1400_conflicts_total", "portal1400_quarantined_total",
    "portal1400_message_times_total", "portal1400_last_callback_timestamp_seconds",
)  # fmt: skip


@pytest.fixture
def environ(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands read."""
    for name, value in (("DATABASE_URL", database_dsn), ("SECRET_KEY", SECRET_KEY), ("DATA_DIR", str(tmp_path))):
        monkeypatch.setenv(f"PORTAL1400_{name}", value)


async def told(module: Any, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """A command's exit code and what it prints."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    capsys.readouterr()
    return await module.run(parser.parse_args(words)), capsys.readouterr().out


async def facts(portal: Portal) -> dict[str, int]:
    (row,) = await portal.fetch(SELECT_FACTS)
    return dict(row)


def samples(portal: Portal) -> dict[tuple[str, Any], float]:
    """Every sample of the families that only gifts may move."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in portal.service.instruments.registry.collect()
        for sample in family.samples
        if sample.name in MONEY
    }


async def public(portal: Portal) -> list[Any]:
    return [await portal.get("/api/v1/totals"), await portal.totals()]


async def apply(portal: Portal, folder: Path, book: str) -> list[str]:
    lines = await apply_file(portal.opened, book_file(folder, book))
    version = await portal.fetch("SELECT max(version) AS newest FROM book_version")

    async def is_read() -> bool:
        return bool(portal.service.catalog.book.version == version[0]["newest"])

    await eventually(is_read)
    return [str(line) for line in lines]


@pytest.mark.usefixtures("environ")
async def test_what_a_test_account_sends_is_answered_and_shown_and_moves_nothing(
    database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(database_dsn, tmp_path, SOAP_IS_TEST) as portal:
        await portal.post(message("m-1"))
        await eventually(lambda: has_counted(portal))
        before = await facts(portal), samples(portal), await public(portal)
        answers = [
            await portal.post(message(*each), account="trial")
            for each in (("m-1", "VNN 5"), ("m-1", "VNN 5"), ("m-1", "VNN 9"), ("m-2", "VNN xx"), ("m-3", "HELLO"))
        ]
        assert [each.outcome for each in answers] == ["accepted", "duplicate", "conflict", "accepted", "unallocated"]
        assert [each.status for each in answers] == [200, 200, 409, 200, 200]
        batch = {"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": [message("m-1"), message("m-9")]}
        answers.append(await portal.post(batch, account="trial"))
        assert answers[-1].outcome == "accepted"
        answers.append(await portal.post(charge("succeeded"), account="trial"))
        answers.append(await portal.post({"type": "message.received"}, account="trial"))
        assert (answers[-1].status, answers[-1].outcome) == (400, "malformed")
        counted, wrong, again = [
            await post_soap(portal, request, text)
            for text, request in (("VNN 5", "1"), ("VNN xx", "2"), ("VNN xx", "2"))
        ]
        assert b"0|" in counted.body
        assert (b"1|Sai cu phap" in wrong.body, again.body) == (True, wrong.body)
        assert {each.headers[TEST] for each in (*answers, counted, wrong, again)} == {"true"}
        headers = {"webhook-id": "x"}
        refused = [await portal.post(message("m-5"), account=code, headers=headers) for code in ("trial", "nobody")]
        assert [each.status for each in refused] == [401, 401]
        assert (refused[0].body, TEST in refused[0].headers) == (refused[1].body, False)
        assert (await facts(portal), samples(portal), await public(portal)) == before
        arrivals = [tuple(row) for row in await portal.fetch(SELECT_ARRIVALS)]
        assert arrivals[:5] == [
            ("message", "m-1", True, "accepted", "counted", 100_000),
            ("message", "m-1", False, "duplicate", "counted", 100_000),
            ("message", "m-1", False, "conflict", "counted", 180_000),
            ("message", "m-2", True, "accepted", "wrong_syntax", None),
            ("message", "m-3", True, "unallocated", "unknown_keyword", None),
        ]
        assert len(await portal.fetch("SELECT FROM test_callback")) == 10
        code, found = await told(find, capsys, "trial", "m-1")
        assert (code, found.count("test        m-1 of trial")) == (0, 4)
        assert "money" not in found
        code, found = await told(find, capsys, "hub", "m-1", "--json")
        assert (len(json.loads(found)["messages"]), json.loads(found)["tests"]) == (1, [])
        code, found = await told(listing, capsys, "tests", "--account", "trial", "--json")
        listed = json.loads(found)
        assert (code, listed["count"], len(listed["rows"])) == (0, 8, 8)
        assert "84950000001" not in found
        code, found = await told(verify, capsys)
        assert (code, "tests_are_no_facts" in found) == (0, True)


async def has_counted(portal: Portal) -> bool:
    return bool((await portal.totals())["messages"] == 1)


async def test_an_id_of_a_test_is_new_to_the_real_account_and_the_other_way_round(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, BOOK + TRIAL) as portal:
        assert (await portal.post(message("m-1"), account="trial")).headers[TEST] == "true"
        lines = await apply(portal, tmp_path, BOOK + REAL)
        assert "gateway trial is a real account: what it sends from now on is money" in lines
        real = await portal.post(message("m-1"), account="trial")
        assert (real.outcome, TEST in real.headers) == ("accepted", False)
        assert (await portal.post(message("m-1"), account="trial")).outcome == "duplicate"
        assert (await facts(portal))["lines"] == 1
        lines = await apply(portal, tmp_path, BOOK + TRIAL)
        assert "gateway trial is a test account: what it sends is answered and never counted" in lines
        # What was a test before is a repeat, whatever has become real meanwhile.
        again = await portal.post(message("m-1"), account="trial")
        assert (again.outcome, again.headers[TEST]) == ("duplicate", "true")
        assert (await portal.post(message("m-7"), account="trial")).outcome == "accepted"
        assert (await facts(portal))["lines"] == 1
        await apply(portal, tmp_path, BOOK + TRIAL + "enabled = false\n")
        assert (await portal.post(message("m-8"), account="trial")).status == 401
        # To a release that knows of no tests it is switched off, on or not.
        rows = await portal.fetch("SELECT enabled, test FROM gateway_account WHERE code = 'trial'")
        assert [tuple(row) for row in rows] == [(False, False)]


async def test_what_was_spooled_stays_what_it_was_when_it_came(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, BOOK + TRIAL) as portal:
        async with database_away(portal):
            trial = await portal.post(message("t-1"), account="trial")
            assert (trial.outcome, trial.headers[TEST]) == ("accepted", "true")
            gift = await portal.post(message("g-1"))
            assert TEST not in gift.headers
            # Meanwhile each becomes the other, as soon as anybody can be told of it.
            accounts = portal.service.catalog.accounts.by_code
            assert (accounts["trial"].is_test, accounts["hub"].is_test) == (True, False)
            await portal.service.intake.replay.stop()
        swapped = BOOK.replace('code = "hub"', 'code = "hub"\ntest = true') + REAL
        await apply(portal, tmp_path, swapped)
        assert portal.service.catalog.accounts.by_code["hub"].is_test
    async with running(database_dsn, tmp_path, "") as portal:
        await replayed(portal)
        rows = await portal.fetch("SELECT native_id FROM message")
        assert [row["native_id"] for row in rows] == ["g-1"]
        rows = await portal.fetch("SELECT native_id FROM test_event")
        assert [row["native_id"] for row in rows] == ["t-1"]


async def test_tests_of_a_day_are_bounded_and_old_ones_are_removed(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_mode, "CALLBACKS_PER_DAY_MAX", 2)
    async with running(database_dsn, tmp_path, BOOK + TRIAL) as portal:
        answers = [await portal.post(message(f"m-{number}"), account="trial") for number in range(3)]
        assert [each.status for each in answers] == [200, 200, 503]
        assert (await portal.post(message("g-1"))).outcome == "accepted"
        connection = await asyncpg.connect(database_dsn)
        try:
            assert await test_mode.clear_tests(connection, datetime.now(UTC) - timedelta(days=1)) == 0
            assert await test_mode.clear_tests(connection, datetime.now(UTC) + timedelta(days=1)) == 4
        finally:
            await connection.close()
        assert (await facts(portal))["messages"] == 1


async def test_a_person_who_sent_tests_can_be_forgotten(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, BOOK + TRIAL) as portal:
        await portal.post(message("m-1"), account="trial")
        await portal.post(message("m-2", msisdn="84950000002"), account="trial")
        connection = await asyncpg.connect(database_dsn)
        try:
            found = await find_person(connection, portal.opened.keyring, "84950000001")
            assert {name: count for name, count in found.counts.items() if count} == {"test_callback": 1}
            await erase_person(connection, found, "84950000001", Actor("tester"), undecided_too=False)
        finally:
            await connection.close()
        assert len(await portal.fetch("SELECT FROM test_callback")) == 1
