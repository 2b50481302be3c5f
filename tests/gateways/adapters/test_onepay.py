"""1Pay: messages of SMS charging, the question and the charge of SMSplus, and a status that gives money back."""

import json
from collections.abc import Iterator
from hmac import digest
from typing import Any, ClassVar

import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from gateways.outcome import Answer, FieldError, Outcome
from gateways.registry import SENDERS
from gateways.sender import Reply, Verdict
from gateways.wire.donor_reply import REPLY_TEXT
from tests.gateways.calls import KEY, STATUS_ALONE, gateway, replied, result
from tests.gateways.contract import sent_sms
from tests.gateways.documented import documented
from tests.gateways.signed_form import Call, SignedFormContract

SECRET = "test-secret"
SMS = {"product": "sms", "access_key": "ak_test", "secrets": [SECRET]}
REFUSAL = "Sai cú pháp, tiền được hoàn lại."
REPLY = {**SMS, "style": "reply", "refuse_text": REFUSAL}
SMSPLUS = {**SMS, "product": "smsplus", "short_code": "1408", "success_codes": ["OK", "0"]}


def told(status: int, text: str) -> Answer:
    """An answer that 1Pay reads."""
    body = json.dumps({"status": status, "sms": text, "type": "text"}, ensure_ascii=False, separators=(",", ":"))
    return Answer(200, body.encode(), "application/json")


TAKEN = told(1, REPLY_TEXT)
ANSWERS = dict.fromkeys(Outcome, TAKEN) | STATUS_ALONE | {Outcome.MALFORMED: TAKEN}


class TestSmsCharging(SignedFormContract):
    adapter = "onepay"
    settings: ClassVar[dict[str, Any]] = SMS
    methods = frozenset({"GET"})
    answers: ClassVar[dict[Outcome, Answer]] = ANSWERS
    secret = SECRET
    plain_call: ClassVar[dict[str, str]] = {
        "access_key": "ak_test", "command": "VNN", "mo_message": "VNN 5", "msisdn": "84950000001",
        "request_id": "r-0001", "request_time": "2026-11-21T15:30:00Z", "short_code": "1408",
    }  # fmt: skip
    names: ClassVar[dict[str, str]] = {
        "id": "request_id", "msisdn": "msisdn", "short_code": "short_code", "text": "mo_message",
    }  # fmt: skip
    signed: ClassVar[tuple[str, ...]] = tuple(plain_call)
    signature_name = "signature"
    vector = "5bc8ac97cefbb1f770a7a7a44bbaa29dbd260854397342fe6f2072e52fb7b5fb"

    @classmethod
    def signature(cls, call: Call, secret: str) -> str:
        signed = "&".join(f"{name}={call.get(name, '')}" for name in cls.signed)
        return digest(secret.encode(), signed.encode("utf-8", "surrogateescape"), "sha256").hex()

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "another access key", self.sent({**self.plain_call, "access_key": "ak_other"})


class TestReplyStyle(TestSmsCharging):
    settings: ClassVar[dict[str, Any]] = REPLY
    answers: ClassVar[dict[Outcome, Answer]] = ANSWERS | {Outcome.REJECTED_POLICY: told(0, REFUSAL)}
    mutations = 300


class TestSmsplus(TestSmsCharging):
    settings: ClassVar[dict[str, Any]] = SMSPLUS
    beside = (Charge,)
    may_say_nothing = True
    plain_call: ClassVar[dict[str, str]] = {
        "access_key": "ak_test", "amount": "20000", "command_code": "VNN", "error_code": "OK",
        "error_message": "done", "mo_message": "VNN 5", "msisdn": "84950000001", "request_id": "r-0002",
        "request_time": "2026-11-21T15:30:05Z",
    }  # fmt: skip
    names: ClassVar[dict[str, str]] = {"id": "request_id", "msisdn": "msisdn", "text": "mo_message"}
    signed: ClassVar[tuple[str, ...]] = tuple(plain_call)
    vector = "a196b5e57d28a664e1d34c77da644b9a1f8b7a15da091007fcfc1b1f164c9fc2"

    # No call says the short code.
    @pytest.mark.parametrize("missing", ["id", "msisdn", "text"])
    def test_a_required_field_is_required(self, gateway: Gateway[Any], missing: str) -> None:
        super().test_a_required_field_is_required(gateway, missing)

    @pytest.mark.parametrize("changed", [{"text": "VNN 6"}, {"msisdn": "84950000003"}])
    def test_other_content_under_the_same_id_has_another_digest(
        self, gateway: Gateway[Any], changed: dict[str, str]
    ) -> None:
        super().test_other_content_under_the_same_id_has_another_digest(gateway, changed)


class Question(TestSmsplus):
    """How the first call of SMSplus is signed."""

    __test__ = False
    plain_call: ClassVar[dict[str, str]] = {
        "access_key": "ak_test", "amount": "20000", "command_code": "VNN", "mo_message": "VNN 5",
        "msisdn": "84950000001", "telco": "vtm",
    }  # fmt: skip
    signed: ClassVar[tuple[str, ...]] = tuple(plain_call)


WHOLE = "VNN 1&msisdn=84950000009&request_id=r-9&request_time=Z"
CUT: list[tuple[type[TestSmsCharging], Call, Call]] = [
    (TestSmsCharging, {"mo_message": WHOLE}, {
        "mo_message": "VNN 1", "msisdn": "84950000009", "request_id": "r-9",
        "request_time": "Z&msisdn=84950000001&request_id=r-0001&request_time=2026-11-21T15:30:00Z",
    }),
    (TestSmsplus, {"mo_message": "VNN 1&mo_message=VNN 9"}, {
        "error_message": "done&mo_message=VNN 1", "mo_message": "VNN 9",
    }),
]  # fmt: skip
"""What a donor may write, and what the same signed bytes say when they are cut elsewhere."""


@pytest.mark.parametrize(("way", "said", "cut"), CUT)
def test_a_signed_callback_cannot_be_cut_into_another_gift(way: type[TestSmsCharging], said: Call, cut: Call) -> None:
    whole, other = ({**way.plain_call, **changes} for changes in (said, cut))
    assert way.signature(whole, SECRET) == way.signature(other, SECRET)
    ours = gateway("onepay", way.settings)
    assert ours.open(way.sent(whole), KEY)
    with pytest.raises(MalformedCallback, match="holds what another field begins with"):
        ours.open(way.sent(other), KEY)


@pytest.fixture
def plus() -> Gateway[Any]:
    return gateway("onepay", SMSPLUS)


def charge(gateway: Gateway[Any], **changes: str) -> Charge:
    """The charge of a second call."""
    _, event = gateway.open(TestSmsplus.sent({**TestSmsplus.plain_call, **changes}), KEY)
    assert isinstance(event, Charge)
    return event


def test_the_question_is_answered_and_is_no_event(plus: Gateway[Any]) -> None:
    for changes in ({}, {"mo_message": "xin chao"}, {"msisdn": "12"}, {"amount": "much"}):
        assert plus.open(Question.sent({**Question.plain_call, **changes}), KEY) == ()
    assert plus.respond(result(Outcome.ACCEPTED)) == TAKEN
    with pytest.raises(SignatureRejected):
        plus.open(Question.sent(Question.plain_call, "0" * 64), KEY)
    # An id makes it another call, which is signed over other values.
    with pytest.raises(SignatureRejected):
        plus.open(Question.sent({**Question.plain_call, "request_id": "r-0003"}), KEY)


def test_the_second_call_is_a_message_and_its_charge(plus: Gateway[Any]) -> None:
    message, event = plus.open(TestSmsplus.sent(TestSmsplus.plain_call), KEY)
    assert isinstance(message, Message)
    assert (message.native_id, message.short_code, message.operator_time) == (
        "r-0002",
        "1408",
        "2026-11-21T15:30:05Z",
    )
    assert event == Charge(
        native_id="r-0002",
        digest=event.digest,
        charge_id="r-0002",
        status=ChargeStatus.SUCCEEDED,
        amount_vnd=20_000,
        message_ref="r-0002",
        occurred_at=message.message_at,
    )


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [("OK", ChargeStatus.SUCCEEDED, None), ("0", ChargeStatus.SUCCEEDED, None), ("ok", ChargeStatus.FAILED, "ok"),
     ("00", ChargeStatus.FAILED, "00"), ("WCG-0005", ChargeStatus.FAILED, "WCG-0005")],
)  # fmt: skip
def test_a_charge_is_a_success_where_the_account_says_so(
    plus: Gateway[Any], code: str, status: ChargeStatus, reason: str | None
) -> None:
    found = charge(plus, error_code=code)
    assert (found.status, found.reason) == (status, reason)
    assert (found.digest == charge(plus).digest) is (code == "OK")


def test_the_time_of_an_attempt_makes_no_conflict(plus: Gateway[Any]) -> None:
    first, again = (
        plus.open(TestSmsplus.sent({**TestSmsplus.plain_call, "request_time": at}), KEY)
        for at in ("2026-11-21T15:30:05Z", "2026-11-21T15:31:05Z")
    )
    assert [event.digest for event in first] == [event.digest for event in again]


@pytest.mark.parametrize(
    ("changes", "place", "status"),
    [
        ({"amount": "20000.5"}, "query.amount", 200),
        ({"amount": "-1"}, "query.amount", 200),
        ({"amount": "1000000000001"}, "query.amount", 200),
        ({"error_code": ""}, "query.error_code", 200),
        ({"msisdn": "12"}, "query.msisdn", 200),
        ({"request_id": ""}, "query.request_id", 400),
        ({"request_id": "x" * 201}, "query.request_id", 400),
    ],
)
def test_a_malformed_call_is_kept_and_taken_where_its_id_can_be_read(
    plus: Gateway[Any], changes: dict[str, str], place: str, status: int
) -> None:
    with pytest.raises(MalformedCallback) as caught:
        plus.open(TestSmsplus.sent({**TestSmsplus.plain_call, **changes}), KEY)
    assert [error.path for error in caught.value.errors] == [place]
    answer = plus.respond(result(Outcome.MALFORMED, errors=caught.value.errors))
    assert answer == (TAKEN if status == 200 else Answer(400, b"", "text/plain"))


def test_no_answer_of_ours_but_an_agreed_one_gives_money_back() -> None:
    for settings in (SMS, SMSPLUS, REPLY):
        ours = gateway("onepay", settings)
        for outcome in Outcome:
            for errors in (
                (FieldError("query.msisdn", "is missing"),),
                (FieldError("query.request_id", "is missing"),),
            ):
                gives_back = b'"status":0' in ours.respond(result(outcome, errors=errors)).body
                assert gives_back is (settings is REPLY and outcome is Outcome.REJECTED_POLICY)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({**SMSPLUS, "success_codes": []}, "smsplus needs"),
        ({**SMSPLUS, "short_code": None}, "smsplus needs"),
        ({**SMSPLUS, "style": "reply", "refuse_text": "x"}, "smsplus needs"),
        ({**SMS, "success_codes": ["OK"]}, "go with product = smsplus"),
        ({**SMS, "short_code": "1408"}, "go with product = smsplus"),
        ({**SMS, "style": "reply"}, "refuse_text go together"),
        ({**SMS, "refuse_text": "x"}, "refuse_text go together"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        gateway("onepay", settings)


def test_only_the_status_in_the_body_is_a_success() -> None:
    sender, sms = SENDERS["onepay"]("acc", gateway("onepay", SMS).settings), sent_sms()
    assert sender.judge([sms], replied(TAKEN)) is Verdict.TAKEN
    for status, body in ((202, TAKEN.body), (200, b"{}"), (200, b"[1]"), (200, b"ok"), (200, told(0, "x").body)):
        assert sender.judge([sms], Reply(status, "application/json", body)) is Verdict.REFUSED


def test_the_callback_of_the_page_is_taken() -> None:
    ours, callback = documented("onepay")
    (message,) = ours.open(callback, KEY)
    assert isinstance(message, Message)
    assert (message.native_id, message.text, message.carrier) == ("r-0001", "VNN 5", "viettel")
