"""`parlayx_sms` as an operator's service delivery platform notifies, with Huawei's header.

Source: ETSI ES 202 391-4, "SmsNotification"; Huawei SDP, NotifySOAPHeader.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import ClassVar, Final, Protocol
from xml.sax.saxutils import escape

from gateways.sender import Reply, Request, Sender, SenderSettings, Sms, Verdict, sent
from gateways.wire.checksums import md5_hex

_VIETNAM: Final = timezone(timedelta(hours=7))
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header>'
    '<ns1:NotifySOAPHeader xmlns:ns1="http://www.huawei.com.cn/schema/common/v2_1">{header}</ns1:NotifySOAPHeader>'
    "</soapenv:Header><soapenv:Body>"
    '<ns2:notifySmsReception xmlns:ns2="http://www.csapi.org/schema/parlayx/sms/notification/{version}/local">'
    "<ns2:correlator>sub-1</ns2:correlator><ns2:message>{message}</ns2:message></ns2:notifySmsReception>"
    "</soapenv:Body></soapenv:Envelope>"
)
_SERVICE_PROVIDER: Final = "000001"


class OperatorSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def user(self) -> str | None:
        """Our name at the operator, its `spRevId`."""

    @property
    def password(self) -> Sequence[str]:
        """The first of them makes `spRevpassword`."""

    @property
    def password_form(self) -> str | None:
        """How it is made: `plain`, `md5_spId` or `md5_spRevId`."""

    @property
    def hex_dcs(self) -> bool:
        """Whether texts are sent as data coding and bytes in hexadecimal digits."""

    @property
    def version(self) -> str:
        """Of the namespace."""


class ParlayXSmsSender(Sender[OperatorSettings]):
    """One operator that notifies of messages."""

    name: ClassVar[str] = "parlayx_sms"

    @property
    def names_carriers(self) -> bool:
        """An operator speaks of its own donors."""
        return False

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """The notification. An attempt has its own time in the header, the message its own in the body."""
        (sms,) = messages
        message = {
            "message": _in_hex(sms.text) if self.settings.hex_dcs else sms.text,
            "senderAddress": f"tel:{sms.msisdn}",
            "smsServiceActivationNumber": f"tel:{sms.short_code}",
        }
        if sms.at is not None:
            message["dateTime"] = sms.at.isoformat(timespec="milliseconds")
        header = {
            **self._credentials(attempt_at.astimezone(_VIETNAM).strftime("%Y%m%d%H%M%S")),
            "linkid": f"L-{sms.number}",
            "traceUniqueID": sms.native_id,
        }
        inner = "".join(f"<ns1:{name}>{escape(value)}</ns1:{name}>" for name, value in header.items())
        body = _ENVELOPE.format(
            header=inner,
            version=self.settings.version,
            message="".join(f"<{name}>{escape(value)}</{name}>" for name, value in message.items()),
        )
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        return Request("POST", self._path(), headers, sent(body))

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the answer names no message
        """200 and the operation's response; a fault of the server's means later."""
        if reply.status == 200 and b"<notifySmsReceptionResponse " in reply.body:
            return Verdict.TAKEN
        is_ours = b"<faultcode>soap:Server</faultcode>" in reply.body
        return Verdict.LATER if reply.status == 500 and is_ours else Verdict.REFUSED

    def _credentials(self, time: str) -> dict[str, str]:
        user, form = self.settings.user or "portal", self.settings.password_form
        said = {"spRevId": user, "spId": _SERVICE_PROVIDER, "serviceId": "svc-1", "timeStamp": time}
        if form is None:
            return said
        password = self.settings.password[0]
        first = user if form == "md5_spRevId" else _SERVICE_PROVIDER
        made = password if form == "plain" else md5_hex(f"{first}{password}{time}".encode())
        return {**said, "spRevpassword": made}


def _in_hex(text: str) -> str:
    raw = b"\x00" + text.encode() if text.isascii() else b"\x08" + text.encode("utf-16-be", "surrogatepass")
    return raw.hex().upper()
