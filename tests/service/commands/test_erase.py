"""A person is forgotten wherever anything was kept, the money stays, and the receipt proves it."""

# ruff: noqa: ASYNC240 - nothing else runs in the loop of a test that looks at a file

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import orjson
import pytest

from campaigns.gifts.privacy import SEALED
from service.commands import backup, erase, quarantine, restore, verify
from service.commands import list as listing
from service.commands.opening import CommandRefused
from service.operations.erasure import mention
from service.runtime import logs
from service.runtime.keyring import Keyring
from service.runtime.tasks import cancel_and_wait
from tests.scenarios.test_secrecy import HIDING
from tests.support.away import database_away, replayed
from tests.support.canary import NATIONAL, NUMBER, TEXT, found_in
from tests.support.databases import empty_database
from tests.support.portal import SECRET_KEY, Portal, message, running, signed
from tests.support.postgres import TestServer
from tests.support.protocols import SENDERS
from tests.support.reports import REPORT_BOOK, charge, require_sound, taken_back

Capture = pytest.CaptureFixture[str]
RECORD = ("--yes", "--by", "Lan", "--reason-text", "request 17/2026")


@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING.keys())
def test_a_number_is_found_in_whatever_spelling_a_request_has(hide: Callable[[bytes], bytes]) -> None:
    assert mention(NUMBER)(b"before " + hide(NATIONAL.encode()) + b" behind")
    assert not mention(NUMBER)(b"before " + hide(b"950000001") + b" behind")


@pytest.mark.parametrize(
    "written",
    [
        b"0912 340 987",
        b"+84-912.340.987",
        b"&#57;&#49;2340987",
        rb"\u0039\u00312340987",
        b"0%39 12+340+987",
        b"0912/340_987",
        b"0912:340:987",
        "0912\u00a0340\u2013987".encode(),
        "٠٩١٢٣٤٠٩٨٧".encode(),
        rb"\uff10\uff19\uff11\uff12340987",
        b"20261121153000" + NUMBER.encode(),
        NUMBER.encode() + b"20261121",
        NUMBER.encode() + b"1764500000123",
        b"1764500000" + NUMBER.encode(),
        "０９１２３４０９８７".encode(),
        b"%EF%BC%99%EF%BC%91%EF%BC%92340987",
    ],
)
def test_a_number_is_found_with_blanks_in_it_and_with_its_digits_escaped(written: bytes) -> None:
    assert mention(NUMBER)(written)


async def ran(module: ModuleType, capsys: Capture, *words: str) -> tuple[int, Any]:
    """Run a command with --json; its exit code, and the object it printed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    capsys.readouterr()
    code = await module.run(parser.parse_args([*words, "--json"]))
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What stands on stdin."""
    return lambda number: monkeypatch.setattr("sys.stdin", io.StringIO(number + "\n"))


@pytest.mark.parametrize("written", [b"1912340987000", b"9123409871", b"x8491234098712", b"291234098", b"91234 0988"])
def test_a_number_is_not_found_within_a_longer_one(written: bytes) -> None:
    assert not mention(NUMBER)(b'{"ts": ' + written + b"}")


async def kept_about(dsn: str) -> list[bytes]:
    """The canaries and the canary's hash in a database: in every row as text, and in whatever is sealed, opened."""
    keyring = Keyring(SECRET_KEY)
    connection = await asyncpg.connect(dsn)
    content = []
    for table in await connection.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"):
        rows = await connection.fetch(f"SELECT t::text AS row FROM {table['name']} AS t")
        content += [row["row"].encode() for row in rows]
    for about in SEALED.values():
        for row in await connection.fetch(about.select):
            sealer = await keyring.find_day(connection, row["day"])
            assert sealer is not None
            content.append(sealer.unseal(bytes(row["sealed"]), about.associated + row["id"].bytes))
    for row in await connection.fetch("SELECT * FROM message_person"):
        sealer = await keyring.find_day(connection, row["day"])
        assert sealer is not None
        for column in ("msisdn", "text"):
            name = f"message_person.{column}:".encode() + row["message_id"].bytes
            content.append(sealer.unseal(bytes(row[f"{column}_sealed"]), name))
    await connection.close()
    everything = b"\n".join(content)
    trace = keyring.number_hash(NUMBER).hex().encode()
    return found_in(everything) + [trace] * (trace in everything)


async def figures(portal: Portal) -> list[list[asyncpg.Record]]:
    """Roll-ups and money lines."""
    tables = ("campaign_total ORDER BY campaign_id, carrier, slot", "money_line ORDER BY gift_id")
    return [await portal.fetch(f"SELECT * FROM {table}") for table in tables]


async def give_every_way(portal: Portal) -> None:
    """Gifts of the canary by every protocol, a conflict, what is malformed, what is not authentic; and another's."""
    for name, sender in SENDERS.items():
        for native_id, text, number in (
            ("taken", TEXT, NUMBER),
            ("taken", TEXT + "!", NUMBER),
            ("counted", "VNN 5", NUMBER),
            ("counted-other", "VNN 7", "84950000001"),
            ("bad", TEXT, NUMBER + "x"),
        ):
            await sender.send(portal, f"{name} {native_id}", text, number)
    body = orjson.dumps(message("not-authentic", TEXT, msisdn=NUMBER))
    await portal.post(body, headers=signed(body, secret="whsec_" + "QUJD" * 10))
    await portal.service.intake.quarantine.stop()


async def test_after_an_erasure_nothing_is_left_of_a_person_and_the_money_is_as_it_was(
    environ: pytest.MonkeyPatch,
    database_dsn: str,
    server: TestServer,
    tmp_path: Path,
    capsys: Capture,
    says: Callable[[str], None],
) -> None:
    log_file, folder = tmp_path / "service.log", tmp_path / "backups"
    with log_file.open("w", encoding="utf-8") as stream:
        logs.configure("json", stream)
        (tmp_path / "data").mkdir()
        async with running(database_dsn, tmp_path / "data") as portal:
            await give_every_way(portal)
            money = await figures(portal)
            assert len(money[1]) == 2 * len(SENDERS)
            assert await kept_about(database_dsn) != []

            says(f"0{NATIONAL}")
            code, found = await ran(erase, capsys)
            assert (code, found["erased"]) == (1, False)
            assert found["counts"]["messages"] == 2 * len(SENDERS)
            assert found["counts"]["conflict_callback"] == len(SENDERS)
            assert "may be gifts" in found["left"][0]

            says(f"+84 {NATIONAL}")
            code, erased = await ran(erase, capsys, *RECORD, "--undecided-too")
            assert (code, erased["left"]) == (0, [])
            assert erased["counts"]["messages"] == found["counts"]["messages"]
            assert await kept_about(database_dsn) == []
            assert await figures(portal) == money
            others = await portal.fetch("SELECT FROM message_person")
            assert len(others) == len(SENDERS), "nobody else is forgotten"
            code, proved = await ran(verify, capsys, "--deep")
            assert (code, proved["broken"]) == (0, 0), proved

            says(NUMBER)
            assert (await ran(erase, capsys, "--receipt", erased["receipt"]))[1] == {"erased_at": erased["at"]}
            (act,) = (await ran(listing, capsys, "accesses"))[1]["rows"]
            assert (act["what"], act["acted_by"], act["reason"]) == ("person_erased", "Lan", "request 17/2026")
            says("0950000001")
            assert await ran(erase, capsys, "--receipt", erased["receipt"]) == (1, {"erased_at": None})
            says(NUMBER)
            assert sum((await ran(erase, capsys))[1]["counts"].values()) == 0
            (empty,) = await portal.fetch("SELECT id FROM quarantine WHERE adapter = 'kannel'")
            code, replayed = await ran(quarantine, capsys, "replay", str(empty["id"]))
            assert "erased at a person's request" in replayed["callbacks"][0]["found"]
        logs.close()
    folder.mkdir()
    assert (await ran(backup, capsys, str(folder)))[0] == 0
    async with empty_database(server) as again:
        environ.setenv("PORTAL1400_DATABASE_URL", again)
        environ.setenv("PORTAL1400_DATA_DIR", str(tmp_path / "other"))
        (dump,) = folder.glob(backup.NAMED_BY_TIME)
        assert (await ran(restore, capsys, str(dump)))[0] == 0
        assert await kept_about(again) == []
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or found_in(file.read_bytes()) == [], file


@pytest.mark.parametrize("worker", ["runs", "is gone"])
async def test_what_waits_in_a_spool_is_left_whoever_has_it(
    environ: pytest.MonkeyPatch,
    database_dsn: str,
    tmp_path: Path,
    capsys: Capture,
    says: Callable[[str], None],
    worker: str,
) -> None:
    data = tmp_path / "data"
    environ.setenv("PORTAL1400_DATA_DIR", str(data))

    async def erased() -> tuple[int, list[str]]:
        says(NUMBER)
        code, told = await ran(erase, capsys, *RECORD)
        return code, told["left"]

    data.mkdir()
    async with running(database_dsn, data) as portal:
        await cancel_and_wait(portal.service.intake.replay._task)
        async with database_away(portal):
            assert (await portal.post(message("m-1", "VNN 5", msisdn=NUMBER))).status == 200
        if worker == "runs":
            # It answers nobody: this test does not tell the command where its workers listen.
            code, (left,) = await erased()
            assert (code, "1 callbacks wait in the spool file" in left) == (1, True)
    code, (left,) = await erased()
    assert (code, "1 callbacks wait in the spool file" in left) == (1, True)
    # A receipt would be for nothing: the person is there again when a worker runs.
    async with running(database_dsn, data, book="") as portal:
        await replayed(portal)
        assert await erased() == (0, [])
        assert await kept_about(database_dsn) == []
    assert await erased() == (0, [])
    (lock,) = (data / "spool").glob("*.lock")
    lock.write_bytes(b"broken" * 9)
    code, (left,) = await erased()
    assert (code, "its mark cannot be read" in left) == (1, True)


async def test_ids_that_are_made_of_the_number_are_told_again_after_the_erasure(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture, says: Callable[[str], None]
) -> None:
    async with running(database_dsn, tmp_path) as portal:
        wide = "".join(chr(0xFF10 + int(digit)) for digit in NATIONAL)
        grouped = f"m-0{NATIONAL[:3]}-{NATIONAL[3:6]}.{NATIONAL[6:]}-b"
        for native_id in (f"0{NATIONAL}-1", f"sms{NUMBER}", f"20261121{NATIONAL}", f"x{wide}", grouped):
            await portal.post(message(native_id, "VNN 5", msisdn=NUMBER))
        for native_id in (f"7{NATIONAL}2",):
            await portal.post(message(native_id, "VNN 5", msisdn=NUMBER))
        await portal.post(message(f"7{NATIONAL}1", "VNN 5"))  # somebody else's, with the same digits by chance
        await portal.post(charge("failed", f"c/{NATIONAL}", f"none-{NUMBER}"))
        await portal.post(taken_back(f"r-+{NUMBER}", 1, "m-2"))
        told = []
        for words in ((), RECORD, ()):
            says(NUMBER)
            told.append((await ran(erase, capsys, *words))[1]["ids_of_senders"])
        # What held the digits somewhere in its middle was known for the person's own, and is not any more.
        assert told == [9, 9, 8]


async def test_what_a_carrier_says_of_a_charge_is_kept_without_a_number(portal: Portal) -> None:
    """What stays for ever beside the money: the reason of a failure, the kind of a reversal, the carrier's time."""
    await portal.post(message("m-1", "VNN 5"))
    failed = charge("failed", "c-1", "m-1", 100_000)
    failed["data"]["reason"] = f"insufficient credit of 0{NATIONAL}"
    await portal.post(failed)
    back = taken_back("r-1", 10_000)
    back["data"]["kind"] = f"complaint +84 {NATIONAL}"
    await portal.post(back)
    (kept,) = await portal.fetch(
        "SELECT n.reason, r.kind FROM charge_notice AS n, reversal AS r WHERE n.native_id LIKE 'c-1%'"
    )
    assert tuple(kept) == ("insufficient credit of [redacted]", "complaint [redacted]")
    # They are the same events still when they come again, as they were sent.
    assert [(await portal.post(each)).status for each in (failed, back)] == [200, 200]
    assert await portal.fetch("SELECT FROM conflict") == []
    await require_sound(portal)


async def test_what_waits_for_its_charge_is_left_and_told_and_the_charge_still_counts(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture, says: Callable[[str], None]
) -> None:
    async with running(database_dsn, tmp_path, REPORT_BOOK) as portal:
        await portal.post(message("m-1", "VNN 5", msisdn=NUMBER))
        says(NUMBER)
        code, erased = await ran(erase, capsys, *RECORD)
        assert (code, [each.split()[1] for each in erased["left"]]) == (1, ["row(s)"])
        await portal.post(charge("succeeded", "c-1", "m-1", 100_000))
        assert (await portal.fetch("SELECT sum(vnd)::bigint AS vnd FROM money_line"))[0]["vnd"] == 100_000


@pytest.mark.parametrize(
    ("number", "words", "refusal"),
    [
        ("12345", (), "stdin: want one mobile number"),
        (NUMBER, ("--yes",), "say --by NAME and --reason-text"),
        (NUMBER, ("--yes", "--by", "Lan", "--reason-text", "0912 asks, 340987"), "--reason-text names the number"),
        (
            NUMBER,
            ("--yes", "--by", "Lan", "--reason-text", "asks: ９１２ hay ３４０９８７"),
            "--reason-text names the",
        ),
        (NUMBER, ("--yes", "--by", "Lan 912x340987", "--reason-text", "asks"), "--by names the number"),
    ],
)
async def test_what_is_refused_repeats_no_number(
    environ: pytest.MonkeyPatch,
    capsys: Capture,
    says: Callable[[str], None],
    number: str,
    words: tuple[str, ...],
    refusal: str,
) -> None:
    says(number)
    with pytest.raises(CommandRefused, match=refusal) as refused:
        await ran(erase, capsys, *words)
    assert NATIONAL not in str(refused.value)


async def test_an_erasure_without_its_row_is_refused_by_the_database(portal: Portal) -> None:
    await portal.post(message("m-1"))
    connection = await asyncpg.connect(portal.dsn)
    act = "INSERT INTO privacy_act (what, proof, counts, os_user) VALUES ('person_erased', '', '{}', 'nobody')"
    # A row of an earlier transaction opens nothing, nor one about something else.
    await connection.execute(act)
    for before in ("", "INSERT INTO privacy_act (what, counts, os_user) VALUES ('secret_rotated', '{}', 'nobody');"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="facts are append-only"):
            await connection.execute(f"BEGIN; {before} UPDATE raw_callback SET sealed = ''; COMMIT")
        await connection.execute("ROLLBACK")
    await connection.execute(f"BEGIN; {act}; UPDATE raw_callback SET sealed = ''; COMMIT")
    await connection.close()
