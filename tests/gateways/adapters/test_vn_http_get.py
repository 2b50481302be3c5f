"""Hubs that fetch an address: three dialects, texts that run over, letters of Windows-1258, calls without an id."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote_plus

import pytest

from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS
from service.intake.packing import pack_callback, unpack_callback
from tests.gateways.calls import KEY, LISTED, PLAIN, RECEIVED_AT, Sms, gateway, received, request
from tests.gateways.contract import AdapterContract, sent_sms
from tests.gateways.documented import documented

SECRET = "tram-cuu-tro-2"
DDVIET = {"dialect": "ddviet", "path_secret": SECRET}
SHORT = {"dialect": "short", "without_ids": True, "path_secret": SECRET}
PLAIN_TEXT = "text/plain; charset=utf-8"
LATER = Answer(503, b"", PLAIN_TEXT, (("retry-after", "5"),))


def answers(success: bytes) -> dict[Outcome, Answer]:
    """What hubs are owed for each outcome."""
    return dict.fromkeys(Outcome, Answer(200, success, PLAIN_TEXT)) | {
        Outcome.MALFORMED: Answer(400, b"", PLAIN_TEXT),
        Outcome.UNAUTHENTICATED: Answer(403, b"", PLAIN_TEXT),
        Outcome.STALE: Answer(403, b"", PLAIN_TEXT),
        Outcome.TOO_LARGE: Answer(413, b"", PLAIN_TEXT),
        Outcome.OVERLOADED: LATER,
        Outcome.UNAVAILABLE: LATER,
    }


def fetched(query: str, **more: Any) -> Callback:
    """What a hub asks for."""
    return request(method="GET", query=query, path_secret=SECRET, **more)


class TestDdviet(AdapterContract):
    adapter = "vn_http_get"
    settings: ClassVar[dict[str, Any]] = DDVIET
    methods = frozenset({"GET"})
    fuzzed = "query"
    answers: ClassVar[dict[Outcome, Answer]] = answers(b"1")
    names: ClassVar[tuple[str, ...]] = ("requestId", "userId", "serviceId", "message")
    rest: ClassVar[str] = "mobileOperator=VIETTEL&commandCode=VNN"

    def callback(self, sms: Sms = PLAIN) -> Callback:
        written = zip(self.names, (sms.id, sms.msisdn, sms.short_code, sms.text), strict=True)
        pairs = [f"{name}={quote_plus(value)}" for name, value in written if value is not None]
        return fetched("&".join((self.rest, *pairs)))

    def with_content(self, content: bytes) -> Callback:
        return fetched(content.decode("utf-8", "surrogateescape"))


class TestTxid(TestDdviet):
    settings: ClassVar[dict[str, Any]] = {"dialect": "txid", "path_secret": SECRET, "success_value": "OK"}
    answers: ClassVar[dict[Outcome, Answer]] = answers(b"OK")
    names: ClassVar[tuple[str, ...]] = ("txid", "mobileno", "shortcode", "msg")
    rest: ClassVar[str] = "cmdcode=VNN"
    mutations = 1_000


class TestShortWithAnId(TestDdviet):
    settings: ClassVar[dict[str, Any]] = {
        "dialect": "short", "id_parameter": "msgid", "operator_parameter": "telco", "path_secret": SECRET,
    }  # fmt: skip
    names: ClassVar[tuple[str, ...]] = ("msgid", "msisdn", "service_id", "sms")
    rest: ClassVar[str] = "telco=VIETTEL"
    mutations = 1_000


WRONG_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "what the dialect has": ({"dialect": "txid", "id_parameter": "id"}, "add what the dialect has not"),
    "another one's name": ({"dialect": "short", "id_parameter": "sms"}, "that no other parameter has"),
    "one name for two": (
        {"dialect": "short", "id_parameter": "x", "operator_parameter": "x"},
        "that no other parameter has",
    ),
    "an id all the same": ({"dialect": "short", "id_parameter": "x", "without_ids": True}, "without_ids = true goes"),
}


@pytest.mark.parametrize("label", WRONG_PARAMETERS)
def test_what_a_hub_adds_has_a_name_of_its_own(label: str) -> None:
    settings, reason = WRONG_PARAMETERS[label]
    with pytest.raises(ValueError, match=reason):
        gateway("vn_http_get", {"path_secret": SECRET, **settings})


def test_the_operator_that_a_hub_adds_is_understood() -> None:
    settings = TestShortWithAnId.settings
    ours = gateway("vn_http_get", settings, carrier="from_message")
    message = read(ours, "msisdn=0950000001&sms=VNN+5&service_id=1408&msgid=9&telco=VMS")
    assert (message.native_id, message.carrier, message.text, message.flags) == ("9", "mobifone", "VNN 5", ())


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("vn_http_get", DDVIET, carrier="from_message")


def read(gateway: Gateway[Any], query: str) -> Message:
    """The message in a query."""
    (event,) = gateway.open(fetched(query), KEY)
    assert isinstance(event, Message)
    return event


HEAD = "requestId=7&mobileOperator=GPC&userId=0950000001&serviceId=1408&commandCode=VNN&"
# the query behind HEAD; what the donor meant; flags
TEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "blanks as plus": ("message=VNN+5", "VNN 5", ()),
    "an ampersand to the end": ("message=VNN+5+&+x=1&y", "VNN 5 & x=1&y", ()),
    "an ampersand with the name of what was there": ("message=VNN&userId=0950000002", "VNN&userId=0950000002", ()),
    "a parameter that nobody knows": ("message=VNN+3&ts=1", "VNN 3", ()),
    "several, behind an ampersand of the donor's": ("message=VNN+3&5&time=20261129&sig=aG8=", "VNN 3&5", ()),
    "nothing but ampersands": ("message=&&", "&&", ()),
    "percent that encodes nothing": ("message=VNN+50%", "VNN 50%", ()),
    "encoded after all": ("message=%E1%BB%A7ng+h%E1%BB%99%26", "ủng hộ&", ()),
    "utf-8 as it is": ("message=ủng+hộ", "ủng hộ", ()),
    "bytes of Windows-1258": ("message=\udcf0a+cam+%D0", "đa cam Đ", ()),
    "a byte that Windows-1258 has not": ("message=VNN+%8A", "VNN \x8a", ()),
    "utf-8 that was cut": ("message=VNN+5+%E1%BB", "VNN 5 \ufffd\ufffd", ("text_repaired",)),
    "nul": ("message=VNN%005", "VNN5", ("text_repaired",)),
    "empty": ("message=", "", ()),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_what_the_donor_meant(ours: Gateway[Any], label: str) -> None:
    query, meant, flags = TEXTS[label]
    message = read(ours, HEAD + query)
    assert (message.text, message.flags) == (meant, flags)
    assert (message.native_id, message.msisdn, message.carrier) == ("7", "84950000001", "vinaphone")
    unpacked = unpack_callback(pack_callback(fetched(HEAD + query), ours), LISTED)
    assert ours.parse(unpacked, KEY) == (message,)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("msisdn=84950000001&sms=VNN+5&service_id=1408", "VNN 5"),
        ("msisdn=84950000001&sms=VNN&5&service_id=1408", "VNN&5"),
        ("msisdn=84950000001&sms=VNN&service_id=1409&service_id=1408", "VNN&service_id=1409"),
        ("sms=VNN+3&service_id=1408&msisdn=84950000001&ts=1", "VNN 3"),
        ("sms=A&B&service_id=1408&msisdn=84950000001", "A&B"),
        ("service_id=1408&msisdn=84950000001&sms=A&service_id=1409", "A&service_id=1409"),
    ],
)
def test_what_a_donor_writes_takes_no_parameter_s_place(query: str, meant: str) -> None:
    message = read(gateway("vn_http_get", SHORT), query)
    assert (message.text, message.short_code, message.msisdn) == (meant, "1408", "84950000001")


@pytest.mark.parametrize(
    ("said", "carrier"),
    [("VIETTEL", "viettel"), ("gpc", "vinaphone"), ("VMS", "mobifone"), ("HTC", "vietnamobile"), ("X", "unknown")],
)
def test_the_operator_s_code_is_understood(ours: Gateway[Any], said: str, carrier: str) -> None:
    assert read(ours, HEAD.replace("GPC", said) + "message=VNN").carrier == carrier


def test_an_operator_that_cannot_be_read_does_not_cost_the_gift(ours: Gateway[Any]) -> None:
    for said in ("%FF", "VMS&mobileOperator=GPC", "x" * 201):
        message = read(ours, HEAD.replace("GPC", said) + "message=VNN+5")
        assert (message.text, message.carrier, message.flags) == ("VNN 5", "unknown", ("field_left_out",))


@pytest.mark.parametrize(
    ("query", "place"),
    [
        (HEAD + "requestId=8&message=VNN", "query.requestId"),
        ("requestId=7&userId=12&serviceId=1408&message=VNN", "query.userId"),
        ("requestId=7&userId=0950000001&serviceId=x&message=VNN", "query.serviceId"),
        ("txid=7&mobileno=0950000001&shortcode=1408&msg=VNN", "query.requestId"),
    ],
)
def test_a_malformed_query_names_the_place(ours: Gateway[Any], query: str, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(ours, query)
    assert [error.path for error in caught.value.errors] == [place]


def test_a_call_without_an_id_is_a_message_of_its_own() -> None:
    ours = gateway("vn_http_get", SHORT)
    sent = SENDERS["vn_http_get"]("acc", ours.settings).request([sent_sms(text="VNN & 5 ❤️")], RECEIVED_AT)
    callback = received(sent)
    (message,) = ours.open(callback, KEY)
    assert isinstance(message, Message)
    assert (message.text, message.msisdn, message.short_code) == ("VNN & 5 ❤️", "84950000001", "1408")
    assert message.flags == ("weak_id",)
    assert len(message.native_id) == 66
    # The spool keeps the time of receipt, so that what it gives back is the same message.
    assert ours.parse(unpack_callback(pack_callback(callback, ours), LISTED), KEY) == (message,)
    others = [
        replace(callback, received_at=RECEIVED_AT + timedelta(microseconds=1)),
        replace(callback, query=callback.query.replace("VNN", "UH")),
        replace(callback, query=callback.query.replace("84950000001", "84950000002")),
        replace(callback, query=callback.query.replace("1408", "1409")),
    ]
    ids = [ours.open(other, KEY)[0].native_id for other in others]
    ids.append(ours.open(callback, b"x" * 32)[0].native_id)
    assert len({message.native_id, *ids}) == 6


def test_only_an_account_that_says_so_does_without_ids() -> None:
    for settings in ({"dialect": "short"}, DDVIET | {"without_ids": True}):
        with pytest.raises(ValueError, match="without_ids"):
            gateway("vn_http_get", settings)


def test_factors_are_the_path_alone() -> None:
    assert gateway("vn_http_get", DDVIET).settings.factors() == {"path_secret"}
    assert gateway("vn_http_get", {"dialect": "txid"}).settings.factors() == frozenset()


def test_the_callback_of_the_page_is_taken() -> None:
    ours, callback = documented("vn_http_get")
    (message,) = ours.open(callback, KEY)
    assert isinstance(message, Message)
    assert (message.native_id, message.text, message.carrier) == ("900000001", "VNN 5", "viettel")
