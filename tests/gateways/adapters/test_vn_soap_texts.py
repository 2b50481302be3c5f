"""What hubs write into their elements, and what the donor meant."""

import base64
from typing import Any

import pytest

from gateways.adapters.vn_soap_mo.adapter import VnSoapMoSettings
from gateways.adapters.vn_soap_mo.dialects import DIALECTS, MEANINGS, SPELLINGS, SUCCESS_VALUES, folded
from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from tests.gateways.adapters.soap_calls import (
    PASSWORD,
    REST,
    SETTINGS,
    USER,
    basic,
    elements,
    envelope,
    read,
)
from tests.gateways.calls import KEY, gateway, request


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("vn_soap_mo", SETTINGS, carrier="from_message")


# what stands in the Message element; what the donor meant; flags
TEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "escaped": ("A&amp;B &lt;3", "A&B <3", ()),
    "bare ampersand": ("A&B", "A&B", ("repaired",)),
    "ampersand before a name": ("A&B;C &nbsp;", "A&B;C &nbsp;", ("repaired",)),
    "escaped and bare": ("A&amp;B & C", "A&B & C", ("repaired",)),
    "a heart": ("VNN <3", "VNN <3", ("repaired",)),
    "less than a word": ("a<b c", "a<b c", ("repaired",)),
    "number references": ("&#7911;&#x68;", "ủh", ()),
    "character data": ("<![CDATA[A&B<C]]>", "A&B<C", ()),
    "Vietnamese": ("ủng hộ", "ủng hộ", ()),
    "lines": ("VNN\r\n5", "VNN\n5", ()),
    "nothing": ("", "", ()),
    "an emoji by two references": ("VNN 5 &#55357;&#56832;", "VNN 5 😀", ("repaired",)),
    "half an emoji": ("VNN 5 &#55357;", "VNN 5 \ufffd", ("text_repaired", "repaired")),
    "a NUL": ("VN\x00N&#0; 5", "VNN 5", ("text_repaired", "repaired")),
    "an escape": ("\x01VNN &#x1b;5&", "\x01VNN \x1b5&", ("repaired",)),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_read_strictly_and_repaired_once(ours: Gateway[Any], label: str) -> None:
    written, meant, flags = TEXTS[label]
    message = read(ours, f"{REST}<Message>{written}</Message>")
    assert (message.text, message.flags) == (meant, flags)


@pytest.mark.parametrize("written", ["<b>VNN</b>", "a<b>c", "VNN</Message>", "</Message><Message>", "VNN<br/>5"])
def test_what_a_repair_cannot_mean_is_malformed(ours: Gateway[Any], written: str) -> None:
    with pytest.raises(MalformedCallback):
        read(ours, f"{REST}<Message>{written}</Message>")


def test_every_spelling_is_understood_whatever_its_case_and_namespace(ours: Gateway[Any]) -> None:
    standard = {"id": "7", "msisdn": "0950000001", "short_code": "+841408", "text": "VNN", "operator": "gpc"}
    for meaning, spellings in SPELLINGS.items():
        for spelling in spellings if meaning in standard else ():
            for written in (spelling, spelling.upper(), spelling.lower().replace("_", ""), f"p:{spelling}"):
                names = {other: SPELLINGS[other][0] for other in standard} | {meaning: written}
                inner = elements({names[other]: value for other, value in standard.items()})
                body = envelope("receiverMO", inner).replace(b"<receiverMO ", b'<receiverMO xmlns:p="urn:p" ')
                (message,) = ours.open(request(body=body, headers=basic()), KEY)
                assert isinstance(message, Message)
                assert (message.native_id, message.msisdn, message.short_code) == ("7", "84950000001", "1408")
                assert (message.text, message.carrier) == ("VNN", "vinaphone"), written


def test_no_spelling_has_two_meanings() -> None:
    assert len(MEANINGS) == len({(folded(name), m) for m, names in SPELLINGS.items() for name in names})
    for operation in DIALECTS.values():
        assert {MEANINGS[folded(name)] for name in operation.fields} >= {"id", "msisdn", "short_code", "text"}
    assert DIALECTS.keys() == SUCCESS_VALUES.keys()
    assert set(DIALECTS) == set(VnSoapMoSettings.model_json_schema()["properties"]["dialect"]["enum"])


@pytest.mark.parametrize(
    ("operator", "carrier"),
    [
        ("VIETTEL", "viettel"),
        ("GPC", "vinaphone"),
        ("VMS", "mobifone"),
        ("vms", "mobifone"),
        ("VNM", "vietnamobile"),
        ("HTC", "vietnamobile"),
        ("BEELINE", "gmobile"),
        ("SFONE", "unknown"),
        ("", "unknown"),
        ("04", "mvno"),
    ],
)
def test_operators_are_mapped_by_the_account_then_by_the_family(operator: str, carrier: str) -> None:
    ours = gateway("vn_soap_mo", {**SETTINGS, "carriers": {"04": "mvno"}}, carrier="from_message")
    assert read(ours, f"{REST}<Message>VNN</Message><Operator>{operator}</Operator>").carrier == carrier


def test_a_fixed_carrier_beats_the_operator() -> None:
    ours = gateway("vn_soap_mo", SETTINGS, carrier="mobifone")
    assert read(ours, f"{REST}<Message>VNN</Message><Operator>VIETTEL</Operator>").carrier == "mobifone"


def test_a_base64_text_may_be_broken_into_lines() -> None:
    ours = gateway("vn_soap_mo", SETTINGS | {"base64": True})
    text = "VNN 5 " + "ủng hộ đồng bào " * 12
    encoded = base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")
    assert encoded.count("\r\n") > 3
    assert read(ours, f"{REST}<Message>{encoded}</Message>").text == text
    assert read(ours, f"{REST}<Message>6Q==</Message>").text == "é"
    assert read(ours, f"{REST}<Message></Message>").text == ""
    for wrong in ("VNN 5", "6Q", "é"):
        with pytest.raises(MalformedCallback) as caught:
            read(ours, f"{REST}<Message>{wrong}</Message>")
        assert str(caught.value) == "receiverMO.Message: is not Base64"


def test_blanks_around_an_id_are_the_templates_own(ours: Gateway[Any]) -> None:
    message = read(
        ours,
        "<User_ID>\n 84950000001 </User_ID><Service_ID> 1408\n</Service_ID>"
        "<Request_ID>\n  7\n </Request_ID><Message> VNN </Message>",
    )
    assert (message.native_id, message.msisdn, message.short_code, message.text) == (
        "7",
        "84950000001",
        "1408",
        " VNN ",
    )


BROKEN = {
    "another dialect": envelope("GetMOData", f"{REST}<Message>VNN</Message>"),
    "no envelope": b"<receiverMO/>",
    "no body": b'<s:Envelope xmlns:s="x"/>',
    "empty body": b'<s:Envelope xmlns:s="x"><s:Body/></s:Envelope>',
    "two operations": b'<s:Envelope xmlns:s="x"><s:Body><receiverMO/><receiverMO/></s:Body></s:Envelope>',
    "two bodies": envelope("receiverMO", f"{REST}<Message>V</Message>").replace(b"<s:Body>", b"<s:Body/><s:Body>"),
    "two ids": envelope("receiverMO", f"{REST}<Message>V</Message><moid>8</moid>"),
    "an encoding nobody has": b'<?xml version="1.0" encoding="klingon"?><a/>',
    "a document type": b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    "nothing": b"",
}


@pytest.mark.parametrize("label", BROKEN)
def test_a_broken_call_is_malformed(ours: Gateway[Any], label: str) -> None:
    with pytest.raises(MalformedCallback):
        ours.open(request(body=BROKEN[label], headers=basic()), KEY)


@pytest.mark.parametrize("damage", ["\x1b", "&#27;", "\x1c", "&#0;", "&#55357;", "\ufffe"])
def test_damage_is_not_guessed_at_in_an_id_or_a_number(ours: Gateway[Any], damage: str) -> None:
    for field, place in (("Request_ID", "receiverMO.Request_ID"), ("User_ID", "receiverMO.User_ID")):
        whole = f"{REST}<Message>VNN</Message>"
        assert f"<{field}>" in whole
        with pytest.raises(MalformedCallback) as caught:
            read(ours, whole.replace(f"<{field}>", f"<{field}>{damage}"))
        assert [error.path for error in caught.value.errors] == [place]


@pytest.mark.parametrize(
    ("inner", "path", "reason"),
    [
        ("<Message>VNN</Message><Content>VNN 2</Content>", "Message", "is given twice"),
        ("<Message>VNN <b>5</b></Message>", "Message", "holds elements instead of text"),
        ("<Message>VNN</Message><requestid>8</requestid>", "Request_ID", "is given twice"),
    ],
)
def test_what_is_wrong_is_told_of_an_element_of_the_dialect(
    ours: Gateway[Any], inner: str, path: str, reason: str
) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(ours, REST + inner)
    assert str(caught.value) == f"receiverMO.{path}: {reason}"


@pytest.mark.parametrize(
    "more",
    [
        "<Operator>\x01GPC</Operator>",
        f"<Operator>{'x' * 201}</Operator>",
        "<Operator><b>GPC</b></Operator>",
        "<Operator>GPC</Operator><opid>VMS</opid>",
    ],
)
def test_an_operator_that_cannot_be_read_does_not_cost_the_gift(ours: Gateway[Any], more: str) -> None:
    message = read(ours, f"{REST}<Message>VNN</Message>{more}")
    assert (message.text, message.carrier, message.flags[-1]) == ("VNN", "unknown", "field_left_out")


def test_what_nobody_reads_may_come_twice_or_hold_elements(ours: Gateway[Any]) -> None:
    message = read(ours, f"{REST}<Message>VNN</Message><cmdcode>VNN</cmdcode><Command_Code><b/></Command_Code>")
    assert (message.text, message.flags) == ("VNN", ())


def test_credentials_with_half_a_character_are_wrong_ones(ours: Gateway[Any]) -> None:
    inner = f"{REST}<Message>VNN</Message>" + elements({"username": USER, "password": PASSWORD})
    body = envelope("receiverMO", inner)
    assert ours.open(request(body=body), KEY)
    with pytest.raises(SignatureRejected):
        ours.open(request(body=body.replace(b"</password>", b"&#55357;</password>")), KEY)


def test_credentials_may_stand_in_the_soap_header(ours: Gateway[Any]) -> None:
    def with_header(password: str) -> Callback:
        inner = elements({"Username": USER, "Password": password})
        header = f"<s:Header><SMSReceiverCredential>{inner}</SMSReceiverCredential></s:Header>"
        return request(body=envelope("receiverMO", f"{REST}<Message>VNN</Message>", header))

    assert ours.open(with_header(PASSWORD), KEY)
    with pytest.raises(SignatureRejected):
        ours.open(with_header("x"), KEY)
