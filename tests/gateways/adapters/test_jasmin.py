"""Jasmin: bytes in two places, a coding that is itself a byte, receipts, and the one body it takes for a yes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote_plus

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Message
from gateways.gateway import Gateway, MalformedCallback
from gateways.outcome import Answer, Outcome
from tests.gateways.calls import KEY, PLAIN, Sms, gateway, request
from tests.gateways.contract import AdapterContract

SECRET = "tram-jasmin-1"
SETTINGS = {"path_secret": SECRET, "carriers": {"vnp_rx": "vinaphone"}}
ACK = Answer(200, b"ACK/Jasmin", "text/plain")
LATER = Answer(503, b"", "text/plain", (("retry-after", "5"),))
PAGE = (Path(__file__).parents[3] / "docs" / "carriers" / "jasmin.md").read_text(encoding="utf-8")


def posted(form: str | bytes, **more: Any) -> Callback:
    """What Jasmin's thrower posts."""
    body = form if isinstance(form, bytes) else form.encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return request(body=body, headers=headers, path_secret=SECRET, **more)


class TestJasmin(AdapterContract):
    adapter = "jasmin"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    methods = frozenset({"POST", "GET"})
    mutations = 3_000
    long_text_flags = ("text_cut", "joined_parts")
    answers: ClassVar[dict[Outcome, Answer]] = {
        Outcome.ACCEPTED: ACK,
        Outcome.DUPLICATE: ACK,
        Outcome.CONFLICT: ACK,
        Outcome.UNALLOCATED: ACK,
        Outcome.REJECTED_POLICY: ACK,
        Outcome.MALFORMED: ACK,
        Outcome.UNAUTHENTICATED: Answer(403, b"", "text/plain"),
        Outcome.STALE: Answer(403, b"", "text/plain"),
        Outcome.TOO_LARGE: Answer(413, b"", "text/plain"),
        Outcome.OVERLOADED: LATER,
        Outcome.UNAVAILABLE: LATER,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        written = {"id": sms.id, "from": sms.msisdn, "to": sms.short_code, "content": sms.text}
        pairs = [f"{name}={quote_plus(value)}" for name, value in written.items() if value is not None]
        return posted("&".join((*pairs, "origin-connector=viettel_rx&priority=0&coding=%00&validity=")))

    def with_content(self, content: bytes) -> Callback:
        return posted(content)

    def others(self) -> Iterator[Callback]:
        yield posted("id=mt-1&level=2&message_status=DELIVRD", query="msg=0c9", is_delivery_report=True)
        yield request(method="GET", query=RECEIPT + "&msg=0c9", path_secret=SECRET, is_delivery_report=True)


RECEIPT = "id=mt-1&message_status=DELIVRD&level=2&connector=vms_tx&subdate=2611211530&err=000&text=VNN"


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("jasmin", SETTINGS, carrier="from_message")


def read(gateway: Gateway[Any], rest: str | bytes) -> Message:
    """The message in a form whose first fields are right."""
    tail = rest if isinstance(rest, bytes) else rest.encode()
    (event,) = gateway.open(posted(b"id=0c9&from=84950000001&to=1408&" + tail), KEY)
    assert isinstance(event, Message)
    return event


# The rest of the form; what the donor meant; flags
TEXTS: dict[str, tuple[str | bytes, str, tuple[str, ...]]] = {
    "default alphabet": ("coding=%00&content=VNN+5&binary=564e4e2035", "VNN 5", ()),
    "ucs-2": (
        "coding=%08&content=%1E%E7%00n%00g%00+%00h%1E%D9%00+%005&binary=1ee7006e0067002000681ed900200035",
        "ủng hộ 5",
        (),
    ),
    "ucs-2, its coding in digits": ("coding=8&content=x&binary=00560041", "VA", ()),
    "ucs-2 in content alone": ("coding=%08&content=%00V%00A", "VA", ()),
    "binary alone": ("coding=0&binary=564e4e", "VNN", ()),
    "latin-1": ("coding=3&content=%E9t%E9&binary=e974e9", "été", ()),
    "utf-8 where the alphabet is the SMSC's": ("coding=%00&content=%E1%BB%A7", "ủ", ()),
    "bytes that are not escaped": (b"coding=%00&content=VNN \xe1\xbb\xa7", "VNN ủ", ()),
    "no coding": ("content=VNN", "VNN", ()),
    "a coding that cannot be read": ("content=VNN&coding=UCS2", "VNN", ("field_left_out",)),
    "a coding given twice": ("content=VNN&coding=0&coding=8", "VNN", ("field_left_out",)),
    "binary that is not hexadecimal": ("content=VNN&binary=5g", "VNN", ("field_left_out",)),
    "binary given twice": ("content=VNN&binary=56&binary=57", "VNN", ("field_left_out",)),
    "half a character": ("coding=8&content=&binary=0056d83d", "V\ufffd", ()),
    "70 of ucs-2": ("coding=8&content=&binary=" + "0056" * 70, "V" * 70, ()),
    "71 of ucs-2": ("coding=8&content=&binary=" + "0056" * 71, "V" * 71, ("joined_parts",)),
    "161 of the default alphabet": ("coding=0&content=" + "V" * 161, "V" * 161, ("joined_parts",)),
    "empty": ("coding=%00&content=&binary=", "", ()),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_what_the_donor_meant(ours: Gateway[Any], label: str) -> None:
    form, meant, flags = TEXTS[label]
    message = read(ours, form)
    assert (message.text, message.flags) == (meant, flags)


def test_a_query_says_the_same_as_a_form(ours: Gateway[Any]) -> None:
    form = "id=0c9&from=84950000001&to=1408&coding=%08&content=%00V&binary=0056"
    query = request(method="GET", query=form, path_secret=SECRET)
    assert ours.open(query, KEY) == ours.open(posted(form), KEY)


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ("coding=0", "body.content"),
        ("binary=5g", "body.binary"),
        ("content=a&content=b", "body.content"),
        ("content=a&id=2", "body.id"),
    ],
)
def test_a_malformed_form_names_the_place(ours: Gateway[Any], rest: str, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(ours, rest)
    assert [error.path for error in caught.value.errors] == [place]


@pytest.mark.parametrize(
    ("connector", "carrier"),
    [
        ("vnp_rx", "vinaphone"),
        ("VNP_RX", "vinaphone"),
        ("viettel", "viettel"),
        ("smppc1", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_carrier_is_the_one_the_connector_stands_for(ours: Gateway[Any], connector: str, carrier: str) -> None:
    assert read(ours, f"content=VNN&origin-connector={connector}").carrier == carrier


RECEIPTS = {
    ("1", "ESME_ROK"): (ChargeStatus.PENDING, "accepted by the SMSC"),
    ("1", "ESME_RTHROTTLED"): (ChargeStatus.FAILED, "refused by the SMSC"),
    ("2", "DELIVRD"): (ChargeStatus.SUCCEEDED, None),
    ("3", "delivrd"): (ChargeStatus.SUCCEEDED, None),
    ("2", "UNDELIV"): (ChargeStatus.FAILED, "undeliverable"),
    ("2", "REJECTD"): (ChargeStatus.FAILED, "rejected"),
    ("2", "EXPIRED"): (ChargeStatus.FAILED, "expired"),
    ("2", "DELETED"): (ChargeStatus.FAILED, "deleted"),
    ("2", "ACCEPTD"): (ChargeStatus.PENDING, "accepted on behalf of the subscriber"),
    ("2", "ENROUTE"): (ChargeStatus.PENDING, "on its way"),
    ("2", "UNKNOWN"): (ChargeStatus.PENDING, "state unknown"),
}


@pytest.mark.parametrize(("level", "said"), RECEIPTS)
def test_a_receipt_is_a_notice_about_the_charge_of_a_message(ours: Gateway[Any], level: str, said: str) -> None:
    status, reason = RECEIPTS[level, said]
    form = f"id=mt-1&message_status={said}&level={level}&connector=vms_tx&donedate=2611211531"
    (event,) = ours.open(posted(form, query="msg=0c9", is_delivery_report=True), KEY)
    assert isinstance(event, Charge)
    assert event == Charge(
        native_id=f"mt-1:{level}:{said.upper()}",
        digest=event.digest,
        charge_id="mt-1",
        status=status,
        amount_vnd=None,
        message_ref="0c9",
        reason=reason,
    )


@pytest.mark.parametrize(
    ("form", "query", "place"),
    [
        ("message_status=DELIVRD&level=2", "msg=0c9", "body.id"),
        ("id=mt-1&level=2", "msg=0c9", "body.message_status"),
        ("id=mt-1&message_status=DELIVRD", "msg=0c9", "body.level"),
        ("id=mt-1&message_status=DELIVRD&level=4", "msg=0c9", "body.level"),
        ("id=mt-1&message_status=HAPPY&level=2", "msg=0c9", "body.message_status"),
        ("id=mt-1&message_status=DELIVRD&level=2", "", "query.msg"),
        ("id=mt-1&message_status=DELIVRD&level=2", "msg=", "query.msg"),
        ("id=mt-1&message_status=DELIVRD&level=2", "msg=1&msg=2", "query.msg"),
        (f"id={'x' * 195}&message_status=DELIVRD&level=2", "msg=0c9", "body.id"),
    ],
)
def test_a_receipt_that_says_nothing_is_malformed(ours: Gateway[Any], form: str, query: str, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        ours.open(posted(form, query=query, is_delivery_report=True), KEY)
    assert [error.path for error in caught.value.errors] == [place]


def test_the_callback_in_the_document_is_understood(ours: Gateway[Any]) -> None:
    example = PAGE[PAGE.index("--data '") + len("--data '") :].partition("'")[0]
    (event,) = ours.open(posted(example), KEY)
    assert isinstance(event, Message)
    assert (event.msisdn, event.short_code, event.text) == ("84950000001", "1408", "VNN 5")


def test_factors_are_the_path_alone() -> None:
    assert gateway("jasmin", SETTINGS).settings.factors() == {"path_secret"}
    assert gateway("jasmin", {}).settings.factors() == frozenset()
