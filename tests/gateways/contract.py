"""What every adapter, and every dialect of one, must do. Test classes inherit it and say how they are called.

A class that inherits says how its sender writes a message (`callback`), how it is refused, which answers it
is owed (`answers`, a golden table), and which of its bytes are signed or secret (`flipped`).
"""

import os
import random
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gateways.callback import Callback
from gateways.events import Event, Message
from gateways.gateway import CredentialsAbsent, Gateway, MalformedCallback, Rejected, SignatureRejected
from gateways.outcome import Answer, Outcome
from gateways.registry import ADAPTERS, SENDERS, decoy
from gateways.sender import Sender, Verdict
from gateways.sender import Sms as SentSms
from service.intake.packing import pack_callback, unpack_callback
from tests.gateways.calls import (
    KEY,
    LISTED,
    PLAIN,
    RECEIVED_AT,
    STRANGER,
    HeadersAskedFor,
    Sms,
    flipped_bits,
    gateway,
    mutated,
    received,
    replied,
    require_storable,
    result,
)

REPLY = "Cam on Quy vi da ung ho 100.000 dong. Ma: ACDEF-GHJKM-NPQRT. Ho tro 19001530"
REQUIRED = ("id", "msisdn", "short_code", "text")
TAKEN = (Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.UNALLOCATED)
TEXTS = ("VNN 5", "vnn  7", "VNN\n7", "VNN & 5", "<VNN 3>", "đa cam gửi 1409", "VNN 5 ❤️", "５ + 5 = 100%", "", "   ")
SENT_AT = datetime.fromisoformat("2019-10-17T20:05:00+07:00")


def sent_sms(number: int = 0, text: str = "VNN 5") -> SentSms:
    """A message as a carrier hands it over to a sender."""
    return SentSms(number, f"77{number:09d}", "+84950000001", "1408", text, "VNN", "viettel", None, SENT_AT)


def is_refused(gateway: Gateway[Any], callback: Callback) -> bool:
    """Whether the content of a callback is not understood."""
    try:
        gateway.parse(callback, KEY)
    except MalformedCallback:
        return True
    return False


def decoded(word: str) -> str:
    """What `word` is the Base64 of, else nothing."""
    try:
        return b64decode(word, validate=True).decode("latin-1")
    except ValueError:
        return ""


class ProtocolContract(ABC):
    """What holds of every protocol, whatever its callbacks speak of."""

    adapter: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    answers: ClassVar[dict[Outcome, Answer]]
    body_bytes_max: ClassVar[int] = 64 * 1024
    methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    fuzzed: ClassVar[str] = "body"
    mutations: ClassVar[int] = 10_000
    beside: ClassVar[tuple[type[Event], ...]] = ()
    """What stands in a callback behind its message."""
    may_say_nothing: ClassVar[bool] = False
    """Whether a damaged callback may be one that carries no event."""

    @abstractmethod
    def callback(self, sms: Sms = PLAIN) -> Callback:
        """The message as this sender writes it, rightly authenticated."""

    @abstractmethod
    def with_content(self, content: bytes) -> Callback:
        """Any bytes in the place of the message, rightly authenticated."""

    def flipped(self) -> Iterator[Callback]:
        """The callback with one bit flipped, for each bit that is signed or secret: here of the path secret alone."""
        for secret in flipped_bits(self.settings["path_secret"]):
            yield replace(self.callback(), path_secret=secret)

    def others(self) -> Iterator[Callback]:
        """Callbacks that say something else than one message, where the protocol has any."""
        yield from ()

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        """Callbacks that lack a factor, by the name of what is wrong."""
        yield "another source", replace(self.callback(), peer=STRANGER)
        if "path_secret" in self.settings:
            yield "no path secret", replace(self.callback(), path_secret=None)
            yield "wrong path secret", replace(self.callback(), path_secret="another")
            yield "path secret that is half a character", replace(self.callback(), path_secret="\ud800")
        else:
            yield "path secret where there is none", replace(self.callback(), path_secret="x")

    @pytest.fixture
    def gateway(self) -> Gateway[Any]:
        return gateway(self.adapter, self.settings)

    @pytest.fixture
    def sender(self, gateway: Gateway[Any]) -> Sender[Any]:
        return SENDERS[self.adapter](gateway.account.code, gateway.settings)

    def test_a_digest_depends_on_its_key(self, gateway: Gateway[Any]) -> None:
        assert gateway.open(self.callback(), KEY)[0].digest != gateway.open(self.callback(), b"x" * 32)[0].digest

    def test_whoever_lacks_a_factor_is_refused(self, gateway: Gateway[Any]) -> None:
        for label, stranger in self.strangers():
            with pytest.raises(SignatureRejected) as caught:
                gateway.open(stranger, KEY)
            assert caught.value.from_listed_network == (stranger.peer == LISTED), label

    def test_one_flipped_bit_in_anything_signed_or_secret_is_refused(self, gateway: Gateway[Any]) -> None:
        tried = 0
        for callback in self.flipped():
            with pytest.raises(SignatureRejected):
                gateway.open(callback, KEY)
            tried += 1
        assert tried >= 50

    def test_every_outcome_has_its_answer(self, gateway: Gateway[Any]) -> None:
        events = gateway.open(self.callback(), KEY)
        assert set(self.answers) == set(Outcome)
        for outcome, expected in self.answers.items():
            told = events if outcome in (*TAKEN, Outcome.CONFLICT, Outcome.REJECTED_POLICY) else ()
            conflicts = (0,) if outcome is Outcome.CONFLICT else ()
            assert gateway.respond(result(outcome, told, conflicts=conflicts)) == expected, outcome

    def test_an_account_we_do_not_have_is_answered_like_a_wrong_secret(self, gateway: Gateway[Any]) -> None:
        stand_in = decoy(self.adapter)
        for callback in (self.callback(), *(stranger for _, stranger in self.strangers())):
            with pytest.raises(SignatureRejected) as caught:
                stand_in.open(callback, KEY)
            assert not caught.value.from_listed_network
        refused = result(Outcome.UNAUTHENTICATED)
        assert stand_in.respond(refused) == gateway.respond(refused)

    def test_the_stand_in_checks_every_factor_that_an_account_may_have(self, gateway: Gateway[Any]) -> None:
        assert decoy(self.adapter).settings.factors() >= gateway.settings.factors() | {"path_secret"}

    def test_a_callback_says_the_same_after_the_spool(self, gateway: Gateway[Any]) -> None:
        for callback in (self.callback(), *self.others()):
            unpacked = unpack_callback(pack_callback(callback, gateway), callback.peer)
            assert gateway.parse(unpacked, KEY) == gateway.parse(callback, KEY)
            zipped = replace(callback, headers={**callback.headers, "content-encoding": "gzip"})
            assert is_refused(gateway, unpack_callback(pack_callback(zipped, gateway), LISTED)) == is_refused(
                gateway, zipped
            )

    def test_what_is_kept_is_verified_again_unless_its_credentials_were_in_a_header(
        self, gateway: Gateway[Any], sender: Sender[Any]
    ) -> None:
        for callback in (self.callback(), received(sender.request([sent_sms()], RECEIVED_AT))):
            kept = unpack_callback(pack_callback(callback, gateway), LISTED)
            try:
                gateway.verify(kept)
            except CredentialsAbsent:
                lost = {name: value for name, value in callback.headers.items() if name not in kept.headers}
                gateway.verify(replace(kept, headers={**kept.headers, **lost}))

    def test_every_header_that_is_read_is_kept(self, gateway: Gateway[Any]) -> None:
        for callback in (self.callback(), *self.others()):
            headers = HeadersAskedFor(callback.headers)
            gateway.parse(replace(callback, headers=headers), KEY)
            assert headers.asked <= set(gateway.kept_headers)
        assert all(name == name.lower() for name in gateway.kept_headers)

    def test_no_secret_is_kept_with_a_callback(self, gateway: Gateway[Any], sender: Sender[Any]) -> None:
        shown = gateway.settings.model_dump()
        given = [shown.get(key) for key in gateway.settings.SECRET_KEYS]
        secrets = [each for value in given for each in (value if isinstance(value, tuple) else (value,)) if each]
        assert secrets
        for callback in (self.callback(), *(received(sender.request([sent_sms(each)], SENT_AT)) for each in (0, 1))):
            kept = unpack_callback(pack_callback(callback, gateway), LISTED)
            assert kept.path_secret is None
            words = [word for value in kept.headers.values() for word in (value, *map(decoded, value.split()))]
            assert not [secret for secret in secrets for word in words if secret in word]

    def test_a_batch_of_the_sender_is_read_in_its_order(self, gateway: Gateway[Any], sender: Sender[Any]) -> None:
        batch = [sent_sms(number) for number in range(sender.batch_max)]
        events = gateway.open(received(sender.request(batch, RECEIVED_AT)), KEY)
        told = [event.native_id for event in events if type(event) not in self.beside]
        assert told == [sender.native_id(sms) for sms in batch]

    def test_the_sender_takes_every_answer_as_it_is_meant(self, gateway: Gateway[Any], sender: Sender[Any]) -> None:
        sms = sent_sms()
        events = gateway.open(received(sender.request([sms], RECEIVED_AT)), KEY)
        declined = Verdict.DECLINED if gateway.refuses_uncounted else Verdict.TAKEN
        meant = dict.fromkeys(TAKEN, Verdict.TAKEN) | {
            Outcome.CONFLICT: Verdict.CONFLICT if sender.has_word_for_conflicts else Verdict.TAKEN,
            Outcome.REJECTED_POLICY: declined,
            Outcome.UNAUTHENTICATED: Verdict.REFUSED,
            Outcome.STALE: Verdict.REFUSED,
            Outcome.TOO_LARGE: Verdict.REFUSED,
            Outcome.OVERLOADED: Verdict.LATER,
            Outcome.UNAVAILABLE: Verdict.LATER,
        }
        assert meant.keys() == set(Outcome) - {Outcome.MALFORMED}
        for outcome, verdict in meant.items():
            conflicts = (0,) if outcome is Outcome.CONFLICT else ()
            answer = gateway.respond(result(outcome, events, conflicts=conflicts))
            assert sender.judge([sms], replied(answer)) is verdict, outcome

    def test_a_reply_is_in_the_answer_where_the_protocol_carries_one(
        self, gateway: Gateway[Any], sender: Sender[Any]
    ) -> None:
        sms = sent_sms()
        events = gateway.open(received(sender.request([sms], RECEIVED_AT)), KEY)
        for outcome in (*TAKEN, Outcome.REJECTED_POLICY):
            without = gateway.respond(result(outcome, events))
            answer = gateway.respond(result(outcome, events, reply=REPLY))
            assert sender.judge([sms], replied(answer)) is sender.judge([sms], replied(without)), outcome
            if not gateway.carries_reply:
                assert answer == without, outcome
            elif outcome is Outcome.ACCEPTED:
                assert REPLY.encode() in answer.body
                assert answer.status == without.status

    def test_limits_and_methods_are_what_the_protocol_says(self, gateway: Gateway[Any]) -> None:
        assert gateway.body_bytes_max == self.body_bytes_max
        assert gateway.query_bytes_max == 8 * 1024
        assert gateway.methods == self.methods
        assert ADAPTERS[self.adapter].name == self.adapter

    def test_nothing_secret_is_shown(self, gateway: Gateway[Any]) -> None:
        shown = repr(gateway.account) + repr(gateway.settings) + str(gateway.settings)
        hidden = [self.settings.get("path_secret"), self.settings.get("password"), *self.settings.get("secrets", ())]
        assert not [secret for secret in hidden if secret and secret in shown]

    def test_a_setting_nobody_knows_is_refused(self) -> None:
        with pytest.raises(ValueError, match="secretz"):
            gateway(self.adapter, self.settings | {"secretz": "whatever"})

    @examples(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(content=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
    def test_junk_is_only_ever_rejected(self, gateway: Gateway[Any], content: bytes) -> None:
        self._open_anything(gateway, content)

    def test_a_damaged_callback_gives_sound_events_or_a_rejection(self, gateway: Gateway[Any]) -> None:
        rng = random.Random(1400)
        source = self.callback()
        valid = source.body if self.fuzzed == "body" else source.query.encode()
        # `make test` gives costly protocols fewer; PORTAL_MUTATIONS says how many each is given.
        mutations = int(os.environ.get("PORTAL_MUTATIONS", self.mutations))
        understood = sum(self._open_anything(gateway, mutated(rng, valid)) for _ in range(mutations))
        # Were it none, this would test nothing.
        assert mutations > understood > mutations // 100

    def _open_anything(self, gateway: Gateway[Any], content: bytes) -> bool:
        events: tuple[Event, ...] = ()
        rejection: Rejected | None = None
        try:
            events = gateway.open(self.with_content(content), KEY)
        except Rejected as rejected:
            rejection = rejected
        if rejection is not None:
            errors = rejection.errors if isinstance(rejection, MalformedCallback) else ()
            assert gateway.respond(result(rejection.outcome, errors=errors)) is not None
            return False
        assert events or self.may_say_nothing
        for event in events:
            require_storable(event)
        assert len(events) <= 1 + len(self.beside) or SENDERS[self.adapter].batch_max > 1
        return bool(events)


class AdapterContract(ProtocolContract):
    """The tests of a protocol that hands over messages."""

    long_text_flags: ClassVar[tuple[str, ...]] = ("text_cut",)

    def message_in(self, events: tuple[Event, ...]) -> Message:
        """The one message of a callback."""
        message, *others = events
        assert isinstance(message, Message)
        assert tuple(map(type, others)) == self.beside
        return message

    def test_a_message_is_understood(self, gateway: Gateway[Any]) -> None:
        event = self.message_in(gateway.open(self.callback(), KEY))
        require_storable(event)
        assert (event.native_id, event.msisdn, event.short_code, event.text) == (
            "900000001",
            "84950000001",
            "1408",
            "VNN 5",
        )
        assert event.carrier == "viettel"
        assert event.flags == ()

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("84950000002", "84950000002"),
            ("+84950000002", "84950000002"),
            ("0950000002", "84950000002"),
            ("0084950000002", "84950000002"),
        ],
    )
    def test_a_number_is_one_number_however_it_is_written(
        self, gateway: Gateway[Any], written: str, meant: str
    ) -> None:
        event = self.message_in(gateway.open(self.callback(Sms(msisdn=written)), KEY))
        assert event.msisdn == meant

    def test_a_repeat_has_the_same_digest_and_the_same_answer(self, gateway: Gateway[Any]) -> None:
        first = gateway.open(self.callback(), KEY)
        second = gateway.open(self.callback(Sms(msisdn="0950000001")), KEY)
        assert first[0].native_id == second[0].native_id
        assert first[0].digest == second[0].digest
        bodies = {
            (answer.status, answer.body, answer.content_type)
            for answer in (gateway.respond(result(outcome, first)) for outcome in TAKEN)
        }
        assert len(bodies) == 1

    @pytest.mark.parametrize("changed", [{"text": "VNN 6"}, {"msisdn": "84950000003"}, {"short_code": "1407"}])
    def test_other_content_under_the_same_id_has_another_digest(
        self, gateway: Gateway[Any], changed: dict[str, str]
    ) -> None:
        first = gateway.open(self.callback(), KEY)
        second = gateway.open(self.callback(replace(Sms(), **changed)), KEY)
        assert first[0].native_id == second[0].native_id
        assert first[0].digest != second[0].digest

    def test_two_identical_gifts_are_two(self, gateway: Gateway[Any]) -> None:
        first = gateway.open(self.callback(Sms(id="1")), KEY)
        second = gateway.open(self.callback(Sms(id="2")), KEY)
        assert first[0].native_id != second[0].native_id

    @pytest.mark.parametrize("missing", REQUIRED)
    def test_a_required_field_is_required(self, gateway: Gateway[Any], missing: str) -> None:
        with pytest.raises(MalformedCallback) as caught:
            gateway.open(self.callback(replace(Sms(), **{missing: None})), KEY)
        assert [error.reason for error in caught.value.errors] == ["is missing"]

    def test_an_empty_text_is_a_message(self, gateway: Gateway[Any]) -> None:
        event = self.message_in(gateway.open(self.callback(Sms(text="")), KEY))
        assert event.text == ""

    def test_a_long_text_is_cut_and_flagged(self, gateway: Gateway[Any]) -> None:
        event = self.message_in(gateway.open(self.callback(Sms(text="VNN " + "ạ" * 1000)), KEY))
        assert event.text == "VNN " + "ạ" * 996
        assert event.flags == self.long_text_flags
        longer = self.message_in(gateway.open(self.callback(Sms(text="VNN " + "ạ" * 1001)), KEY))
        assert longer.digest != event.digest

    @pytest.mark.parametrize(
        "number", ["", "8495000000", "849500000011", "٨٤950000001", "84950000001\n0", "1408", "84 950000001"]
    )
    def test_what_is_no_number_is_malformed_and_not_repeated(self, gateway: Gateway[Any], number: str) -> None:
        with pytest.raises(MalformedCallback) as caught:
            gateway.open(self.callback(Sms(msisdn=number)), KEY)
        assert "950000" not in str(caught.value)

    def test_an_id_that_cannot_be_stored_is_malformed(self, gateway: Gateway[Any]) -> None:
        for native_id in ("x" * 201, "a\tb", "a\x7fb"):
            with pytest.raises(MalformedCallback):
                gateway.open(self.callback(Sms(id=native_id)), KEY)
        assert gateway.open(self.callback(Sms(id="x" * 200)), KEY)[0].native_id == "x" * 200

    @pytest.mark.parametrize("text", TEXTS, ids=ascii)
    @pytest.mark.parametrize("number", [0, 1])
    def test_what_the_sender_writes_is_what_the_adapter_reads(
        self, gateway: Gateway[Any], sender: Sender[Any], text: str, number: int
    ) -> None:
        sms = sent_sms(number, text)
        request = sender.request([sms], RECEIVED_AT)
        assert request.address.startswith(f"/gw/{gateway.name}/{gateway.account.code}")
        callback = received(request)
        event = self.message_in(gateway.open(callback, KEY))
        assert (event.native_id, event.text) == (sender.native_id(sms), text)
        assert (event.msisdn, event.short_code, event.carrier) == ("84950000001", "1408", "viettel")
        assert event.message_at == (SENT_AT if gateway.is_timed else None)
        assert gateway.parse(unpack_callback(pack_callback(callback, gateway), LISTED), KEY) == gateway.open(
            callback, KEY
        )

    def test_the_words_of_its_carriers_are_understood(self) -> None:
        kind = SENDERS[self.adapter]
        ours = gateway(self.adapter, self.settings, carrier="from_message")
        sender = kind("acc", ours.settings)
        for carrier, said in kind.carrier_words.items():
            sms = replace(sent_sms(), carrier=carrier, said=said)
            event = self.message_in(ours.open(received(sender.request([sms], RECEIVED_AT)), KEY))
            assert event.carrier == (carrier if sender.names_carriers else "unknown")
