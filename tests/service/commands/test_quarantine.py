"""Quarantine is worked: what was mended is replayed, counted once, and every act is kept with whoever did it."""

import argparse
import asyncio
import itertools
import json
import os
import pwd
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import orjson
import pytest

from campaigns.gifts.quarantined import Actor, Choice, select_quarantined
from service.commands import find, quarantine, verify
from service.commands.apply import apply_file
from service.commands.opening import CommandRefused
from service.operations import quarantine_replay
from service.operations.quarantine_replay import QuarantineReplay
from tests.service.intake.test_no_events import Asking
from tests.support.away import require_invariants
from tests.support.portal import BOOK, Portal, book_file, eventually, message, running, signed
from tests.support.protocols import SENDERS, fetch, get_kannel, post_soap
from tests.support.reports import REPORT_BOOK, charge, gift, taken_back

Capture = pytest.CaptureFixture[str]
NEW_SECRET = "whsec_" + "bmV3IHNlY3JldCBvZiB0aGUgaHViLCB0aGlydHkgYnl0ZXMhIQ=="
BEFORE = BOOK.replace('dialect = "GetMOData"', 'dialect = "receiverMO"')
AFTER = BOOK.replace('secrets = ["', f'secrets = ["{NEW_SECRET}", "', 1)
"""The hub signs with another secret and the SOAP hub speaks another dialect than the book before says."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine nothing is passed over for the time that it takes."""
    monkeypatch.setattr(quarantine_replay, "REHEARSAL_SECONDS_MAX", 60.0)
    monkeypatch.setattr(quarantine_replay, "STATEMENT_SECONDS", 60.0)


@pytest.fixture
async def unmended(environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A running portal whose book knows neither the hub's new secret nor the SOAP hub's dialect."""
    async with running(database_dsn, tmp_path, BEFORE) as portal:
        yield portal


async def ran(module: ModuleType, capsys: Capture, *words: str) -> tuple[int, Any]:
    """Run a command with --json; its exit code, and the object it printed."""
    capsys.readouterr()
    code = await module.run(asked(module, *words, "--json"))
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def asked(module: ModuleType, *words: str) -> argparse.Namespace:
    """The words of a command line, parsed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    return parser.parse_args(words)


async def kept(portal: Portal) -> list[Any]:
    """What lies in quarantine, once nobody is busy with it."""
    await portal.service.intake.quarantine.stop()
    return await portal.fetch("SELECT id, outcome, reason FROM quarantine ORDER BY id")


async def mend(portal: Portal, folder: Path, book: str = AFTER) -> None:
    """Apply the book that is right; every worker has it."""
    version = portal.service.catalog.book.version
    await apply_file(portal.opened, book_file(folder, book))

    async def is_known() -> bool:
        return portal.service.catalog.book.version > version

    await eventually(is_known)


VNN = {"messages": 1, "units": 5, "vnd": 100_000}


async def test_what_was_mended_is_counted_once_and_a_second_replay_does_nothing(
    unmended: Portal, tmp_path: Path, capsys: Capture
) -> None:
    portal = unmended
    body = orjson.dumps(message("m-1"))
    wrong = await portal.post(body, headers=signed(body, secret=NEW_SECRET))
    other = await post_soap(portal, "m-2")
    assert (wrong.status, other.status) == (401, 500)
    ids = [each.headers["x-portal1400-request"] for each in (wrong, other)]
    assert sorted(str(row["id"]) for row in await kept(portal)) == sorted(ids)
    code, nothing = await ran(quarantine, capsys, "replay", *ids)
    assert (code, nothing["counted"], nothing["left"]) == (1, {}, 2)
    assert [each["outcome"] for each in nothing["callbacks"]] == ["unauthenticated", "malformed"]

    await mend(portal, tmp_path)
    code, rehearsed = await ran(quarantine, capsys, "replay", "--since", "2020-01-01", "--dry-run")
    counted = {"vnn": {"messages": 2, "units": 10, "vnd": 200_000}}
    assert (code, rehearsed["counted"], rehearsed["stored"]) == (0, counted, 2)
    assert (await portal.totals())["messages"] == 0
    assert await portal.fetch("SELECT FROM message") == []

    code, replayed = await ran(quarantine, capsys, "replay", *ids, "--by", "Lan", "--reason-text", "new secret")
    assert (code, replayed["counted"]) == (0, counted)
    assert replayed["callbacks"] == rehearsed["callbacks"]

    async def is_published() -> bool:
        return bool((await portal.totals())["messages"] == 2)

    await eventually(is_published)
    code, again = await ran(quarantine, capsys, "replay", *ids)
    assert (code, [each["outcome"] for each in again["callbacks"]]) == (0, ["done_before", "done_before"])
    # Its sender tries once more, rightly now: a repeat, as of anything that was stored.
    assert (await portal.post(body, headers=signed(body, secret=NEW_SECRET))).outcome == "duplicate"
    assert (await portal.totals())["pledged_vnd"] == 200_000
    rows = await portal.fetch("SELECT id, raw_id, flags FROM message ORDER BY id")
    assert [(str(row["id"]), str(row["raw_id"]), row["flags"]) for row in rows] == [
        (each, each, ["from_quarantine"]) for each in sorted(ids)
    ]
    acts = await portal.fetch("SELECT outcome, is_stored, acted_by, reason FROM quarantine_act ORDER BY id")
    assert [tuple(row) for row in acts] == [
        ("unauthenticated", False, None, None),
        ("malformed", False, None, None),
        ("accepted", True, "Lan", "new secret"),
        ("accepted", True, "Lan", "new secret"),
    ]
    assert await verify.run(asked(verify, "--deep")) == 0
    await require_invariants(portal.dsn)


async def test_what_came_properly_meanwhile_is_a_duplicate_and_moves_nothing(
    unmended: Portal, tmp_path: Path, capsys: Capture
) -> None:
    portal = unmended
    body = orjson.dumps(message("m-1"))
    for secret in (NEW_SECRET, NEW_SECRET):
        await portal.post(body, headers=signed(body, secret=secret))
    changed = orjson.dumps(message("m-1", "VNN 9"))
    await portal.post(changed, headers=signed(changed, secret=NEW_SECRET))
    assert len(await kept(portal)) == 3
    await mend(portal, tmp_path)
    await quarantine.run(asked(quarantine, "replay", "--account", "hub", "--dry-run"))
    assert "duplicate: read as counted 1\n" in capsys.readouterr().out
    for words in (["--dry-run"], []):
        code, ended = await ran(quarantine, capsys, "replay", "--account", "hub", *words)
        assert code == 0
        assert [each["outcome"] for each in ended["callbacks"]] == ["accepted", "duplicate", "conflict"]
        assert ended["counted"] == {"vnn": VNN}
    assert len(await portal.fetch("SELECT FROM conflict")) == 1
    await require_invariants(portal.dsn)


async def test_what_came_within_one_millisecond_is_listed_in_the_order_in_which_it_came(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path
) -> None:
    millisecond, step = datetime.now(UTC).replace(microsecond=0), itertools.count()

    def clock() -> datetime:
        return millisecond + timedelta(microseconds=next(step) % 1000)

    async with running(database_dsn, tmp_path, BEFORE, clock=clock) as portal:
        ids = []
        for number in range(8):
            body = orjson.dumps(message(f"m-{number}"))
            refused = await portal.post(body, headers=signed(body, secret=NEW_SECRET))
            ids.append(refused.headers["x-portal1400-request"])
        await portal.service.intake.quarantine.stop()
        connection = await portal.opened.database.connect()
        rows = await select_quarantined(connection, Choice())
        await connection.close()
        assert len({each[:13] for each in ids}) == 1
        assert [str(row.id) for row in rows] == ids


async def test_a_reported_gift_is_counted_by_its_charge_and_once_by_two_at_a_time(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK) as portal:
        for event in (gift(), charge("succeeded"), taken_back("r-1", 30_000)):
            body = orjson.dumps(event)
            await portal.post(body, headers=signed(body, secret=NEW_SECRET))
            await kept(portal)
        await mend(portal, tmp_path, AFTER.replace('charging = "on_message"', 'charging = "on_report"', 1))
        _, rehearsed = await ran(quarantine, capsys, "replay", "--account", "hub", "--dry-run")
        assert [each["counted"] for each in rehearsed["callbacks"]] == [
            {}, {"vnn": VNN}, {"vnn": {"messages": 0, "units": 0, "vnd": -30_000}},
        ]  # fmt: skip
        assert rehearsed["counted"] == {"vnn": VNN | {"vnd": 70_000}}
        database, keyring = portal.opened.database, portal.opened.keyring
        connections = [await database.connect() for _ in range(2)]
        both = [await QuarantineReplay.open(each, database, keyring) for each in connections]
        rows = await select_quarantined(connections[0], Choice())
        for row in rows:
            ended = await asyncio.gather(*(each.replay(row, Actor("test")) for each in both))
            assert sorted(each.outcome for each in ended) == ["accepted", "done_before"]
        for each in connections:
            await each.close()
        assert len(await portal.fetch("SELECT FROM quarantine_act")) == 3
        assert (await portal.fetch("SELECT sum(vnd)::bigint AS vnd FROM money_line"))[0]["vnd"] == 70_000
        await require_invariants(portal.dsn)


async def test_a_dry_run_knows_what_stored_charges_have_to_do_with_each_other(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK) as portal:
        for event in (gift(), charge("succeeded")):
            await portal.post(event)
        # Together they take more than there is, so the larger one stands. One names the charge, one the message.
        for event in (taken_back("r-1", 60_000, None, charge_id="c-1"), taken_back("r-2", 80_000)):
            body = orjson.dumps(event)
            await portal.post(body, headers=signed(body, secret=NEW_SECRET))
            await kept(portal)
        await mend(portal, tmp_path, AFTER.replace('charging = "on_message"', 'charging = "on_report"', 1))
        _, rehearsed = await ran(quarantine, capsys, "replay", "--account", "hub", "--dry-run")
        _, replayed = await ran(quarantine, capsys, "replay", "--account", "hub")
        assert rehearsed["callbacks"] == replayed["callbacks"]
        assert replayed["counted"] == {"vnn": {"messages": 0, "units": 0, "vnd": -80_000}}
        await require_invariants(portal.dsn)


PAYMENTS = """
[[gateway]]
code = "payments"
adapter = "camara_billing"
carrier = "viettel"
charging = "on_report"
messages_of = "hub"
secrets = ["TOKEN"]
networks = ["127.0.0.0/8"]
"""
PAID = {
    "specversion": "1.0", "id": "ev-1", "source": "op",
    "type": "org.camaraproject.carrier-billing.v0.payment-completed",
    "data": {"paymentId": "pay-1", "status": "succeeded"},
}  # fmt: skip


async def test_a_charge_that_another_account_reports_is_rehearsed_and_found_with_its_message(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK + PAYMENTS.replace("TOKEN", "the-old-one")) as portal:
        body = orjson.dumps(gift())
        await portal.post(body, headers=signed(body, secret=NEW_SECRET))
        path, headers = "/gw/camara_billing/payments?msg=m-1", {"authorization": "Bearer the-new-one"}
        assert (await fetch(portal, "POST", path, data=orjson.dumps(PAID), headers=headers)).status == 401
        ids = [str(row["id"]) for row in await kept(portal)]
        assert len(ids) == 2
        after = AFTER.replace('charging = "on_message"', 'charging = "on_report"', 1)
        await mend(portal, tmp_path, after + PAYMENTS.replace("TOKEN", "the-new-one"))
        words = ("replay", *ids, "--trust-source", "--by", "An", "--reason-text", "asked the operator")
        _, rehearsed = await ran(quarantine, capsys, *words, "--dry-run")
        _, replayed = await ran(quarantine, capsys, *words)
        assert rehearsed["callbacks"] == replayed["callbacks"]
        assert replayed["counted"] == {"vnn": VNN}
        _, found = await ran(find, capsys, "payments", "op|ev-1")
        assert found["known"]
        await require_invariants(portal.dsn)


async def test_what_carries_no_event_by_the_settings_of_now_is_left_for_a_person(
    unmended: Portal, tmp_path: Path
) -> None:
    portal = unmended
    body = orjson.dumps(message("m-1"))
    await portal.post(body, headers=signed(body, secret=NEW_SECRET))
    await kept(portal)
    await mend(portal, tmp_path)
    connection = await portal.opened.database.connect()
    work = await QuarantineReplay.open(connection, portal.opened.database, portal.opened.keyring)
    account = next(each for each in work._today.accounts.values() if each.code == "hub")
    work._today.accounts = {account.id: replace(account, gateway=Asking(account.gateway.account))}
    ended = await work.replay((await select_quarantined(connection, Choice()))[0], Actor("test"))
    assert (ended.outcome, ended.is_stored, ended.counted) == ("no_event", False, {})
    assert len(await select_quarantined(connection, Choice())) == 1
    await connection.close()


async def test_a_rehearsal_holds_its_locks_briefly_and_says_what_it_did_not_look_at(
    unmended: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for native_id in ("m-1", "m-2", "m-1", "m-1"):
        await post_soap(unmended, native_id)
    await mend(unmended, tmp_path)
    monkeypatch.setattr(quarantine_replay, "REHEARSAL_SECONDS_MAX", 0.0)
    code, ended = await ran(quarantine, capsys, "replay", "--account", "soap", "--dry-run")
    assert (code, len(ended["callbacks"]), ended["not_looked_at"]) == (1, 2, 2)
    assert [each["outcome"] for each in ended["callbacks"]] == ["accepted", "accepted"]


async def test_a_factor_that_was_not_kept_wants_a_person_who_answers_for_the_sender(
    unmended: Portal, capsys: Capture
) -> None:
    portal = unmended
    await get_kannel(portal, "m-1", path_secret="the-secret-of-yesterday")
    await post_soap(portal, "m-2", login="Basic bjpu")
    first, second = [str(row["id"]) for row in await kept(portal)]
    code, refused = await ran(quarantine, capsys, "replay", first, second)
    assert code == 1
    assert [each["outcome"] for each in refused["callbacks"]] == ["refused", "refused"]
    assert ["path secret" in each["found"] for each in refused["callbacks"]] == [True, False]
    assert all("--trust-source" in each["found"] for each in refused["callbacks"])
    assert await portal.fetch("SELECT FROM quarantine_act") == []
    with pytest.raises(CommandRefused, match="--by NAME and --reason-text"):
        await quarantine.run(asked(quarantine, "replay", first, "--trust-source"))
    who = ("--trust-source", "--by", "Lan", "--reason-text", "asked the hub by telephone")
    code, trusted = await ran(quarantine, capsys, "replay", first, second, *who)
    assert (code, [each["outcome"] for each in trusted["callbacks"]]) == (1, ["accepted", "malformed"])
    assert trusted["counted"] == {"vnn": VNN}
    acts = await portal.fetch("SELECT is_source_trusted, acted_by FROM quarantine_act")
    assert [tuple(row) for row in acts] == [(True, "Lan")] * 2


async def test_what_was_sent_again_over_another_account_is_refused_after_its_person_was_erased_too(
    unmended: Portal, tmp_path: Path, capsys: Capture
) -> None:
    portal = unmended
    for native_id in ("m-1", "m-2"):
        body = orjson.dumps(message(native_id))
        await portal.post(body, headers=signed(body, secret=NEW_SECRET))
        await get_kannel(portal, native_id)
    await portal.fetch(
        "DELETE FROM message_person USING message AS m WHERE m.id = message_id AND m.native_id = 'm-2'"
    )
    await kept(portal)
    await mend(portal, tmp_path)
    code, refused = await ran(quarantine, capsys, "replay", "--account", "hub")
    assert (code, [each["outcome"] for each in refused["callbacks"]]) == (1, ["refused", "refused"])
    assert all("has a message of the same id, number" in each["found"] for each in refused["callbacks"])
    assert [row["messages"] for row in await portal.fetch("SELECT messages FROM money_line")] == [1, 1]


async def test_no_person_can_answer_for_a_signature_that_was_kept_and_is_wrong(
    unmended: Portal, capsys: Capture
) -> None:
    body = orjson.dumps(message("m-1"))
    await unmended.post(body, headers=signed(b"another body"))
    await kept(unmended)
    who = ("--trust-source", "--by", "Lan", "--reason-text", "a try")
    code, ended = await ran(quarantine, capsys, "replay", "--reason", "unauthenticated", *who)
    assert (code, ended["callbacks"][0]["found"]) == (1, "signature wrong")


async def test_a_signature_is_as_old_as_it_was_when_it_came(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=40)
    async with running(database_dsn, tmp_path, BEFORE, lambda: long_ago) as portal:
        body = orjson.dumps(message("m-1"))
        await portal.post(body, headers=signed(body, at=long_ago, secret=NEW_SECRET))
        await kept(portal)
        await mend(portal, tmp_path)
        began = datetime.now(UTC).date()
        code, ended = await ran(quarantine, capsys, "replay", "--account", "hub")
        assert (code, ended["counted"]) == (0, {"vnn": VNN})
        # Its day is over: it belongs to the day on which it was recorded.
        (row,) = await portal.fetch(
            "SELECT m.received_at, l.recorded_on FROM message AS m JOIN late_fact AS l USING (id)"
        )
        assert row["received_at"] == long_ago
        assert began <= row["recorded_on"] <= datetime.now(UTC).date()
        assert len(await portal.fetch("SELECT FROM raw_callback")) == 1
        await require_invariants(portal.dsn)


async def test_list_and_show_hold_nothing_that_was_sent_unless_it_is_opened(
    unmended: Portal, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = unmended
    for number in range(3):
        await SENDERS["vn_soap_mo"].send(portal, f"m-{number}", text="VNN 5 🎗")
    await get_kannel(portal, "m-9", path_secret="the-secret-of-yesterday")
    forged_body = "\x1b[2J\nact      replayed by Nam \u202e".encode()
    await portal.post(forged_body, headers=signed(forged_body))
    ids = [str(row["id"]) for row in await kept(portal)]
    # A callback whose credentials failed is kept in the background, so that it may come behind.
    ((forged,),) = await portal.fetch("SELECT id::text FROM quarantine WHERE adapter = 'standard'")
    code, listed = await ran(quarantine, capsys, "list", "--account", "soap", "--limit", "2")
    assert (code, listed["count"], len(listed["rows"])) == (0, 3, 2)
    (count,) = listed["counts"]
    assert (count["account"], count["outcome"], count["callbacks"]) == ("soap", "malformed", 3)
    await quarantine.run(asked(quarantine, "list"))
    code, shown = await ran(quarantine, capsys, "show", ids[0])
    assert (shown["headers"], shown["now"]["outcome"]) == (["content-type", "user-agent"], "malformed")
    await mend(portal, tmp_path)
    code, shown = await ran(quarantine, capsys, "show", ids[0])
    assert shown["now"] | {"id": ""} == {
        "id": "", "outcome": "accepted", "found": "counted 1", "stored": True, "counted": {"vnn": VNN},
    }  # fmt: skip
    assert await quarantine.run(asked(quarantine, "show", ids[1])) == 0
    assert [word for word in ("84950000001", "VNN", "Authorization") if word in capsys.readouterr().out] == []
    with pytest.raises(CommandRefused, match="recorded"):
        await quarantine.run(asked(quarantine, "show", ids[0], "--open"))
    code, opened = await ran(
        quarantine, capsys, "show", ids[0], "--open", "--by", "Lan", "--reason-text", "the hub asks"
    )
    assert "VNN 5 🎗" in opened["body"]
    assert [(each["what"], each["acted_by"]) for each in opened["acts"]] == [("opened", "Lan")]
    monkeypatch.setenv("LOGNAME", "another")
    await quarantine.run(asked(quarantine, "show", forged, "--open", "--by", "Lan", "--reason-text", "the hub asks"))
    lines = capsys.readouterr().out.splitlines()
    (act,) = (line for line in lines if line.startswith("act"))
    assert f"opened by Lan (account {pwd.getpwuid(os.getuid()).pw_name})" in act
    assert lines[-1] == r"body     \u001b[2J\nact      replayed by Nam \u202e"
    assert await portal.fetch("SELECT FROM message") == []
    await portal.fetch("DELETE FROM data_key")
    with pytest.raises(Exception, match="was destroyed"):
        await quarantine.run(asked(quarantine, "show", ids[0]))


async def test_what_is_not_there_and_what_was_not_said_are_sentences(unmended: Portal, capsys: Capture) -> None:
    assert await quarantine.run(asked(quarantine, "list")) == 0
    assert "nothing that was asked for is in quarantine" in capsys.readouterr().out
    assert await quarantine.run(asked(quarantine, "replay")) == 2
    assert "usage:" in capsys.readouterr().err
    for words in (["list"], ["replay"], ["replay", "--dry-run"]):
        with pytest.raises(CommandRefused, match="no account has the code hubb; there are: "):
            await quarantine.run(asked(quarantine, *words, "--account", "hubb"))
    with pytest.raises(CommandRefused, match=f"no callback {UUID(int=7)} is in quarantine"):
        await quarantine.run(asked(quarantine, "show", str(UUID(int=7))))
    with pytest.raises(SystemExit):
        asked(quarantine, "show", "no-id")
    capsys.readouterr()
