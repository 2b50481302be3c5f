"""`appota_ipn` as Appota posts a confirmation.

Source: Appota's documentation of its game SDK, "Sms payment method" and "Passive confirmation via IPN".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Protocol
from urllib.parse import urlencode

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent
from gateways.wire.checksums import md5_hex


class ApplicationSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The client secrets; the first signs."""


class AppotaIpnSender(Sender[ApplicationSettings]):
    """Appota, for one application."""

    name: ClassVar[str] = "appota_ipn"

    @property
    def names_carriers(self) -> bool:
        """It never says who charged."""
        return False

    @property
    def charges_at_once(self) -> bool:
        """In the one call that there is."""
        return True

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- it tells no time
        """A form of a payment that succeeded."""
        (sms,) = messages
        values = {
            "status": "1",
            "sandbox": "0",
            "transaction_id": sms.native_id,
            "transaction_type": "SMS",
            "phone": sms.msisdn.removeprefix("+"),
            "message": sms.text,
            "code": sms.short_code,
            "amount": str(sms.amount_vnd),
            "currency": "VND",
            "state": "",
            "target": "",
            "country_code": "VN",
        }
        signed = "".join(value for _, value in sorted(values.items())) + self.settings.secrets[0]
        values["hash"] = md5_hex(sent(signed))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", self._path(), headers, sent(urlencode(values, errors=AS_IT_IS)))

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the status alone speaks
        """200 and nothing else."""
        if reply.status == 200:
            return Verdict.TAKEN
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED
