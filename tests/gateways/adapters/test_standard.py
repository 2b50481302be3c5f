"""The portal's own protocol: signatures, batches, its three kinds of event, its answers."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected, StaleAttempt
from gateways.outcome import Answer, FieldError, Outcome
from gateways.wire.signatures import sign, signing_key
from tests.gateways.adapters.standard_calls import (
    NOW,
    OTHER_SECRET,
    SECRET,
    charge,
    message,
    posted,
    reversal,
    signed,
)
from tests.gateways.calls import (
    KEY,
    PLAIN,
    RECEIVED_AT,
    STRANGER,
    Sms,
    as_json,
    flipped_bits,
    gateway,
    request,
    result,
)
from tests.gateways.contract import AdapterContract

PUBLIC_KEY, OTHER_PUBLIC_KEY = (
    "whpk_" + b64encode(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()).decode()
    for seed in (bytes(range(32)), bytes(range(1, 33)))
)


def answer(status: int, outcome: str, body: bytes, *headers: tuple[str, str]) -> Answer:
    """A golden answer."""
    return Answer(status, body, "application/json", (("x-portal1400-outcome", outcome), *headers))


class TestStandard(AdapterContract):
    adapter = "standard"
    settings: ClassVar[dict[str, Any]] = {"secrets": [SECRET]}
    body_bytes_max = 1024 * 1024
    answers: ClassVar[dict[Outcome, Answer]] = {
        Outcome.ACCEPTED: answer(200, "accepted", b'{"accepted":["900000001"]}'),
        Outcome.DUPLICATE: answer(200, "duplicate", b'{"accepted":["900000001"]}'),
        Outcome.UNALLOCATED: answer(200, "unallocated", b'{"accepted":["900000001"]}'),
        Outcome.REJECTED_POLICY: answer(200, "rejected_policy", b'{"accepted":["900000001"]}'),
        Outcome.CONFLICT: answer(409, "conflict", b'{"accepted":[],"conflicts":["900000001"]}'),
        Outcome.MALFORMED: answer(
            400, "malformed", b'{"error":"malformed","errors":[{"path":"data.text","reason":"is missing"}]}'
        ),
        Outcome.UNAUTHENTICATED: answer(401, "unauthenticated", b'{"error":"unauthenticated"}'),
        Outcome.STALE: answer(401, "stale", b'{"error":"stale","server_time":"2026-11-21T15:30:00+07:00"}'),
        Outcome.TOO_LARGE: answer(413, "too_large", b'{"error":"too_large"}'),
        Outcome.OVERLOADED: answer(429, "overloaded", b'{"error":"overloaded"}', ("retry-after", "5")),
        Outcome.UNAVAILABLE: answer(503, "unavailable", b'{"error":"unavailable"}', ("retry-after", "5")),
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return posted(message(message_id=sms.id, msisdn=sms.msisdn, short_code=sms.short_code, text=sms.text))

    def with_content(self, content: bytes) -> Callback:
        return signed(content)

    def others(self) -> Iterator[Callback]:
        yield posted(charge())
        yield posted(reversal())
        yield posted({"type": "batch", "data": [message(), charge(), reversal()]})

    def flipped(self) -> Iterator[Callback]:
        right = self.callback()
        for position in range(len(right.body) * 8):
            changed = bytearray(right.body)
            changed[position // 8] ^= 1 << position % 8
            yield replace(right, body=bytes(changed))
        for name, value in right.headers.items():
            for flipped in flipped_bits(value):
                yield replace(right, headers={**right.headers, name: flipped})
        key = bytearray(signing_key(SECRET))
        for position in range(len(key) * 8):
            key[position // 8] ^= 1 << position % 8
            signature = sign(bytes(key), "msg_0001", NOW, right.body)
            yield replace(right, headers={**right.headers, "webhook-signature": signature})
            key[position // 8] ^= 1 << position % 8

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "no signature", replace(self.callback(), headers={})
        yield "another secret", signed(self.callback().body, secret=OTHER_SECRET)
        yield "another secret and stale", signed(self.callback().body, secret=OTHER_SECRET, at="1")


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("standard", {"secrets": [SECRET]}, carrier="from_message")


def test_the_vector_of_our_own_contract_is_accepted(ours: Gateway[Any]) -> None:
    body = (
        b'{"type":"message.received","timestamp":"2026-11-21T08:30:00Z","data":{"message_id":"m-1",'
        b'"msisdn":"84950000001","short_code":"1408","text":"VNN 5","carrier":"viettel",'
        b'"operator_time":"2026-11-21T15:30:00+07:00"}}'
    )
    headers = {
        "webhook-id": "msg_0001",
        "webhook-timestamp": "1795249800",
        "webhook-signature": "v1,jijnONjtxyd3I1IKjdYrEnW4RUTTKrShyX2zbGB4l+g=",
    }
    (event,) = ours.open(request(body=body, headers=headers), KEY)
    assert isinstance(event, Message)
    assert (event.native_id, event.carrier, event.message_at) == ("m-1", "viettel", RECEIVED_AT)
    assert event.operator_time == "2026-11-21T15:30:00+07:00"


def test_both_families_of_header_names_are_read(ours: Gateway[Any]) -> None:
    for family in ("webhook", "svix"):
        assert ours.open(posted(message(), family=family), KEY)


def test_a_previous_secret_is_valid_as_long_as_it_is_listed() -> None:
    rotating = gateway("standard", {"secrets": [OTHER_SECRET, SECRET]})
    ended = gateway("standard", {"secrets": [OTHER_SECRET]})
    assert rotating.open(posted(message()), KEY)
    assert rotating.open(posted(message(), secret=OTHER_SECRET), KEY)
    with pytest.raises(SignatureRejected):
        ended.open(posted(message()), KEY)


def test_a_sender_may_sign_by_a_key_that_it_alone_has() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    first = posted(message())
    raw = first.body
    attempt, at = first.headers["webhook-id"], first.headers["webhook-timestamp"]
    entry = "v1a," + b64encode(private.sign(f"{attempt}.{at}.".encode() + raw)).decode()
    wrong = "v1a," + b64encode(bytes(64)).decode()

    def passes(settings: dict[str, Any], signature: str) -> bool:
        callback = replace(first, headers={**first.headers, "webhook-signature": signature})
        try:
            gateway("standard", settings).open(callback, KEY)
        except SignatureRejected:
            return False
        return True

    alone, other = {"public_keys": [PUBLIC_KEY]}, {"public_keys": [OTHER_PUBLIC_KEY]}
    rotating, beside = {"public_keys": [OTHER_PUBLIC_KEY, PUBLIC_KEY]}, {"secrets": [SECRET], **other}
    for settings in (alone, rotating, {"secrets": [SECRET], **alone}):
        assert passes(settings, entry)
        assert passes(settings, f"v1a,not-base64! {entry}")
        assert not passes(settings, f"{wrong} {wrong} {entry}"), "two entries are looked at, no more"
        assert not passes(settings, entry.replace("v1a,", "v1,"))
        assert not passes(settings, wrong)
    assert not passes(other, entry)
    assert not passes({"secrets": [SECRET]}, entry)
    assert passes(beside, f"{wrong} {first.headers['webhook-signature']}")
    by_key = {**first.headers, "webhook-signature": entry}
    stale = replace(first, headers=by_key, received_at=first.received_at + timedelta(hours=1))
    with pytest.raises(StaleAttempt):
        gateway("standard", alone).open(stale, KEY)
    for bit in range(0, 8 * len(raw), 37):
        spoiled = bytearray(raw)
        spoiled[bit // 8] ^= 1 << bit % 8
        callback = replace(first, body=bytes(spoiled), headers={**first.headers, "webhook-signature": entry})
        with pytest.raises(SignatureRejected):
            gateway("standard", alone).open(callback, KEY)


@pytest.mark.parametrize(("seconds", "is_fresh"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_an_attempt_is_fresh_for_five_minutes_both_ways(ours: Gateway[Any], seconds: int, is_fresh: bool) -> None:
    callback = replace(posted(message()), received_at=RECEIVED_AT + timedelta(seconds=seconds))
    if is_fresh:
        assert ours.open(callback, KEY)
        return
    with pytest.raises(StaleAttempt) as caught:
        ours.open(callback, KEY)
    assert caught.value.outcome is Outcome.STALE
    # Only whom we know is told that the attempt was late.
    with pytest.raises(SignatureRejected):
        ours.open(replace(callback, peer=STRANGER), KEY)


def test_an_old_event_in_a_fresh_attempt_is_legal(ours: Gateway[Any]) -> None:
    payload = message(operator_time="2026-11-18 23:59:59") | {"timestamp": "2026-11-18T17:00:00Z"}
    (event,) = ours.open(posted(payload), KEY)
    assert isinstance(event, Message)
    assert event.message_at == datetime(2026, 11, 18, 16, 59, 59, tzinfo=UTC)


def test_neither_the_delivery_nor_the_envelope_is_part_of_an_event(ours: Gateway[Any]) -> None:
    (first,) = ours.open(posted(message() | {"timestamp": "2026-11-21T08:30:00Z"}), KEY)
    again = posted(message() | {"timestamp": "2026-11-21T08:31:00Z", "attempt": 2})
    headers = {**again.headers, "webhook-id": "msg_0002"}
    headers["webhook-signature"] = sign(signing_key(SECRET), "msg_0002", NOW, again.body)
    assert ours.open(replace(again, headers=headers), KEY) == (first,)


def test_one_instant_in_two_zones_is_one_content(ours: Gateway[Any]) -> None:
    digests = {
        ours.open(posted(message(operator_time=written)), KEY)[0].digest
        for written in (
            "2026-11-21T15:30:00+07:00",
            "2026-11-21T08:30:00Z",
            "2026-11-21 15:30:00",
            "2026-11-21t15:30:00.000",
        )
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [("viettel", "viettel"), ("GMobile", "gmobile"), ("VNP", "vinaphone"), ("nobody", "unknown"), (None, "unknown")],
)
def test_the_carrier_is_what_the_account_understands(said: str | None, meant: str) -> None:
    listening = gateway("standard", {"secrets": [SECRET], "carriers": {"vnp": "vinaphone"}}, carrier="from_message")
    (event,) = listening.open(posted(message(carrier=said)), KEY)
    assert isinstance(event, Message)
    assert event.carrier == meant


def test_a_fixed_carrier_beats_what_a_message_says() -> None:
    (event,) = gateway("standard", {"secrets": [SECRET]}, carrier="mvno").open(
        posted(message(carrier="viettel")), KEY
    )
    assert isinstance(event, Message)
    assert event.carrier == "mvno"


def test_a_batch_keeps_its_order_and_tells_its_conflicts(ours: Gateway[Any]) -> None:
    batch = [message(message_id="b"), charge(), message(message_id="a"), reversal(), message(message_id="b")]
    events = ours.open(posted({"type": "batch", "data": batch}), KEY)
    assert [event.native_id for event in events] == ["b", "c-1:succeeded", "a", "r-1", "b"]
    taken = [ours.respond(result(outcome, events)) for outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE)]
    assert taken[0].body == taken[1].body == b'{"accepted":["b","c-1:succeeded","a","r-1","b"]}'
    conflict = ours.respond(result(Outcome.CONFLICT, events, conflicts=(2, 4)))
    # An id that comes twice with two contents stands on both sides: its first content was taken.
    assert as_json(conflict) == {"accepted": ["b", "c-1:succeeded", "r-1"], "conflicts": ["a", "b"]}


def test_a_hundred_events_are_a_batch(ours: Gateway[Any]) -> None:
    batch = [message(message_id=f"m-{number}") for number in range(100)]
    assert len(ours.open(posted({"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": batch}), KEY)) == 100


def test_a_batch_of_nothing_but_faults_is_answered_in_short(ours: Gateway[Any]) -> None:
    callback = posted({"type": "batch", "data": [message(text=None, msisdn=None)] * 100})
    with pytest.raises(MalformedCallback) as caught:
        ours.open(callback, KEY)
    assert len(caught.value.errors) == 50
    answer = ours.respond(result(Outcome.MALFORMED, errors=caught.value.errors))
    assert FieldError(**as_json(answer)["errors"][0]) == FieldError("data.0.data.msisdn", "is missing")


WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no secrets": ({}, "secrets"),
    "empty list": ({"secrets": []}, "secrets"),
    "nine secrets": ({"secrets": [SECRET] * 9}, "secrets"),
    "no prefix": ({"secrets": [SECRET.removeprefix("whsec_")]}, "secret 1 must be whsec_"),
    "second is short": ({"secrets": [SECRET, "whsec_c2hvcnQ="]}, "secret 2 must be whsec_"),
    "no public key": ({"public_keys": []}, "public_keys"),
    "three public keys": ({"public_keys": [PUBLIC_KEY] * 3}, "public_keys"),
    "a secret for a public key": ({"public_keys": [PUBLIC_KEY, SECRET]}, "key 2 must be whpk_"),
    "half a public key": ({"public_keys": [PUBLIC_KEY[:30]]}, "key 1 must be whpk_"),
    "dlr": ({"secrets": [SECRET], "path_secret": "dlr"}, "path_secret"),
    "dots": ({"secrets": [SECRET], "path_secret": ".."}, "path_secret"),
    "slash": ({"secrets": [SECRET], "path_secret": "a/b"}, "path_secret"),
    "carrier nobody has": ({"secrets": [SECRET], "carriers": {"x": "vodafone"}}, "carriers"),
    "one name, two carriers": ({"secrets": [SECRET], "carriers": {"VT": "viettel", "vt": "mvno"}}, "carriers"),
    "password": ({"secrets": [SECRET], "password": "x"}, "password"),
}


@pytest.mark.parametrize("label", WRONG_SETTINGS)
def test_wrong_settings_are_refused_without_being_shown(label: str) -> None:
    wrong, hint = WRONG_SETTINGS[label]
    with pytest.raises(ValueError, match=hint) as caught:
        gateway("standard", wrong)
    assert "c2hvcnQ" not in str(caught.value)
    assert SECRET.removeprefix("whsec_") not in str(caught.value)


def test_factors_are_the_signature_and_the_path() -> None:
    assert gateway("standard", {"secrets": [SECRET]}).settings.factors() == {"signature"}
    both = gateway("standard", {"secrets": [SECRET], "path_secret": "p"})
    assert both.settings.factors() == {"signature", "path_secret"}
