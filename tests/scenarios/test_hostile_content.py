"""JSON and XML made to harm: each gets the contract's answer, is kept where it says so, and nothing is echoed."""

import json

import orjson
import pytest

from tests.support.hostile_bodies import (
    CANARY,
    REFUSED,
    XML_REFUSED,
    XML_TAKEN,
    event,
)
from tests.support.hostile_wire import exchange, post
from tests.support.portal import Portal, message
from tests.support.protocols import SOAP_LOGIN, fetch


@pytest.mark.parametrize("label", REFUSED)
async def test_json_that_is_not_ours_is_refused_with_place_and_reason(lasting_portal: Portal, label: str) -> None:
    body, path, reason = REFUSED[label]
    before = len(await lasting_portal.fetch("SELECT FROM quarantine"))
    heard = await exchange(lasting_portal, post(body))
    assert heard.statuses == (400,)
    answer = json.loads(heard.body)
    assert (answer["error"], answer["errors"][0]) == ("malformed", {"path": path, "reason": reason})
    assert CANARY.encode() not in heard.content
    assert len(await lasting_portal.fetch("SELECT FROM quarantine")) == before + 1
    assert await lasting_portal.fetch("SELECT FROM message") == []


TAKEN: dict[str, tuple[bytes, str]] = {
    "half a megabyte of blanks": (event(text="VNN 1") + b"\n" * 500_000, "VNN 1"),
    "marks of direction": (event(text="\u202eVNN\u200f 1"), "\u202eVNN\u200f 1"),
    "NUL in a text": (event(text="VNN\0 1"), "VNN 1"),
    "half a character": (event(text=b'"VNN 1 \\ud83c"'), "VNN 1 \ufffd"),
    "two halves the wrong way round": (event(text=b'"VNN 1 \\ude00\\ud83d"'), "VNN 1 \ufffd\ufffd"),
    "half a character in a key nobody reads": (event(text="VNN 1", x=b'{"\\udc00":"\\udc00"}'), "VNN 1"),
    "a key nobody reads, twice": (event(text="VNN 1", x=b'{"a":{"b":1,"b":2}}'), "VNN 1"),
    "a number nobody reads, of 30 digits": (event(text="VNN 1", x=b"1" * 30), "VNN 1"),
    "NUL in a text as it is": (event(text=b'"VNN\0 1"'), "VNN 1"),
    "an escape as it is": (event(text=b'"VNN\x1b 1"'), "VNN\x1b 1"),
    "overlong": (event(text=b'"VNN 1 \xc0\xae"'), "VNN 1 \ufffd\ufffd"),
    "a surrogate in UTF-8": (event(text=b'"VNN 1 \xed\xa0\x80"'), "VNN 1 \ufffd"),
    "beyond the last character": (event(text=b'"VNN 1 \xf4\x90\x80\x80"'), "VNN 1 " + "\ufffd" * 4),
    "a mark of byte order": (b"\xef\xbb\xbf" + event(text="VNN 1"), "VNN 1"),
    "NUL behind the body": (event(text="VNN 1") + b"\0", "VNN 1"),
    "a time that is none": (event(text="VNN 1", operator_time="0001-01-01T00:00:00"), "VNN 1"),
    "a text of 900 KB": (event(text="VNN 1 " + "x" * 900_000), "VNN 1 " + "x" * 994),
    "the largest amount": (event(text="VNN 1", amount=10**12), "VNN 1"),
    "an amount beyond, which is left out": (event(text="VNN 1", amount=2**53 + 1), "VNN 1"),
    "fields nobody knows": (event(text="VNN 1", __proto__={"x": 1}, constructor=None, x=[1e308]), "VNN 1"),
    "a carrier that is none": (event(text="VNN 1", carrier="'; DROP TABLE message; --"), "VNN 1"),
}


async def test_what_is_odd_but_whole_is_taken_exactly(portal: Portal) -> None:
    for number, (label, (body, text)) in enumerate(TAKEN.items()):
        renamed = body.replace(CANARY.encode(), b"odd-%d" % number)
        assert (await exchange(portal, post(renamed))).statuses == (200,), label
        (row,) = await portal.fetch(
            "SELECT m.id, p.day, m.claimed_vnd, p.text_sealed FROM message m"
            " JOIN message_person p ON p.message_id = m.id WHERE native_id = $1",
            f"odd-{number}",
        )
        sealer = portal.opened.keyring.day(row["day"])
        assert sealer is not None
        opened = sealer.unseal(row["text_sealed"], b"message_person.text:" + row["id"].bytes)
        assert opened.decode() == text, label
    claimed = {row["claimed_vnd"] for row in await portal.fetch("SELECT claimed_vnd FROM message")}
    assert claimed == {None, 10**12}


async def call(portal: Portal, body: bytes) -> tuple[int, bytes]:
    """What the hub of the account `soap` hears."""
    answer = await fetch(portal, "POST", "/gw/vn_soap_mo/soap", data=body, headers={"authorization": SOAP_LOGIN})
    return answer.status, answer.body


@pytest.mark.parametrize("label", XML_REFUSED)
async def test_xml_made_to_harm_is_a_fault(lasting_portal: Portal, label: str) -> None:
    body, reason = XML_REFUSED[label]
    before = len(await lasting_portal.fetch("SELECT FROM quarantine"))
    status, said = await call(lasting_portal, body)
    assert (status, reason.encode() in said) == (500, True), said
    assert b"soap:Client" in said
    assert CANARY.encode() not in said
    assert b"root:" not in said
    assert len(await lasting_portal.fetch("SELECT FROM quarantine")) == before + 1


async def test_xml_that_is_odd_but_whole_is_taken(portal: Portal) -> None:
    for number, (label, body) in enumerate(XML_TAKEN.items()):
        text = body.decode("utf-16") if label == "UTF-16" else body.decode()
        renamed = text.replace(CANARY, f"xml-{number}")
        status, said = await call(portal, renamed.encode("utf-16" if label == "UTF-16" else "utf-8"))
        assert (status, b"<GetMODataResult>" in said) == (200, True), label
    rows = await portal.fetch("SELECT native_id FROM message")
    assert len(rows) == len(XML_TAKEN)


def test_the_helper_s_message_is_the_protocol_s() -> None:
    assert orjson.loads(event())["data"].keys() == message("m")["data"].keys()
