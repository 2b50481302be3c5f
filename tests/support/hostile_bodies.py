"""JSON and XML made to harm: tables of cases, played one by one, and damaged further in number."""

from typing import Any

import orjson

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
    "a type twice": (b'{"type":"batch","type":"message.received","data":{}}', "type", "is given twice"),
    "data twice": (event()[:-1] + b',"data":{}}', "data", "is given twice"),
    "an id twice": (event().replace(b'"text"', b'"message_id":"x","text"'), "data.message_id", "is given twice"),
    "a text twice": (event().replace(b'"text"', b'"text":"VNN 1","text"'), "data.text", "is given twice"),
    "an id twice, once escaped": (
        event().replace(b'"text"', b'"message\\u005fid":"x","text"'),
        "data.message_id",
        "is given twice",
    ),
    "a type twice in a batch": (
        batch(event(), event().replace(b"{", b'{"type":"batch",', 1)),
        "data.1.type",
        "is given twice",
    ),
    "an amount twice": (charge(b'1,"amount":2'), "data.amount", "is given twice"),
    "not a number": (charge(b"NaN"), "body", "holds NaN or an infinity"),
    "infinity": (event(x=b"-Infinity"), "body", "holds NaN or an infinity"),
    "1e400": (charge(b"1e400"), "data.amount", "is not an integer"),
    "a googol to the fourth": (charge(b"1" + b"0" * 400), "data.amount", "is an integer beyond 64 bits"),
    "2 ** 63": (charge(b"9223372036854775808"), "data.amount", "is an integer beyond 64 bits"),
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
    "half a character in an id": (
        batch(event(), event(message_id=b'"m\\ud83c"')),
        "data.1.data.message_id",
        "holds a control character or half of a character",
    ),
    "half a character in a number": (
        event(msisdn=b'"84950000001\\ud83c"'),
        "data.msisdn",
        "holds a control character or half of a character",
    ),
    "half a character in a type": (
        event().replace(b"received", b"received\\udc00"),
        "type",
        "is not a type of event that is allowed here",
    ),
    "a broken byte in an id": (
        event(message_id=b'"m\xe9"'),
        "data.message_id",
        "holds a control character or half of a character",
    ),
    "half of an escape": (event(text=b'"\\ud80"'), "body", "is not JSON"),
    "NUL in an id": (event(message_id="a\0b"), "data.message_id", "holds a control character or half of a character"),
    "NUL in an id as it is": (
        event(message_id=b'"a\0b"'),
        "data.message_id",
        "holds a control character or half of a character",
    ),
    "an id of 201": (event(message_id="x" * 201), "data.message_id", "must have 1 to 200 characters"),
    "an id of nothing": (event(message_id=""), "data.message_id", "must have 1 to 200 characters"),
    "an id that is a number": (event(message_id=7), "data.message_id", "is not a string"),
    "a number in other digits": (event(msisdn="८४950000001"), "data.msisdn", "is not a Vietnamese mobile number"),
    "a number and a line": (event(msisdn="84950000001\n"), "data.msisdn", "is not a Vietnamese mobile number"),
    "two marks of byte order": (b"\xef\xbb\xbf" * 2 + event(), "body", "is not JSON"),
    "UTF-16": (event().decode().encode("utf-16"), "body", "is not UTF-8"),
    "UTF-16 without a mark": (event().decode().encode("utf-16-le"), "body", "is not JSON"),
    "UTF-32": (event().decode().encode("utf-32"), "body", "is not UTF-8"),
    "overlong where there is no text": (event(x=b"\xc0\xae"), "body", "is not UTF-8"),
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
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
HOLDS_ELEMENTS = "GetMOData.Content holds elements instead of text"
ID_TWICE = "GetMOData.RequestID is given twice"
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
    "a text in elements": (
        soap(FIELDS.replace("VNN", "<b>VNN</b>")),
        HOLDS_ELEMENTS,
    ),
    "an inclusion": (
        soap(FIELDS.replace("VNN 1", '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>')),
        HOLDS_ELEMENTS,
    ),
    "an id twice": (soap(FIELDS + "<RequestID>2</RequestID>"), ID_TWICE),
    "an id twice, spelled otherwise": (
        soap(FIELDS + "<request_id>2</request_id>"),
        ID_TWICE,
    ),
    "an id twice, in another namespace": (
        soap(FIELDS + '<q:RequestID xmlns:q="urn:q">2</q:RequestID>'),
        ID_TWICE,
    ),
    "two operations": (soap().replace(b"</s:Body>", b"<GetMOData/></s:Body>"), "does not hold a Body"),
    "another operation": (soap().replace(b"GetMOData", b"DropMOData"), "holds another operation"),
    "a prefix nobody declared": (soap(FIELDS + "<q:x/>"), "body is not well-formed XML"),
    "an attribute twice": (soap(attributes=' a="1" a="2"'), "body is not well-formed XML"),
    "the end of a text's section": (soap(FIELDS.replace("VNN", "]]>")), "body is not well-formed XML"),
}
XML_TAKEN: dict[str, bytes] = {
    "a bare ampersand": soap(FIELDS.replace("VNN 1", "VNN 1 A&B")),
    "a section of characters": soap(FIELDS.replace("VNN 1", "<![CDATA[VNN 1]]>")),
    "an instruction and a comment": soap("<?php system('id') ?><!-- x -->" + FIELDS),
    "a style sheet": soap(before='<?xml-stylesheet href="http://127.0.0.1:1/x.xsl"?>'),
    "UTF-16": soap(before=DECLARED.format("utf-16")).decode().encode("utf-16"),
    "a stranger's namespace": soap(attributes=' xmlns="urn:x"'),
    "UTF-7 that nobody reads": DECLARED.format("utf-7").encode() + soap(FIELDS.replace("VNN 1", "+ADw-")),
    "characters by number": soap(FIELDS.replace("VNN", "&#86;&#x4E;N")),
    "a login in the body that is wrong": soap(FIELDS + "<username>x</username><password>y</password>"),
}
