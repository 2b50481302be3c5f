"""What is known of one callback is found by its sender's id and by ours; and what waits for a person is listed."""

import argparse
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from campaigns.gifts.receipts import as_receipt, receipt_code
from gateways.callback import Callback
from service.commands import find
from service.commands import list as listing
from service.commands.opening import CommandRefused
from service.runtime.tasks import cancel_and_wait
from service.runtime.uuid7 import uuid7
from tests.support.portal import Portal, message, running
from tests.support.protocols import get_kannel, post_soap
from tests.support.reports import REPORT_BOOK, charge, gift, taken_back

Capture = pytest.CaptureFixture[str]
REQUEST = "x-portal1400-request"
NUMBER_LIKE = "sms-0912345678"


@pytest.fixture
async def portal(environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A running service whose hub counts on report."""
    async with running(database_dsn, tmp_path, REPORT_BOOK) as started:
        yield started


async def asked(module: ModuleType, capsys: Capture, *words: str) -> tuple[int, Any, str]:
    """A command's exit code, what it answers with --json, and what it tells people."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    capsys.readouterr()
    code = await module.run(parser.parse_args([*words, "--json"]))
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert await module.run(parser.parse_args(words)) == code
    return code, found, capsys.readouterr().out


async def test_a_gift_is_found_with_all_that_speaks_of_it(portal: Portal, capsys: Capture) -> None:
    first = await portal.post(gift())
    other = await portal.post(gift("VNN 9"))
    await portal.post(charge("succeeded"))
    await portal.post(taken_back("r-1", 10_000))
    await portal.post(taken_back("r-2", 900_000))
    await portal.post(charge("failed", "c-2", amount=0))
    await portal.post(taken_back("r-3", 5_000, None, charge_id="c-1"))
    code, found, told = await asked(find, capsys, "hub", "m-1")
    assert (code, found["known"]) == (0, True)
    (stored,) = found["messages"]
    assert {name: stored[name] for name in ("request", "reading", "campaign", "units", "amount_vnd", "state")} == {
        "request": first.headers[REQUEST], "reading": "counted", "campaign": "vnn", "units": 5,
        "amount_vnd": 100_000, "state": "counted",
    }  # fmt: skip
    assert as_receipt(stored["receipt"]) == stored["receipt"]
    assert stored["receipt"] in told
    written = stored["receipt"].lower().replace("-", " ")
    _, found, told = await asked(find, capsys, "hub", "m-1", "--receipt", written)
    assert (found["receipt_is_its"], "receipt      is this message's" in told) == (True, True)
    another = receipt_code(b"another key", 1, "m-1")
    _, found, told = await asked(find, capsys, "hub", "m-1", "--receipt", another)
    assert (found["receipt_is_its"], "receipt      is no message's" in told) == (False, True)
    with pytest.raises(SystemExit):
        await asked(find, capsys, "hub", "m-1", "--receipt", another[:-1] + ("A" if another[-1] != "A" else "C"))
    assert "a letter is wrong or missing, or two changed places" in capsys.readouterr().err
    code, found, told = await asked(find, capsys, "hub", "m-1")
    assert [line["vnd"] for line in stored["lines"]] == [100_000, -10_000, -5_000]
    assert [(each["charge_id"], each["status"], each["message"]) for each in found["charges"]] == [
        ("c-1", "succeeded", "m-1"),
        ("c-2", "failed", "m-1"),
    ]
    assert "amount_vnd   0\n" in told
    assert [(each["native_id"], each["review"] is None) for each in found["reversals"]] == [
        ("r-1", True),
        ("r-2", False),
        ("r-3", True),
    ]
    assert [each["request"] for each in found["conflicts"]] == [other.headers[REQUEST]]
    for word in (
        "message     m-1 of hub",
        "2026-11-21T15:30:00+07:00 vnn pledged +1 messages, +5 units, +100000 VND",
    ):
        assert word in told, word
    assert [word for word in ("84950000001", "VNN 5", "VNN 9") if word in told + json.dumps(found)] == []
    # By our id, of whatever kind of event, and also of what moved nothing.
    code, found, told = await asked(find, capsys, "vina", first.headers[REQUEST])
    assert (code, [each["native_id"] for each in found["messages"]]) == (0, ["m-1"])
    code, found, told = await asked(find, capsys, "hub", other.headers[REQUEST])
    assert (code, found["messages"], [each["native_id"] for each in found["conflicts"]]) == (0, [], ["m-1"])
    code, found, _ = await asked(find, capsys, "hub", "r-2")
    assert [each["native_id"] for each in found["reversals"]] == ["r-2"]

    code, listed, told = await asked(listing, capsys, "conflicts")
    assert (code, listed["count"], listed["rows"][0]["is_kept"]) == (0, 1, True)
    assert other.headers[REQUEST] in told
    code, listed, told = await asked(listing, capsys, "reviews", "--account", "hub")
    assert [(each["native_id"], each["amount_vnd"]) for each in listed["rows"]] == [("r-2", 900_000)]
    code, listed, told = await asked(listing, capsys, "reviews", "--since", "2099-01-01")
    assert (code, listed["count"], "nothing" in told) == (0, 0, True)


async def test_what_was_not_understood_is_found_in_quarantine(portal: Portal, capsys: Capture) -> None:
    wrong = await post_soap(portal, "a&b/1", number="12")
    await post_soap(portal, "a&b/12", number="12")
    fetched = await get_kannel(portal, "x&y/1", number="12")
    await portal.service.intake.quarantine.stop()
    for words in ("a&b/1", wrong.headers[REQUEST]):
        code, found, told = await asked(find, capsys, "soap", words)
        (kept,) = found["quarantine"]
        assert (code, kept["request"], kept["outcome"]) == (0, wrong.headers[REQUEST], "malformed")
        assert "quarantined" in told
    code, found, told = await asked(find, capsys, "vina", "x&y/1")
    assert [each["request"] for each in found["quarantine"]] == [fetched.headers[REQUEST]]
    code, listed, told = await asked(listing, capsys, "quarantine", "--account", "vina")
    assert (code, listed["count"], fetched.headers[REQUEST] in told) == (0, 1, True)


async def test_whoever_finds_nothing_hears_what_waits_in_the_spool(
    environ: pytest.MonkeyPatch, portal: Portal, capsys: Capture
) -> None:
    replay = portal.service.intake.replay
    await cancel_and_wait(replay._task)
    received_at = datetime.now(UTC)
    waiting = Callback("POST", "", {}, b"{}", ip_address("127.0.0.1"), received_at, request_id=uuid7(received_at))
    await replay.own.keep(portal.service.catalog.accounts.by_code["hub"], waiting)
    environ.setenv("PORTAL1400_INTERNAL_LISTEN", portal.internal.removeprefix("http://"))
    code, found, told = await asked(find, capsys, "hub", str(waiting.request_id))
    assert (code, len(found["spool"])) == (1, 1)
    assert "1 callbacks wait in the spool" in told


async def test_nothing_is_said_to_be_nothing_and_ids_show_no_number(portal: Portal, capsys: Capture) -> None:
    for unknown in ("m-1", str(uuid4())):
        code, found, told = await asked(find, capsys, "hub", unknown)
        assert (code, found["known"]) == (1, False)
        assert "nothing is known of this id for hub" in told
        assert "the request of a repeat (the sender's own id finds what it repeats)" in told
    with pytest.raises(CommandRefused, match="no account has the code hubb; there are: hub, soap, vina"):
        await find.run(argparse.Namespace(account="hubb", id="m-1", json=False))
    for words in (["conflicts"], ["reviews"], ["quarantine"]):
        with pytest.raises(CommandRefused, match="no account has the code hubb; there are: hub, soap, vina"):
            await asked(listing, capsys, *words, "--account", "hubb")
    with pytest.raises(CommandRefused, match="want 1 to 200 letters"):
        await find.run(argparse.Namespace(account="hub", id=" ", json=False))
    await portal.post(message(NUMBER_LIKE))
    conflict = await portal.post(message(NUMBER_LIKE, "VNN 6"))
    for words in (["conflicts"], ["conflicts", "--limit", "1"]):
        _, listed, told = await asked(listing, capsys, *words)
        assert listed["rows"][0]["native_id"] == "sms-[redacted]"
        assert "0912345678" not in told
    _, found, told = await asked(find, capsys, "hub", conflict.headers[REQUEST])
    assert found["conflicts"][0]["native_id"] == "sms-[redacted]"
    assert "0912345678" not in told
    _, found, _ = await asked(find, capsys, "hub", NUMBER_LIKE)
    assert found["messages"][0]["native_id"] == NUMBER_LIKE, "whoever asks has it"
