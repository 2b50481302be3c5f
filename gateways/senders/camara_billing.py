"""`camara_billing` as an operator notifies the creator of a payment that it was made.

Source: CAMARA CarrierBillingCheckOut r3.2, carrier-billing 0.5.0; CloudEvents 1.0.2, structured mode.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Final, Protocol
from urllib.parse import quote

from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict

_SOURCE: Final = "https://op.example/carrier-billing/v0.5"


class ConsumerSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The access tokens; the first is shown."""


class CamaraBillingSender(Sender[ConsumerSettings]):
    """One operator, to the sink of the payment of one message."""

    name: ClassVar[str] = "camara_billing"
    carries_messages: ClassVar[bool] = False

    @property
    def names_carriers(self) -> bool:
        """An operator speaks of its own donors."""
        return False

    @property
    def holds_proof(self) -> bool:
        """Whether there is a token of ours; one that an authorization server signs, nobody here can make."""
        return super().holds_proof and bool(self.settings.secrets)

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """`payment-completed`, for a payment that is named as its message is."""
        (sms,) = messages
        paid_at = (sms.at or attempt_at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = {
            "specversion": "1.0",
            "id": f"ev-{sms.native_id}",
            "source": _SOURCE,
            "type": "org.camaraproject.carrier-billing.v0.payment-completed",
            "time": paid_at,
            "datacontenttype": "application/json",
            "data": {
                "paymentId": f"pay-{sms.native_id}",
                "status": "succeeded",
                "description": "Payment Notification",
                "paymentDate": paid_at,
            },
        }
        headers = {
            "Content-Type": "application/cloudevents+json",
            "Authorization": f"Bearer {next(iter(self.settings.secrets), '')}",
        }
        address = f"{self._path()}?msg={quote(sms.native_id, safe='')}"
        return Request("POST", address, headers, json.dumps(document).encode())

    @property
    def reports_charges(self) -> bool:
        """It does nothing else."""
        return True

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:
        """The same: the payment of one message of another account."""
        return self.request([replace(sms, native_id=message_ref)], attempt_at)

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the status alone speaks
        """204 and nothing else."""
        if reply.status == 204:
            return Verdict.TAKEN
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED

    def native_id(self, sms: Sms) -> str:
        """The event's, which is unique with its source."""
        return f"{_SOURCE}|ev-{sms.native_id}"
