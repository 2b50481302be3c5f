"""Protocols whose answer holds an SMS to the donor: the campaign's text, stored with the message and repeated."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from campaigns.gifts.receipts import as_receipt
from gateways.wire.checksums import hmac_sha256_hex, md5_hex
from service.commands.apply import apply_file
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, Portal, Reply, book_file, eventually, running
from tests.support.postgres import TestServer
from tests.support.protocols import fetch, post_soap

TEXTS = """hotline = "19001530"
reply_thank_you = "Cam on Quy vi da ung ho {amount} dong. Ma {receipt}. Ho tro {hotline}"
reply_wrong_form = "Sai cu phap. Ho tro {hotline}"
reply_closed = "Da ket thuc. Ho tro {hotline}"
"""
ACCOUNTS = """
[[gateway]]
code = "onepay"
adapter = "onepay"
carrier = "viettel"
charging = "on_reply"
networks = ["127.0.0.0/8"]
product = "sms"
access_key = "ak"
secrets = ["word"]
style = "reply"
refuse_text = "Khong tinh"

[[gateway]]
code = "esms"
adapter = "esms_get"
carrier = "vinaphone"
charging = "on_message"
networks = ["127.0.0.0/8"]
cpid = "CP01"
secrets = ["word"]
"""
ANSWERING = (BOOK + ACCOUNTS).replace("[[campaign.route]]", TEXTS + "[[campaign.route]]")
ANSWERING = ANSWERING.replace('charging = "on_message"\ndialect', 'charging = "on_reply"\ndialect')


async def onepay(portal: Portal, native_id: str, text: str) -> Reply:
    values = {
        "access_key": "ak", "command": "VNN", "mo_message": text, "msisdn": "84950000001", "request_id": native_id,
        "request_time": "2026-11-21T15:30:00Z", "short_code": "1408",
    }  # fmt: skip
    signed = "&".join(f"{name}={value}" for name, value in values.items())
    query = urlencode({**values, "signature": hmac_sha256_hex(b"word", signed.encode())})
    return await fetch(portal, "GET", f"/gw/onepay/onepay?{query}")


async def esms(portal: Portal, native_id: str, text: str) -> Reply:
    values = {"cpid": "CP01", "smsid": native_id, "content": text, "receiverTime": "20261121153000"}
    sign = md5_hex("".join(values.values()).encode() + b"word")
    query = urlencode({**values, "sender": "84950000001", "serviceNumber": "1408", "keyword": "VNN", "sign": sign})
    return await fetch(portal, "GET", f"/gw/esms_get/esms?{query}")


def of_json(answer: Reply) -> tuple[str, str]:
    said = json.loads(answer.body)
    return str(said["status"]), said["sms"]


def of_xml(answer: Reply) -> tuple[str, str]:
    found = re.search(rb"<(Message|GetMODataResult)>(?:([0-9])\|)?(.*)</\1>", answer.body)
    assert found is not None
    return (found[2] or b"").decode(), found[3].decode()


# protocol, how it is called, how its answer is read, the value of a good one and of one that is not counted, and
# what is said with the latter
HUBS: dict[str, tuple[Callable[..., Awaitable[Reply]], Callable[[Reply], tuple[str, str]], str, tuple[str, str]]] = {
    "vn_soap_mo": (post_soap, of_xml, "0", ("1", "Sai cu phap")),
    "onepay": (onepay, of_json, "1", ("0", "Sai cu phap. Ho tro 19001530")),
    "esms_get": (esms, of_xml, "", ("", "Sai cu phap. Ho tro 19001530")),
}


@pytest.fixture(scope="module")
async def answering(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:

    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path_factory.mktemp("answering"), ANSWERING) as portal,
    ):
        yield portal


@pytest.mark.parametrize("protocol", HUBS)
async def test_a_gift_is_thanked_in_the_answer_once_and_the_same_at_every_repeat(
    answering: Portal, protocol: str, tmp_path: Path
) -> None:
    send, read, good, refused = HUBS[protocol]
    before = (await answering.totals())["messages"]
    first = await send(answering, f"{protocol}-1", "VNN 5")
    value, said = read(first)
    code = re.search(r"Ma (\S+)\. ", said)
    assert (value, code and as_receipt(code[1])) == (good, code and code[1])
    assert said == f"Cam on Quy vi da ung ho 100.000 dong. Ma {code and code[1]}. Ho tro 19001530"
    wrong = await send(answering, f"{protocol}-2", "VNN xx")
    assert read(wrong) == refused

    # Another text holds for what comes from now on, and for nothing that was answered.
    other = ANSWERING.replace("Cam on Quy vi", f"{protocol.upper().replace('_', '-')}: Tran trong cam on")
    await apply_file(answering.opened, book_file(tmp_path, other.replace("Sai cu phap. H", "Khong dung. H")))

    async def is_loaded() -> bool:
        return "Tran trong" in str(answering.service.catalog.book.campaigns[0].replies.reply_thank_you)

    await eventually(is_loaded)
    assert (await send(answering, f"{protocol}-1", "VNN 5")).body == first.body
    assert (await send(answering, f"{protocol}-2", "VNN xx")).body == wrong.body
    assert "Tran trong cam on" in read(await send(answering, f"{protocol}-3", "VNN"))[1]
    await apply_file(answering.opened, book_file(tmp_path, ANSWERING))

    async def is_counted() -> bool:
        # The next protocol is answered by the book as it was.
        return bool((await answering.totals())["messages"] == before + 2) and not await is_loaded()

    await eventually(is_counted)
    flagged = "SELECT count(*) FROM message WHERE flags @> '{charged_not_counted}'"
    assert [row[0] for row in await answering.fetch(flagged)] == [0]


async def test_what_is_no_message_of_a_campaign_is_answered_in_the_account_s_own_words(answering: Portal) -> None:
    said = {name: read(await send(answering, f"{name}-9", "XYZ")) for name, (send, read, _, _) in HUBS.items()}
    assert [value for value, _ in said.values()] == ["0", "1", ""]
    assert not any("Ho tro" in text for _, text in said.values())
