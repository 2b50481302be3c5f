"""`standard`: the portal's own protocol. Standard Webhooks 1.0 around messages, charges and reversals.

Settings: `secrets` (one to eight `whsec_` secrets, all valid at once while rotating), `public_keys` (one or two
`whpk_` keys, in their place or beside them), `path_secret`, `carriers`. Callback: POST, JSON, up to 1 MiB; one
event, or a `batch` of 1 to 100. An event's identity is its own id (`message_id`, `charge_id:status`, `reversal_id`)
and never `webhook-id`, for a sender may deliver one event again under another delivery id; nor is the envelope's
`timestamp` part of its content.

Source: the portal's contract, "The `standard` protocol"; Standard Webhooks 1.0.0.
"""

from datetime import datetime
from typing import ClassVar, Self

import orjson
from pydantic import Field, field_validator, model_validator

from gateways.account import SECRETS_MAX, Account, AccountSettings
from gateways.adapters.standard.payload import (
    BatchPayload,
    ChargeData,
    ChargePayload,
    MessageData,
    MessagePayload,
    ReversalData,
    ReversalPayload,
    require_payload,
)
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message, Reversal, ReversalScope
from gateways.gateway import KIB, Gateway
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import fields
from gateways.wire.digest import keyed_digest
from gateways.wire.signatures import (
    PUBLIC_KEYS_MAX,
    SIGNATURE_HEADERS,
    attempt_time,
    new_secret,
    public_key,
    require_signature,
    signing_key,
)
from gateways.wire.strict_json import require_json


class StandardSettings(AccountSettings):
    """The keys of a `standard` account."""

    secrets: tuple[str, ...] = Field(default=(), min_length=1, max_length=SECRETS_MAX, repr=False)
    public_keys: tuple[str, ...] = Field(default=(), min_length=1, max_length=PUBLIC_KEYS_MAX)

    @field_validator("secrets")
    @classmethod
    def _are_signing_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for position, secret in enumerate(value):
            try:
                signing_key(secret)
            except ValueError as fault:
                raise ValueError(f"secret {position + 1} {fault}") from None
        return value

    @field_validator("public_keys")
    @classmethod
    def _are_public_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for position, written in enumerate(value):
            try:
                public_key(written)
            except ValueError as fault:
                raise ValueError(f"key {position + 1} {fault}") from None
        return value

    @model_validator(mode="after")
    def _is_signed_by_something(self) -> Self:
        if not self.secrets and not self.public_keys:
            raise ValueError("secrets is missing; add them, or public_keys where the sender signs by Ed25519")
        return self

    def factors(self) -> frozenset[str]:
        """The signature, and the path secret where there is one."""
        return super().factors() | {"signature"}


# One row for each outcome: status, and the body where it is not made from the events.
_ANSWERS: dict[Outcome, tuple[int, dict[str, str]]] = {
    Outcome.ACCEPTED: (200, {}),
    Outcome.DUPLICATE: (200, {}),
    Outcome.UNALLOCATED: (200, {}),
    Outcome.REJECTED_POLICY: (200, {}),
    Outcome.CONFLICT: (409, {}),
    Outcome.MALFORMED: (400, {"error": "malformed"}),
    Outcome.UNAUTHENTICATED: (401, {"error": "unauthenticated"}),
    Outcome.STALE: (401, {"error": "stale"}),
    Outcome.TOO_LARGE: (413, {"error": "too_large"}),
    Outcome.OVERLOADED: (429, {"error": "overloaded"}),
    Outcome.UNAVAILABLE: (503, {"error": "unavailable"}),
}
_OUTCOME_HEADERS: dict[Outcome, tuple[tuple[str, str], ...]] = {
    outcome: (("x-portal1400-outcome", outcome.value),) for outcome in Outcome
}


class Standard(Gateway[StandardSettings]):
    """One account that posts the portal's own events."""

    name: ClassVar[str] = "standard"
    settings_model: ClassVar[type[AccountSettings]] = StandardSettings
    body_bytes_max: ClassVar[int] = 1024 * KIB
    sender_retries: ClassVar[bool] = True
    kept_headers: ClassVar[tuple[str, ...]] = (*Gateway.kept_headers, *SIGNATURE_HEADERS)
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True
    tells_carrier: ClassVar[bool] = True

    def __init__(self, account: Account[StandardSettings]) -> None:
        super().__init__(account)
        self._keys = tuple(signing_key(secret) for secret in self.settings.secrets)
        self._public_keys = tuple(public_key(written) for written in self.settings.public_keys)

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """One signing secret, and a path secret."""
        return {**super().decoy_settings(), "secrets": (new_secret(),)}

    def verify(self, callback: Callback) -> None:
        """The signature over the bytes as they came, and the age of the attempt."""
        require_signature(callback.headers, callback.body, self._keys, callback.received_at, self._public_keys)

    def attempt_at(self, callback: Callback) -> datetime | None:
        """The signed time."""
        return attempt_time(callback.headers)

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The event, or the events of a batch in its order; one malformed event refuses the whole batch."""
        fields.require_plain_body(callback.headers)
        payload, left_out = require_payload(require_json(callback.body))
        if not isinstance(payload, BatchPayload):
            return (self._event(payload, 0 in left_out, "", digest_key),)
        return tuple(
            self._event(element, position in left_out, f"data.{position}.", digest_key)
            for position, element in enumerate(payload.data)
        )

    def respond(self, result: Result) -> Answer:
        """JSON; the outcome stands in a header, so that a repeat gets the bytes the first one got."""
        status, error = _ANSWERS[result.outcome]
        body: dict[str, object] = dict(error)
        headers = _OUTCOME_HEADERS[result.outcome]
        if any(result.readings):
            headers = (*headers, ("x-portal1400-reading", ", ".join(each or "-" for each in result.readings)))
        if result.outcome is Outcome.MALFORMED:
            body["errors"] = [{"path": fault.path, "reason": fault.reason} for fault in result.errors]
        elif result.outcome is Outcome.STALE:
            body["server_time"] = result.now.astimezone(fields.VIETNAM).isoformat()
        elif result.outcome in (Outcome.OVERLOADED, Outcome.UNAVAILABLE):
            headers = (*headers, ("retry-after", str(result.retry_after_seconds)))
        elif not error:
            conflicts = frozenset(result.conflicts)
            ids = [event.native_id for event in result.events]
            body["accepted"] = [native_id for place, native_id in enumerate(ids) if place not in conflicts]
            if result.outcome is Outcome.CONFLICT:
                body["conflicts"] = [ids[place] for place in result.conflicts]
        return Answer(status, orjson.dumps(body), "application/json", headers)

    def _event(
        self,
        payload: MessagePayload | ChargePayload | ReversalPayload,
        is_incomplete: bool,
        prefix: str,
        digest_key: bytes,
    ) -> Event:
        flags = [fields.FIELD_LEFT_OUT] if is_incomplete else []
        if isinstance(payload, MessagePayload):
            return self._message(payload.data, flags, prefix, digest_key)
        if isinstance(payload, ChargePayload):
            status = ChargeStatus(payload.type.removeprefix("charge."))
            return _charge(payload.data, status, flags, prefix, digest_key)
        return _reversal(payload.data, flags, prefix, digest_key)

    def _message(self, data: MessageData, flags: list[str], prefix: str, digest_key: bytes) -> Message:
        msisdn = fields.msisdn_of(data.msisdn)
        short_code = fields.short_code_of(data.short_code)
        message_at = fields.optional(fields.time_of, f"{prefix}data.operator_time", data.operator_time, flags)
        text, text_flags = fields.storable_text(data.text)
        digest = keyed_digest(
            digest_key, "message", msisdn, short_code, data.text, data.carrier, message_at, data.parts, data.amount
        )
        return Message(
            native_id=data.message_id,
            digest=digest,
            msisdn=msisdn,
            short_code=short_code,
            text=text,
            carrier=self.carrier_of(data.carrier),
            message_at=message_at,
            operator_time=data.operator_time if message_at else None,
            parts=data.parts,
            claimed_vnd=data.amount,
            flags=(*text_flags, *flags) if flags else text_flags,
        )


def _charge(data: ChargeData, status: ChargeStatus, flags: list[str], prefix: str, digest_key: bytes) -> Charge:
    msisdn = fields.msisdn_of(data.msisdn) if data.msisdn else None
    short_code = fields.short_code_of(data.short_code) if data.short_code else None
    occurred_at = fields.optional(fields.time_of, f"{prefix}data.occurred_at", data.occurred_at, flags)
    content = (data.amount, data.message_id, msisdn, short_code, occurred_at, data.reason)
    return Charge(
        native_id=f"{data.charge_id}:{status}",
        digest=keyed_digest(digest_key, "charge", *content),
        charge_id=data.charge_id,
        status=status,
        amount_vnd=data.amount,
        message_ref=data.message_id,
        msisdn=msisdn,
        short_code=short_code,
        occurred_at=occurred_at,
        reason=data.reason,
        flags=tuple(flags),
    )


def _reversal(data: ReversalData, flags: list[str], prefix: str, digest_key: bytes) -> Reversal:
    if data.charge_id is None and data.message_id is None:
        fields.malformed(f"{prefix}data", "names neither charge_id nor message_id")
    occurred_at = fields.optional(fields.time_of, f"{prefix}data.occurred_at", data.occurred_at, flags)
    content = (data.amount, data.charge_id, data.message_id, data.scope, data.kind, occurred_at)
    return Reversal(
        native_id=data.reversal_id,
        digest=keyed_digest(digest_key, "reversal", *content),
        amount_vnd=data.amount,
        charge_ref=data.charge_id,
        message_ref=data.message_id,
        scope=ReversalScope(data.scope) if data.scope else None,
        kind=data.kind,
        occurred_at=occurred_at,
        flags=tuple(flags),
    )
