"""Replies that a call of the portal carries, taken by hubs that the simulator plays: counted, and missed."""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest

from campaigns.book.apply_file import book_from_file, load
from gateways.sender import Sms
from service.simulator.hubs import Hubs, Replied
from service.simulator.links import links_of
from service.simulator.options import Options
from service.simulator.refused import SimulateRefused
from service.simulator.runner import simulate
from service.simulator.tally import Ledger
from tests.support.portal import BOOK, Portal, book_file, running
from tests.support.ports import free_ports

TEXTS = """hotline = "19001530"
reply_thank_you = "Cam on Quy vi da ung ho {amount} dong. Ma {receipt}. Ho tro {hotline}"
reply_wrong_form = "Sai cu phap. Ho tro {hotline}"
"""
ROUTED = 'path_secret = "a-secret"\nreply_user = "portal"\nreply_password = "word"\nreply_charged = { %s = "1" }'
ACCOUNTS = (
    ("kannel", "on_reply", ROUTED % "binfo"),
    ("jasmin", "on_report", ROUTED % "tags"),
    ("vcom_json", "on_reply", 'client_id = "demo-cp"\nsecrets = ["word"]'),
    (
        "vn_soap_mo", "on_message",
        'dialect = "receiverMO"\nuser = "hub"\npassword = ["word"]\nreply_user = "portal"\nreply_password = "word"',
    ),
)  # fmt: skip


def book(port: int) -> str:
    tables = "".join(
        f'[[gateway]]\ncode = "{adapter.replace("_", "-")}"\nadapter = "{adapter}"\ncarrier = "viettel"\n'
        f'charging = "{charging}"\nnetworks = ["127.0.0.0/8"]\n{keys}\n'
        f'reply_url = "http://127.0.0.1:{port}/{adapter}"\nreply_per_second = 500\n'
        for adapter, charging, keys in ACCOUNTS
    )
    return BOOK[: BOOK.index("[[gateway]]")].replace("[[campaign.route]]", TEXTS + "[[campaign.route]]") + tables


async def test_who_is_owed_a_reply_has_one(database_dsn: str, tmp_path: Path) -> None:
    text = book(free_ports())
    async with running(database_dsn, tmp_path, text, public_url="https://portal.example") as portal:
        options = Options(rate=100, seconds=1.0, settle_seconds=20.0)
        report = await simulate(portal.base, book_file(tmp_path, text), options, environment={})
    assert report.is_right, "\n".join(report.lines())
    assert {each.protocol for each in report.replied} == {adapter for adapter, *_ in ACCOUNTS}
    assert all(each.owed == each.answered > 0 for each in report.replied)
    assert any(" were answered, 0 more than once" in line for line in report.lines())


async def test_who_is_missed_answered_twice_or_not_meant_is_told(tmp_path: Path) -> None:
    port = free_ports()
    file = load(book_file(tmp_path, book(port)))
    gateways = [each.raw for each in file.gateways if each.raw["adapter"] == "kannel"]
    links, _ = links_of(gateways, (), {}, (ip_address("127.0.0.1"),))
    ledger = Ledger(book_from_file(file))
    donors = [
        Sms(number, f"m-{number}", f"+8495000000{number}", "1408", "VNN 5", "VNN", "viettel", None, None)
        for number in range(3)
    ]
    async with Hubs(book_from_file(file), links, {link.account: link.sender() for link in links}) as hubs:
        for sms in donors:
            hubs.owe("kannel", sms, ledger.reading(sms, datetime.now(UTC)))
        async with aiohttp.ClientSession() as http:
            for number in ("84950000000", "84950000001", "84950000001", "84950000009"):
                async with http.post(f"http://127.0.0.1:{port}/kannel", headers={"X-Kannel-To": number}) as answer:
                    assert answer.status == 202
        (told,) = await hubs.until_answered(0.0)
    assert told == Replied("kannel", "kannel", owed=3, answered=2, twice=1, unasked=1)
    assert not told.is_right


async def test_an_address_that_is_taken_is_told(portal: Portal, tmp_path: Path) -> None:
    port = int(portal.base.rpartition(":")[2])
    with pytest.raises(SimulateRefused, match="listens there"):
        await simulate(portal.base, book_file(tmp_path, book(port)), Options(rate=1, seconds=1.0), environment={})
