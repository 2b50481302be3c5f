"""`oneapi_sms` as an operator's notification, and as the list that some send instead.

Source: GSMA OneAPI 2 and 3, "SMS"; list form as Globe Labs sends it.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent


class OperatorSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def message_reference(self) -> str | None:
        """Which field of a transaction names the message."""


class OneApiSmsSender(Sender[OperatorSettings]):
    """One operator that notifies of messages."""

    name: ClassVar[str] = "oneapi_sms"
    batch_max: ClassVar[int] = 10

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- attempts are not timed
        """A notification of one message, a list of several."""
        written = [_written(sms) for sms in messages]
        document: dict[str, Any] = (
            {"inboundSMSMessageNotification": {"callbackData": "acc-1", "inboundSMSMessage": written[0]}}
            if len(written) == 1
            else {"inboundSMSMessageList": {"inboundSMSMessage": written}}
        )
        body = sent(json.dumps(document, ensure_ascii=False))
        return Request("POST", self._path(), {"Content-Type": "application/json"}, body)

    @property
    def reports_charges(self) -> bool:
        """By `amountTransaction`, where the account says which field names the message."""
        return self.settings.message_reference is not None

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:  # noqa: ARG002 -- it tells no time
        """`amountTransaction`, charged."""
        charged = {"amount": str(sms.amount_vnd), "currency": "VND", "description": "ung ho"}
        transaction = {
            "endUserId": f"tel:{sms.msisdn}",
            "paymentAmount": {"chargingInformation": charged},
            "serverReferenceCode": f"c-{sms.native_id}",
            "transactionOperationStatus": "Charged",
            str(self.settings.message_reference): message_ref,
        }
        body = sent(json.dumps({"amountTransaction": transaction}))
        return Request("POST", self._path(), {"Content-Type": "application/json"}, body)

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the status alone speaks
        """200 or 204."""
        if reply.status in (200, 204):
            return Verdict.TAKEN
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED


def _written(sms: Sms) -> dict[str, str]:
    time = {} if sms.at is None else {"dateTime": sms.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {
        **time,
        "destinationAddress": f"tel:{sms.short_code}",
        "messageId": sms.native_id,
        "message": sms.text,
        "senderAddress": f"tel:{sms.msisdn}",
    }
