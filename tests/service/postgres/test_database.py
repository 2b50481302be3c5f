"""What counts as an outage of the database, and what is an error of ours that nobody may take for one."""

import asyncpg
import pytest

from service.postgres.database import DATABASE_ERRORS, is_away
from tests.support.portal import Portal

NOT_NOW = ("08006", "25006", "25P03", "40001", "53300", "55P03", "57P01", "57014", "58030")
OURS = ("22001", "23505", "25P02", "42703", "42P01", "42804", "0A000")


@pytest.mark.parametrize("state", NOT_NOW)
def test_a_server_that_says_not_now_is_away(state: str) -> None:
    assert is_away(asyncpg.PostgresError.new({"C": state}))


@pytest.mark.parametrize("state", OURS)
def test_an_error_in_a_statement_of_ours_is_no_outage(state: str) -> None:
    assert not is_away(asyncpg.PostgresError.new({"C": state}))


def test_a_lost_connection_is_an_outage_and_an_argument_that_does_not_fit_is_none() -> None:
    for lost in (ConnectionResetError(), TimeoutError(), asyncpg.InterfaceError("connection is closed")):
        assert isinstance(lost, DATABASE_ERRORS)
        assert is_away(lost)
    assert not is_away(asyncpg.exceptions.DataError("invalid input for query argument"))


async def test_a_statement_that_fails_is_told_as_our_fault_and_not_as_an_outage(portal: Portal) -> None:
    await portal.fetch("ALTER TABLE campaign_minute RENAME COLUMN units TO former_units")
    async with portal.http.get(f"{portal.base}/api/v1/campaigns/vnn/series?bucket=hour") as answer:
        assert answer.status == 500
    await portal.fetch("ALTER TABLE quarantine RENAME COLUMN reason TO former_reason")
    # Verified and malformed: it cannot be kept, so it may not be acknowledged, nor wait in the spool for ever.
    answered = await portal.post(b'{"type": "message.received"}')
    assert answered.status == 503
    assert portal.service.intake.replay.records == 0


async def test_totals_survive_a_carrier_that_this_release_does_not_know(portal: Portal) -> None:
    await portal.fetch(
        "INSERT INTO campaign_total (campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd,"
        " wrong_syntax, before_open, after_close, as_of)"
        " SELECT id, carrier, 0, 1, 1, 1, 2, 40000, 0, 0, 0, now() FROM campaign, unnest($1::text[]) AS carrier"
        " WHERE slug = 'vnn'",
        ["newcomer", "viettel"],
    )
    async with portal.opened.database.borrow() as connection:
        await portal.service.live.feed.read(connection)
    totals = await portal.totals()
    assert [share["carrier"] for share in totals["by_carrier"]] == ["viettel", "newcomer"]
    assert (totals["messages"], totals["pledged_vnd"]) == (2, 80_000)
