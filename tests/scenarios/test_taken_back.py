"""A campaign is withdrawn while the service runs, and while a gift to it is on its way."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import load
from campaigns.book.recording import apply_changes
from campaigns.gifts.messages import lock_accounts, record_messages
from campaigns.schema.partitions import make_partitions
from service.commands.apply import apply_file
from tests.support.portal import Portal, book_file, eventually, message, within
from tests.support.rows import NOW, message_row
from tests.support.streams import following

GONE = '[[campaign]]\nslug = "vnn"\nwithdrawn = true\n'
SELECT_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = $1"


def waits(connection: asyncpg.Connection) -> Callable[[], Awaitable[bool]]:
    async def somebody() -> bool:
        oid = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()")
        return bool(await connection.fetchval(SELECT_WAITING, oid))

    return somebody


async def test_a_withdrawn_campaign_is_nowhere_any_more(portal: Portal, tmp_path: Path) -> None:
    file = tmp_path / "gone.toml"
    file.write_text(GONE, encoding="utf-8")
    await apply_file(portal.opened, file)

    async def is_unknown() -> bool:
        async with portal.http.get(f"{portal.base}/api/v1/campaigns/vnn") as answer:
            return answer.status == 404

    await within(2, is_unknown)
    for path in (
        "/api/v1/campaigns/vnn/totals",
        "/api/v1/campaigns/vnn/series",
        "/api/v1/stream?campaign=vnn",
    ):
        async with portal.http.get(portal.base + path) as answer:
            assert answer.status == 404, path
    async with portal.http.get(f"{portal.base}/c/vnn") as answer:
        assert (answer.status, "Chiến dịch này đã được rút lại" in await answer.text()) == (410, True)
    for path in ("/api/v1/campaigns", "/api/v1/totals", "/"):
        async with portal.http.get(portal.base + path) as answer:
            assert "vnn" not in await answer.text(), path
    assert (await portal.post(message("late"))).outcome == "unallocated"


async def test_a_stream_of_a_campaign_tells_that_it_was_withdrawn_and_is_back(portal: Portal, tmp_path: Path) -> None:
    file = tmp_path / "gone.toml"
    file.write_text(GONE, encoding="utf-8")
    async with (
        following(portal, "?campaign=vnn") as plain,
        following(portal, "?campaign=vnn&state=true") as viewer,
        following(portal, "?state=true") as of_all,
    ):
        assert (await viewer.state())["withdrawn"] is False
        await plain.totals()
        await apply_file(portal.opened, file)
        while (told := await viewer.state(2.0))["book_version"] == 1:
            assert told["withdrawn"] is False
        assert (told["book_version"], told["withdrawn"]) == (2, True)
        # Whoever did not ask for more than totals has nothing left to follow, and is told 404 when it asks again.
        while (frame := await plain.next()) != b": this campaign was withdrawn":
            assert frame.startswith((b"retry:", b":", b"event: totals"))
        with pytest.raises(EOFError):
            await plain.next()
        await apply_file(portal.opened, book_file(tmp_path))
        back = {b"event: totals", b'data: {"age_seconds":0.0,"book_version":3,"withdrawn":false}'}
        while back:
            back -= {re.sub(rb"[0-9.]+(?=,.book)", b"0.0", line) for line in (await viewer.next()).split(b"\n")}
        assert {(await of_all.state())["withdrawn"] for _ in range(3)} == {False}


async def test_a_gift_sent_while_its_campaign_is_withdrawn_is_read_again(portal: Portal) -> None:
    connection = await asyncpg.connect(portal.dsn)
    watcher = await asyncpg.connect(portal.dsn)
    transaction = connection.transaction()
    await transaction.start()
    await apply_changes(connection, load(GONE.encode()), [], now=datetime.now(UTC))
    # The service knows nothing yet: it reads the gift by the campaign, and cannot store it.
    sent = asyncio.create_task(portal.post(message("between")))
    await eventually(waits(watcher))
    await transaction.commit()

    assert (await sent).status == 200

    async def is_stored() -> bool:
        return bool(await watcher.fetchval("SELECT count(*) FROM message"))

    await eventually(is_stored, 90.0)
    row = await watcher.fetchrow("SELECT reading, campaign_id, book_version FROM message")
    assert row is not None
    assert tuple(row) == ("unknown_short_code", None, 2)
    assert await watcher.fetchval("SELECT count(*) FROM money_line") == 0
    await connection.close()
    await watcher.close()


async def test_a_gift_that_is_being_stored_keeps_its_campaign(
    connection: asyncpg.Connection, database_dsn: str
) -> None:
    await make_partitions(connection, NOW.date(), days=1)
    content = (
        '[[organisation]]\ncode = "o"\nname_vi = "O"\n[[campaign]]\nslug = "vnn"\nname_vi = "V"\ncategory = "other"\n'
        'organiser = "o"\nopens_at = 2026-01-01T00:00:00+07:00\ncloses_at = 2027-01-01T00:00:00+07:00\n'
        '[[campaign.route]]\nshort_code = "1408"\nkeywords = ["VNN"]\ngrammar = "fixed"\nunit_vnd = 20_000\n'
    )
    await apply_changes(connection, load(content.encode()), [], now=NOW)
    writer = await asyncpg.connect(database_dsn)
    applier = await asyncpg.connect(database_dsn)
    transaction = writer.transaction()
    await transaction.start()
    await lock_accounts(writer, [1], [])
    await record_messages(writer, [message_row("m-1")], [], 1)
    applying = asyncio.create_task(apply_changes(applier, load(GONE.encode()), [], now=NOW))
    await eventually(waits(connection))
    await transaction.commit()

    with pytest.raises(ApplyRefused, match="messages were read by this campaign"):
        await applying
    # The release before does not note what it read by: its messages are looked for themselves.
    await connection.execute("ALTER TABLE keyword_read DISABLE TRIGGER fact_lock; DELETE FROM keyword_read")
    other = content.replace("20_000", "10_000")
    with pytest.raises(ApplyRefused, match="messages were read by it"):
        await apply_changes(applier, load(other.encode()), [], now=NOW)

    await writer.close()
    await applier.close()
