"""The hub SOAP family: every dialect, both styles, both places of a password, broken and encoded texts."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar
from xml.sax.saxutils import escape

import pytest
from defusedxml.ElementTree import fromstring

from gateways.adapters.vn_soap_dialects import DIALECTS, MEANINGS, SPELLINGS, SUCCESS_VALUES, folded
from gateways.adapters.vn_soap_mo import VnSoapMoSettings
from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from gateways.outcome import Answer, Outcome
from tests.gateways.contract import KEY, STRANGER, AdapterContract, Sms, flipped_bits, gateway, request, result

USER = "hub-1"
PASSWORD = "mat-khau & <thu>"
PLACES = {"id": "Request_ID", "msisdn": "User_ID", "short_code": "Service_ID", "text": "Message"}

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
ENVELOPE = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{}</soap:Body></soap:Envelope>'
)
OWN = "urn:portal1400:vn_soap_mo"


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """An HTTP Basic header (RFC 7617)."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def envelope(operation: str, elements: str, header: str = "") -> bytes:
    """A SOAP request around elements that are XML already."""
    return (
        f'{HEAD}<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">{header}<s:Body>'
        f'<{operation} xmlns="http://partner.example/">{elements}</{operation}></s:Body></s:Envelope>'
    ).encode()


def elements(fields: dict[str, str | None]) -> str:
    """Elements by name; None is left out."""
    return "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items() if text is not None)


def called(operation: str, inner: str, **more: Any) -> Callback:
    """A hub's request with Basic credentials."""
    return request(body=envelope(operation, inner), headers=basic(), **more)


def fault(status: int, code: str, sentence: str, *headers: tuple[str, str]) -> Answer:
    """A golden fault."""
    body = f"<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{sentence}</faultstring></soap:Fault>"
    return Answer(status, (HEAD + ENVELOPE.format(body)).encode(), "text/xml; charset=utf-8", headers)


def answers(success: str, refused: str | None = None) -> dict[Outcome, Answer]:
    """The golden table of an account; `success` and `refused` are what stands inside the SOAP body."""
    ok = Answer(200, (HEAD + ENVELOPE.format(success)).encode(), "text/xml; charset=utf-8")
    challenge = ("www-authenticate", 'Basic realm="portal1400", charset="UTF-8"')
    later = fault(503, "Server", "try again later", ("retry-after", "5"))
    return {
        Outcome.ACCEPTED: ok,
        Outcome.DUPLICATE: ok,
        Outcome.CONFLICT: ok,
        Outcome.UNALLOCATED: ok,
        Outcome.REJECTED_POLICY: replace(ok, body=(HEAD + ENVELOPE.format(refused or success)).encode()),
        Outcome.MALFORMED: fault(500, "Client", "malformed; data.text is missing"),
        Outcome.UNAUTHENTICATED: fault(401, "Client", "unauthenticated", challenge),
        Outcome.STALE: fault(401, "Client", "unauthenticated", challenge),
        Outcome.TOO_LARGE: fault(413, "Client", "too large"),
        Outcome.OVERLOADED: later,
        Outcome.UNAVAILABLE: later,
    }


class SoapContract(AdapterContract):
    adapter = "vn_soap_mo"
    methods = frozenset({"POST", "GET"})
    operation: ClassVar[str]
    places: ClassVar[dict[str, str]] = PLACES

    def inner(self, sms: Sms) -> str:
        written = {place: getattr(sms, meaning) for meaning, place in self.places.items()}
        return elements({**written, "Command_Code": "VNN", "Operator": "VIETTEL"})

    def callback(self, sms: Sms = Sms()) -> Callback:  # noqa: B008 -- frozen
        return called(self.operation, self.inner(sms))

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, headers=basic())

    def flipped(self) -> Iterator[Callback]:
        for password in flipped_bits(PASSWORD):
            yield replace(self.callback(), headers=basic(password=password))
        for user in flipped_bits(USER):
            yield replace(self.callback(), headers=basic(user=user))
        for encoded in flipped_bits(basic()["authorization"].removeprefix("Basic ")):
            if encoded.strip() != encoded:
                continue
            yield replace(self.callback(), headers={"authorization": f"Basic {encoded}"})

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        for label, headers in {
            "no credentials": {},
            "another password": basic(password="x"),
            "another user": basic(user="x"),
            "no colon": {"authorization": "Basic " + base64.b64encode(b"hub-1").decode()},
            "not base64": {"authorization": "Basic !"},
            "half a character": {"authorization": "Basic \udcff\ud800"},
            "another scheme": {"authorization": basic()["authorization"].replace("Basic", "Bearer")},
            "empty": {"authorization": ""},
        }.items():
            yield label, replace(self.callback(), headers=headers)
        both = self.inner(Sms()) + elements({"username": USER, "password": PASSWORD})
        yield (
            "right in the body, wrong in the header",
            replace(called(self.operation, both), headers=basic(password="x")),
        )


class TestReceiverMo(SoapContract):
    operation = "receiverMO"
    settings: ClassVar[dict[str, Any]] = {"dialect": "receiverMO", "user": USER, "password": PASSWORD}
    answers = answers(
        f'<receiverMOResponse xmlns="{OWN}"><receiverMOResult>1</receiverMOResult></receiverMOResponse>'
    )


class TestMoReceiver(SoapContract):
    operation = "moReceiver"
    settings: ClassVar[dict[str, Any]] = {"dialect": "moReceiver", "user": USER, "password": PASSWORD}
    answers = answers(
        '<ns:moReceiverResponse xmlns:ns="Receiver"><moReceiverResult>0</moReceiverResult></ns:moReceiverResponse>'
    )


class TestMoReceiverStandard(TestMoReceiver):
    operation = "moReceiverStandard"


class TestGetMoData(SoapContract):
    operation = "GetMOData"
    places: ClassVar[dict[str, str]] = {
        "id": "RequestID",
        "msisdn": "UserID",
        "short_code": "ServiceID",
        "text": "Content",
    }
    settings: ClassVar[dict[str, Any]] = {"dialect": "GetMOData", "user": USER, "password": PASSWORD}
    answers = answers(f'<GetMODataResponse xmlns="{OWN}"><GetMODataResult>0|</GetMODataResult></GetMODataResponse>')


class TestReplyStyle(TestGetMoData):
    settings: ClassVar[dict[str, Any]] = {
        "dialect": "GetMOData",
        "style": "reply",
        "success_value": "0|Cam on ban",
        "refuse_value": "1|Sai cu phap",
        "user": USER,
        "password": PASSWORD,
    }
    answers = answers(
        f'<GetMODataResponse xmlns="{OWN}"><GetMODataResult>0|Cam on ban</GetMODataResult></GetMODataResponse>',
        f'<GetMODataResponse xmlns="{OWN}"><GetMODataResult>1|Sai cu phap</GetMODataResult></GetMODataResponse>',
    )


class TestPathSecret(TestReceiverMo):
    """A hub that can only be given an address."""

    settings: ClassVar[dict[str, Any]] = {"dialect": "receiverMO", "path_secret": "duong-rieng-1"}

    def callback(self, sms: Sms = Sms()) -> Callback:  # noqa: B008 -- frozen
        return request(body=envelope(self.operation, self.inner(sms)), path_secret="duong-rieng-1")

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, path_secret="duong-rieng-1")

    def flipped(self) -> Iterator[Callback]:
        for secret in flipped_bits("duong-rieng-1"):
            yield replace(self.callback(), path_secret=secret)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from AdapterContract.strangers(self)


class TestPasswordInTheBody(TestReceiverMo):
    """Credentials as elements beside the message; nothing of what is read counts before they are right."""

    def callback(self, sms: Sms = Sms()) -> Callback:  # noqa: B008 -- frozen
        return self.with_credentials(USER, PASSWORD, sms)

    def with_credentials(self, user: str, password: str, sms: Sms = Sms()) -> Callback:  # noqa: B008 -- frozen
        inner = self.inner(sms) + elements({"UserName": user, "Password": password})
        return request(body=envelope(self.operation, inner))

    def with_content(self, content: bytes) -> Callback:
        return request(body=content)

    def flipped(self) -> Iterator[Callback]:
        for password in flipped_bits(PASSWORD):
            yield self.with_credentials(USER, password)
        for user in flipped_bits(USER):
            yield self.with_credentials(user, PASSWORD)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from AdapterContract.strangers(self)
        yield "no elements", request(body=envelope(self.operation, self.inner(Sms())))
        yield "not XML", request(body=b"<soap")
        yield "empty header", replace(self.callback(), headers={"authorization": ""})


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("vn_soap_mo", TestReceiverMo.settings, carrier="from_message")


def read(gateway: Gateway[Any], inner: str, operation: str = "receiverMO") -> Message:
    """The message in a call."""
    (event,) = gateway.open(called(operation, inner), KEY)
    assert isinstance(event, Message)
    return event


REST = "<User_ID>84950000001</User_ID><Service_ID>1408</Service_ID><Request_ID>7</Request_ID>"

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
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_read_strictly_and_repaired_once(ours: Gateway[Any], label: str) -> None:
    written, meant, flags = TEXTS[label]
    message = read(ours, f"{REST}<Message>{written}</Message>")
    assert (message.text, message.flags) == (meant, flags)


@pytest.mark.parametrize(
    "written", ["<b>VNN</b>", "a<b>c", "VNN</Message>", "\x00", "\x01&", "</Message><Message>", "VNN<br/>5"]
)
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
    ours = gateway("vn_soap_mo", {**TestReceiverMo.settings, "carriers": {"04": "mvno"}}, carrier="from_message")
    assert read(ours, f"{REST}<Message>VNN</Message><Operator>{operator}</Operator>").carrier == carrier


def test_a_fixed_carrier_beats_the_operator() -> None:
    ours = gateway("vn_soap_mo", TestReceiverMo.settings, carrier="mobifone")
    assert read(ours, f"{REST}<Message>VNN</Message><Operator>VIETTEL</Operator>").carrier == "mobifone"


def test_a_base64_text_may_be_broken_into_lines() -> None:
    ours = gateway("vn_soap_mo", TestReceiverMo.settings | {"base64": True})
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
    "two ids": envelope("receiverMO", f"{REST}<Message>V</Message><moid>8</moid>"),
    "not utf-8": envelope("receiverMO", f"{REST}<Message>V</Message>").replace(b">V<", b">\xe9<"),
    "an encoding nobody has": b'<?xml version="1.0" encoding="klingon"?><a/>',
    "a document type": b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    "nothing": b"",
}


@pytest.mark.parametrize("label", BROKEN)
def test_a_broken_call_is_malformed(ours: Gateway[Any], label: str) -> None:
    with pytest.raises(MalformedCallback):
        ours.open(request(body=BROKEN[label], headers=basic()), KEY)


def test_credentials_may_stand_in_the_soap_header(ours: Gateway[Any]) -> None:
    def with_header(password: str) -> Callback:
        inner = elements({"Username": USER, "Password": password})
        header = f"<s:Header><SMSReceiverCredential>{inner}</SMSReceiverCredential></s:Header>"
        return request(body=envelope("receiverMO", f"{REST}<Message>VNN</Message>", header))

    assert ours.open(with_header(PASSWORD), KEY)
    with pytest.raises(SignatureRejected):
        ours.open(with_header("x"), KEY)


def scanned(body: bytes) -> int | None:
    """What the hubs' generic reader takes for the result: it looks for these, in this order, anywhere."""
    found = [digit for digit in (1, -1, 0, 2, 3, 4, 5, 6) if f">{digit}<".encode() in body]
    return found[0] if found else None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_digit_scan_finds_the_result_and_nothing_else(dialect: str) -> None:
    ours = gateway("vn_soap_mo", {"dialect": dialect})
    answers = {outcome: ours.respond(result(outcome)).body for outcome in Outcome}
    success = {"receiverMO": 1, "moReceiver": 0, "GetMOData": None}[dialect]
    for outcome, body in answers.items():
        is_taken = outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.UNALLOCATED, Outcome.CONFLICT)
        assert scanned(body) == (success if is_taken or outcome is Outcome.REJECTED_POLICY else None), outcome
    name = DIALECTS[dialect].result
    cut = re.search(f"<{name}>(.*)</{name}>".encode(), answers[Outcome.ACCEPTED])
    assert cut is not None
    assert cut[1].decode() == SUCCESS_VALUES[dialect]


def test_an_answer_depends_on_the_reading_in_reply_style_only() -> None:
    assert gateway("vn_soap_mo", TestReplyStyle.settings).answer_depends_on_reading
    assert not gateway("vn_soap_mo", TestGetMoData.settings).answer_depends_on_reading


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_description_is_the_accounts_own_dialect(dialect: str) -> None:
    ours = gateway("vn_soap_mo", {"dialect": dialect, "path_secret": "p", "user": USER, "password": PASSWORD})
    asked = request(method="GET", query="WSDL", path_secret="p", headers={"host": "gw.example:8443"})
    answer = ours.describe(asked)
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, "text/xml; charset=utf-8")
    wsdl = "{http://schemas.xmlsoap.org/wsdl/}"
    root = fromstring(answer.body)
    assert [operation.get("name") for operation in root.iter(f"{wsdl}operation")] == [dialect, dialect]
    (address,) = root.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
    assert address.get("location") == "https://gw.example:8443/gw/vn_soap_mo/acc/p"
    text = answer.body.decode()
    assert all(f'name="{name}"' in text for name in (*DIALECTS[dialect].fields, DIALECTS[dialect].result))
    strange = ours.describe(replace(asked, headers={"host": '"><x>'}))
    assert strange is not None
    assert b'location="/gw/vn_soap_mo/acc/p"' in strange.body


def test_a_description_is_for_those_who_pass_the_other_factors() -> None:
    ours = gateway("vn_soap_mo", {"dialect": "receiverMO", "path_secret": "p", "user": USER, "password": PASSWORD})
    asked = request(method="GET", query="wsdl", path_secret="p")
    for stranger in (replace(asked, peer=STRANGER), replace(asked, path_secret=None)):
        with pytest.raises(SignatureRejected):
            ours.describe(stranger)
    assert ours.describe(replace(asked, query="")) is None
    assert ours.describe(replace(asked, method="POST")) is None


WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no dialect": ({}, "dialect"),
    "a dialect nobody speaks": ({"dialect": "receiverMo"}, "dialect"),
    "a style nobody has": ({"dialect": "receiverMO", "style": "both"}, "style"),
    "reply without a refusal": ({"dialect": "receiverMO", "style": "reply"}, "refuse_value is required"),
    "a refusal that is a success": (
        {"dialect": "receiverMO", "style": "reply", "refuse_value": "1"},
        "neither the success value",
    ),
    "a refusal that is only filed": (
        {"dialect": "receiverMO", "style": "reply", "refuse_value": "-1"},
        "neither the success value nor -1",
    ),
    "GetMOData with a bare 0": ({"dialect": "GetMOData", "success_value": "0"}, "begins with 0"),
    "GetMOData that refuses with 0": (
        {"dialect": "GetMOData", "style": "reply", "refuse_value": "0|x"},
        "must not begin with 0",
    ),
    "a value that would be escaped": ({"dialect": "GetMOData", "success_value": "0|A&B"}, "success_value"),
    "a user alone": ({"dialect": "receiverMO", "user": "u"}, "go together"),
    "a password alone": ({"dialect": "receiverMO", "password": "hunter-2"}, "go together"),
    "a user with a colon": ({"dialect": "receiverMO", "user": "a:b", "password": "hunter-2"}, "user"),
}


@pytest.mark.parametrize("label", WRONG_SETTINGS)
def test_wrong_settings_are_refused_without_being_shown(label: str) -> None:
    wrong, hint = WRONG_SETTINGS[label]
    with pytest.raises(ValueError, match=hint) as caught:
        gateway("vn_soap_mo", wrong)
    assert "hunter-2" not in str(caught.value)


def test_factors_are_the_password_and_the_path() -> None:
    assert gateway("vn_soap_mo", TestReceiverMo.settings).settings.factors() == {"password"}
    assert gateway("vn_soap_mo", TestPathSecret.settings).settings.factors() == {"path_secret"}
    assert gateway("vn_soap_mo", {"dialect": "receiverMO"}).settings.factors() == frozenset()
