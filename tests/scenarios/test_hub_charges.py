"""Hubs that tell of a message's charge: in the message's own call, or in one of its own that names no message."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateways.sender import Request, Sms
from gateways.wire.checksums import hmac_sha256_hex
from tests.support.away import require_invariants
from tests.support.portal import BOOK, Portal, Reply, running
from tests.support.protocols import account_table, fetch, speaker
from tests.support.reports import money, swept

REPLYING = """
[[gateway]]
code = "replying"
adapter = "onepay"
carrier = "viettel"
charging = "on_message"
networks = ["127.0.0.0/8"]
product = "sms"
access_key = "ak"
secrets = ["word"]
style = "reply"
refuse_text = "Sai cu phap"
"""
BOOKED = "\n".join(
    (
        BOOK[: BOOK.index("[[gateway]]")],
        account_table("onepay", ["word"]),
        account_table("appota_ipn", ["word"]),
        account_table("vascloud", ["word"]).replace("on_message", "on_report"),
        REPLYING,
    )
)
AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


@pytest.fixture
async def portal(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    async with running(database_dsn, tmp_path, BOOKED) as made:
        yield made


async def sent(portal: Portal, asked: Request) -> Reply:
    return await fetch(portal, asked.method, asked.address, headers=asked.headers, data=asked.body or None)


def sms(native_id: str, at: datetime = AT) -> Sms:
    return Sms(0, native_id, "84950000001", "1408", "VNN 5", "VNN", "viettel", None, at, amount_vnd=100_000)


def onepay(**changes: str) -> Request:
    """A call of SMSplus with other values than its sender's, signed anew."""
    return fetched("onepay", {"amount": "100000", "command_code": "VNN", "mo_message": "VNN 5"} | changes)


def fetched(account: str, said: dict[str, str]) -> Request:
    """A call of 1Pay's."""
    values = {"access_key": "ak", "msisdn": "84950000001"} | said
    signed = "&".join(f"{name}={values[name]}" for name in sorted(values))
    query = urlencode({**values, "signature": hmac_sha256_hex(b"word", signed.encode())})
    return Request("GET", f"/gw/onepay/{account}?{query}", {})


def appota(**changes: str) -> Request:
    """A confirmation with other values than its sender's, signed anew."""
    values = {
        "status": "1", "sandbox": "0", "transaction_id": "t-1", "transaction_type": "SMS", "phone": "84950000001",
        "message": "VNN 5", "code": "1408", "amount": "100000", "currency": "VND",
    } | changes  # fmt: skip
    signed = "".join(value for _, value in sorted(values.items())) + "word"
    body = urlencode({**values, "hash": md5(signed.encode()).hexdigest()}).encode()
    return Request("POST", "/gw/appota_ipn/appota-ipn", {"Content-Type": "application/x-www-form-urlencoded"}, body)


def vascloud(queue_id: str, at: datetime, **changes: Any) -> Request:
    """An event of the notifier."""
    values = {
        "queueID": queue_id, "resultCode": "0", "startTime": f"{int(at.timestamp())}000", "msisdn": "84950000001",
        "service_id": "S1408", "package_id": "VNN", "price": "100000",
    } | changes  # fmt: skip
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    body = f"<ACCESSGW><MODULE>SDP</MODULE><MESSAGE_TYPE>NOTIFY</MESSAGE_TYPE><COMMAND>{inner}</COMMAND></ACCESSGW>"
    return Request("POST", "/gw/vascloud/vascloud/word", {"Content-Type": "text/xml"}, body.encode())


async def test_a_message_that_comes_with_its_charge_counts_by_that(portal: Portal) -> None:
    question = await sent(portal, onepay(telco="vtm"))
    assert (question.status, b'"status":1' in question.body) == (200, True)
    failed = {"request_id": "r-1", "request_time": AT.isoformat(), "error_code": "WCG", "error_message": "no money"}
    assert b'"status":1' in (await sent(portal, onepay(**failed))).body
    for changes in ({"sandbox": "1"}, {"transaction_id": "t-2", "status": "0"}):
        assert (await sent(portal, appota(**changes))).status == 200
    assert await money(portal) == (0, 0)
    states = await portal.fetch("SELECT message_ref, state FROM gift ORDER BY message_ref")
    assert [tuple(row) for row in states] == [("r-1", "failed"), ("t-2", "failed")]

    taken = await sent(portal, onepay(**failed | {"request_id": "r-2", "error_code": "OK"}))
    assert (taken.status, taken.body) == (200, question.body)
    assert (await sent(portal, appota())).status == 200
    assert await money(portal) == (2, 200_000)
    # Another end of the same charge is a conflict, and moves nothing.
    for contrary in (onepay(**failed | {"request_id": "r-2"}), appota(status="0")):
        assert (await sent(portal, contrary)).status == 200
    assert await money(portal) == (2, 200_000)
    assert len(await portal.fetch("SELECT FROM conflict")) == 2
    await require_invariants(portal.dsn)


async def test_a_charge_that_names_no_message_finds_it_whichever_comes_first(portal: Portal) -> None:
    sender = speaker("vascloud", "word")
    first = await sent(portal, sender.request([sms("m-1")], AT))
    assert (first.status, await money(portal)) == (200, (0, 0))
    charge = vascloud("q-1", AT + timedelta(minutes=1))
    answer = await sent(portal, charge)
    echo = b"<queueID>q-1</queueID><msisdn>84950000001</msisdn><service_id>S1408</service_id>"
    assert (answer.status, echo in answer.body, b"<error_id>0<" in answer.body) == (200, True, True)
    assert await money(portal) == (1, 100_000)
    assert (await sent(portal, charge)).body == answer.body
    assert await money(portal) == (1, 100_000)

    later = AT + timedelta(hours=1)
    await sent(portal, vascloud("q-2", later))
    await sent(portal, vascloud("q-3", later, resultCode="1"))
    assert await money(portal) == (1, 100_000)
    await sent(portal, sender.request([replace(sms("m-2"), at=later)], later))
    await swept(portal)
    assert await money(portal) == (2, 200_000)
    await require_invariants(portal.dsn)


async def test_what_does_not_count_is_given_back_where_that_was_agreed_on(portal: Portal) -> None:
    def texted(native_id: str, text: str) -> Request:
        named = {"request_id": native_id, "request_time": AT.isoformat(), "short_code": "1408", "command": "VNN"}
        return fetched("replying", {"mo_message": text, **named})

    for native_id, text, status in (("1", "VNN 5", 1), ("2", "VNN 5 nhe", 0), ("3", "xin chao", 1)):
        # An unknown keyword is held, not refused: money may have found its campaign late.
        first, again = [await sent(portal, texted(native_id, text)) for _ in range(2)]
        assert (first.status, first.body[:11]) == (200, f'{{"status":{status}'.encode()), text
        assert again.body == first.body
    assert await money(portal) == (1, 100_000)
