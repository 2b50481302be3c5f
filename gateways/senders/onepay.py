"""`onepay` as 1Pay fetches an address: messages of SMS charging, and the second call of SMSplus.

Source: 1Pay's documentation, "SMS charging" and "SMSplus charging".
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar, Protocol
from urllib.parse import urlencode

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent
from gateways.wire.checksums import hmac_sha256_hex


class MerchantSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def access_key(self) -> str:
        """The portal's name at 1Pay."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets; the first signs."""

    @property
    def product(self) -> str:
        """`sms` or `smsplus`."""

    @property
    def success_codes(self) -> tuple[str, ...]:
        """What 1Pay says of a charge that succeeded."""

    @property
    def style(self) -> str:
        """`ack`, or `reply` where a status of 0 is agreed on."""


class OnepaySender(Sender[MerchantSettings]):
    """1Pay, for one of its services."""

    name: ClassVar[str] = "onepay"

    @property
    def names_carriers(self) -> bool:
        """It never says who charged."""
        return False

    @property
    def charges_at_once(self) -> bool:
        """In the second call of SMSplus."""
        return True

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """GET, the values signed in the alphabetical order of their names."""
        (sms,) = messages
        at = (sms.at or attempt_at).astimezone(UTC)
        values = {
            "access_key": self.settings.access_key,
            "mo_message": sms.text,
            "msisdn": sms.msisdn.removeprefix("+"),
            "request_id": sms.native_id,
            "request_time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if self.settings.product == "sms":
            values |= {"command": sms.keyword, "short_code": sms.short_code}
        else:
            values |= {
                "amount": str(sms.amount_vnd),
                "command_code": sms.keyword,
                "error_code": self.settings.success_codes[0],
                "error_message": "done",
            }
        signed = "&".join(f"{name}={values[name]}" for name in sorted(values))
        values["signature"] = hmac_sha256_hex(self.settings.secrets[0].encode(), sent(signed))
        return Request("GET", f"{self._path()}?{urlencode(values, errors=AS_IT_IS)}", {})

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the answer names no message
        """200 and JSON with the status: 1 is taken, 0 gives the donor the money back."""
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        try:
            document = json.loads(reply.body)
        except ValueError:
            return Verdict.REFUSED
        status = document.get("status") if isinstance(document, dict) else None
        if reply.status != 200 or not isinstance(status, int):
            return Verdict.REFUSED
        if status == 0 and self.settings.style == "reply":
            return Verdict.DECLINED
        return Verdict.TAKEN if status == 1 else Verdict.REFUSED
