"""`esms_get` as eSMS fetches an address.

Source: eSMS's documentation, "Connect to shortcode service".
"""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import ClassVar, Protocol
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent
from gateways.wire.checksums import md5_hex

_VIETNAM = timezone(timedelta(hours=7))


class ProviderSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def cpid(self) -> str:
        """The portal's id at eSMS."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The private keys; the first signs."""


class EsmsGetSender(Sender[ProviderSettings]):
    """eSMS, for one content provider."""

    name: ClassVar[str] = "esms_get"

    @property
    def names_carriers(self) -> bool:
        """It never says who charged."""
        return False

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """GET, form-encoded, signed over the values."""
        (sms,) = messages
        cpid, key = self.settings.cpid, self.settings.secrets[0]
        written = (sms.at or attempt_at).astimezone(_VIETNAM).strftime("%Y%m%d%H%M%S")
        values = {
            "sender": sms.msisdn.removeprefix("+"),
            "content": sms.text,
            "serviceNumber": sms.short_code,
            "keyword": sms.keyword,
            "sign": md5_hex(sent(f"{cpid}{sms.native_id}{sms.text}{written}{key}")),
            "cpid": cpid,
            "smsid": sms.native_id,
            "receiverTime": written,
        }
        return Request("GET", f"{self._path()}?{urlencode(values, errors=AS_IT_IS)}", {})

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:
        """200 and a ClientResponse about this very message."""
        (sms,) = messages
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        said = reply.body.decode("utf-8", "replace")
        is_about_it = (
            said.startswith("<ClientResponse><Message>") and f"<Smsid>{escape(sms.native_id)}</Smsid>" in said
        )
        return Verdict.TAKEN if reply.status == 200 and is_about_it else Verdict.REFUSED
