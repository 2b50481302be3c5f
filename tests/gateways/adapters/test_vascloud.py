"""VAS Cloud: documents of messages and of charges, the same messages as forms, and answers that name again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, ClassVar
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from gateways.outcome import Answer, FieldError, Outcome
from gateways.registry import SENDERS
from gateways.sender import Reply, Verdict
from tests.gateways.calls import KEY, PLAIN, STATUS_ALONE, Sms, gateway, request, result
from tests.gateways.contract import AdapterContract, sent_sms
from tests.gateways.documented import documented
from tests.gateways.signed_form import Call, SignedFormContract

SECRET = "tram-vas-1"
TOKEN = "a-token-for-tests"
XML = {"path_secret": SECRET, "services": {"S1408": "1408"}}
FORM = {
    "transport": "form", "secrets": [TOKEN], "separator": "|",
    "signed": ["mo_id", "source_address", "mo_time", "msisdn", "mo", "token"],
}  # fmt: skip


def told(error_id: int, sentence: str, module: str = "SMSGW", more: str = "") -> Answer:
    """An answer in XML."""
    said = f"<error_id>{error_id}</error_id><error_desc>{sentence}</error_desc>{more}"
    body = (
        f'<ACCESSGW xmlns="http://ws.apache.org/ns/synapse"><MODULE>{module}</MODULE>'
        f"<MESSAGE_TYPE>RESPONSE</MESSAGE_TYPE><COMMAND>{said}</COMMAND></ACCESSGW>"
    )
    return Answer(200, body.encode(), "text/xml; charset=utf-8")


def in_json(error_id: int, sentence: str) -> Answer:
    """An answer to a form."""
    return Answer(200, f'{{"error_id":{error_id},"error_desc":"{sentence}"}}'.encode(), "application/json")


def posted(body: str | bytes) -> Callback:
    """A document as VAS Cloud posts it."""
    raw = body if isinstance(body, bytes) else body.encode()
    return request(body=raw, headers={"content-type": "text/xml"}, path_secret=SECRET)


def document(module: str, command: Call) -> str:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in command.items())
    head = f"<MODULE>{module}</MODULE><MESSAGE_TYPE>NOTIFY</MESSAGE_TYPE>"
    return f"<ACCESSGW>{head}<COMMAND>{inner}</COMMAND></ACCESSGW>"


MESSAGE = {
    "mo_id": "55501", "destination_address": "1408", "source_address": "84950000001", "mo_time": "20261121153000",
    "content_type": "TEXT", "content": "VNN 5", "callback_url": "http://127.0.0.1/x",
}  # fmt: skip
CHARGE = {
    "queueID": "q-1", "resultCode": "0", "errorDesc": "", "startTime": "1795249800000", "msisdn": "84950000001",
    "regType": "1", "channel": "SMS", "service_id": "S1408", "package_id": "VNN", "originalprice": "20000",
    "price": "20000", "commandcode": "VNN",
}  # fmt: skip
ECHO = "<queueID>q-1</queueID><msisdn>84950000001</msisdn><service_id>S1408</service_id><package_id>VNN</package_id>"


def message_document(sms: Sms = PLAIN, **changes: str) -> Callback:
    said = {
        "mo_id": sms.id, "source_address": sms.msisdn, "destination_address": sms.short_code, "content": sms.text,
    }  # fmt: skip
    return posted(document("SMSGW", {n: v for n, v in {**MESSAGE, **said, **changes}.items() if v is not None}))


def charge_document(**changes: str | None) -> Callback:
    return posted(document("SDP", {n: v for n, v in {**CHARGE, **changes}.items() if v is not None}))


class TestDocuments(AdapterContract):
    adapter = "vascloud"
    settings: ClassVar[dict[str, Any]] = XML
    methods = frozenset({"POST", "GET"})
    mutations = 3_000
    answers: ClassVar[dict[Outcome, Answer]] = (
        dict.fromkeys(Outcome, told(0, "Success")) | STATUS_ALONE | {Outcome.MALFORMED: told(1, "Invalid parameter")}
    )

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return message_document(sms)

    def with_content(self, content: bytes) -> Callback:
        return posted(content)

    def others(self) -> Iterator[Callback]:
        yield charge_document()


class TestForms(SignedFormContract):
    adapter = "vascloud"
    settings: ClassVar[dict[str, Any]] = FORM
    methods = frozenset({"POST", "GET"})
    answers: ClassVar[dict[Outcome, Answer]] = (
        dict.fromkeys(Outcome, in_json(0, "Success"))
        | STATUS_ALONE
        | {Outcome.MALFORMED: in_json(1, "Invalid parameter")}
    )
    secret = TOKEN
    plain_call: ClassVar[dict[str, str]] = {
        "mo_id": "55501", "source_address": "1408", "mo_time": "20261121153000", "msisdn": "84950000001",
        "mo": "VNN 5",
    }  # fmt: skip
    names: ClassVar[dict[str, str]] = {
        "id": "mo_id", "msisdn": "msisdn", "short_code": "source_address", "text": "mo",
    }  # fmt: skip
    signed: ClassVar[tuple[str, ...]] = tuple(plain_call)
    signature_name = "signature"
    vector = "c818a135c66ae6ae8f247e3eaa458867"

    @classmethod
    def signature(cls, call: Call, secret: str) -> str:
        signed = "|".join([*(call.get(name, "") for name in cls.signed), secret])
        return md5(signed.encode("utf-8", "surrogateescape")).hexdigest()


class TestPostedForms(TestForms):
    fuzzed = "body"
    mutations = 300


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("vascloud", XML)


def read(gateway: Gateway[Any], callback: Callback) -> Message:
    (event,) = gateway.open(callback, KEY)
    assert isinstance(event, Message)
    return event


def test_in_a_document_the_source_is_the_subscriber_and_in_a_form_the_short_code(ours: Gateway[Any]) -> None:
    for message in (
        read(ours, message_document()),
        read(gateway("vascloud", FORM), TestForms.sent(TestForms.plain_call)),
    ):
        assert (message.msisdn, message.short_code, message.operator_time) == (
            "84950000001",
            "1408",
            "20261121153000",
        )
        assert message.message_at == datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


# label: the document, what the donor meant, flags
TEXTS: dict[str, tuple[str | bytes, str, tuple[str, ...]]] = {
    "an ampersand that is not escaped": ("VNN & 5", "VNN & 5", ("repaired",)),
    "a section of characters": ("<![CDATA[VNN < 5]]>", "VNN < 5", ()),
    "an emoji by its halves": ("VNN &#55357;&#56832;", "VNN \N{GRINNING FACE}", ("repaired",)),
    "half an emoji": ("VNN &#55357;", "VNN \ufffd", ("text_repaired", "repaired")),
    "blanks around": (" VNN 5\n", " VNN 5\n", ()),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_what_the_donor_meant(ours: Gateway[Any], label: str) -> None:
    written, meant, flags = TEXTS[label]
    body = document("SMSGW", {**MESSAGE, "content": "TEXT OF IT"}).replace("TEXT OF IT", str(written))
    message = read(ours, posted(body))
    assert (message.text, message.flags) == (meant, flags)


def test_a_template_of_several_lines_and_namespaces_is_read(ours: Gateway[Any]) -> None:
    body = document("SMSGW", MESSAGE).replace("<ACCESSGW>", '<ACCESSGW xmlns="http://ws.apache.org/ns/synapse">')
    for name in ("MODULE", "mo_id", "source_address", "mo_time"):
        body = body.replace(f"<{name}>", f"<{name}>\n  ").replace(f"</{name}>", f"\n</{name}>")
    assert read(ours, posted(body)) == read(ours, message_document(Sms(id="55501")))


def test_what_cannot_be_read_of_an_optional_field_does_not_cost_the_gift(ours: Gateway[Any]) -> None:
    for callback in (message_document(mo_time="21/11/2026"), message_document(content_type="BINARY")):
        message = read(ours, callback)
        assert (message.text, message.flags) == ("VNN 5", ("field_left_out",))


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [("0", ChargeStatus.SUCCEEDED, None), ("1", ChargeStatus.FAILED, "1"), ("00", ChargeStatus.FAILED, "00")],
)
def test_an_event_of_the_notifier_is_a_charge(
    ours: Gateway[Any], code: str, status: ChargeStatus, reason: str | None
) -> None:
    (event,) = ours.open(charge_document(resultCode=code), KEY)
    assert event == Charge(
        native_id="q-1",
        digest=event.digest,
        charge_id="q-1",
        status=status,
        amount_vnd=20_000,
        msisdn="84950000001",
        short_code="1408",
        occurred_at=datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
        reason=reason,
        echoed=("q-1", "84950000001", "S1408", "VNN"),
    )
    for changes in ({"price": "10000"}, {"msisdn": "84950000002"}, {"resultCode": "7"}):
        assert ours.open(charge_document(**{"resultCode": code, **changes}), KEY)[0].digest != event.digest


def test_the_answer_to_a_charge_names_it_again(ours: Gateway[Any]) -> None:
    events = ours.open(charge_document(), KEY)
    for outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT):
        assert ours.respond(result(outcome, events)) == told(0, "Success", "SDP NOTIFIER", ECHO)
    later = ours.respond(result(Outcome.UNAVAILABLE, events))
    assert later == told(1, "Try again later", "SDP NOTIFIER", ECHO)
    errors = (FieldError("SDP.price", "is missing"),)
    malformed = ours.respond(result(Outcome.MALFORMED, errors=errors))
    assert malformed == told(1, "Invalid parameter", "SDP NOTIFIER")
    odd = ours.open(charge_document(queueID="<q&1>", package_id=None), KEY)
    command = fromstring(ours.respond(result(Outcome.ACCEPTED, odd)).body)[2]
    assert [each.text for each in command] == ["0", "Success", "<q&1>", "84950000001", "S1408", None]


def test_a_message_that_was_read_and_cannot_be_kept_is_told_later_in_its_words(ours: Gateway[Any]) -> None:
    events = ours.open(message_document(), KEY)
    assert ours.respond(result(Outcome.UNAVAILABLE, events)) == told(1, "Try again later")
    form = gateway("vascloud", FORM)
    assert form.respond(result(Outcome.UNAVAILABLE, events)) == in_json(1, "Try again later")


@pytest.mark.parametrize(
    ("callback", "place"),
    [
        (posted("<a/>"), "body"),
        (posted("not xml"), "body"),
        (posted('<!DOCTYPE a [<!ENTITY b "c">]><ACCESSGW>&b;</ACCESSGW>'), "body"),
        (posted("<ACCESSGW><MODULE>SMSGW</MODULE></ACCESSGW>"), "SMSGW.COMMAND"),
        (posted("<ACCESSGW><MODULE>MT</MODULE><COMMAND/></ACCESSGW>"), "ACCESSGW.MODULE"),
        (posted("<ACCESSGW><COMMAND/></ACCESSGW>"), "ACCESSGW.MODULE"),
        (posted(document("SMSGW", MESSAGE).replace("</COMMAND>", "<mo_id>2</mo_id></COMMAND>")), "SMSGW.mo_id"),
        # Each holds another gift than the one that would be read.
        (posted(document("SMSGW", MESSAGE).replace("</COMMAND>", "</COMMAND><COMMAND/>")), "SMSGW.COMMAND"),
        (posted(document("SMSGW", MESSAGE).replace("</COMMAND>", "</COMMAND><MODULE/>")), "ACCESSGW.MODULE"),
        (posted(document("SMSGW", MESSAGE).replace("VNN 5", "VNN <b>5</b>")), "SMSGW.content"),
        (charge_document(service_id="S1409"), "SDP.service_id"),
        (charge_document(service_id=None), "SDP.service_id"),
        (charge_document(queueID=None), "SDP.queueID"),
        (charge_document(resultCode=None), "SDP.resultCode"),
        (charge_document(msisdn="12"), "SDP.msisdn"),
        (charge_document(price="20000.5"), "SDP.price"),
        (charge_document(price=None), "SDP.price"),
    ],
)
def test_a_malformed_document_names_the_place(ours: Gateway[Any], callback: Callback, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        ours.open(callback, KEY)
    assert [error.path for error in caught.value.errors] == [place]


def test_a_time_of_a_charge_that_cannot_be_read_does_not_cost_it(ours: Gateway[Any]) -> None:
    (event,) = ours.open(charge_document(startTime="soon"), KEY)
    assert isinstance(event, Charge)
    assert (event.occurred_at, event.flags) == (None, ("field_left_out",))


def test_a_form_s_recipe_is_the_account_s() -> None:
    recipe = {**FORM, "signed": ["token", "mo", "mo_id"], "separator": ""}
    call = {**TestForms.plain_call, "signature": md5(f"{TOKEN}VNN 555501".encode()).hexdigest()}
    assert gateway("vascloud", recipe).open(TestForms.sent(call, call["signature"]), KEY)
    with pytest.raises(SignatureRejected):
        gateway("vascloud", FORM).open(TestForms.sent(call, call["signature"]), KEY)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({**FORM, "secrets": []}, "form needs"),
        ({**FORM, "signed": []}, "form needs"),
        ({**FORM, "separator": None}, "form needs"),
        ({**FORM, "services": {"S": "1408"}}, "no form tells of a charge"),
        ({**XML, "secrets": [TOKEN]}, "a document is not signed"),
        ({**XML, "separator": ""}, "a document is not signed"),
        ({**FORM, "signed": ["mo_id", "mo"]}, "signed names mo_id, token"),
        ({**FORM, "signed": ["mo", "token"]}, "signed names mo_id, token"),
        ({**FORM, "signed": ["mo_id", "token", "mt"]}, "signed names mo_id, token"),
        ({**FORM, "signed": ["mo_id", "token", "mo_id"]}, "once"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        gateway("vascloud", settings)


def test_only_an_account_with_services_can_count_on_report() -> None:
    for settings, is_possible in ((XML, True), ({"path_secret": SECRET}, False), (FORM, False)):
        assert ("on_report" in gateway("vascloud", settings).settings.chargings()) is is_possible


def test_only_an_error_id_of_0_is_a_success() -> None:
    for settings, success in ((XML, told(0, "Success")), (FORM, in_json(0, "Success"))):
        sender, sms = SENDERS["vascloud"]("acc", gateway("vascloud", settings).settings), sent_sms()
        for status, body, verdict in (
            (200, success.body, Verdict.TAKEN),
            (202, success.body, Verdict.REFUSED),
            (200, told(1, "x").body, Verdict.LATER),
            (200, in_json(1, "x").body, Verdict.LATER),
            (200, b"ok", Verdict.REFUSED),
        ):
            assert sender.judge([sms], Reply(status, "text/xml", body)) is verdict


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("vascloud")
    message = read(page, callback)
    assert (message.native_id, message.text, message.carrier) == ("55501", "VNN 5", "vinaphone")
