"""With the database away every protocol is acknowledged from the spool, and afterwards all is counted once."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from campaigns.gifts.listed import Filter, select_page
from service.intake.spool_claim import claim_own
from service.runtime.refusals import Refused
from service.runtime.tasks import cancel_and_wait
from tests.support.away import database_away, fill_disk, free_disk, locked, replayed, require_invariants, stored_ids
from tests.support.databases import cloned_database
from tests.support.portal import Portal, eventually, message, running
from tests.support.postgres import TestServer
from tests.support.protocols import NUMBER, SENDERS, fetch


def bytes_in(folder: Path) -> bytes:
    """Everything the service keeps in `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "book.toml")
    return b"".join(path.read_bytes() for path in files)


async def readiness(portal: Portal) -> tuple[int, list[str]]:
    async with portal.http.get(portal.internal + "/readyz") as answer:
        return answer.status, (await answer.json())["degraded"]


async def stored(portal: Portal, begin: str) -> list[str]:
    """Account and id of every stored message whose id begins so: each test that shares a portal has its own."""
    return [each for each in await stored_ids(portal) if each.partition(" ")[2].startswith(begin)]


async def test_the_database_away_is_answered_as_accepted(lasting_portal: Portal) -> None:
    before = {name: await sender.send(lasting_portal, "away-1") for name, sender in SENDERS.items()}
    async with database_away(lasting_portal):
        for name, sender in SENDERS.items():
            during = await sender.send(lasting_portal, "away-2")
            again = await sender.send(lasting_portal, "away-2")
            assert (before[name].status, during.status) == (200, 200), name
            assert during.body == before[name].body.replace(b"away-1", b"away-2"), name
            assert (again.status, again.body) == (during.status, during.body), name
        assert (await readiness(lasting_portal))[0] == 200
    await replayed(lasting_portal)


async def test_database_and_spool_away_is_answered_with_later(lasting_portal: Portal) -> None:
    acknowledged = []
    async with database_away(lasting_portal):
        fill_disk(lasting_portal)
        for name, sender in SENDERS.items():
            # The last page has room for a few.
            for number in range(30):
                refused = await sender.send(lasting_portal, f"full-{number:02}")
                if refused.status != 200:
                    break
                acknowledged.append(f"{sender.account} full-{number:02}")
            assert refused.status == 503, name
            assert int(refused.headers["Retry-After"]) > 0, name
        status, degraded = await readiness(lasting_portal)
        assert status == 503
        assert any("full" in each for each in degraded)
        assert await lasting_portal.metric("portal1400_spool_writable") == 0
        free_disk(lasting_portal)
        for name, sender in SENDERS.items():
            assert (await sender.send(lasting_portal, "full-99")).status == 200, name
            acknowledged.append(f"{sender.account} full-99")
        assert (await readiness(lasting_portal))[0] == 200
    await replayed(lasting_portal)
    assert await stored(lasting_portal, "full-") == sorted(acknowledged)


async def test_a_disk_that_takes_nothing_is_told_while_the_database_is_well(portal: Portal, tmp_path: Path) -> None:
    own = portal.service.intake.replay.own

    async def is_tried() -> bool:
        return own._probing is not None and own._probing.done()

    await eventually(is_tried)
    # A folder in its way stops the trial of whoever runs it, root too.
    (tmp_path / "spool" / "00.trial").mkdir()
    own._probe_at = 0.0

    async def is_told() -> bool:
        return any("cannot write" in each for each in (await readiness(portal))[1])

    await eventually(is_told)
    assert await portal.metric("portal1400_spool_writable") == 0
    assert (await readiness(portal))[0] == 200
    assert (await portal.post(message("m-1"))).outcome == "accepted"
    (tmp_path / "spool" / "00.trial").rmdir()

    async def is_well() -> bool:
        return await readiness(portal) == (200, [])

    await eventually(is_well)
    assert await portal.metric("portal1400_spool_writable") == 1


async def test_what_was_spooled_is_counted_once_with_the_time_it_came(lasting_portal: Portal) -> None:
    portal = lasting_portal
    async with database_away(portal):
        first, came = {}, {}
        for name, sender in SENDERS.items():
            before = datetime.now(UTC)
            first[name] = await sender.send(portal, "time-1")
            came[sender.carrier] = before, datetime.now(UTC)
        await asyncio.gather(*(sender.send(portal, "time-1") for sender in SENDERS.values() for _ in range(5)))
        assert await portal.metric("portal1400_spool_records") == 6 * len(SENDERS)
        # So that a replay which used its own clock would be seen.
        await asyncio.sleep(1.5)
        assert await portal.metric("portal1400_spool_oldest_seconds") >= 1.5
    await replayed(portal)
    rows = await portal.fetch(
        "SELECT received_at, carrier, reading, amount_vnd FROM message WHERE native_id = 'time-1'"
    )
    assert sorted((row["carrier"], row["reading"], row["amount_vnd"]) for row in rows) == sorted(
        (sender.carrier, "counted", 100_000) for sender in SENDERS.values()
    )
    for row in rows:
        before, after = came[row["carrier"]]
        assert before <= row["received_at"] <= after, row["carrier"]
    for name, sender in SENDERS.items():
        repeated = await sender.send(portal, "time-1")
        assert (repeated.status, repeated.body) == (first[name].status, first[name].body), name
    assert await portal.metric("portal1400_spool_oldest_seconds") == 0
    await require_invariants(portal.dsn)


async def test_other_content_that_reached_the_database_first_stays(lasting_portal: Portal) -> None:
    portal = lasting_portal
    async with database_away(portal):
        assert (await portal.post(message("first-1", "VNN 1"))).status == 200
        records = await portal.service.intake.replay.own.oldest(1)
    await replayed(portal)
    # The same record again, as after a crash between the commit and its removal; and other content.
    await portal.service.intake.replay.own.keep(
        portal.service.catalog.accounts.by_code["hub"],
        portal.service.intake.replay.own.opened(records[0]).callback,
    )
    async with database_away(portal):
        assert (await portal.post(message("first-1", "VNN 9"))).status == 200
    await replayed(portal)
    rows = await portal.fetch("SELECT units FROM message WHERE native_id = 'first-1'")
    assert [row["units"] for row in rows] == [1]
    assert len(await portal.fetch("SELECT FROM conflict WHERE native_id = 'first-1'")) == 1
    await require_invariants(portal.dsn)


async def test_a_refusal_that_was_not_given_is_listed_as_charged_not_counted(lasting_portal: Portal) -> None:
    portal = lasting_portal
    send = SENDERS["vn_soap_mo"].send
    counted = await send(portal, "refusal-0")
    async with database_away(portal):
        during = await send(portal, "refusal-1", text="VNN what")
        assert during.body == counted.body
    await replayed(portal)
    rows = await portal.fetch(
        "SELECT native_id, reading, flags FROM message WHERE native_id LIKE 'refusal-%' ORDER BY native_id"
    )
    assert [(row["reading"], row["flags"]) for row in rows] == [
        ("counted", []),
        ("wrong_syntax", ["charged_not_counted"]),
    ]
    async with portal.opened.database.borrow() as connection:
        listed = await select_page(connection, "charged-not-counted", Filter(), 10)
        elsewhere = await select_page(connection, "charged-not-counted", Filter(organisations=["redcross"]), 10)
    assert [
        (row.native_id, row.account, row.reason)
        for row in listed.rows
        if (row.native_id or "").startswith("refusal-")
    ] == [("refusal-1", "soap", "wrong_syntax")]
    assert not elsewhere.rows
    # Whoever sends it again hears what he heard.
    assert (await send(portal, "refusal-1", text="VNN what")).body == during.body
    assert (await send(portal, "refusal-2", text="VNN what")).body != during.body


async def charged(portal: Portal, begin: str = "") -> list[tuple[str, list[str]]]:
    """Reading and flags of every message whose id begins so."""
    rows = await portal.fetch("SELECT reading, flags FROM message WHERE starts_with(native_id, $1)", begin)
    return [(row["reading"], row["flags"]) for row in rows]


async def test_a_repeat_before_the_replay_hears_what_the_spool_said(server: TestServer, tmp_path: Path) -> None:
    """From the worker whose spool it is, and from another."""
    send = SENDERS["vn_soap_mo"].send
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path) as one,
        running(dsn, tmp_path, book="") as other,
    ):
        refused = await send(one, "m-0", text="VNN what")
        await cancel_and_wait(one.service.intake.replay._task)
        asked = {"m-1": one, "m-2": other}
        async with locked(dsn):

            async def is_away() -> bool:
                return not one.service.intake.writer.connected and not other.service.intake.writer.connected

            await eventually(is_away)
            during = {native_id: await send(one, native_id, text="VNN what") for native_id in asked}
            assert refused.body not in [each.body for each in during.values()]

        async def is_back() -> bool:
            return bool(one.service.intake.writer.connected and other.service.intake.writer.connected)

        await eventually(is_back)
        for native_id, portal in asked.items():
            assert (await send(portal, native_id, text="VNN what")).body == during[native_id].body
        # They were taken by the database and not by a spool, so these are answers while the records wait.
        assert [one.service.intake.replay.records, other.service.intake.replay.records] == [2, 0]
        for native_id, portal in {"m-3": one, "m-4": other}.items():
            assert (await send(portal, native_id, text="VNN what")).body == refused.body
        one.service.intake.replay.start()
        await replayed(one)
        for native_id, portal in asked.items():
            assert (await send(portal, native_id, text="VNN what")).body == during[native_id].body
        rows = await one.fetch("SELECT native_id FROM message WHERE 'charged_not_counted' = ANY (flags) ORDER BY 1")
        assert [row["native_id"] for row in rows] == ["m-1", "m-2"]
        assert len(await charged(one)) == 5
        assert list((tmp_path / "spool").glob("*.answered")) == []
        await require_invariants(dsn)


async def test_a_refusal_that_an_outage_took_back_is_flagged_by_the_replay(lasting_portal: Portal) -> None:
    portal = lasting_portal
    send = SENDERS["vn_soap_mo"].send
    refused = await send(portal, "taken-1", text="VNN what")
    async with database_away(portal):
        during = await send(portal, "taken-1", text="VNN what")
        assert during.body != refused.body
    assert await charged(portal, "taken-") == [("wrong_syntax", [])]
    await replayed(portal)
    assert await charged(portal, "taken-") == [("wrong_syntax", ["charged_not_counted", "refusal_taken_back"])]
    assert (await send(portal, "taken-1", text="VNN what")).body == during.body
    await require_invariants(portal.dsn)


async def test_what_cannot_be_read_waits_in_the_spool_for_its_quarantine(lasting_portal: Portal) -> None:
    for name, sender in SENDERS.items():
        normal = await sender.send(lasting_portal, "odd-1", number="12")
        async with database_away(lasting_portal):
            during = await sender.send(lasting_portal, "odd-2", number="12")
            assert (during.status, during.body) == (normal.status, normal.body), name
    await replayed(lasting_portal)
    assert len(await lasting_portal.fetch("SELECT FROM quarantine")) == 2 * len(SENDERS)
    assert await stored(lasting_portal, "odd-") == []


async def test_what_goes_to_quarantine_waits_no_longer_than_the_database_is_away(portal: Portal) -> None:
    replay, send = portal.service.intake.replay, SENDERS["kannel"].send
    await cancel_and_wait(replay._task)
    async with database_away(portal):
        for number in range(3):
            await send(portal, f"odd-{number}", number="12")

    async def is_back() -> bool:
        return bool(portal.service.intake.writer.connected)

    async def is_tried() -> bool:
        return replay._progress[replay.own.name].passed > 0

    await eventually(is_back)
    # Its writers are connected again, and whoever keeps something in quarantine is refused.
    async with locked(portal.dsn, "portal1400 reader"):
        replay.start()
        await eventually(is_tried)
        assert replay._progress[replay.own.name].suspects == {}, "the fault is none of theirs"
    await replayed(portal)
    assert len(await portal.fetch("SELECT FROM quarantine")) == 3


async def test_a_record_that_cannot_be_stored_does_not_stop_the_rest(portal: Portal) -> None:
    await portal.fetch("ALTER TABLE message ADD CONSTRAINT no_seven CHECK (units IS DISTINCT FROM 7)")
    async with database_away(portal):
        for number in range(1, 12):
            assert (await portal.post(message(f"m-{number:02}", f"VNN {number}"))).status == 200
    await replayed(portal)
    assert await stored_ids(portal) == [f"hub m-{number:02}" for number in range(1, 12) if number != 7]
    assert len(await portal.fetch("SELECT FROM quarantine")) == 1
    await require_invariants(portal.dsn)


async def test_a_restart_with_the_database_away_serves_from_the_last_good_copy(
    server: TestServer, tmp_path: Path
) -> None:
    async with cloned_database(server) as dsn:
        async with running(dsn, tmp_path) as portal, database_away(portal):
            assert (await portal.post(message("m-1"))).status == 200
        async with locked(dsn):
            async with running(dsn, tmp_path, book="") as portal:
                assert (await portal.post(message("m-2"))).status == 200
                assert (await portal.post(message("m-3"), headers={"content-type": "application/json"})).status == 401
                status, degraded = await readiness(portal)
                assert status == 200
                for reason in ("no writer is connected", "wait in the spool", "totals are not being read"):
                    assert any(reason in each for each in degraded), (reason, degraded)
                assert await portal.metric("portal1400_spool_records") == 2
                page = await fetch(portal, "GET", "/")
                assert page.status == 200
            assert portal.service.intake.replay.records == 2
        async with running(dsn, tmp_path, book="") as portal:
            await replayed(portal)
            assert await stored_ids(portal) == ["hub m-1", "hub m-2"]


async def test_a_database_that_comes_back_is_joined(server: TestServer, tmp_path: Path) -> None:
    async with cloned_database(server) as dsn:
        async with running(dsn, tmp_path):
            pass
        away = locked(dsn)
        await away.__aenter__()
        async with running(dsn, tmp_path, book="") as portal:
            assert (await portal.post(message("m-1"))).status == 200
            await away.__aexit__(None, None, None)
            await replayed(portal)

            async def is_shown() -> bool:
                reply = await fetch(portal, "GET", "/api/v1/campaigns/vnn/totals")
                return reply.status == 200 and reply.json()["messages"] == 1

            await eventually(is_shown)
            answer = await portal.post(message("m-1"))
            assert answer.outcome == "duplicate"


async def test_without_a_copy_a_database_that_is_away_is_a_refusal(server: TestServer, tmp_path: Path) -> None:
    async with cloned_database(server) as dsn, locked(dsn):
        with pytest.raises(Refused, match="cannot connect to PostgreSQL of DATABASE_URL"):
            async with running(dsn, tmp_path, book=""):
                pytest.fail("it serves")


async def test_a_file_that_a_dead_worker_left_is_adopted(server: TestServer, tmp_path: Path) -> None:
    async with cloned_database(server) as dsn:
        async with running(dsn, tmp_path) as portal, database_away(portal):
            assert (await portal.post(message("m-1"))).status == 200
        left = tmp_path / "spool" / "00.sqlite"
        for suffix in (".sqlite", ".lock"):
            left.with_suffix(suffix).rename(left.with_name(f"07{suffix}"))
        async with running(dsn, tmp_path, book="") as portal:

            async def is_stored() -> bool:
                return await stored_ids(portal) == ["hub m-1"]

            await eventually(is_stored)

            async def is_deleted() -> bool:
                return not left.with_name("07.sqlite").exists()

            await eventually(is_deleted)


async def test_a_disk_that_fails_in_several_ways_at_once_is_told_once(
    portal: Portal, capsys: pytest.CaptureFixture[str]
) -> None:
    own = portal.service.intake.replay.own
    capsys.readouterr()
    for failure in ("no room", "full", "no room", None, "no room"):
        own._note(None if failure is None else OSError(failure))
    said = capsys.readouterr().out
    assert (said.count("spool_cannot_write"), said.count("spool_writes_again")) == (2, 1)
    own._note(None)


async def test_what_a_worker_leaves_at_its_end_is_taken_over_at_once(server: TestServer, tmp_path: Path) -> None:
    async with cloned_database(server) as dsn, running(dsn, tmp_path) as other:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(running(dsn, tmp_path, book=""))
            # Nothing is looked at again because a minute is over.
            other.service.intake.replay._look_again_at = float("inf")
            async with locked(dsn):

                async def is_away() -> bool:
                    return one.service.intake.writer.connected == 0

                await eventually(is_away)
                assert (await one.post(message("m-1"))).status == 200
                await stack.aclose()

                async def is_taken_over() -> bool:
                    return other.service.intake.replay.records == 1

                await eventually(is_taken_over)
        await replayed(other)
        assert await stored_ids(other) == ["hub m-1"]


async def test_a_file_that_somebody_has_is_left_alone(server: TestServer, tmp_path: Path) -> None:
    async with cloned_database(server) as dsn, running(dsn, tmp_path) as one, running(dsn, tmp_path, book="") as two:
        assert (one.service.intake.replay.own.name, two.service.intake.replay.own.name) == ("00.sqlite", "01.sqlite")
        async with locked(dsn):
            for portal in (one, two):

                async def is_away(portal: Portal = portal) -> bool:
                    return portal.service.intake.writer.connected == 0

                await eventually(is_away)
            assert (await one.post(message("m-1"))).status == 200
            assert (await two.post(message("m-2"))).status == 200
            await two.service.intake.replay._adopt()
            assert two.service.intake.replay.records == 1
        await replayed(one)
        await replayed(two)
        assert await stored_ids(one) == ["hub m-1", "hub m-2"]
        await require_invariants(dsn)


async def test_a_full_or_too_old_spool_takes_no_more(server: TestServer, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path, clock=lambda: now, spool_bytes_max="1048576", spool_age_max_hours="1") as portal,
        database_away(portal),
    ):
        own = portal.service.intake.replay.own
        steady = own._steady
        assert (await SENDERS["kannel"].send(portal, "m-1")).status == 200
        own._steady = lambda: time.monotonic() + 3601
        assert (await SENDERS["kannel"].send(portal, "m-2")).status == 503
        assert any("too old" in each for each in (await readiness(portal))[1])
        own._steady = steady
        answers = []
        for number in range(30):
            events = [message(f"m-{number}-{each}", "VNN " + "a" * 900, parts=6) for each in range(50)]
            raw = {"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": events}
            answers.append((await portal.post(raw)).status)
        taken = answers.index(503)
        assert set(answers[:taken]) == {200}
        assert own._size.bytes >= 1_048_576
        assert portal.service.intake.replay.records == 1 + taken
        assert any("SPOOL_BYTES_MAX" in each for each in (await readiness(portal))[1])


STEPS = {"set forward": timedelta(days=9), "set back": timedelta(days=-9)}


@pytest.mark.parametrize("name", STEPS)
async def test_a_clock_that_is_set_right_neither_closes_the_spool_nor_ages_it(
    server: TestServer, tmp_path: Path, name: str
) -> None:
    now = datetime.now(UTC)
    at = [now - STEPS[name]]
    async with cloned_database(server) as dsn, AsyncExitStack() as away:
        async with running(dsn, tmp_path, clock=lambda: at[0]) as portal:
            await away.enter_async_context(database_away(portal))
            assert (await SENDERS["kannel"].send(portal, "m-1")).status == 200
            at[0] = now
            assert (await SENDERS["kannel"].send(portal, "m-2")).status == 200
            assert portal.service.intake.replay.oldest_seconds < 60
        # Another process finds them, and what they bear is a time of a clock that was wrong.
        async with running(dsn, tmp_path, book="", clock=lambda: at[0]) as portal:
            assert (await SENDERS["kannel"].send(portal, "m-3")).status == 200
            assert portal.service.intake.replay.own.refusal is None
        await away.aclose()
        async with running(dsn, tmp_path, book="", clock=lambda: at[0]) as portal:
            await replayed(portal)
            rows = await portal.fetch("SELECT native_id, reading, flags FROM message ORDER BY native_id")
            doubt = "received_long_ago" if name == "set forward" else "received_in_future"
            assert [(row["native_id"], row["reading"], row["flags"]) for row in rows] == [
                ("m-1", "counted", [doubt]),
                ("m-2", "counted", []),
                ("m-3", "counted", []),
            ]
            await require_invariants(dsn)


async def test_the_files_hold_nothing_in_clear(lasting_portal: Portal) -> None:
    async with database_away(lasting_portal):
        for name in ("kannel", "standard"):
            assert (await SENDERS[name].send(lasting_portal, "m-canary", text="VNN canary words")).status == 200
        held = await asyncio.to_thread(bytes_in, lasting_portal.service.settings.data_dir)
    assert b"SQLite format" in held
    for secret in (NUMBER.encode(), b"0950000001", b"canary", b"whsec_", b"a-path-secret-for-tests"):
        assert secret not in held


async def test_a_start_beside_a_damaged_file_takes_gifts_and_names_it(server: TestServer, tmp_path: Path) -> None:
    damaged = tmp_path / "spool" / "00.sqlite"
    damaged.parent.mkdir()
    damaged.write_bytes(b"not a database" * 1000)
    async with cloned_database(server) as dsn, running(dsn, tmp_path) as portal:
        assert portal.service.intake.replay.own.name == "01.sqlite"

        async def is_named() -> bool:
            return any(f"{damaged} is damaged" in each for each in (await readiness(portal))[1])

        await eventually(is_named)
        assert await portal.metric("portal1400_spool_files_refused") == 1
        async with database_away(portal):
            assert (await portal.post(message("m-1"))).status == 200
        await replayed(portal)
        assert await stored_ids(portal) == ["hub m-1"]
        damaged.rename(tmp_path / "00.sqlite")
        await portal.service.intake.replay._adopt()
        assert (await readiness(portal))[1] == []
    assert (tmp_path / "00.sqlite").read_bytes() == b"not a database" * 1000


async def test_an_orderly_stop_gives_the_file_back(server: TestServer, tmp_path: Path) -> None:
    async with cloned_database(server) as dsn, running(dsn, tmp_path) as portal:
        check = portal.service.keyring.key_check
    again = claim_own(tmp_path / "spool", key_check=check, bytes_max=2**30)
    assert again.path.name == "00.sqlite"
    again.close()
