"""A hub that nobody has seen: its dialect, the recipe of its signature, and the example by which it is tried."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

import pytest

from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS, decoy
from tests.gateways.adapters import generic_dialects as dialects
from tests.gateways.adapters.generic_dialects import FIXED, SECRET, altered, settings
from tests.gateways.calls import (
    KEY,
    PLAIN,
    RECEIVED_AT,
    Sms,
    flipped_bits,
    gateway,
    received,
    request,
    result,
)
from tests.gateways.contract import SENT_AT, AdapterContract, sent_sms
from tests.gateways.documented import documented


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


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("fields.text", "sms.parts.1.body", r"example is refused: body\.sms\.parts\.1\.body: is missing"),
        ("fields.msisdn", "sms.to", r"example is refused: body\.sms\.to: is not a Vietnamese mobile number"),
        ("signature.parts", ["body"], r"example is refused: checksum wrong"),
        ("signature.parts", ["header:X-Sen", "field:sms.re", "body"], "wrong without header:X-Sen and field:sms.re"),
        ("format", "xml", r"example is refused: no xml that can be read: body: is not well-formed XML"),
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
        gateway("generic", settings(altered(dialects.JSON, path, value)))


def test_a_token_is_the_secret_itself_and_no_secret_goes_without_a_signature() -> None:
    dialect = altered(dialects.JSON, "signature", {**dialects.JSON["signature"], "kind": "token", "parts": []})
    headers = {"X-Sao-Mai": "v1=" + dialects.EXAMPLE_SECRET}
    ours = gateway("generic", settings(altered(dialect, "example.headers", headers)))
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
    dialect = altered(altered(dialects.QUERY, "fields.id", None), "example.means.id", None)
    ours = gateway("generic", settings(dialect, without_ids=True))
    callback = TestQuery().callback()
    later = replace(callback, received_at=RECEIVED_AT + timedelta(minutes=1))
    first = read(ours, callback)
    assert (first.native_id[:2], first.flags, read(ours, later)) == ("d:", (), first)
    timeless = altered(altered(dialect, "fields.time", None), "example.means.at", None)
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
    dialect = altered(altered(dialects.QUERY, "time_format", form), "example.query", query)
    at = SENT_AT.replace(microsecond=250_000 if form == "epoch_ms" else 0)
    ours = gateway("generic", settings(altered(dialect, "example.means.at", at.isoformat())))
    sender = SENDERS["generic"]("acc", ours.settings)
    assert read(ours, received(sender.request([sent_sms()], RECEIVED_AT))).message_at == SENT_AT


@pytest.mark.parametrize("written", ["soon", "12", "15713175001x0", "99999999999999"])
def test_milliseconds_that_cannot_be_read_cost_no_gift(written: str) -> None:
    query = dialects.QUERY["example"]["query"].replace("20261121153000", "1795249800000")
    dialect = altered(altered(dialects.QUERY, "time_format", "epoch_ms"), "example.query", query)
    message = read(gateway("generic", settings(dialect)), at(written))
    assert (message.message_at, message.flags, message.text) == (None, ("field_left_out",), "VNN 5")


def at(written: str) -> Callback:
    """The plain call at another time, which is not signed."""
    plain = TestQuery().callback()
    return replace(plain, query=plain.query.replace("20261121153000", written))


@pytest.mark.parametrize(("form", "encoded"), [("base64", "bm8="), ("hex", "6e6f")])
def test_a_text_that_is_not_encoded_as_the_dialect_says_is_malformed(form: str, encoded: str) -> None:
    body = dialects.XML["example"]["body"].replace("Vk5OIDU=", encoded)
    dialect = altered(altered(dialects.XML, "text_form", form), "example.body", body)
    ours = gateway("generic", settings(altered(dialect, "example.means.text", "no")))
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


def test_attributes_are_fields_as_elements_are() -> None:
    body = (
        '<m:mo xmlns:m="urn:sao-mai" ref="900000001" m:net="VTL">'
        '<m:sms from="84950000001" to="1408"/><body>Vk5OIDU=</body></m:mo>'
    )
    names = {"id": "@ref", "carrier": "@net", "msisdn": "sms.@from", "short_code": "sms.@to", "text": "body"}
    keys = settings(altered(altered(dialects.XML, "fields", names), "example.body", body))
    ours = gateway("generic", keys)
    sender = SENDERS["generic"]("acc", ours.settings)
    sms = replace(sent_sms(text="VNN 2"), native_id="another & one", said="VTL")
    asked = sender.request([sms], SENT_AT)
    callback = replace(TestXml().callback(), body=asked.body)
    told = read(ours, callback)
    assert (told.native_id, told.msisdn, told.short_code, told.text, told.carrier) == (
        "another & one", "84950000001", "1408", "VNN 2", "viettel",
    )  # fmt: skip
    for old in (b' to="1408"', b' ref="another &amp; one"'):
        assert old in callback.body
        with pytest.raises(MalformedCallback, match="is missing"):
            read(ours, replace(callback, body=callback.body.replace(old, b"")))


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
        (altered(dialects.XML, "answers.accepted.body", '<a ref="{id}"/>'), "a\"'b", b'<a ref="a&quot;&apos;b"/>'),
        (altered(dialects.QUERY, "answers.accepted.body", "OK {id}"), "a<b", b"OK a<b"),
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


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("generic")
    message = read(page, callback)
    assert (message.native_id, message.text, message.carrier) == ("m-0001", "VNN 5", "viettel")
