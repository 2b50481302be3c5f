"""JSON and XML made to harm: each gets the contract's answer, is kept where it says so, and nothing is echoed."""

import json
from typing import Any

import orjson
import pytest

from tests.support.hostile_wire import exchange, post
from tests.support.portal import Portal, message
from tests.support.protocols import SOAP_LOGIN, fetch

CANARY = "84912340987"
DATA = {"message_id": CANARY, "msisdn": "84950000001", "short_code": "1408", "text": CANARY}


def event(**changes: Any) -> bytes:
    """A message; a change of bytes stands in the document as it is, unquoted."""
    fields = {**DATA, **changes}
    members = [
        b"%b:%b" % (orjson.dumps(name), value if isinstance(value, bytes) else orjson.dumps(value))
        for name, value in fields.items()
    ]
    return b'{"type":"message.received","timestamp":"2026-11-21T08:30:00Z","data":{%b}}' % b",".join(members)


def charge(amount: bytes) -> bytes:
    return b'{"type":"charge.succeeded","data":{"charge_id":"c","currency":"VND","amount":%b}}' % amount


def batch(*events: bytes) -> bytes:
    return b'{"type":"batch","data":[%b]}' % b",".join(events)


DEEP = 10_000
# Body -> where it is at fault, and why.
REFUSED: dict[str, tuple[bytes, str, str]] = {
    "ten thousand arrays deep": (b"[" * DEEP + b"]" * DEEP, "body", "is nested deeper than 16"),
    "ten thousand objects deep": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "body", "is nested deeper than 16"),
    "deep in a field nobody reads": (event(x=b"[" * 20 + b"]" * 20), "body", "is nested deeper than 16"),
    "never closed": (b'{"type":' + b"[" * 900_000, "body", "is nested deeper than 16"),
    "a type twice": (b'{"type":"batch","type":"message.received","data":{}}', "body", "gives one key twice"),
    "data twice": (event()[:-1] + b',"data":{}}', "body", "gives one key twice"),
    "an id twice": (event().replace(b'"text"', b'"message_id":"x","text"'), "body", "gives one key twice"),
    "an id twice, once escaped": (
        event().replace(b'"text"', b'"message\\u005fid":"x","text"'),
        "body",
        "gives one key twice",
    ),
    "a key twice deep in a batch": (
        batch(event(), event(x=b'{"a":{"b":1,"b":2}}')),
        "body",
        "gives one key twice",
    ),
    "an amount twice": (charge(b'1,"amount":2'), "body", "gives one key twice"),
    "not a number": (charge(b"NaN"), "body", "holds NaN or an infinity"),
    "infinity": (event(x=b"-Infinity"), "body", "holds NaN or an infinity"),
    "1e400": (charge(b"1e400"), "data.amount", "is not an integer"),
    "a googol to the fourth": (charge(b"1" + b"0" * 400), "body", "holds an integer beyond 64 bits"),
    "2 ** 63": (charge(b"9223372036854775808"), "body", "holds an integer beyond 64 bits"),
    "a float": (charge(b"20000.0"), "data.amount", "is not an integer"),
    "an exponent": (charge(b"2e4"), "data.amount", "is not an integer"),
    "a leading zero": (charge(b"020000"), "body", "is not JSON"),
    "a plus": (charge(b"+20000"), "body", "is not JSON"),
    "hexadecimal": (charge(b"0x4e20"), "body", "is not JSON"),
    "below nought": (charge(b"-1"), "data.amount", "is out of range"),
    "a boolean": (charge(b"true"), "data.amount", "is not an integer"),
    "digits in a string": (charge(b'"20000"'), "data.amount", "is not an integer"),
    "nothing": (charge(b"null"), "data.amount", "is not an integer"),
    "a list": (charge(b"[20000]"), "data.amount", "is not an integer"),
    "half a character": (event(text=b'"\\ud800"'), "body", "is not JSON"),
    "half a character in a key": (event(x=b'{"\\udc00":1}'), "body", "is not JSON"),
    "two halves the wrong way round": (event(text=b'"\\ude00\\ud83d"'), "body", "is not JSON"),
    "NUL in an id": (event(message_id="a\0b"), "data.message_id", "holds a control character or half of a character"),
    "NUL as it is": (event(text=b'"a\0b"'), "body", "is not JSON"),
    "an id of 201": (event(message_id="x" * 201), "data.message_id", "must have 1 to 200 characters"),
    "an id of nothing": (event(message_id=""), "data.message_id", "must have 1 to 200 characters"),
    "an id that is a number": (event(message_id=7), "data.message_id", "is not a string"),
    "a number in other digits": (event(msisdn="८४950000001"), "data.msisdn", "is not a Vietnamese mobile number"),
    "a number and a line": (event(msisdn="84950000001\n"), "data.msisdn", "is not a Vietnamese mobile number"),
    "a mark of byte order": (b"\xef\xbb\xbf" + event(), "body", "is not JSON"),
    "UTF-16": (event().decode().encode("utf-16"), "body", "is not UTF-8"),
    "UTF-16 without a mark": (event().decode().encode("utf-16-le"), "body", "is not JSON"),
    "UTF-32": (event().decode().encode("utf-32"), "body", "is not UTF-8"),
    "overlong": (event(text=b'"\xc0\xae"'), "body", "is not UTF-8"),
    "a surrogate in UTF-8": (event(text=b'"\xed\xa0\x80"'), "body", "is not UTF-8"),
    "beyond the last character": (event(text=b'"\xf4\x90\x80\x80"'), "body", "is not UTF-8"),
    "a hundred and one": (batch(*[event()] * 101), "data", "must hold 1 to 100 events"),
    "none": (batch(), "data", "must hold 1 to 100 events"),
    "a batch in a batch": (batch(batch(event())), "data.0.type", "is not a type of event that is allowed here"),
    "half a megabyte of blanks": (b" " * 500_000 + b"x", "body", "is not JSON"),
    "two documents": (event() + event(), "body", "is not JSON"),
    "a comment": (b"/* */" + event(), "body", "is not JSON"),
    "a list of events": (b"[%b]" % event(), "body", "is not an object"),
    "only a string": (b'"%b"' % CANARY.encode(), "body", "is not an object"),
    "only nothing": (b"null", "body", "is not an object"),
}


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
    "NUL in a text": (event(text="VNN\0 1"), "VNN\ufffd 1"),
    "a text of 900 KB": (event(text="VNN 1 " + "x" * 900_000), "VNN 1 " + "x" * 994),
    "the largest amount": (event(text="VNN 1", amount=2**63 - 1), "VNN 1"),
    "an amount a float cannot hold": (event(text="VNN 1", amount=2**53 + 1), "VNN 1"),
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
    assert claimed == {None, 2**63 - 1, 2**53 + 1}


ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
FIELDS = (
    f"<UserID>84950000001</UserID><ServiceID>1408</ServiceID><Content>VNN 1</Content><RequestID>{CANARY}</RequestID>"
)


def soap(inner: str = FIELDS, *, before: str = "", attributes: str = "") -> bytes:
    """A call with `inner` in its operation."""
    call = f"<s:Body><GetMOData{attributes}>{inner}</GetMOData></s:Body>"
    return f'{before}<s:Envelope xmlns:s="{ENVELOPE}">{call}</s:Envelope>'.encode()


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
NO_TYPES = "body holds a document type or an entity"
DECLARED = '<?xml version="1.0" encoding="{}"?>'

XML_REFUSED: dict[str, tuple[bytes, str]] = {
    "a document type": (soap(before="<!DOCTYPE x>"), NO_TYPES),
    "one from outside": (soap(before='<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">'), NO_TYPES),
    "an entity": (soap(FIELDS.replace("VNN", "&e;"), before='<!DOCTYPE x [<!ENTITY e "VNN">]>'), NO_TYPES),
    "an entity from a file": (
        soap(FIELDS.replace("VNN", "&e;"), before='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
        NO_TYPES,
    ),
    "a parameter entity": (soap(before='<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>'), NO_TYPES),
    "a billion laughs": (
        soap(FIELDS.replace("VNN", "&l9;"), before=f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>'),
        NO_TYPES,
    ),
    "laughs behind a bare ampersand": (
        soap(FIELDS.replace("VNN", "A&B &l9;"), before=f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>'),
        NO_TYPES,
    ),
    "deep": (soap("<a>" * 5_000 + "</a>" * 5_000), "body is nested deeper than 16"),
    "wide": (soap(FIELDS + "<x/>" * 200), "body holds more than 200 elements"),
    "a text in elements": (soap(FIELDS.replace("VNN", "<b>VNN</b>")), "body.text holds elements instead of text"),
    "an inclusion": (
        soap(FIELDS.replace("VNN 1", '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>')),
        "body.text holds elements instead of text",
    ),
    "an id twice": (soap(FIELDS + "<RequestID>2</RequestID>"), "body.id is given twice"),
    "an id twice, spelled otherwise": (soap(FIELDS + "<request_id>2</request_id>"), "body.id is given twice"),
    "an id twice, in another namespace": (
        soap(FIELDS + '<q:RequestID xmlns:q="urn:q">2</q:RequestID>'),
        "body.id is given twice",
    ),
    "two operations": (soap().replace(b"</s:Body>", b"<GetMOData/></s:Body>"), "does not hold a Body"),
    "another operation": (soap().replace(b"GetMOData", b"DropMOData"), "holds another operation"),
    "UTF-7": (
        DECLARED.format("utf-7").encode() + soap(FIELDS.replace("VNN 1", "+ADw-")),
        "body is not well-formed XML",
    ),
    "a prefix nobody declared": (soap(FIELDS + "<q:x/>"), "body is not well-formed XML"),
    "an attribute twice": (soap(attributes=' a="1" a="2"'), "body is not well-formed XML"),
    "the end of a text's section": (soap(FIELDS.replace("VNN", "]]>")), "body is not well-formed XML"),
}


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


XML_TAKEN: dict[str, bytes] = {
    "a bare ampersand": soap(FIELDS.replace("VNN 1", "VNN 1 A&B")),
    "a section of characters": soap(FIELDS.replace("VNN 1", "<![CDATA[VNN 1]]>")),
    "an instruction and a comment": soap("<?php system('id') ?><!-- x -->" + FIELDS),
    "a style sheet": soap(before='<?xml-stylesheet href="http://127.0.0.1:1/x.xsl"?>'),
    "UTF-16": soap(before=DECLARED.format("utf-16")).decode().encode("utf-16"),
    "a stranger's namespace": soap(attributes=' xmlns="urn:x"'),
    "characters by number": soap(FIELDS.replace("VNN", "&#86;&#x4E;N")),
    "a login in the body that is wrong": soap(FIELDS + "<username>x</username><password>y</password>"),
}


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
