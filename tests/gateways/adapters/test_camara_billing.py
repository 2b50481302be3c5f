"""CAMARA: what an event says of a payment, what the sink's own parameters add, and refunds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
import pytest

from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Reversal, ReversalScope
from gateways.gateway import MalformedCallback, SignatureRejected
from gateways.outcome import Answer, Outcome
from gateways.registry import SENDERS
from tests.gateways.calls import KEY, PLAIN, RECEIVED_AT, Sms, flipped_bits, gateway, request
from tests.gateways.contract import ProtocolContract
from tests.gateways.documented import documented
from tests.support.access_tokens import EC_KEY, OTHER_EC_KEY, access_token, public_jwk

TOKEN = "a-token.for~the+sink/of-payments="
SETTINGS: dict[str, Any] = {"secrets": [TOKEN]}
SECONDS = int(RECEIVED_AT.timestamp())
CLAIMS = {"iss": "https://login.op.example", "aud": "https://portal.example", "exp": SECONDS + 300}
ACCESS_TOKENS = {"issuer": CLAIMS["iss"], "audience": CLAIMS["aud"], "keys": [public_jwk(EC_KEY)]}
SIGNED = access_token(EC_KEY, CLAIMS)
OK = Answer(204)
PAYMENT = "org.camaraproject.carrier-billing.v0.payment-"
REFUND = "org.camaraproject.carrier-billing-refund.v0.refund-"
COMPLETED: dict[str, Any] = {
    "specversion": "1.0", "id": "ev-1", "source": "https://op.example/carrier-billing/v0.5",
    "type": f"{PAYMENT}completed", "time": "2026-11-21T08:30:02Z",
    "data": {"paymentId": "pay-1", "status": "succeeded", "paymentDate": "2026-11-21T08:30:01Z"},
}  # fmt: skip
REFUNDED: dict[str, Any] = {
    **COMPLETED, "id": "ev-2", "type": f"{REFUND}completed",
    "data": {"paymentId": "pay-1", "refundId": "ref-1", "status": "succeeded", "refundDate": "2026-11-22T08:30:00Z"},
}  # fmt: skip


def error(status: int, code: str, message: str, *headers: tuple[str, str]) -> Answer:
    """An error in CAMARA's form."""
    body = orjson.dumps({"status": status, "code": code, "message": message})
    return Answer(status, body, "application/json", headers)


def posted(document: object, query: str = "msg=m-1", token: str = TOKEN, **more: Any) -> Callback:
    """An event, as an operator posts it to the sink."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"content-type": "application/cloudevents+json", "authorization": f"Bearer {token}"}
    return request(body=body, query=query, headers=headers, **more)


def about(kind: str, status: str = "succeeded", **data: Any) -> dict[str, Any]:
    """An event of another type about the same payment."""
    return {**COMPLETED, "type": kind, "data": {"paymentId": "pay-1", "refundId": "ref-1", "status": status, **data}}


def read(callback: Callback) -> Event:
    """The one event of a callback."""
    (event,) = gateway("camara_billing", SETTINGS).open(callback, KEY)
    return event


class TestCamaraBilling(ProtocolContract):
    adapter = "camara_billing"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    mutations = 2_000
    answers: ClassVar[dict[Outcome, Answer]] = dict.fromkeys(Outcome, OK) | {
        Outcome.MALFORMED: error(400, "INVALID_ARGUMENT", "The event is not understood."),
        Outcome.UNAUTHENTICATED: error(
            401, "UNAUTHENTICATED", "The credentials are missing or wrong.", ("www-authenticate", "Bearer")
        ),
        Outcome.STALE: error(
            401, "UNAUTHENTICATED", "The credentials are missing or wrong.", ("www-authenticate", "Bearer")
        ),
        Outcome.TOO_LARGE: error(413, "INVALID_ARGUMENT", "The event is too large."),
        Outcome.OVERLOADED: error(429, "TOO_MANY_REQUESTS", "Try again later.", ("retry-after", "5")),
        Outcome.UNAVAILABLE: error(503, "UNAVAILABLE", "Try again later.", ("retry-after", "5")),
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return posted(COMPLETED, f"msg={sms.id}")

    def with_content(self, content: bytes) -> Callback:
        return posted(content)

    def others(self) -> Iterator[Callback]:
        yield posted(REFUNDED, "vnd=20000&type=partial")
        yield posted(about(f"{REFUND}denied"))

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "no token", posted(COMPLETED, token="")
        yield "no header", replace(posted(COMPLETED), headers={})
        yield "another token", posted(COMPLETED, token="another")
        yield "another scheme", replace(posted(COMPLETED), headers={"authorization": f"Basic {TOKEN}"})
        yield "two tokens", posted(COMPLETED, token=f"{TOKEN}, Bearer {TOKEN}")
        yield "half a character", posted(COMPLETED, token="\udcff\ud800")

    def flipped(self) -> Iterator[Callback]:
        for token in flipped_bits(TOKEN):
            yield posted(COMPLETED, token=token)


class TestCamaraBillingByAccessToken(TestCamaraBilling):
    """An authorization server signs the tokens; one of ours is right beside them."""

    settings: ClassVar[dict[str, Any]] = SETTINGS | {"access_tokens": ACCESS_TOKENS}
    mutations = 200

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return posted(COMPLETED, f"msg={sms.id}", token=SIGNED)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "expired", posted(COMPLETED, token=access_token(EC_KEY, CLAIMS | {"exp": SECONDS - 61}))
        yield "for another", posted(COMPLETED, token=access_token(EC_KEY, CLAIMS | {"aud": "https://other.example"}))
        yield "of another key", posted(COMPLETED, token=access_token(OTHER_EC_KEY, CLAIMS))

    def flipped(self) -> Iterator[Callback]:
        for token in flipped_bits(SIGNED):
            yield posted(COMPLETED, token=token)


def test_an_account_may_have_signed_tokens_alone() -> None:
    ours = gateway("camara_billing", {"access_tokens": ACCESS_TOKENS})
    assert ours.open(posted(COMPLETED, token=SIGNED), KEY) == (read(posted(COMPLETED)),)
    for stranger in (posted(COMPLETED), replace(posted(COMPLETED), headers={}), posted(COMPLETED, token="")):
        with pytest.raises(SignatureRejected):
            ours.open(stranger, KEY)
    assert ours.settings.factors() == {"signature"}
    assert not SENDERS["camara_billing"]("acc", ours.settings).holds_proof


def test_the_log_says_what_is_wrong_with_a_token() -> None:
    ours = gateway("camara_billing", {"access_tokens": ACCESS_TOKENS})
    for callback, reason in (
        (posted(COMPLETED, token=access_token(EC_KEY, CLAIMS | {"exp": SECONDS - 61})), "access token expired"),
        (posted(COMPLETED), "bearer token wrong"),
        (replace(posted(COMPLETED), headers={}), "bearer token missing"),
    ):
        with pytest.raises(SignatureRejected, match=reason):
            ours.open(callback, KEY)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({}, "secrets is missing"),
        ({"secrets": []}, "secrets"),
        ({"access_tokens": {**ACCESS_TOKENS, "keys": []}}, "keys"),
        ({"access_tokens": {**ACCESS_TOKENS, "secret": "x"}}, "secret"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        gateway("camara_billing", wrong)


def test_a_payment_that_was_made_is_a_charge_of_the_message_that_the_sink_names() -> None:
    event = read(posted(COMPLETED, "msg=m%2D1&vnd=100000"))
    assert isinstance(event, Charge)
    assert (event.native_id, event.charge_id) == ("https://op.example/carrier-billing/v0.5|ev-1", "pay-1")
    assert (event.message_ref, event.amount_vnd, event.status) == ("m-1", 100_000, ChargeStatus.SUCCEEDED)
    assert event.occurred_at == datetime(2026, 11, 21, 8, 30, 1, tzinfo=UTC)
    assert event.flags == ()


@pytest.mark.parametrize(
    ("step", "status", "meant", "flags"),
    [
        ("pending-validation", "succeeded", ChargeStatus.PENDING, ()),
        ("pending-validation", "failed", ChargeStatus.FAILED, ()),
        ("reserved", "succeeded", ChargeStatus.RESERVED, ()),
        ("reserved", "failed", ChargeStatus.FAILED, ()),
        ("completed", "succeeded", ChargeStatus.SUCCEEDED, ()),
        ("completed", "failed", ChargeStatus.FAILED, ()),
        ("completed", "processing", ChargeStatus.PENDING, ("unknown_status",)),
        ("cancelled", "succeeded", ChargeStatus.CANCELLED, ()),
        ("cancelled", "failed", ChargeStatus.PENDING, ()),
        ("denied", "succeeded", ChargeStatus.FAILED, ()),
        ("denied", "failed", ChargeStatus.FAILED, ()),
    ],
)
def test_a_status_tells_how_a_step_went(step: str, status: str, meant: ChargeStatus, flags: tuple[str, ...]) -> None:
    event = read(posted(about(f"{PAYMENT}{step}", status)))
    assert isinstance(event, Charge)
    assert (event.status, event.flags) == (meant, flags)


def test_the_operator_s_reason_is_kept() -> None:
    event = read(posted(about(f"{PAYMENT}denied", "failed", denialReason="PAYMENT_DENIED")))
    assert isinstance(event, Charge)
    assert event.reason == "PAYMENT_DENIED"


def test_a_later_version_of_the_type_is_understood() -> None:
    assert read(posted({**COMPLETED, "type": COMPLETED["type"].replace(".v0.", ".v1.")})) == read(posted(COMPLETED))


@pytest.mark.parametrize(
    ("query", "scope"),
    [
        ("vnd=20000", None),
        ("vnd=20000&type=partial", ReversalScope.PARTIAL),
        ("vnd=20000&type=total&msg=m-1", ReversalScope.TOTAL),
    ],
)
def test_a_refund_is_a_reversal_of_its_payment(query: str, scope: ReversalScope | None) -> None:
    event = read(posted(REFUNDED, query))
    assert isinstance(event, Reversal)
    assert (event.native_id, event.charge_ref, event.message_ref) == ("pay-1|ref-1", "pay-1", None)
    assert (event.amount_vnd, event.scope) == (20_000, scope)
    assert event.occurred_at == datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
    # However many events tell of it, under whatever ids and times, it is one.
    again = {**REFUNDED, "id": "ev-9", "data": {**REFUNDED["data"], "refundDate": "2026-11-23T08:30:00Z"}}
    other = read(posted(again, query))
    assert (other.native_id, other.digest) == (event.native_id, event.digest)


@pytest.mark.parametrize(
    "document",
    [about(f"{REFUND}denied"), about(f"{REFUND}in-bill"), about(f"{REFUND}completed", "failed")],
    ids=["denied", "in the next bill", "failed"],
)
def test_a_refund_that_is_none_gives_nothing_back(document: dict[str, Any]) -> None:
    event = read(posted(document, "vnd=20000"))
    assert isinstance(event, Charge)
    assert (event.charge_id, event.status, event.amount_vnd, event.message_ref) == (
        "pay-1",
        ChargeStatus.PENDING,
        None,
        None,
    )


@pytest.mark.parametrize("query", ["msg=m-1&vnd=2.5", "msg=m-1&vnd=0", "msg=m-1&vnd=1&vnd=2"])
def test_an_amount_that_cannot_be_read_costs_no_gift(query: str) -> None:
    event = read(posted(COMPLETED, query))
    assert isinstance(event, Charge)
    assert (event.amount_vnd, event.message_ref, event.flags) == (None, "m-1", ("field_left_out",))


@pytest.mark.parametrize("time", [None, "", "soon", "0001-01-01T00:00:00Z", 5])
def test_a_time_that_cannot_be_read_costs_no_gift(time: object) -> None:
    document = {**COMPLETED, "time": None, "data": {**COMPLETED["data"], "paymentDate": time}}
    event = read(posted(document))
    assert isinstance(event, Charge)
    assert event.occurred_at is None
    assert event.flags == (("field_left_out",) if time else ())


@pytest.mark.parametrize(
    ("document", "query", "place"),
    [
        (COMPLETED, "", "query.msg"),
        (COMPLETED, "msg=m-1&msg=m-2", "query.msg"),
        (REFUNDED, "msg=m-1", "query.vnd"),
        (REFUNDED, "vnd=-5", "query.vnd"),
        (REFUNDED, "vnd=0", "query.vnd"),
        (REFUNDED, "vnd=20000&type=most", "query.type"),
        (about(f"{REFUND}completed", refundId=None), "vnd=20000", "data.refundId"),
        (about(f"{PAYMENT}completed", paymentId=""), "msg=m-1", "data.paymentId"),
        ({**COMPLETED, "specversion": "0.3"}, "msg=m-1", "body.specversion"),
        ({**COMPLETED, "type": "org.camaraproject.sim-swap.v0.swapped"}, "msg=m-1", "body.type"),
        ({**COMPLETED, "type": f"{PAYMENT}forgotten"}, "msg=m-1", "body.type"),
        ({**COMPLETED, "id": None}, "msg=m-1", "body.id"),
        ({**COMPLETED, "id": "x" * 190}, "msg=m-1", "body.id"),
        ({**COMPLETED, "source": ""}, "msg=m-1", "body.source"),
        ({**COMPLETED, "data": "pay-1"}, "msg=m-1", "data"),
        ({**COMPLETED, "data": {"paymentId": "pay-1"}}, "msg=m-1", "data.status"),
        ([COMPLETED], "msg=m-1", "body"),
    ],
)
def test_a_malformed_event_names_the_place(document: object, query: str, place: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        read(posted(document, query))
    assert [error.path for error in caught.value.errors] == [place]


def test_a_previous_token_is_right_while_another_takes_its_place() -> None:
    assert gateway("camara_billing", {"secrets": ["new-token", TOKEN]}).open(posted(COMPLETED), KEY)
    with pytest.raises(SignatureRejected):
        gateway("camara_billing", {"secrets": ["new-token"]}).open(posted(COMPLETED), KEY)


def test_the_callback_of_the_page_is_taken() -> None:
    page, callback = documented("camara_billing")
    assert page.messages_of == "mobifone-sdp"
    (event,) = page.open(callback, KEY)
    assert isinstance(event, Charge)
    assert (event.message_ref, event.charge_id, event.amount_vnd) == ("T-900000001", "pay-1", 100_000)
