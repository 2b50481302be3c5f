"""Protocols that have adapters of their own, as dialects: the same events and answers; charges and questions."""

import hmac
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from gateways.callback import Callback
from gateways.events import Charge, Event, Message
from gateways.gateway import Gateway, MalformedCallback, Rejected, SignatureRejected
from gateways.outcome import FieldError, Outcome
from gateways.registry import SENDERS
from tests.gateways.adapters import generic_dialects as dialects
from tests.gateways.adapters import test_appota_ipn, test_onepay
from tests.gateways.adapters.generic_dialects import FIXED, SECRET, altered, settings
from tests.gateways.adapters.test_vcom_json import PLAIN_CALL, checksum
from tests.gateways.adapters.test_vcom_json import posted as vcom_posted
from tests.gateways.calls import (
    KEY,
    RECEIVED_AT,
    gateway,
    mutated,
    received,
    request,
    result,
)
from tests.gateways.contract import sent_sms
from tests.gateways.signed_form import SignedFormContract

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
        gateway("generic", settings(altered(dialects.ONEPAY_SMSPLUS, path, value)))


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
    dialect = altered(dialects.APPOTA, path, value)
    if fault is None:
        gateway("generic", settings(dialect))
        return
    with pytest.raises(ValueError, match=fault):
        gateway("generic", settings(dialect))


@pytest.mark.parametrize(
    ("said", "status"), [("1", "succeeded"), ("0", "failed"), ("2", "pending"), ("9", "pending"), ("3", "failed")]
)
def test_words_of_a_charge_mean_what_the_dialect_says(said: str, status: str) -> None:
    dialect = altered(dialects.APPOTA, "charge.pending", ["2"])
    dialect = altered(altered(dialect, "charge.failed", ["0", "3"]), "charge.otherwise", "pending")
    kind = test_appota_ipn.TestAppotaIpn
    _, charge = gateway("generic", settings(dialect)).open(formed(kind, kind.plain_call, status=said), KEY)
    assert isinstance(charge, Charge)
    assert (charge.status, charge.message_ref, charge.amount_vnd) == (status, "TX0001", 100_000)


def test_what_makes_money_follows_from_the_dialect() -> None:
    with_charge, without = (gateway("generic", settings(each)).settings for each in (dialects.APPOTA, dialects.VCOM))
    assert "on_message" not in with_charge.chargings()
    assert "on_report" not in without.chargings()
