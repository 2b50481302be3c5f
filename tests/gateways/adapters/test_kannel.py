"""Kannel: encodings, carriers by smsc, delivery reports, and answers a donor never gets to read."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote_plus

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Message
from gateways.gateway import Gateway, MalformedCallback
from gateways.outcome import Answer, Outcome
from tests.gateways.calls import KEY, PLAIN, Sms, gateway, request
from tests.gateways.contract import AdapterContract

SECRET = "tram-cuu-tro-1"
SETTINGS = {"path_secret": SECRET, "carriers": {"vnp1": "vinaphone", "Viettel-Main": "viettel"}}
OK = Answer(200, b"", "text/plain")
LATER = Answer(503, b"", "text/plain", (("retry-after", "5"),))


def fetched(query: str, **more: Any) -> Callback:
    """What Kannel's smsbox asks for."""
    return request(method="GET", query=query, path_secret=SECRET, **more)


class TestKannel(AdapterContract):
    adapter = "kannel"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    methods = frozenset({"GET", "POST"})
    fuzzed = "query"
    answers: ClassVar[dict[Outcome, Answer]] = {
        Outcome.ACCEPTED: OK,
        Outcome.DUPLICATE: OK,
        Outcome.CONFLICT: OK,
        Outcome.UNALLOCATED: OK,
        Outcome.REJECTED_POLICY: OK,
        Outcome.MALFORMED: OK,
        Outcome.UNAUTHENTICATED: Answer(403, b"", "text/plain"),
        Outcome.STALE: Answer(403, b"", "text/plain"),
        Outcome.TOO_LARGE: Answer(413, b"", "text/plain"),
        Outcome.OVERLOADED: LATER,
        Outcome.UNAVAILABLE: LATER,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        written = {"id": sms.id, "from": sms.msisdn, "to": sms.short_code, "text": sms.text}
        pairs = [f"{name}={quote_plus(value)}" for name, value in written.items() if value is not None]
        return fetched("&".join((*pairs, "smsc=vnp1&ts=1795249800&coding=0&charset=UTF-8&udh=&bill=&meta=")))

    def with_content(self, content: bytes) -> Callback:
        return fetched(content.decode("utf-8", "surrogateescape"))

    def others(self) -> Iterator[Callback]:
        yield fetched("ref=gift-1&msg=7c1f&d=1&fid=abc&ts=1795249803", is_delivery_report=True)


def sent(headers: dict[str, str], sms: Sms = PLAIN) -> Callback:
    """What smsbox posts to a `post-url`."""
    told = {"x-kannel-from": sms.msisdn, "x-kannel-to": sms.short_code, "x-kannel-smsc": "vnp1"} | headers
    return request(
        query="" if sms.id is None else f"id={quote_plus(sms.id)}",
        headers={"content-type": 'text/plain; charset="UTF-8"'}
        | {name: value for name, value in told.items() if value is not None},
        body=(sms.text or "").encode(),
        path_secret=SECRET,
    )


class TestKannelPosting(TestKannel):
    """By `post-url`: the text is the body, which is always there."""

    mutations = 2_000

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return sent({"x-kannel-time": "2026-11-21 08:30:00", "x-kannel-coding": "0"}, sms)

    def with_content(self, content: bytes) -> Callback:
        return replace(self.callback(), query=content.decode("utf-8", "surrogateescape"))

    @pytest.mark.parametrize("missing", ["id", "msisdn", "short_code"])
    def test_a_required_field_is_required(self, gateway: Gateway[Any], missing: str) -> None:
        super().test_a_required_field_is_required(gateway, missing)


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("kannel", SETTINGS, carrier="from_message")


def read(gateway: Gateway[Any], rest: str) -> Message:
    """The message in a query whose first fields are right."""
    (event,) = gateway.open(fetched(f"id=7c1f&from=%2B84950000001&to=1408&{rest}"), KEY)
    assert isinstance(event, Message)
    return event


# text as %b, charset as %C, coding as %c; what the donor meant; flags
TEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ascii": ("text=VNN+5&coding=0&charset=UTF-8", "VNN 5", ()),
    "a plus and an ampersand": ("text=A%2BB%26C&coding=0&charset=UTF-8", "A+B&C", ()),
    "utf-8": ("text=%E1%BB%A7ng+h%E1%BB%99&coding=0&charset=UTF-8", "ủng hộ", ()),
    "utf-16be, blank as plus": ("text=%00V%00N%00N%00+%005&coding=2&charset=UTF-16BE", "VNN 5", ()),
    "utf-16be, plus": ("text=%00%2B&coding=2&charset=utf-16be", "+", ()),
    "utf-16be, Vietnamese": ("text=%1E%E7%00n%00g%00+%00h%1E%D9&coding=2&charset=UTF-16BE", "ủng hộ", ()),
    "emoji": ("text=%D8%3D%DE%00&coding=2&charset=UTF-16BE", "😀", ()),
    "ucs-2 without a charset": ("text=%00V%00N&coding=2&charset=", "VN", ()),
    "8-bit that is utf-8": ("text=%E1%BB%A7&coding=1&charset=8-BIT", "ủ", ()),
    "8-bit that is not": ("text=%E9t%E9&coding=1&charset=8-BIT", "été", ()),
    "windows-1258": ("text=%D0a+Cam+2&coding=0&charset=WINDOWS-1258", "Đa Cam 2", ()),
    "windows-1258 that is utf-8": ("text=%E1%BB%A7&coding=0&charset=CP1258", "ủ", ()),
    "a charset nobody knows": ("text=%E9&coding=0&charset=KLINGON-7", "é", ("field_left_out",)),
    "a charset that cannot be read": ("text=VNN&charset=%FF", "VNN", ("field_left_out",)),
    "a charset given twice": ("text=VNN&charset=UTF-8&charset=UCS-2", "VNN", ("field_left_out",)),
    "a name that says nothing": ("text=%E9&charset=ISO-8859-1", "é", ()),
    "no charset at all": ("text=VNN", "VNN", ()),
    "utf-8 that is not": ("text=VNN+%E9&charset=UTF-8", "VNN é", ("text_repaired",)),
    "half a character": ("text=%00V%D8%3D&coding=2&charset=UTF-16BE", "V\ufffd", ("text_repaired",)),
    "odd number of bytes": ("text=%00V%00&coding=2&charset=UTF-16BE", "V\ufffd", ("text_repaired",)),
    "nul": ("text=VNN%005&charset=UTF-8", "VNN5", ("text_repaired",)),
    "nul and a blank": ("text=VN%00N+5&charset=UTF-8", "VNN 5", ("text_repaired",)),
    "a cut emoji": ("text=VNN+5+%F0%9F%98&charset=UTF-8", "VNN 5 \ufffd\ufffd\ufffd", ("text_repaired",)),
    "an emoji as two halves": ("text=VNN+5+%ED%A0%BD%ED%B8%80&charset=UTF-8", "VNN 5 😀", ("text_repaired",)),
    "one of two halves": ("text=VNN+5+%ED%A0%BD&charset=UTF-8", "VNN 5 \ufffd", ("text_repaired",)),
    "halves without a charset": ("text=VNN+5+%ED%A0%BD%ED%B8%80", "VNN 5 😀", ()),
    "the nul of Java": ("text=VNN+5%C0%80&charset=UTF-8", "VNN 5", ("text_repaired",)),
    "one broken byte in utf-8": (
        "text=%E1%BB%A7ng+h%E1%BB%99+%E9&charset=UTF-8",
        "ủng hộ \ufffd",
        ("text_repaired",),
    ),
    "utf-8 cut in a character": ("text=VNN+5+%E1%BB&charset=8-BIT", "VNN 5 \ufffd\ufffd", ("text_repaired",)),
    "ucs-2be": ("text=%00V%00N%00N&charset=UCS-2BE", "VNN", ()),
    "utf-16le": ("text=V%00N%00N%00&charset=UTF-16LE", "VNN", ()),
    "ucs-2le": ("text=V%00N%00N%00&charset=ucs-2le", "VNN", ()),
    "ucs-2 with a mark": ("text=%FE%FF%00V%00N%00N&charset=UCS-2", "VNN", ()),
    "ucs-2 with the other mark": ("text=%FF%FEV%00N%00N%00&charset=UCS-2", "VNN", ()),
    "a byte too many before it": ("text=%0E%00V%00N%00N&charset=UTF-16BE", "\ufffdVNN", ("text_repaired",)),
    "a byte too many after it, le": ("text=V%00N%00N&charset=UTF-16LE", "VN\ufffd", ("text_repaired",)),
    "a byte too many before it, le": ("text=%0EV%00N%00N%00&charset=UTF-16LE", "\ufffdVNN", ("text_repaired",)),
    "ucs-2 of which nobody said so": ("text=%00V%00N%00N%00+%005", "VNN 5", ()),
    "ucs-2 in Vietnamese, unsaid": ("text=%1E%E6%00N%00G%00+%00H%1E%D8", "ỦNG HỘ", ()),
    "utf-16le of which nobody said so": ("text=V%00N%00N%00+%005%00&charset=8-BIT", "VNN 5", ()),
    "a mark of which nobody said so": ("text=%FE%FF%1E%E6%00N", "ỦN", ()),
    "a nul that makes no ucs-2": ("text=VN%00N", "VNN", ("text_repaired",)),
    "percent that encodes nothing": ("text=5%zz&charset=UTF-8", "5%zz", ()),
    "empty": ("text=&charset=UTF-8", "", ()),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_what_the_donor_meant(ours: Gateway[Any], label: str) -> None:
    query, meant, flags = TEXTS[label]
    message = read(ours, query)
    assert (message.text, message.flags) == (meant, flags)


@pytest.mark.parametrize(
    ("smsc", "carrier"),
    [
        ("vnp1", "vinaphone"),
        ("VNP1", "vinaphone"),
        ("viettel-main", "viettel"),
        ("MobiFone", "mobifone"),
        ("viettel-2", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_carrier_is_the_one_the_smsc_was_listed_for(ours: Gateway[Any], smsc: str, carrier: str) -> None:
    assert read(ours, f"text=VNN&smsc={smsc}").carrier == carrier


def test_a_fixed_carrier_beats_the_smsc() -> None:
    assert read(gateway("kannel", SETTINGS, carrier="mobifone"), "text=VNN&smsc=vnp1").carrier == "mobifone"


def test_the_time_is_the_epoch_of_the_message(ours: Gateway[Any]) -> None:
    message = read(ours, "text=VNN&ts=1795249800")
    assert message.message_at == datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
    assert message.operator_time == "1795249800"
    assert read(ours, "text=VNN&ts=").message_at is None


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ("text=VNN&text=UH", "query.text"),
        ("text=VNN&id=2", "query.id"),
        ("txt=VNN", "query.text"),
    ],
)
def test_a_malformed_query_names_the_place(ours: Gateway[Any], rest: str, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(ours, rest)
    assert [error.path for error in caught.value.errors] == [place]


@pytest.mark.parametrize(
    "unreadable",
    [
        "ts=soon",
        "ts=-1",
        "ts=1",
        "ts=999999999999",
        "ts=%FF",
        "ts=1795249800&ts=1795249801",
        "smsc=%FF",
        "smsc=%01x",
        "smsc=" + "x" * 201,
        "coding=%00",
        "smsc=vnp1&smsc=vms1",
    ],
)
def test_an_optional_field_that_cannot_be_read_does_not_cost_the_gift(ours: Gateway[Any], unreadable: str) -> None:
    message = read(ours, f"text=VNN&{unreadable}")
    assert (message.text, message.carrier, message.flags) == ("VNN", "unknown", ("field_left_out",))
    assert (message.message_at, message.operator_time) == (None, None)


def test_a_report_without_a_time_that_can_be_read_is_a_report(ours: Gateway[Any]) -> None:
    (event,) = ours.open(fetched("ref=gift-1&msg=7c1f&d=1&ts=soon", is_delivery_report=True), KEY)
    assert isinstance(event, Charge)
    assert (event.status, event.occurred_at, event.flags) == (ChargeStatus.SUCCEEDED, None, ("field_left_out",))


@pytest.mark.parametrize(
    ("content_type", "body", "meant"),
    [
        ('text/plain; charset="UTF-8"', b"VNN+5 & UH=1", "VNN+5 & UH=1"),
        ('text/plain; charset="UTF-16BE"', b"\x1e\xe7\x00n\x00g\x00 \x005", "ủng 5"),
        ("text/plain; charset=utf-8", "ủng hộ".encode(), "ủng hộ"),
        ("application/octet-stream", b"VNN \xe9", "VNN é"),
        ("", b"", ""),
    ],
)
def test_a_posted_text_is_the_body_as_it_is(ours: Gateway[Any], content_type: str, body: bytes, meant: str) -> None:
    headers = {"content-type": content_type, "x-kannel-coding": "2"} if "16" in content_type else {}
    (event,) = ours.open(replace(sent({"content-type": content_type} | headers), body=body), KEY)
    assert isinstance(event, Message)
    assert (event.text, event.carrier, event.flags) == (meant, "vinaphone", ())


def test_what_the_query_of_a_post_says_goes_before_its_headers(ours: Gateway[Any]) -> None:
    both = sent({"x-kannel-time": "2026-11-21 08:30:00"})
    (by_header,) = ours.open(both, KEY)
    (by_query,) = ours.open(replace(both, query=f"{both.query}&ts=1795249801&smsc=vms1&to=1407"), KEY)
    assert isinstance(by_header, Message)
    assert isinstance(by_query, Message)
    assert (by_header.short_code, by_header.message_at) == ("1408", datetime(2026, 11, 21, 8, 30, tzinfo=UTC))
    assert (by_query.short_code, by_query.carrier) == ("1407", "unknown")
    assert by_query.message_at == datetime(2026, 11, 21, 8, 30, 1, tzinfo=UTC)


@pytest.mark.parametrize("unreadable", ["soon", "0001-01-01 00:00:00", "2026-11-21 08:30:00+07:00"])
def test_a_time_in_a_header_that_cannot_be_read_does_not_cost_the_gift(ours: Gateway[Any], unreadable: str) -> None:
    (event,) = ours.open(sent({"x-kannel-time": unreadable}), KEY)
    assert isinstance(event, Message)
    assert (event.message_at, event.flags) == (None, ("field_left_out",))


REPORTS = {
    1: (ChargeStatus.SUCCEEDED, None),
    2: (ChargeStatus.FAILED, "delivery failed"),
    4: (ChargeStatus.PENDING, "buffered"),
    8: (ChargeStatus.PENDING, "accepted by the SMSC"),
    16: (ChargeStatus.FAILED, "rejected by the SMSC"),
    9: (ChargeStatus.SUCCEEDED, None),
    12: (ChargeStatus.PENDING, "accepted by the SMSC"),
    24: (ChargeStatus.FAILED, "rejected by the SMSC"),
}


@pytest.mark.parametrize("bits", REPORTS)
def test_a_delivery_report_is_a_notice_about_a_charge(ours: Gateway[Any], bits: int) -> None:
    status, reason = REPORTS[bits]
    query = f"ref=gift-1&msg=7c1f&d={bits}&fid=abc&ts=1795249803"
    (event,) = ours.open(fetched(query, is_delivery_report=True), KEY)
    assert isinstance(event, Charge)
    assert event == Charge(
        native_id=f"gift-1:{bits}",
        digest=event.digest,
        charge_id="gift-1",
        status=status,
        amount_vnd=None,
        message_ref="7c1f",
        occurred_at=datetime(2026, 11, 21, 8, 30, 3, tzinfo=UTC),
        reason=reason,
    )
    later = fetched(query.replace("803", "999"), is_delivery_report=True)
    assert ours.open(later, KEY)[0].digest == event.digest


@pytest.mark.parametrize(
    "query",
    [
        "d=1&msg=7",
        "ref=&d=1&msg=7",
        "ref=a&d=1",
        "ref=a&d=1&msg=",
        "ref=a&d=1&msg=7&msg=8",
        "ref=a&msg=7",
        "ref=a&msg=7&d=",
        "ref=a&msg=7&d=0",
        "ref=a&msg=7&d=32",
        "ref=a&msg=7&d=١",
        "ref=a&msg=7&d=-1",
    ],
)
def test_a_report_that_says_nothing_is_malformed(ours: Gateway[Any], query: str) -> None:
    with pytest.raises(MalformedCallback):
        ours.open(fetched(query, is_delivery_report=True), KEY)


def test_factors_are_the_path_alone() -> None:
    assert gateway("kannel", SETTINGS).settings.factors() == {"path_secret"}
    assert gateway("kannel", {}).settings.factors() == frozenset()
