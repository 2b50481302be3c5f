"""Replies that a call carries: sent once, charged or free as they must be, and never in the way of intake."""

import json
import tomllib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from campaigns.gifts.finding import find
from campaigns.gifts.worklists import list_open
from gateways.registry import ADAPTERS, SENDERS
from gateways.sender import Sms
from service.delivery import lane
from service.delivery.replies import NO_REPORT_ADDRESS
from tests.support.databases import cloned_database
from tests.support.hub import PRICE_VND, Hub, billing_hub
from tests.support.portal import BOOK, Portal, Reply, eventually, running
from tests.support.postgres import TestServer
from tests.support.protocols import fetch, own_keys

PROTOCOLS = ("kannel", "jasmin", "vcom_json", "vn_soap_mo")
OWN: dict[str, str] = {
    "kannel": 'reply_user = "portal"\nreply_password = "word"\nreply_charged = { binfo = "charge" }\n',
    "jasmin": 'reply_user = "portal"\nreply_password = "word"\nreply_charged = { tags = "charged" }\n',
    "vcom_json": "",
    "vn_soap_mo": 'reply_user = "portal"\nreply_password = "word"\n',
}
CHARGINGS = ("on_reply", "on_message")
TEXTS = """hotline = "19001530"
reply_thank_you = "Cam on Quy vi da ung ho {amount} dong. Ma {receipt}. Ho tro {hotline}"
reply_wrong_form = "Sai cu phap. Ho tro {hotline}"
"""


def code_of(protocol: str, charging: str) -> str:
    return f"{protocol}-{charging}".replace("_", "-")


def table(protocol: str, charging: str, base: str) -> str:
    code = code_of(protocol, charging)
    return (
        f'[[gateway]]\ncode = "{code}"\nadapter = "{protocol}"\ncarrier = "viettel"\ncharging = "{charging}"\n'
        f'networks = ["127.0.0.0/8"]\n{own_keys(protocol, ["word"])}\n'
        f'reply_url = "{base}/{protocol}/{code}"\nreply_per_second = 500\n{OWN[protocol]}\n'
    )


def book(base: str) -> str:
    tables = "".join(table(protocol, charging, base) for protocol in PROTOCOLS for charging in CHARGINGS)
    return BOOK[: BOOK.index("[[gateway]]")].replace("[[campaign.route]]", TEXTS + "[[campaign.route]]") + tables


async def post(portal: Portal, protocol: str, charging: str, native_id: str, text: str = "VNN 5") -> Reply:
    """One message of a donor, as its hub hands it over."""
    settings = ADAPTERS[protocol].settings_model.model_validate(tomllib.loads(own_keys(protocol, ["word"])))
    sender = SENDERS[protocol](code_of(protocol, charging), settings)
    sms = Sms(
        0, native_id, "84950000001", "1408", text, "VNN", "viettel", None, datetime.now(UTC).replace(microsecond=0)
    )
    asked = sender.request([sms], datetime.now(UTC))
    return await fetch(portal, asked.method, asked.address, headers=asked.headers, data=asked.body or None)


@pytest.fixture(scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with billing_hub() as made:
        yield made


@pytest.fixture(scope="module")
async def portal(server: TestServer, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    with pytest.MonkeyPatch.context() as patched:
        # Rests and pauses are of seconds and minutes; their order is what is looked at here.
        patched.setattr(lane, "PAUSES", (timedelta(seconds=0.05),))
        patched.setattr(lane, "RESTS", (0.05,))
        async with (
            cloned_database(server) as dsn,
            running(dsn, tmp_path_factory.mktemp("replies"), book(hub.base), public_url="https://p.example") as made,
        ):
            yield made


async def states(portal: Portal, code: str) -> list[str]:
    rows = await portal.fetch(
        "SELECT state FROM reply JOIN gateway_account AS a ON a.id = account_id WHERE a.code = $1",
        code,
    )
    return [row["state"] for row in rows]


async def money(portal: Portal, code: str) -> tuple[int, int]:
    """Messages and VND that an account's gifts have brought."""
    (row,) = await portal.fetch(
        "SELECT coalesce(sum(l.messages), 0)::int AS messages, coalesce(sum(l.vnd), 0)::int AS vnd "
        "FROM money_line AS l JOIN message AS m ON m.id = l.gift_id JOIN gateway_account AS a ON a.id = m.account_id "
        "WHERE a.code = $1",
        code,
    )
    return row["messages"], row["vnd"]


async def ended(portal: Portal, code: str, wanted: Sequence[str]) -> None:
    async def are_ended() -> bool:
        return sorted(await states(portal, code)) == sorted(wanted)

    await eventually(are_ended)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_gift_is_money_when_its_charged_reply_is_taken_and_what_does_not_count_charges_nobody(
    portal: Portal, hub: Hub, protocol: str
) -> None:
    code = code_of(protocol, "on_reply")
    hub.mood[code] = "later"
    for _ in range(2):
        assert (await post(portal, protocol, "on_reply", "m-1")).status == 200

    async def is_tried() -> bool:
        return hub.calls[code] >= 2

    await eventually(is_tried)
    assert (await money(portal, code), hub.bills[code]) == ((0, 0), 0)
    hub.mood[code] = "ok"
    await post(portal, protocol, "on_reply", "m-2", "VNN xx")
    await ended(portal, code, ["sent", "sent"])

    # The price of the stand-in is one; what the text gives is the book's.
    assert await money(portal, code) == (1, 100_000)
    thanks, wrong = sorted((sms.text for sms in hub.of(code)), key=len, reverse=True)
    assert thanks.startswith("Cam on Quy vi da ung ho 100.000 dong. Ma ")
    assert wrong == "Sai cu phap. Ho tro 19001530"
    given_back = PRICE_VND if protocol == "vn_soap_mo" else 0
    assert hub.bills[code] == PRICE_VND - given_back
    assert await portal.metric("portal1400_replies_total", account=code, outcome="sent") == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_reply_is_free_of_charge_where_the_message_was_the_gift(
    portal: Portal, hub: Hub, protocol: str
) -> None:
    code = code_of(protocol, "on_message")
    for number in (1, 2):
        await post(portal, protocol, "on_message", f"m-{number}", "VNN")
    await ended(portal, code, ["sent", "sent"])
    assert (await money(portal, code), hub.bills[code], len(hub.of(code))) == ((2, 40_000), 0, 2)
    receipts = {sms.text for sms in hub.of(code)}
    assert len(receipts) == 2


@pytest.mark.parametrize(("protocol", "state", "calls"), [("kannel", "in_doubt", 1), ("vcom_json", "sent", 2)])
async def test_a_reply_whose_answer_is_lost_is_repeated_only_where_the_hub_drops_repeats(
    portal: Portal, hub: Hub, protocol: str, state: str, calls: int
) -> None:
    code = code_of(protocol, "on_reply")
    before, billed, called = len(hub.of(code)), hub.bills[code], hub.calls[code]
    known, had = await states(portal, code), await money(portal, code)
    hub.mood[code] = "cut"
    await post(portal, protocol, "on_reply", "m-cut")

    async def is_sent() -> bool:
        return len(hub.of(code)) > before

    await eventually(is_sent)
    hub.mood[code] = "ok"
    await ended(portal, code, [*known, state])
    assert (len(hub.of(code)) - before, hub.bills[code] - billed) == (1, PRICE_VND)
    assert hub.calls[code] - called >= calls
    # In doubt is no money: the donor's report, or the carrier's bill, says what it is.
    assert (await money(portal, code))[0] - had[0] == (1 if state == "sent" else 0)
    connection = await asyncpg.connect(portal.dsn)
    try:
        newest = "SELECT account_id, native_id FROM message ORDER BY id DESC LIMIT 1"
        account_id, native_id = (await connection.fetch(newest))[0]
        (message,) = (await find(connection, account_id, native_id)).messages
        assert (message["reply"], message["reply_calls"]) == (state, calls)
        assert (await list_open(connection, "replies", code, None, 9)).total == (state == "in_doubt")
        if state == "in_doubt":
            assert message["reply_reason"] == "no whole answer came"
            # Its report says what nobody knew, and nothing is left for a person.
            report = next(each for each in hub.reports.values() if f"msg={native_id}&" in each)
            path = report.removeprefix("https://p.example").replace("%d", "1").replace("%T", "1795249800")
            assert (await fetch(portal, "GET", path)).status == 200
            assert (await money(portal, code))[0] - had[0] == 1
            assert await list_open(connection, "replies", code, None, 9) == ([], [])
    finally:
        await connection.close()


async def test_a_hub_that_refuses_or_is_away_keeps_no_gift_out_and_is_told(portal: Portal, hub: Hub) -> None:
    code = code_of("jasmin", "on_message")
    known, (messages, _) = await states(portal, code), await money(portal, code)
    hub.mood[code] = "refuse"
    for number in range(6):
        assert (await post(portal, "jasmin", "on_message", f"r-{number}")).status == 200
    await ended(portal, code, [*known, *["refused"] * 6])
    assert (await money(portal, code))[0] == messages + 6
    assert any(code in each for each in portal.service.health().degraded)
    hub.mood[code] = "ok"
    await post(portal, "jasmin", "on_message", "r-7")
    await ended(portal, code, [*known, *["refused"] * 6, "sent"])
    assert not any(code in each for each in portal.service.health().degraded)


async def test_a_delivery_report_of_a_charged_reply_joins_its_gift(portal: Portal, hub: Hub) -> None:
    code = code_of("kannel", "on_reply")
    before = await money(portal, code)
    report = next(each for each in hub.reports.values() if f"/gw/kannel/{code}/" in each)
    assert report.startswith("https://p.example/gw/")
    path = report.removeprefix("https://p.example").replace("%d", "1").replace("%T", "1795249800")
    assert (await fetch(portal, "GET", path)).status == 200
    assert await money(portal, code) == before
    notices = await portal.fetch(
        "SELECT count(*) AS notices, count(DISTINCT charge_id) AS charges FROM charge_notice "
        "WHERE message_ref = (SELECT message_ref FROM charge_notice ORDER BY received_at DESC LIMIT 1)"
    )
    assert [tuple(row) for row in notices] == [(2, 1)]
    assert await portal.fetch("SELECT 1 FROM review") == []


async def test_no_donor_is_charged_by_a_reply_whose_report_could_not_come(
    server: TestServer, hub: Hub, tmp_path: Path
) -> None:
    tables = table("kannel", "on_report", hub.base) + table("jasmin", "on_report", hub.base)
    whole = book(hub.base)
    named = whole[: whole.index("[[gateway]]")] + tables + table("vn_soap_mo", "on_message", hub.base)
    async with cloned_database(server) as dsn, running(dsn, tmp_path, named) as portal:
        for protocol in ("kannel", "jasmin"):
            await post(portal, protocol, "on_report", "unreported")
            code = code_of(protocol, "on_report")
            assert f"replies of {code} wait: {NO_REPORT_ADDRESS}" in portal.service.health().degraded
        # Its lane is begun after theirs.
        await post(portal, "vn_soap_mo", "on_message", "reported")
        await ended(portal, code_of("vn_soap_mo", "on_message"), ["sent"])

        for protocol in ("kannel", "jasmin"):
            code = code_of(protocol, "on_report")
            assert (await states(portal, code), hub.calls[code]) == (["due"], 0)


async def test_what_a_dead_dispatcher_left_behind_is_sent_again_only_where_repeats_are_dropped(
    server: TestServer, hub: Hub, tmp_path: Path
) -> None:
    async with cloned_database(server) as dsn:
        silent = book(hub.base)
        async with running(dsn, tmp_path, silent, public_url="https://p.example") as portal:
            # Nobody sends: the lock of each account is held by somebody who does nothing.
            holder = await asyncpg.connect(dsn)
            await portal.service.operations.replies.stop()
            await holder.fetch("SELECT pg_advisory_lock(1402, id) FROM gateway_account")
            for protocol in ("kannel", "vcom_json"):
                await post(portal, protocol, "on_message", "left")
            await holder.execute("UPDATE reply SET state = 'sending', attempts = 1")
            await holder.close()
        before = len(hub.sent)
        async with running(dsn, tmp_path, silent, public_url="https://p.example") as portal:
            await ended(portal, code_of("kannel", "on_message"), ["in_doubt"])
            await ended(portal, code_of("vcom_json", "on_message"), ["sent"])
            assert len(hub.sent) == before + 1
            (row,) = await portal.fetch("SELECT * FROM reply WHERE state = 'sent'")
            kept = json.dumps([str(value) for value in row.values()])
            assert "84950000001" not in kept
            assert "Cam on" not in kept


async def test_an_erased_number_is_answered_by_nothing(portal: Portal, hub: Hub) -> None:
    code = code_of("vn_soap_mo", "on_message")
    known: list[Any] = await states(portal, code)
    called = hub.calls[code]
    hub.mood[code] = "later"
    await post(portal, "vn_soap_mo", "on_message", "gone")

    async def is_tried() -> bool:
        # Due is also what was never tried: then the hub might be asked while the number is being erased.
        return hub.calls[code] > called and "due" in await states(portal, code)

    await eventually(is_tried)
    await portal.fetch(
        "DELETE FROM message_person WHERE message_id IN (SELECT message_id FROM reply WHERE state = 'due')"
    )
    hub.mood[code] = "ok"
    await ended(portal, code, [*known, "dropped"])
