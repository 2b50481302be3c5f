"""A hub that nobody has seen: its dialect, the recipe of its signature, and the example by which it is tried."""

import copy
import hashlib
import hmac
import json
import random
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

import pytest

from gateways.callback import Callback
from gateways.events import Charge, Event, Message
from gateways.gateway import Gateway, MalformedCallback, Rejected, SignatureRejected
from gateways.outcome import Answer, FieldError, Outcome
from gateways.registry import SENDERS, decoy
from tests.gateways.adapters import generic_dialects as dialects
from tests.gateways.adapters import test_appota_ipn, test_onepay
from tests.gateways.adapters.test_vcom_json import PLAIN_CALL, checksum
from tests.gateways.adapters.test_vcom_json import posted as vcom_posted
from tests.gateways.calls import (
    KEY,
    PLAIN,
    RECEIVED_AT,
    Sms,
    flipped_bits,
    gateway,
    mutated,
    received,
    request,
    result,
)
from tests.gateways.contract import SENT_AT, AdapterContract, sent_sms
from tests.gateways.documented import documented
from tests.gateways.signed_form import SignedFormContract

SECRET = "a-secret-of-the-account"
EMPTY = {status: Answer(status, b"", "text/plain") for status in (403, 413)}
FIXED: dict[Outcome, Answer] = {
    Outcome.UNAUTHENTICATED: EMPTY[403],
    Outcome.STALE: EMPTY[403],
    Outcome.TOO_LARGE: EMPTY[413],
    Outcome.OVERLOADED: Answer(503, b"", "text/plain", (("retry-after", "5"),)),
    Outcome.UNAVAILABLE: Answer(503, b"", "text/plain", (("retry-after", "5"),)),
}


def settings(dialect: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An account's keys."""
    return {"dialect": dialect, "secrets": [SECRET], "carriers": {"VTL": "viettel", "VT": "viettel"}, **more}


def told(status: int, body: str, content_type: str = "application/json") -> Answer:
    return Answer(status, body.encode(), content_type)


class GenericContract(AdapterContract):
    adapter = "generic"
    methods = frozenset({"GET", "POST"})
    mutations = 600


class TestJson(GenericContract):
    settings: ClassVar[dict[str, Any]] = settings(dialects.JSON)
    mutations = 2_000
    answers: ClassVar[dict[Outcome, Answer]] = {
        **dict.fromkeys(Outcome, told(200, '{"ok":true,"ref":"900000001"}')),
        Outcome.CONFLICT: told(409, '{"ok":false}'),
        Outcome.MALFORMED: told(422, '{"ok":false}'),
        **FIXED,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        said = {"ref": sms.id, "from": sms.msisdn, "to": sms.short_code, "net": "VTL", "at": 1795249800}
        written: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if sms.text is not None:
            written["parts"] = [{"body": sms.text}]
        return self.with_content(json.dumps({"partner": "portal", "kind": "mo-again", "sms": written}).encode())

    def with_content(self, content: bytes, sent: str = "1795249801") -> Callback:
        signed = hmac.digest(SECRET.encode(), sent.encode() + b"." + content, "sha256").hex()
        return request(body=content, headers={"x-sent": sent, "x-sao-mai": f"v1={signed}"})

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        plain = self.callback()
        yield "no signature", replace(plain, headers={"x-sent": "1795249801"})
        yield "no prefix", replace(plain, headers={**plain.headers, "x-sao-mai": plain.headers["x-sao-mai"][3:]})
        yield "another partner", self.with_content(plain.body.replace(b'"portal"', b'"others"'))
        yield "no partner", self.with_content(plain.body.replace(b'"partner"', b'"vendor"'))
        yield "no JSON", self.with_content(b"{")
        yield "half a character", replace(plain, headers={"x-sent": "\ud800", "x-sao-mai": "v1=\udcff\ud800"})

    def flipped(self) -> Iterator[Callback]:
        plain = self.callback()
        for position in range(len(plain.body)):
            body = bytearray(plain.body)
            body[position] ^= 1
            yield replace(plain, body=bytes(body))
        for name in ("x-sent", "x-sao-mai"):
            for changed in flipped_bits(plain.headers[name]):
                if not changed.startswith("v1=") or changed.lower() != plain.headers[name]:
                    yield replace(plain, headers={**plain.headers, name: changed})


class TestQuery(GenericContract):
    settings: ClassVar[dict[str, Any]] = settings(dialects.QUERY)
    fuzzed = "query"
    answers: ClassVar[dict[Outcome, Answer]] = {
        **dict.fromkeys(Outcome, told(200, "OK", "text/plain; charset=utf-8")),
        Outcome.MALFORMED: told(400, "", "text/plain; charset=utf-8"),
        **FIXED,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        said = {"ref": sms.id, "from": sms.msisdn, "to": sms.short_code, "body": sms.text, "at": "20261121153000"}
        return self._signed({name: value for name, value in said.items() if value is not None})

    def _signed(self, call: dict[str, str], sign: str | None = None) -> Callback:
        joined = "|".join(call.get(name, "") for name in ("ref", "from", "to", "body")) + SECRET
        made = hashlib.md5(joined.encode("utf-8", "surrogateescape")).hexdigest() if sign is None else sign
        return request(method="GET", query=urlencode({**call, "sign": made}, errors="surrogateescape"))

    def with_content(self, content: bytes) -> Callback:
        pairs = parse_qsl(
            content.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape"
        )
        call = dict(reversed(pairs))
        call.pop("sign", None)
        return self._signed(call)

    def flipped(self) -> Iterator[Callback]:
        plain = dict(parse_qsl(self.callback().query))
        sign = plain.pop("sign")
        for name in ("ref", "from", "to", "body"):
            for changed in flipped_bits(plain[name]):
                yield self._signed({**plain, name: changed}, sign)
        for changed in flipped_bits(sign):
            if changed.lower() != sign:
                yield self._signed(plain, changed)


class TestXml(GenericContract):
    settings: ClassVar[dict[str, Any]] = settings(dialects.XML)
    answers: ClassVar[dict[Outcome, Answer]] = {
        **dict.fromkeys(Outcome, told(200, "<a><ref>900000001</ref></a>", "text/xml; charset=utf-8")),
        Outcome.REJECTED_POLICY: told(200, "<refund/>", "text/xml; charset=utf-8"),
        Outcome.MALFORMED: told(400, "", "text/plain; charset=utf-8"),
        **FIXED,
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        body = None if sms.text is None else b64encode(sms.text.encode()).decode()
        said = {"from": sms.msisdn, "to": sms.short_code, "net": "VTL", "body": body}
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in said.items() if value is not None)
        head = "" if sms.id is None else f"<ref>{escape(sms.id)}</ref>"
        return self.with_content(f"<mo><head>{head}</head><sms>{inner}</sms></mo>".encode())

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, headers={"authorization": f"Bearer {SECRET}"})

    def flipped(self) -> Iterator[Callback]:
        for changed in flipped_bits(f"Bearer {SECRET}"):
            yield replace(self.callback(), headers={"authorization": changed})


def read(ours: Gateway[Any], callback: Callback) -> Message:
    """The message of a callback."""
    (event,) = ours.open(callback, KEY)
    assert isinstance(event, Message)
    return event


def changed(dialect: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A dialect with another value at a path; None takes it away."""
    copied = copy.deepcopy(dialect)
    *steps, last = path.split(".")
    inner = copied
    for step in steps:
        inner = inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return copied


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("fields.text", "sms.parts.1.body", r"example is refused: body\.sms\.parts\.1\.body: is missing"),
        ("fields.msisdn", "sms.to", r"example is refused: body\.sms\.to: is not a Vietnamese mobile number"),
        ("signature.parts", ["body"], r"example is refused: checksum wrong"),
        ("signature.hash", "sha1", r"example is refused: checksum wrong"),
        ("signature.encoding", "base64", r"example is refused: checksum wrong"),
        ("signature.place", "header:X-Other", r"example is refused: checksum missing"),
        ("ours.partner", "others", r"example is refused: another's name"),
        ("allowed.kind", ["mo-again"], r"example is refused: body\.kind: is none of the values"),
        ("time_format", "compact", r"example is read with a doubt: field_left_out"),
        ("fields.id", "sms.at", r"does not say what its means\.id says"),
        ("fields.carrier", "sms.to", r"does not say what its means\.carrier says"),
        ("fields.carrier", None, r"does not say what its means\.carrier says"),
        ("fields.time", None, r"does not say what its means\.at says"),
        ("example.means.text", "VNN 6", r"does not say what its means\.text says"),
        ("example.means.short_code", "1407", r"does not say what its means\.short_code says"),
        ("example.means.msisdn", "84950000002", r"does not say what its means\.msisdn says"),
        ("example.secret", SECRET, r"is kept in clear"),
        ("example.secret", None, r"example\.secret goes with signature"),
        ("fields.id", None, r"without_ids = true goes with"),
        ("signature.parts", ["body", "secret"], r"secret is its key and no part"),
        ("signature.parts", [], r"hmac signs at least one part"),
        ("signature.kind", "plain", r"plain signs parts of which one is secret"),
        ("signature.kind", "token", r"a token signs nothing"),
        ("signature.place", "sms.sign", r"cannot stand in the body that it signs"),
        ("signature.parts", ["sorted"], r"the part sorted is for query and form alone"),
        ("answers.accepted.status", 500, r"accepted must have a status of success"),
        ("answers.not_counted", dialects.JSON["answers"]["accepted"], r"not_counted is what accepted is"),
        ("answers.unauthenticated", {}, r"Extra inputs are not permitted"),
        ("signature.parts", ["everything"], r"String should match pattern"),
    ],
)  # fmt: skip
def test_a_dialect_that_does_not_fit_its_example_is_refused(path: str, value: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        gateway("generic", settings(changed(dialects.JSON, path, value)))


def test_a_token_is_the_secret_itself_and_no_secret_goes_without_a_signature() -> None:
    dialect = changed(dialects.JSON, "signature", {**dialects.JSON["signature"], "kind": "token", "parts": []})
    headers = {"X-Sao-Mai": "v1=" + dialects.EXAMPLE_SECRET}
    ours = gateway("generic", settings(changed(dialect, "example.headers", headers)))
    callback = replace(TestJson().callback(), headers={"x-sao-mai": f"v1={SECRET}"})
    assert read(ours, callback).text == "VNN 5"
    with pytest.raises(ValueError, match="secrets go with"):
        gateway("generic", settings(dialects.JSON, secrets=[]))


def test_a_previous_secret_is_right_while_it_rotates() -> None:
    callback = TestJson().callback()
    assert gateway("generic", settings(dialects.JSON, secrets=["new", SECRET])).open(callback, KEY)
    with pytest.raises(SignatureRejected):
        gateway("generic", settings(dialects.JSON, secrets=["new"])).open(callback, KEY)


def test_an_id_that_is_missing_is_derived_where_the_account_allows_it() -> None:
    dialect = changed(changed(dialects.QUERY, "fields.id", None), "example.means.id", None)
    ours = gateway("generic", settings(dialect, without_ids=True))
    callback = TestQuery().callback()
    later = replace(callback, received_at=RECEIVED_AT + timedelta(minutes=1))
    first = read(ours, callback)
    assert (first.native_id[:2], first.flags, read(ours, later)) == ("d:", (), first)
    timeless = changed(changed(dialect, "fields.time", None), "example.means.at", None)
    ours = gateway("generic", settings(timeless, without_ids=True))
    assert read(ours, callback).flags == ("weak_id",)
    assert read(ours, later).native_id != read(ours, callback).native_id


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("rfc3339", "2019-10-17T13:05:00Z"),
        ("compact", "20191017200500"),
        ("epoch", "1571317500"),
        ("epoch_ms", "1571317500250"),
    ],
)
def test_a_time_is_read_as_the_dialect_says(form: str, written: str) -> None:
    query = dialects.QUERY["example"]["query"].replace("20261121153000", written)
    dialect = changed(changed(dialects.QUERY, "time_format", form), "example.query", query)
    at = SENT_AT.replace(microsecond=250_000 if form == "epoch_ms" else 0)
    ours = gateway("generic", settings(changed(dialect, "example.means.at", at.isoformat())))
    sender = SENDERS["generic"]("acc", ours.settings)
    assert read(ours, received(sender.request([sent_sms()], RECEIVED_AT))).message_at == SENT_AT


@pytest.mark.parametrize("written", ["soon", "12", "15713175001x0", "99999999999999"])
def test_milliseconds_that_cannot_be_read_cost_no_gift(written: str) -> None:
    query = dialects.QUERY["example"]["query"].replace("20261121153000", "1795249800000")
    dialect = changed(changed(dialects.QUERY, "time_format", "epoch_ms"), "example.query", query)
    message = read(gateway("generic", settings(dialect)), at(written))
    assert (message.message_at, message.flags, message.text) == (None, ("field_left_out",), "VNN 5")


def at(written: str) -> Callback:
    """The plain call at another time, which is not signed."""
    plain = TestQuery().callback()
    return replace(plain, query=plain.query.replace("20261121153000", written))


@pytest.mark.parametrize(("form", "encoded"), [("base64", "bm8="), ("hex", "6e6f")])
def test_a_text_that_is_not_encoded_as_the_dialect_says_is_malformed(form: str, encoded: str) -> None:
    body = dialects.XML["example"]["body"].replace("Vk5OIDU=", encoded)
    dialect = changed(changed(dialects.XML, "text_form", form), "example.body", body)
    ours = gateway("generic", settings(changed(dialect, "example.means.text", "no")))
    plain = TestXml().callback()
    for text, meant in ((encoded, "no"), (f" {encoded}\n", "no"), ("VNN 5", None)):
        callback = replace(plain, body=plain.body.replace(b"Vk5OIDU=", text.encode()))
        if meant is None:
            with pytest.raises(MalformedCallback):
                read(ours, callback)
        else:
            assert read(ours, callback).text == meant


def test_elements_given_twice_or_holding_others_are_nobody_s() -> None:
    ours, plain = gateway("generic", settings(dialects.XML)), TestXml().callback()
    for old, new in (
        (b"<to>1408</to>", b"<to>1408</to><to>1409</to>"),
        (b"<to>1408</to>", b"<to><x/></to>"),
        (b"</head>", b"</head><head/>"),
    ):
        with pytest.raises(MalformedCallback):
            read(ours, replace(plain, body=plain.body.replace(old, new)))
    doubted = read(ours, replace(plain, body=plain.body.replace(b"<net>", b"<net>VTL</net><net>")))
    assert (doubted.text, doubted.flags) == ("VNN 5", ("field_left_out",))
    blank = read(ours, replace(plain, body=plain.body.replace(b"1408", b"\n 1408 \n").replace(b"VTL", b" ")))
    assert (blank.short_code, blank.flags) == ("1408", ())
    repaired = read(ours, replace(plain, body=plain.body.replace(b"<net>VTL", b"<net>A&B")))
    assert repaired.flags == ("repaired",)


def test_a_list_that_is_longer_than_the_example_s_is_malformed() -> None:
    root = json.dumps([json.loads(dialects.JSON_BODY)["sms"]])
    names = {"id": "0.ref", "msisdn": "0.from", "short_code": "0.to", "text": "0.parts.0.body"}
    bare = {
        "format": "json", "fields": names, "answers": {"accepted": {}},
        "example": {"body": root, "means": dialects.MEANS},
    }  # fmt: skip
    ours = gateway("generic", {"dialect": bare, "path_secret": "tram"})
    plain = request(body=root.encode(), path_secret="tram")
    assert read(ours, plain).text == "VNN 5"
    for longer, path in ((root[:-1] + "," + root[1:], "body"), (root.replace("}]", "},{}]", 1), "body.0.parts")):
        with pytest.raises(MalformedCallback) as caught:
            read(ours, replace(plain, body=longer.encode()))
        assert [error.path for error in caught.value.errors] == [path]


@pytest.mark.parametrize(
    ("said", "events"),
    [
        ('"true"', 0),
        ("true", 0),
        ("false", 1),
        ('"0"', 1),
        ("null", 1),
        ("1.0", None),
        ("{}", None),
        ('1,"try":1', None),
    ],
)  # fmt: skip
def test_a_trial_is_never_money(said: str, events: int | None) -> None:
    ours = gateway("generic", settings({**dialects.JSON, "trial": {"try": ["true"]}}))
    callback = TestJson().with_content(dialects.JSON_BODY.replace("{", f'{{"try":{said},', 1).encode())
    if events is None:
        with pytest.raises(MalformedCallback, match="trial"):
            ours.open(callback, KEY)
    else:
        assert len(ours.open(callback, KEY)) == events


def test_an_id_is_escaped_in_an_answer() -> None:
    for dialect, native_id, body in (
        (dialects.JSON, 'a"b', b'{"ok":true,"ref":"a\\"b"}'),
        (dialects.XML, "a<b", b"<a><ref>a&lt;b</ref></a>"),
        (changed(dialects.XML, "answers.accepted.body", '<a ref="{id}"/>'), "a\"'b", b'<a ref="a&quot;&apos;b"/>'),
        (changed(dialects.QUERY, "answers.accepted.body", "OK {id}"), "a<b", b"OK a<b"),
    ):
        ours = gateway("generic", settings(dialect))
        event = replace(read(gateway("generic", settings(dialects.JSON)), TestJson().callback()), native_id=native_id)
        assert ours.respond(result(Outcome.ACCEPTED, (event,))).body == body


def test_whoever_is_not_known_learns_nothing_of_a_dialect() -> None:
    stand_in = decoy("generic")
    for dialect in (dialects.JSON, dialects.XML, dialects.VCOM, dialects.APPOTA):
        ours = gateway("generic", settings(dialect))
        for outcome in FIXED:
            assert ours.respond(result(outcome)) == stand_in.respond(result(outcome)) == FIXED[outcome]


# Protocols that have adapters of their own, as dialects.

VCOM = gateway("vcom_json", {"client_id": "demo-cp", "secrets": [SECRET], "carriers": {"VT": "viettel"}})
ONEPAY = {"access_key": "ak_test", "secrets": [SECRET]}
FORMS: dict[str, tuple[type[SignedFormContract], dict[str, Any], dict[str, Any]]] = {
    "1Pay, SMS charging": (test_onepay.TestSmsCharging, dialects.ONEPAY_SMS, {**ONEPAY, "product": "sms"}),
    "1Pay, SMSplus": (
        test_onepay.TestSmsplus, dialects.ONEPAY_SMSPLUS,
        {**ONEPAY, "product": "smsplus", "short_code": "1408", "success_codes": ["OK"]},
    ),
    "Appota": (test_appota_ipn.TestAppotaIpn, dialects.APPOTA, {"secrets": [SECRET]}),
}  # fmt: skip


def outcome_of(ours: Gateway[Any], callback: Callback) -> tuple[Event, ...] | type[Rejected]:
    """What comes of a callback. A charge's digest is each adapter's own affair."""
    try:
        events = ours.open(callback, KEY)
    except Rejected as rejected:
        return type(rejected)
    return tuple(replace(event, digest=b"") if isinstance(event, Charge) else event for event in events)


def test_v_com_s_protocol_as_a_dialect_gives_the_same_events_as_its_adapter() -> None:
    as_dialect = gateway("generic", settings(dialects.VCOM))
    rng, kinds = random.Random(1400), set()
    changes: list[dict[str, Any]] = [
        {}, {"type": "recovery", "time": 1}, {"time": "soon"}, {"telco": 5}, {"telco": ""}, {"telco": "x" * 201},
        {"time": None}, {"message": 5}, {"message": ""}, {"message": "VNN \ud83c"}, {"type": "test"}, {"phone": "12"},
        {"request_id": 7}, {"request_id": ""}, {"service_id": True}, {"client_id": "x"}, {"phone": "0950000001"},
    ]  # fmt: skip
    calls = [PLAIN_CALL | change for change in changes]
    callbacks = [vcom_posted(call, checksum=checksum(call, SECRET)) for call in calls]
    callbacks += [vcom_posted(call) for call in calls]
    for _ in range(2_000):
        body = mutated(rng, callbacks[0].body)
        try:
            call = json.loads(body)
            callbacks.append(vcom_posted(call, checksum=checksum(call, SECRET)))
        except (ValueError, AttributeError, TypeError, RecursionError):
            callbacks.append(request(body=body))
    for callback in callbacks:
        meant = outcome_of(VCOM, callback)
        assert outcome_of(as_dialect, callback) == meant
        kinds.add(meant if isinstance(meant, type) else Message)
    assert kinds == {Message, MalformedCallback, SignatureRejected}


def test_v_com_s_protocol_as_a_dialect_answers_whoever_is_known_as_its_adapter_does() -> None:
    callback = vcom_posted(PLAIN_CALL, checksum=checksum(PLAIN_CALL, SECRET))
    require_same_answers(gateway("generic", settings(dialects.VCOM)), VCOM, VCOM.open(callback, KEY))


def require_same_answers(ours: Gateway[Any], adapter: Gateway[Any], events: tuple[Event, ...]) -> None:
    """To whoever has passed every factor."""
    for outcome in set(Outcome) - FIXED.keys():
        conflicts = (0,) if outcome is Outcome.CONFLICT else ()
        told = result(outcome, events, conflicts=conflicts)
        assert ours.respond(told) == adapter.respond(told), outcome
    for path in ("query.mo_message", "query.request_id"):
        told = result(Outcome.MALFORMED, errors=(FieldError(path, "is missing"),))
        assert ours.respond(told) == adapter.respond(told), path


def formed(kind: type[SignedFormContract], call: dict[str, str], **changes: str) -> Callback:
    """A call signed with this account's secret."""
    changed_call = {**call, **changes}
    return kind.sent(changed_call, kind.signature(changed_call, SECRET))


def questions(rng: random.Random) -> Iterator[Callback]:
    """First calls of SMSplus: right ones, others' and broken ones."""
    asked = {"access_key": "ak_test", "amount": "20000", "command_code": "VNN", "mo_message": "VNN 5", "telco": "vtm"}
    asked |= {"msisdn": "84950000001"}
    for number in range(300):
        pairs = parse_qsl(mutated(rng, urlencode(asked).encode()).decode("utf-8", "surrogateescape"))
        call = asked if not number else dict(pairs)
        signed = "&".join(f"{name}={call.get(name, '')}" for name in sorted(asked))
        mac = hmac.digest(SECRET.encode(), signed.encode("utf-8", "surrogateescape"), "sha256").hex()
        yield test_onepay.TestSmsplus.sent(call, mac)
        yield test_onepay.TestSmsplus.sent(call, mac[:-1] + ("0" if mac[-1] != "0" else "1"))


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("question.example.query", "access_key=x", r"question\.example is refused"),
        ("question.example.query", dialects.ONEPAY_SMSPLUS["example"]["query"], r"question\.example is no question"),
        ("question.without", ["telco"], r"dialect\.example is refused|question\.example is"),
        ("question.parts", [], r"question\.parts goes with signature\.parts"),
        ("question.parts", ["secret"], r"hmac signs at least one part"),
        ("question.without", [], r"question\.without"),
        ("question.parts", ["text:x"], r"question\.example is refused"),
    ],
)
def test_a_question_that_does_not_fit_its_example_is_refused(path: str, value: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        gateway("generic", settings(changed(dialects.ONEPAY_SMSPLUS, path, value)))


@pytest.mark.parametrize("provider", FORMS)
def test_a_signed_form_as_a_dialect_gives_the_same_events_and_answers_as_its_adapter(provider: str) -> None:
    kind, dialect, own = FORMS[provider]
    adapter, ours = gateway(kind.adapter, own), gateway("generic", settings(dialect))
    rng, kinds = random.Random(1400), set()
    plain = kind.plain_call
    callbacks = [formed(kind, plain, **{name: value}) for name in plain for value in ("", "x" * 201, "0", "1", "NOK")]
    callbacks += [kind.sent(plain), kind.sent(plain, "")]
    written = urlencode(plain).encode()
    for _ in range(1_500):
        pairs = parse_qsl(mutated(rng, written).decode("utf-8", "surrogateescape"), keep_blank_values=True)
        call = dict(reversed(pairs))
        call.pop(kind.signature_name, None)
        callbacks.append(formed(kind, call))
    if kind is test_onepay.TestSmsplus:
        callbacks += questions(rng)
    for callback in callbacks:
        meant = outcome_of(adapter, callback)
        assert outcome_of(ours, callback) == meant
        kinds.add(meant if isinstance(meant, type) else tuple(map(type, meant)))
    assert kinds >= {(Message, *kind.beside), MalformedCallback, SignatureRejected}
    assert (() in kinds) == (provider in ("1Pay, SMSplus", "Appota"))
    require_same_answers(ours, adapter, adapter.open(formed(kind, plain), KEY))
    sender = SENDERS["generic"]("acc", ours.settings)
    sms = replace(sent_sms(text="ủng hộ & 5"), amount_vnd=100_000)
    events = ours.open(received(sender.request([sms], RECEIVED_AT)), KEY)
    assert tuple(map(type, events)) == (Message, *kind.beside)


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("charge.succeeded", ["2"], r"example is refused: body\.status: is none of the words"),
        ("charge.succeeded", ["1", "0"], None),
        ("charge.amount", "phone", r"does not say what its means\.amount_vnd says"),
        ("charge.amount", "state", r"example is refused: body\.state: is not"),
        ("charge", None, r"does not say what its means\.charge says"),
        ("example.means.charge", "failed", r"does not say what its means\.charge says"),
        ("trial.sandbox", ["0"], r"is a trial or a question"),
        ("short_code", "1408", r"give one of them"),
        ("fields.id", None, r"a charge needs fields\.id"),
    ],
)
def test_a_charge_that_does_not_fit_the_example_is_refused(path: str, value: object, fault: str | None) -> None:
    dialect = changed(dialects.APPOTA, path, value)
    if fault is None:
        gateway("generic", settings(dialect))
        return
    with pytest.raises(ValueError, match=fault):
        gateway("generic", settings(dialect))


@pytest.mark.parametrize(
    ("said", "status"), [("1", "succeeded"), ("0", "failed"), ("2", "pending"), ("9", "pending"), ("3", "failed")]
)
def test_words_of_a_charge_mean_what_the_dialect_says(said: str, status: str) -> None:
    dialect = changed(dialects.APPOTA, "charge.pending", ["2"])
    dialect = changed(changed(dialect, "charge.failed", ["0", "3"]), "charge.otherwise", "pending")
    kind = test_appota_ipn.TestAppotaIpn
    _, charge = gateway("generic", settings(dialect)).open(formed(kind, kind.plain_call, status=said), KEY)
    assert isinstance(charge, Charge)
    assert (charge.status, charge.message_ref, charge.amount_vnd) == (status, "TX0001", 100_000)


def test_what_makes_money_follows_from_the_dialect() -> None:
    with_charge, without = (gateway("generic", settings(each)).settings for each in (dialects.APPOTA, dialects.VCOM))
    assert "on_message" not in with_charge.chargings()
    assert "on_report" not in without.chargings()


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("generic")
    message = read(page, callback)
    assert (message.native_id, message.text, message.carrier) == ("m-0001", "VNN 5", "viettel")
