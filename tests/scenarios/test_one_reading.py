"""One text, one reading: whichever way a donor's text comes, it reads as `portal1400 read` says."""

import base64
import json
import tomllib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, quote_plus, unquote_plus
from xml.sax.saxutils import escape

from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from campaigns.book.apply_file import book_from_file, load
from campaigns.book.grammar import Reading, read
from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway
from gateways.wire.checksums import hmac_sha256_hex, md5_hex, sha256_base64
from service.commands.read import reading_of
from service.intake.packing import pack_callback, unpack_callback
from service.operations.rereading import reread
from tests.gateways.adapters import generic_dialects, soap_calls, standard_calls
from tests.gateways.calls import KEY, LISTED, gateway, request
from tests.support.portal import PATH_SECRET, Portal
from tests.support.portal import message as event
from tests.support.protocols import SOAP_LOGIN, fetch, own_keys

BOOK = book_from_file(load(Path(__file__).parents[1] / "campaigns/book/book.toml"))
AT = datetime.fromisoformat("2019-10-17T20:05:00+07:00")
"""When 1408 takes VNN in units."""

STANDARD = gateway("standard", {"secrets": [standard_calls.SECRET]})
KANNEL = gateway("kannel", {"path_secret": "a-secret"})
SOAP = gateway("vn_soap_mo", soap_calls.SETTINGS)
HUB_GET = gateway("vn_http_get", {"dialect": "ddviet", "path_secret": "a-secret"})
VCOM = gateway("vcom_json", {"client_id": "cp", "secrets": ["a-secret"]})
ESMS = gateway("esms_get", {"cpid": "cp", "secrets": ["a-secret"]})
ONEPAY = gateway("onepay", {"product": "sms", "access_key": "ak", "secrets": ["a-secret"]})
APPOTA = gateway("appota_ipn", {"secrets": ["a-secret"]})
VTL = {"VTL": "viettel"}
PARLAYX = gateway("parlayx_sms", {"path_secret": "a-secret"})
PARLAYX_HEX = gateway("parlayx_sms", {"path_secret": "a-secret", "hex_dcs": True})
GENERIC_XML = gateway("generic", {"dialect": generic_dialects.XML, "secrets": ["a-secret"], "carriers": VTL})
GENERIC_FORM = gateway("generic", tomllib.loads(own_keys("generic", ["a-secret"])))
VASCLOUD = gateway("vascloud", {"path_secret": "a-secret"})
SOAP_BASE64 = gateway("vn_soap_mo", soap_calls.SETTINGS | {"base64": True})

PHONES = [
    "VNN", "vnn", "Vnn 5", "V N N", "VNN5", "5", " 5", "100", "101", "0", " ", "\t\r\n", "gui 1408",
    "\0", "\x1b", "\x0b", "\x85", "^{}\\[~]|€@", "ủng hộ", "Ủ\u0302", "đ", "V\u0301N\u0323N\u0334", "\u0301" * 9,
    "\ud83c", "\ude00", "\udcaa", "😀", "❤\ufe0f", "5\ufe0f\u20e3", "\u200f", "\u202e", "\ufeff", "\xa0", "\xad",
    "<", ">", "&", "&#27;", "&amp;", "]]>", '"', "\\u0000", "\ufffd", "５", "\U0001fa77",
]  # fmt: skip


def whole(pieces: list[str]) -> str:
    """The pieces in a row; two halves of a character that met are that character, as on every way but a shell's."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


TEXTS = st.lists(
    st.sampled_from(PHONES) | st.text(st.characters(max_codepoint=0xFFFD), max_size=2), min_size=1, max_size=8
).map(whole)
CODES = st.sampled_from(["1408", "+1408", "841408", "+841408", "tel:1408"])


def standard(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Escaped, as it is, and with the control characters as they are."""
    payload = event("m-1", text, short_code=code)
    yield "escaped", standard_calls.posted(payload)
    written = json.dumps(payload, ensure_ascii=False)
    yield "as it is", standard_calls.signed(written.encode("utf-8", "surrogatepass"))
    for control in "\0\x1b\x0b":
        written = written.replace(f"\\u{ord(control):04x}", control) if "\\\\" not in written else written
    yield "with bare controls", standard_calls.signed(b"\xef\xbb\xbf" + written.encode("utf-8", "surrogatepass"))


def kannel(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """In UTF-8 and in UTF-16 of both orders, said or not."""
    utf8, be, le = (text.encode(codec, "surrogatepass") for codec in ("utf-8", "utf-16-be", "utf-16-le"))
    ways = {
        "UTF-8": (utf8, "charset=UTF-8&coding=0"),
        "UTF-16BE": (be, "charset=UTF-16BE&coding=2"),
        "UTF-16LE": (le, "charset=UTF-16LE"),
        "UCS-2 by its coding": (be, "coding=2"),
        "UCS-2 with a mark": (b"\xfe\xff" + be, "charset=UCS-2"),
        "UCS-2 with the other mark": (b"\xff\xfe" + le, "charset=UCS-2BE"),
    }
    if "\0" not in text:
        ways["nothing said"] = (utf8, "charset=8-BIT")
    for label, (raw, said) in ways.items():
        query = f"id=7&from=84950000001&to={quote_plus(code)}&text={quote_from_bytes(raw)}&{said}"
        yield label, request(method="GET", query=query, path_secret="a-secret")


def soap(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Escaped, and by number."""
    for label, written in as_xml(text):
        yield label, soap_call(code, written)


def soap_base64(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """In Base64; NUL left to the other ways, for here it may be taken for UTF-16 of which nobody said so."""
    yield "base64", soap_call(code, base64.b64encode(text.replace("\0", "").encode("utf-8", "surrogatepass")))


def hub_get(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Encoded, and with its ampersands bare."""
    head = f"requestId=7&userId=84950000001&serviceId={quote_plus(code)}&commandCode=VNN&mobileOperator=VMS&message="
    raw = text.encode("utf-8", "surrogatepass")
    for label, safe in {"encoded": "", "bare": "&"}.items():
        yield label, request(method="GET", query=head + quote_from_bytes(raw, safe=safe), path_secret="a-secret")


def vcom(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Escaped."""
    made = sha256_base64(b"cp784950000001a-secret1571317500")
    call = {"type": "new", "client_id": "cp", "request_id": "7", "service_id": code, "message": text}
    call |= {"phone": "84950000001", "time": "1571317500", "checksum": made}
    yield "escaped", request(body=json.dumps(call).encode())


def esms(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Encoded."""
    raw = text.encode("utf-8", "surrogatepass")
    sign = md5_hex(b"cp7" + raw + b"20191017200500" + b"a-secret")
    head = f"sender=84950000001&serviceNumber={quote_plus(code)}&cpid=cp&smsid=7&receiverTime=20191017200500"
    yield "encoded", request(method="GET", query=f"{head}&sign={sign}&content={quote_from_bytes(raw)}")


def onepay(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Encoded."""
    raw = text.encode("utf-8", "surrogatepass")
    rest = f"&msisdn=84950000001&request_id=7&request_time=2019-10-17T20:05:00%2B07:00&short_code={quote_plus(code)}"
    head = "access_key=ak&command=VNN&mo_message="
    signed = head.encode() + raw + unquote_plus(rest).encode()
    sign = hmac_sha256_hex(b"a-secret", signed)
    yield "encoded", request(method="GET", query=f"{head}{quote_from_bytes(raw)}{rest}&signature={sign}")


def appota(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Encoded."""
    raw, written = text.encode("utf-8", "surrogatepass"), quote_plus(code)
    made = md5_hex(
        b"20000" + code.encode() + b"VND" + raw + b"84950000001" + b"0" + b"1" + b"7" + b"SMS" + b"a-secret"
    )
    rest = f"amount=20000&code={written}&currency=VND&phone=84950000001&sandbox=0&status=1&transaction_id=7"
    form = f"{rest}&transaction_type=SMS&hash={made}&message={quote_from_bytes(raw)}"
    yield "encoded", request(body=form.encode())


def parlayx(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Escaped."""
    yield "escaped", parlayx_call(code, escape(text).encode("utf-8", "surrogatepass"))


def parlayx_hex(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """In hexadecimal digits: UCS-2, and ASCII where it can be."""
    yield "UCS-2", parlayx_call(code, (b"\x08" + text.encode("utf-16-be", "surrogatepass")).hex().encode())
    if text.isascii():
        yield "ASCII", parlayx_call(code, (b"\0" + text.encode()).hex().encode())


def parlayx_call(code: str, written: bytes) -> Callback:
    inner = (
        f"<senderAddress>tel:84950000001</senderAddress><smsServiceActivationNumber>{code}</smsServiceActivationNumber>"
        "<message>TEXT</message>"
    )
    call = soap_calls.envelope(
        "notifySmsReception", f"<message>{inner}</message>", "<s:Header><traceUniqueID>7</traceUniqueID></s:Header>"
    )
    return request(body=call.replace(b"TEXT", written), path_secret="a-secret")


def generic_xml(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """In Base64, in elements of a hub that there is not."""
    written = base64.b64encode(text.replace("\0", "").encode("utf-8", "surrogatepass")).decode()
    inner = f"<from>84950000001</from><to>{code}</to><body>{written}</body>"
    body = f"<mo><head><ref>7</ref></head><sms>{inner}</sms></mo>".encode()
    yield "base64", request(body=body, headers={"authorization": "Bearer a-secret"})


def generic_form(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Encoded, signed over all values in the order of their names."""
    raw = text.encode("utf-8", "surrogatepass")
    sign = md5_hex(b"849500000017" + raw + code.encode() + b"a-secret")
    body = f"id=7&from=84950000001&to={quote_plus(code)}&text={quote_from_bytes(raw)}&sign={sign}"
    yield "encoded", request(body=body.encode())


def vascloud(code: str, text: str) -> Iterator[tuple[str, Callback]]:
    """Escaped, and each UTF-16 unit by its number."""
    fields = f"<mo_id>7</mo_id><source_address>84950000001</source_address><destination_address>{code}"
    head = f"<ACCESSGW><MODULE>SMSGW</MODULE><COMMAND>{fields}</destination_address><content>"
    for label, written in as_xml(text):
        body = head.encode() + written + b"</content></COMMAND></ACCESSGW>"
        yield label, request(body=body, path_secret="a-secret")


def as_xml(text: str) -> Iterator[tuple[str, bytes]]:
    """A text within a document: escaped, and each UTF-16 unit by its number, as serializers of Java write it."""
    units = text.encode("utf-16-be", "surrogatepass")
    numbers = "".join(f"&#{int.from_bytes(units[at : at + 2])};" for at in range(0, len(units), 2))
    for label, written in {"escaped": escape(text), "by number": numbers}.items():
        yield label, written.encode("utf-8", "surrogatepass")


def soap_call(code: str, written: bytes) -> Callback:
    fields = "<User_ID>84950000001</User_ID><Request_ID>7</Request_ID>"
    inner = f"{fields}<Service_ID>{code}</Service_ID><Message>TEXT</Message>"
    body = soap_calls.envelope("receiverMO", inner).replace(b"TEXT", written)
    return request(body=body, headers=soap_calls.basic())


WAYS: list[tuple[Gateway[Any], Callable[[str, str], Iterator[tuple[str, Callback]]]]] = [
    (STANDARD, standard),
    (KANNEL, kannel),
    (SOAP, soap),
    (SOAP_BASE64, soap_base64),
    (HUB_GET, hub_get),
    (VCOM, vcom),
    (ESMS, esms),
    (ONEPAY, onepay),
    (APPOTA, appota),
    (PARLAYX, parlayx),
    (PARLAYX_HEX, parlayx_hex),
    (GENERIC_XML, generic_xml),
    (GENERIC_FORM, generic_form),
    (VASCLOUD, vascloud),
]


def said(reading: Reading) -> tuple[object, ...]:
    """All that decides anything; what is folded may keep another sign for the same damage."""
    return reading.outcome, reading.campaign, reading.keyword, reading.units, reading.amount_vnd


@examples(max_examples=200, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, code=CODES)
@example(text="VNN 5 \ud83c", code="1408")
@example(text="VN\0N 5", code="841408")
@example(text="\udcaaVNN 5", code="1408")
@example(text="VNN\x1b 5 &#55357;", code="1408")
@example(text="\ufeffVNN 5\ufe0f\u20e3", code="+1408")
def test_every_way_reads_a_text_as_the_command_reads_it(text: str, code: str) -> None:
    meant = said(reading_of(BOOK, code, text, AT))
    for ours, ways in WAYS:
        for label, callback in ways(code, text):
            events = ours.open(callback, KEY)
            assert ours.parse(unpack_callback(pack_callback(callback, ours), LISTED), KEY) == events
            message = events[0]
            assert isinstance(message, Message)
            assert said(read(BOOK, message.short_code, message.text, AT)) == meant, (ours.name, label)


LIVE = {
    "VNN 5 \ud83c": 5,
    "VN\0N 6": 6,
    "VNN\x1b 7": 7,
    "VNN 8 😀": 8,
    "\udcaaVNN 9": 9,
    "VNN 1\ufe0f\u20e3": 1,
}


async def test_what_is_stored_reads_again_as_it_was_counted(portal: Portal) -> None:
    for number, (text, units) in enumerate(LIVE.items()):
        utf8 = text.encode("utf-8", "surrogatepass")
        body = json.dumps(event(f"m-{number}", text)).encode()
        assert (await portal.post(body)).outcome == "accepted"
        query = f"id=k-{number}&from=84950000001&to=1408&smsc=vnp1&charset=UTF-8&text={quote_from_bytes(utf8)}"
        assert (await fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}?{query}")).status == 200
        call = soap_calls.envelope(
            "GetMOData",
            f"<UserID>84950000001</UserID><ServiceID>1408</ServiceID><RequestID>s-{number}</RequestID>"
            "<Content>TEXT</Content><Operator>VMS</Operator>",
        ).replace(b"TEXT", utf8)
        answer = await fetch(portal, "POST", "/gw/vn_soap_mo/soap", data=call, headers={"authorization": SOAP_LOGIN})
        assert (answer.status, b">0|<" in answer.body) == (200, True), text
        rows = await portal.fetch("SELECT units FROM message WHERE native_id LIKE '%-' || $1", str(number))
        assert [row["units"] for row in rows] == [units] * 3, text
    async with portal.opened.database.borrow() as connection, connection.transaction():
        report = await reread(connection, portal.opened.keyring)
    assert (report.read, report.differences) == (3 * len(LIVE), [])
