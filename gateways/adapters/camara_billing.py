"""`camara_billing`: an operator's CloudEvents about payments and refunds, by CAMARA's carrier billing.

Settings: `secrets` (the bearer tokens that we hand out as `sinkCredential`, all valid at once while one is replaced),
`access_tokens` (in their place or beside them: whose signed tokens are right), `messages_of` (the account whose
messages are charged: this one carries none), `path_secret`. Callback: POST of one CloudEvent as JSON (structured
mode) up to 64 KiB.

An event says neither amount nor number nor which message was charged. `paymentId` joins all that is said of one
payment, refunds too; the rest is known only to whoever creates the payment or the refund, and that one writes it into
the `sink` of its request: `.../ACCOUNT?msg=<id of the message>` for a payment, with `&vnd=<amount>` where it is
known; `.../ACCOUNT?vnd=<amount>&type=<total or partial>` for a refund. What is missing there is malformed: it could
never be joined with a gift.

Limits: `data.status` tells how the step that an event is about went, not how the payment stands: a completed payment
is one only with `succeeded`. `refund-in-bill` and `refund-denied` give nothing back. Whether an operator tries again
is not written anywhere.

Source: CAMARA CarrierBillingCheckOut r3.2, carrier-billing 0.5.0 and carrier-billing-refund 0.3.0; CloudEvents 1.0.2;
RFC 6750 (bearer tokens), RFC 9068 (JWT access tokens).
"""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, NamedTuple, Self

import orjson
from pydantic import Field, model_validator

from gateways.account import SECRETS_MAX, Account, AccountSettings
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Reversal, ReversalScope
from gateways.gateway import CredentialsAbsent, Gateway, SignatureRejected, is_any_of
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import fields
from gateways.wire.access_tokens import AccessTokenSettings, AccessTokenVerifier
from gateways.wire.checksums import SharedSecretSettings
from gateways.wire.digest import keyed_digest
from gateways.wire.form import Form
from gateways.wire.strict_json import require_json, require_member, require_object, require_short

UNKNOWN_STATUS = "unknown_status"
"""The flag of a notice whose status is no word of the document: it counts as under way."""

_TYPE = re.compile(r"org\.camaraproject\.carrier-billing(?:-refund)?\.v[0-9]{1,3}\.([a-z-]{1,40})")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")

_SUCCEEDED, _FAILED = "succeeded", "failed"


class _Step(NamedTuple):
    """What an event about a step says of its payment, by how the step went, and what it says for the log."""

    succeeded: ChargeStatus
    failed: ChargeStatus
    reason: str | None = None


_PAYMENTS = {
    "payment-pending-validation": _Step(ChargeStatus.PENDING, ChargeStatus.FAILED, "pending validation"),
    "payment-reserved": _Step(ChargeStatus.RESERVED, ChargeStatus.FAILED),
    "payment-completed": _Step(ChargeStatus.SUCCEEDED, ChargeStatus.FAILED),
    "payment-cancelled": _Step(ChargeStatus.CANCELLED, ChargeStatus.PENDING),
    "payment-denied": _Step(ChargeStatus.FAILED, ChargeStatus.FAILED),
}
_REFUNDED = "refund-completed"
# A refund that gives nothing back says of its payment no more than that there is one.
_NOT_REFUNDED = {"refund-denied": "refund denied", "refund-in-bill": "refund in the next bill"}

# One row for each outcome: status, and CAMARA's code and words where it is an error.
_ANSWERS: dict[Outcome, tuple[int, str, str]] = {
    Outcome.ACCEPTED: (204, "", ""),
    Outcome.DUPLICATE: (204, "", ""),
    Outcome.CONFLICT: (204, "", ""),
    Outcome.UNALLOCATED: (204, "", ""),
    Outcome.REJECTED_POLICY: (204, "", ""),
    Outcome.MALFORMED: (400, "INVALID_ARGUMENT", "The event is not understood."),
    Outcome.UNAUTHENTICATED: (401, "UNAUTHENTICATED", "The credentials are missing or wrong."),
    Outcome.STALE: (401, "UNAUTHENTICATED", "The credentials are missing or wrong."),
    Outcome.TOO_LARGE: (413, "INVALID_ARGUMENT", "The event is too large."),
    Outcome.OVERLOADED: (429, "TOO_MANY_REQUESTS", "Try again later."),
    Outcome.UNAVAILABLE: (503, "UNAVAILABLE", "Try again later."),
}


class CamaraBillingSettings(SharedSecretSettings):
    """The keys of a `camara_billing` account."""

    secrets: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), min_length=1, max_length=SECRETS_MAX, repr=False
    )
    access_tokens: AccessTokenSettings | None = None
    messages_of: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")] | None = None

    @model_validator(mode="after")
    def _is_proved_by_something(self) -> Self:
        if not self.secrets and self.access_tokens is None:
            raise ValueError("secrets is missing; add them, or access_tokens where a server signs them")
        return self


class CamaraBilling(Gateway[CamaraBillingSettings]):
    """One operator that notifies of payments."""

    name: ClassVar[str] = "camara_billing"
    settings_model: ClassVar[type[AccountSettings]] = CamaraBillingSettings
    kept_headers: ClassVar[tuple[str, ...]] = (*Gateway.kept_headers, "x-correlator")
    reports_charges: ClassVar[bool] = True

    def __init__(self, account: Account[CamaraBillingSettings]) -> None:
        super().__init__(account)
        self._access_tokens = AccessTokenVerifier(self.settings.access_tokens)

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A token and a path secret."""
        return {**super().decoy_settings(), "secrets": (secrets.token_urlsafe(32),)}

    @property
    def messages_of(self) -> str | None:
        """The account over which the donors' messages come."""
        return self.settings.messages_of

    def verify(self, callback: Callback) -> None:
        """The bearer token (RFC 6750, section 2.1): one of ours, or one that the account's issuer has signed."""
        header = callback.headers.get("authorization", "")
        bearer = _BEARER.fullmatch(header)
        given = bearer[1] if bearer else ""
        # Both are always asked, so that the time taken does not tell which of them an account has.
        is_ours = is_any_of(given.encode(), self.settings.secrets or ("",))
        fault = self._access_tokens.fault(given, callback.received_at)
        if not given or not (is_ours or fault is None):
            if not header:
                raise CredentialsAbsent("bearer token missing")
            raise SignatureRejected(fault or "bearer token wrong")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One notice about a payment, or one refund."""
        fields.require_plain_body(callback.headers)
        event = require_object("body", require_json(callback.body))
        if require_member("body", event, "specversion") != "1.0":
            fields.malformed("body.specversion", "is not 1.0")
        said = _TYPE.fullmatch(require_member("body", event, "type"))
        step = said[1] if said else ""
        if step not in _PAYMENTS and step not in _NOT_REFUNDED and step != _REFUNDED:
            fields.malformed("body.type", "is not an event about a payment or a refund")
        source, own_id = require_member("body", event, "source"), require_member("body", event, "id")
        data, flags = require_object("data", event.get("data")), list[str]()
        time = data.get("refundDate" if step == _REFUNDED else "paymentDate") or event.get("time") or None
        told = _Told(
            fields.require_short_field("body.id", f"{source}|{own_id}"),
            step,
            require_member("data", data, "paymentId"),
            require_member("data", data, "status"),
            data,
            Form.of_query(callback.query),
            fields.optional(_time, "data", time, flags),
            flags,
        )
        is_refund = step == _REFUNDED and told.status == _SUCCEEDED
        return (_refund(told, digest_key) if is_refund else _notice(told, digest_key),)

    def respond(self, result: Result) -> Answer:
        """204, or an error in CAMARA's form."""
        status, code, message = _ANSWERS[result.outcome]
        if status == 204:
            return Answer(status)
        headers: tuple[tuple[str, str], ...] = ()
        if status == 401:
            headers = (("www-authenticate", "Bearer"),)
        elif status in (429, 503):
            headers = (("retry-after", str(result.retry_after_seconds)),)
        body = orjson.dumps({"status": status, "code": code, "message": message})
        return Answer(status, body, "application/json", headers)


class _Told(NamedTuple):
    """What every event says, and the sink's own parameters."""

    native_id: str
    step: str
    payment_id: str
    status: str
    data: Mapping[str, object]
    sink: Form
    occurred_at: datetime | None
    flags: list[str]


def _notice(told: _Told, digest_key: bytes) -> Charge:
    """What an event says of its payment."""
    flags = told.flags
    status, reason = ChargeStatus.PENDING, _NOT_REFUNDED.get(told.step)
    message_ref = amount_vnd = None
    if told.step in _PAYMENTS:
        message_ref = told.sink.required("msg")
        amount_vnd = fields.optional(_amount, "query.vnd", told.sink.optional("vnd", flags), flags)
        step = _PAYMENTS[told.step]
        known = {_SUCCEEDED: step.succeeded, _FAILED: step.failed}.get(told.status)
        if known is None:
            flags.append(UNKNOWN_STATUS)
        status, reason = known or ChargeStatus.PENDING, step.reason
    denied = fields.optional(require_short, "data.denialReason", told.data.get("denialReason") or None, flags)
    return Charge(
        native_id=told.native_id,
        digest=keyed_digest(digest_key, "charge", told.step, told.payment_id, told.status, amount_vnd, message_ref),
        charge_id=told.payment_id,
        status=status,
        amount_vnd=amount_vnd,
        message_ref=message_ref,
        occurred_at=told.occurred_at,
        reason=denied or reason,
        flags=tuple(dict.fromkeys(flags)),
    )


def _refund(told: _Told, digest_key: bytes) -> Reversal:
    """A refund that was made: once, however many events tell of it."""
    refund_id = require_member("data", told.data, "refundId")
    amount_vnd = _amount("query.vnd", told.sink.required("vnd"))
    said = told.sink.optional("type", told.flags)
    if said is not None and said not in tuple(ReversalScope):
        fields.malformed("query.type", "is neither total nor partial")
    scope = None if said is None else ReversalScope(said)
    return Reversal(
        native_id=fields.require_short_field("data.refundId", f"{told.payment_id}|{refund_id}"),
        digest=keyed_digest(digest_key, "reversal", amount_vnd, told.payment_id, scope),
        amount_vnd=amount_vnd,
        charge_ref=told.payment_id,
        scope=scope,
        occurred_at=told.occurred_at,
        flags=tuple(dict.fromkeys(told.flags)),
    )


def _amount(path: str, written: str) -> int:
    amount_vnd = fields.require_vnd(path, written)
    if not amount_vnd:
        fields.malformed(path, "is nothing")
    return amount_vnd


def _time(path: str, value: object) -> datetime:
    return fields.require_time(path, require_short(path, value))
