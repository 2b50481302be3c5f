"""What was recorded is neither changed nor removed; what is a projection, personal or too old still may be."""

import re
from pathlib import Path

import asyncpg
import pytest

from campaigns.schema.partitions import drop_partitions, list_partitions
from metrics.fact_checks import FACTS_ARE_LOCKED
from service.operations.backup.manifest import SELECT_ROWS
from tests.support.portal import Portal, message, running
from tests.support.reports import REPORT_BOOK
from tests.support.tampering import fill_reports

COLUMNS_FREE = {
    "message": {"flags"},
    "charge_notice": {"flags"},
    "reversal": {"flags"},
    "gift": {"state", "reversed_vnd", "charge_id"},
    "conflict": {"raw_id", "sealed", "day"},
    "conflict_callback": {"sealed"},
    "organisation": {"name_vi", "name_en"},
    "campaign": {
        "name_vi",
        "name_en",
        "category",
        "organiser",
        "goal_vnd",
        "hotline",
        "reply_thank_you",
        "reply_wrong_form",
        "reply_closed",
    },
    "gateway_account": {"adapter", "carrier", "charging", "networks", "enabled", "settings", "test", "book_version"},
    "money_line": set[str](),
    "charge_match": set[str](),
    "late_fact": set[str](),
    "raw_callback": set[str](),
    "message_person": set[str](),
    "data_key": set[str](),
    "installation": set[str](),
    "book_version": set[str](),
    "campaign_decision": set[str](),
    "route": set[str](),
    "decision_withdrawal": set[str](),
    "route_withdrawal": set[str](),
    "keyword_read": set[str](),
    "applied_file": set[str](),
    "quarantine_act": set[str](),
    "test_callback": set[str](),
    "test_event": set[str](),
    "quarantine": set[str](),
    "privacy_act": set[str](),
    "audit_entry": set[str](),
    "proposal": set[str](),
    "proposal_step": set[str](),
    "decision_file": set[str](),
    "reattribution": set[str](),
    "reattribution_gift": set[str](),
    "reattribution_end": set[str](),
    "worklist_note": set[str](),
    "desk_user": {
        "name",
        "role",
        "organisations",
        "password",
        "one_time_until",
        "totp_sealed",
        "totp_counter",
        "oidc_issuer",
        "oidc_subject",
        "passkey_handle",
        "disabled_at",
    },
}
"""Every table of facts, with the columns of it that may change: none that a figure is made of."""
OPEN = {
    "campaign_minute", "campaign_total", "charge_person", "desk_challenge", "desk_passkey", "desk_recovery_code",
    "desk_session", "desk_token", "desk_write", "evidence_day", "invariant_broken", "invariant_pass",
    "reattribution_claim", "refolding", "reply", "review", "schema_migration", "unallocated_total",
    "uncharged_person", "waiting_event",
}  # fmt: skip
"""Every other table: what is worked out from facts, what waits, and what may end."""
ROWS_FREE = {"message_person", "data_key", "test_callback", "test_event"}
"""Whose rows may be deleted: a person is forgotten, a day's key destroyed, a test too old."""
SELECT_TABLES = """
SELECT relname::text AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""
SELECT_COLUMNS = """
SELECT attname::text AS name FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
REFUSED = "is refused: facts are append-only"


async def test_facts_are_neither_changed_nor_removed_but_for_what_stands_here(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK) as portal:
        await fill_reports(portal)
        await portal.post(message("m-1", "VNN 9"))
    connection = await asyncpg.connect(database_dsn)
    for table, free in COLUMNS_FREE.items():
        columns = {row["name"] for row in await connection.fetch(SELECT_COLUMNS, table)}
        open_to_update = {name for name in columns if await goes(connection, f"UPDATE {table} SET {name} = {name}")}
        assert open_to_update == free, table
        assert await goes(connection, f"DELETE FROM {table}") == (table in ROWS_FREE), table
        assert not await goes(connection, f"TRUNCATE {table} CASCADE"), table
    await connection.close()


async def test_a_table_is_one_of_facts_that_is_proved_and_counted_or_said_to_be_none(
    connection: asyncpg.Connection,
) -> None:
    tables = {row["name"] for row in await connection.fetch(SELECT_TABLES)}
    assert tables == COLUMNS_FREE.keys() | OPEN
    assert COLUMNS_FREE.keys().isdisjoint(OPEN)
    proved = set(re.findall(r"'(\w+)'", FACTS_ARE_LOCKED.partition("]")[0])) - {"table", "locked", "open"}
    assert {name for name in COLUMNS_FREE if name not in proved} == set(), "`verify` looks at their locks"
    counted = set(re.findall(r"FROM (\w+)\)", SELECT_ROWS))
    assert COLUMNS_FREE.keys() - counted == set(), "a backup's manifest counts their rows"


async def goes(connection: asyncpg.Connection, sql: str) -> bool:
    """Whether a statement is not refused by a lock, nor by being about an identity column. Leaves nothing behind."""
    trying = connection.transaction()
    await trying.start()
    try:
        await connection.execute(sql)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.GeneratedAlwaysError):
        return False
    finally:
        await trying.rollback()
    return True


async def test_a_day_of_raw_callbacks_is_locked_and_dropped_when_it_is_old(portal: Portal) -> None:
    await portal.post(message("m-1"))
    connection = await asyncpg.connect(portal.dsn)
    for day, name in (await list_partitions(connection)).items():
        if await connection.fetchval(f"SELECT count(*) FROM {name}"):
            for change in (f"DELETE FROM {name}", f"UPDATE {name} SET sealed = ''"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match=REFUSED):
                    await connection.execute(change)
        newest = day
    assert len(await drop_partitions(connection, newest)) > 0
    await connection.close()
