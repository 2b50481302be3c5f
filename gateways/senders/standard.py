"""`standard` as a partner writes it.

Source: the portal's contract, "The `standard` protocol"; Standard Webhooks 1.0.0.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Protocol, get_args

import orjson

from gateways.events import NamedCarrier
from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, as_json
from gateways.wire.signatures import sign, signing_key


class SigningSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The `whsec_` secrets it signs with."""


class StandardSender(Sender[SigningSettings]):
    """A partner that speaks the portal's own protocol, single events and batches."""

    name: ClassVar[str] = "standard"
    batch_max: ClassVar[int] = 100
    tells_conflicts: ClassVar[bool] = True
    signs_attempts: ClassVar[bool] = True
    carrier_words: ClassVar[Mapping[str, str]] = {carrier: carrier for carrier in get_args(NamedCarrier)}

    def __init__(self, account: str, settings: SigningSettings) -> None:
        super().__init__(account, settings)
        self._keys = [signing_key(secret) for secret in settings.secrets]

    @property
    def holds_proof(self) -> bool:
        """Whether there is a secret beside the public keys."""
        return super().holds_proof and bool(self._keys)

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """JSON under Standard Webhooks' headers, signed with every secret, as a sender does while rotating."""
        written = attempt_at.isoformat(timespec="seconds")
        events = [{"type": "message.received", "timestamp": written, "data": _data(sms)} for sms in messages]
        body = as_json(events[0] if len(events) == 1 else {"type": "batch", "timestamp": written, "data": events})
        return self._signed(f"msg_{messages[0].native_id}", body, attempt_at)

    def _signed(self, attempt_id: str, body: bytes, attempt_at: datetime) -> Request:
        timestamp = str(int(attempt_at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": attempt_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(sign(key, attempt_id, timestamp, body) for key in self._keys),
        }
        return Request("POST", self._path(), headers, body)

    @property
    def reports_charges(self) -> bool:
        """By an event of its own."""
        return True

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:
        """`charge.succeeded`."""
        data = {"charge_id": f"c-{sms.native_id}", "message_id": message_ref, "amount": sms.amount_vnd}
        written = attempt_at.isoformat(timespec="seconds")
        event = {"type": "charge.succeeded", "timestamp": written, "data": {**data, "currency": "VND"}}
        return self._signed(f"msg_c_{sms.native_id}", as_json(event), attempt_at)

    def judge_report(self, sms: Sms, reply: Reply) -> Verdict:
        """200 with the id of the event."""
        if reply.status == 200 and _json(reply.body) == {"accepted": [f"c-{sms.native_id}:succeeded"]}:
            return Verdict.TAKEN
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:
        """200 with every id in order, or 409 with the ids that we hold with another content."""
        ids = [sms.native_id for sms in messages]
        if reply.status == 200 and _json(reply.body) == {"accepted": ids}:
            return Verdict.TAKEN
        if reply.status == 409 and _json(reply.body) == {"accepted": [], "conflicts": ids}:
            return Verdict.CONFLICT
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED


def _data(sms: Sms) -> dict[str, object]:
    data: dict[str, object] = {
        "message_id": sms.native_id,
        "msisdn": sms.msisdn,
        "short_code": sms.short_code,
        "text": sms.text,
    }
    if sms.said is not None:
        data["carrier"] = sms.said
    if sms.at is not None:
        data["operator_time"] = sms.at.isoformat()
    return data


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
