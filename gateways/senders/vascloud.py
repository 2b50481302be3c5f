"""`vascloud` as VinaPhone's VAS Cloud posts a message, a document or a form, and its notifier an event.

Source: VNPT Media's guide to the VAS Cloud API, 4.0 and 8; a partner's note on receiving messages; event consumers.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import ClassVar, Protocol
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent
from gateways.wire.checksums import md5_hex

_VIETNAM = timezone(timedelta(hours=7))
_ERROR_ID = re.compile(rb'<error_id>([0-9]+)</error_id>|"error_id":([0-9]+)')


class PartnerSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def transport(self) -> str:
        """`xml` or `form`."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens; the first signs a form."""

    @property
    def signed(self) -> tuple[str, ...]:
        """What of a form is signed, in this order; `token` is the token."""

    @property
    def separator(self) -> str | None:
        """What stands between them."""

    @property
    def services(self) -> Mapping[str, str]:
        """The short code of each service that charges."""


class VascloudSender(Sender[PartnerSettings]):
    """VAS Cloud, for one of its partners."""

    name: ClassVar[str] = "vascloud"
    reports_name_messages: ClassVar[bool] = False

    @property
    def names_carriers(self) -> bool:
        """It is VinaPhone's, and never says so."""
        return False

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """A document; as a form every other message is fetched."""
        (sms,) = messages
        number = sms.msisdn.removeprefix("+")
        time = (sms.at or attempt_at).astimezone(_VIETNAM).strftime("%Y%m%d%H%M%S")
        if self.settings.transport == "xml":
            command = {
                "mo_id": sms.native_id,
                "destination_address": sms.short_code,
                "source_address": number,
                "mo_time": time,
                "content_type": "TEXT",
                "content": sms.text,
            }
            return self._document("SMSGW", command)
        values = {
            "mo_id": sms.native_id,
            "source_address": sms.short_code,
            "mo_time": time,
            "msisdn": number,
            "mo": sms.text,
        }
        signed = {**values, "token": self.settings.secrets[0]}
        recipe = (self.settings.separator or "").join(signed[name] for name in self.settings.signed)
        form = urlencode({**values, "signature": md5_hex(sent(recipe))}, errors=AS_IT_IS)
        if sms.number % 2:
            return Request("GET", f"{self._path()}?{form}", {})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", self._path(), headers, sent(form))

    @property
    def reports_charges(self) -> bool:
        """By events of the notifier, each of a service."""
        return bool(self.settings.services)

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:  # noqa: ARG002 -- it names none
        """An event: this subscriber was charged for this service."""
        service = next((name for name, code in self.settings.services.items() if code == sms.short_code), "none")
        event = {
            "queueID": f"q-{sms.native_id}",
            "resultCode": "0",
            "errorDesc": "",
            "startTime": str(int((sms.at or attempt_at).timestamp()) * 1000),
            "msisdn": sms.msisdn.removeprefix("+"),
            "channel": "SMS",
            "service_id": service,
            "package_id": sms.keyword,
            "originalprice": str(sms.amount_vnd),
            "price": str(sms.amount_vnd),
            "commandcode": sms.keyword,
        }
        return self._document("SDP", event)

    def _document(self, module: str, command: Mapping[str, str]) -> Request:
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in command.items())
        head = f"<MODULE>{module}</MODULE><MESSAGE_TYPE>NOTIFY</MESSAGE_TYPE>"
        document = f"<ACCESSGW>{head}<COMMAND>{inner}</COMMAND></ACCESSGW>"
        return Request("POST", self._path(), {"Content-Type": "text/xml; charset=utf-8"}, sent(document))

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the answer names no message
        """200 and an `error_id` of 0; 1 is any failure, and does not say which."""
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        found = _ERROR_ID.search(reply.body)
        if reply.status != 200 or found is None:
            return Verdict.REFUSED
        return Verdict.TAKEN if (found[1] or found[2]) == b"0" else Verdict.LATER
