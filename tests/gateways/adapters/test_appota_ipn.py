"""Appota: a message and its charge in one form, a hash over all of it, and a sandbox that never counts."""

from hashlib import md5
from typing import Any, ClassVar

import pytest

from gateways.events import Charge, ChargeStatus, Message
from gateways.gateway import Gateway, MalformedCallback
from gateways.outcome import Answer, Outcome
from tests.gateways.calls import KEY, STATUS_ALONE, gateway
from tests.gateways.documented import documented
from tests.gateways.signed_form import Call, SignedFormContract

SECRET = "test-client-secret"
SETTINGS = {"secrets": [SECRET]}
OK = Answer(200, b"", "text/plain")


class TestAppotaIpn(SignedFormContract):
    adapter = "appota_ipn"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    fuzzed = "body"
    beside = (Charge,)
    may_say_nothing = True
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, OK) | STATUS_ALONE
    secret = SECRET
    plain_call: ClassVar[dict[str, str]] = {
        "status": "1", "sandbox": "0", "transaction_id": "TX0001", "transaction_type": "SMS",
        "phone": "84950000001", "message": "VNN 5", "code": "1408", "amount": "100000", "currency": "VND",
        "state": "camp-7", "target": "", "country_code": "VN",
    }  # fmt: skip
    names: ClassVar[dict[str, str]] = {
        "id": "transaction_id", "msisdn": "phone", "short_code": "code", "text": "message",
    }  # fmt: skip
    signed: ClassVar[tuple[str, ...]] = tuple(plain_call)
    signature_name = "hash"
    vector = "5c69fca49addced379f6dab8900879b7"

    @classmethod
    def signature(cls, call: Call, secret: str) -> str:
        signed = "".join(value for _, value in sorted(call.items())) + secret
        return md5(signed.encode("utf-8", "surrogateescape")).hexdigest()


@pytest.fixture
def ours() -> Gateway[Any]:
    return gateway("appota_ipn", SETTINGS)


def call(**changes: str | None) -> dict[str, str]:
    """The plain call with other values, and without those that are None."""
    return {name: value for name, value in {**TestAppotaIpn.plain_call, **changes}.items() if value is not None}


def opened(gateway: Gateway[Any], **changes: str | None) -> tuple[Any, ...]:
    """What a call says."""
    return gateway.open(TestAppotaIpn.sent(call(**changes)), KEY)


@pytest.mark.parametrize(("said", "status"), [("1", ChargeStatus.SUCCEEDED), ("0", ChargeStatus.FAILED)])
def test_a_call_is_a_message_and_its_charge(ours: Gateway[Any], said: str, status: ChargeStatus) -> None:
    message, charge = opened(ours, status=said)
    assert isinstance(message, Message)
    assert (message.native_id, message.claimed_vnd, message.message_at) == ("TX0001", 100_000, None)
    assert charge == Charge(
        native_id="TX0001",
        digest=charge.digest,
        charge_id="TX0001",
        status=status,
        amount_vnd=100_000,
        message_ref="TX0001",
    )
    assert (charge.digest == opened(ours)[1].digest) is (said == "1")


def test_the_sandbox_never_counts(ours: Gateway[Any]) -> None:
    assert opened(ours, sandbox="1") == ()
    # Whatever else stands there: a trial may be of anything.
    assert opened(ours, sandbox="1", amount="much", phone=None) == ()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"sandbox": None}, "body.sandbox"),
        ({"sandbox": "2"}, "body.sandbox"),
        ({"status": None}, "body.status"),
        ({"status": "2"}, "body.status"),
        ({"transaction_type": "CARD"}, "body.transaction_type"),
        ({"transaction_type": None}, "body.transaction_type"),
        ({"currency": "USD"}, "body.currency"),
        ({"amount": "100000.5"}, "body.amount"),
        ({"amount": None}, "body.amount"),
        ({"amount": "1000000000001"}, "body.amount"),
    ],
)
def test_a_malformed_call_names_the_place(ours: Gateway[Any], changes: dict[str, str | None], place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        opened(ours, **changes)
    assert [error.path for error in caught.value.errors] == [place]


def test_a_value_that_nobody_reads_is_signed_too(ours: Gateway[Any]) -> None:
    assert opened(ours, later="anything", Zone="upper case first")[0] == opened(ours)[0]


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("appota_ipn")
    message, charge = page.open(callback, KEY)
    assert isinstance(message, Message)
    assert isinstance(charge, Charge)
    assert (message.native_id, message.text, message.carrier) == ("TX0001", "VNN 5", "viettel")
    assert charge.status is ChargeStatus.SUCCEEDED
