"""`vn_soap_mo` as Vietnamese hubs write it: their templates, word for word as they fill them in.

A hub puts the text into its template as it is: an `&` arrives bare (our adapter repairs it, and so it is
played). `<` and `>` are escaped here all the same: a hub that does not would send no XML at all.

Source: sender classes of a Vietnamese hub (`com.vmg.soap.mo`).
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Protocol
from xml.sax.saxutils import unescape

from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent

_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">{header}<soap:Body>{call}</soap:Body>'
    "</soap:Envelope>"
)
_RPC: Final = (
    '<ns1:{name} xmlns:ns1="Receiver" soap:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
    "{elements}</ns1:{name}>"
)
_DOCUMENT: Final = '<{name} xmlns="http://hub.example/">{elements}</{name}>'


@dataclass(frozen=True, slots=True)
class Template:
    """How one dialect is written: its frame, and its element names in order.

    `result` is the tag its sender cuts the answer from, `success` the value that says taken where the account
    agreed on none.
    """

    frame: str
    elements: tuple[str, ...]
    result: str
    success: str


_SIX: Final = ("User_ID", "Service_ID", "Command_Code", "Message", "Request_ID", "Operator")
TEMPLATES: Final[Mapping[str, Template]] = {
    "receiverMO": Template(_DOCUMENT, _SIX, "receiverMOResult", "1"),
    "moReceiver": Template(_RPC, _SIX, "moReceiverResult", "0"),
    "GetMOData": Template(
        _DOCUMENT,
        ("UserID", "ServiceID", "CommandCode", "Content", "RequestID", "Operator"),
        "GetMODataResult",
        "0|",
    ),
}


class HubSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def dialect(self) -> str:
        """A row of TEMPLATES."""

    @property
    def style(self) -> str:
        """`ack` or `reply`."""

    @property
    def success_value(self) -> str | None:
        """The value that says taken; None: the dialect's."""

    @property
    def refuse_value(self) -> str | None:
        """The value that says not to charge the donor, in the style `reply`."""

    @property
    def base64(self) -> bool:
        """Whether texts are sent in Base64."""

    @property
    def user(self) -> str | None:
        """Together with `password`, for HTTP Basic or as elements."""

    @property
    def password(self) -> Sequence[str]:
        """See `user`."""


class VnSoapMoSender(Sender[HubSettings]):
    """One hub, in the dialect and style of its account."""

    name: ClassVar[str] = "vn_soap_mo"
    # Hubs still use the codes of the old companies.
    carrier_words: ClassVar[Mapping[str, str]] = {
        "viettel": "VIETTEL",
        "vinaphone": "GPC",
        "mobifone": "VMS",
        "vietnamobile": "VNM",
        "gmobile": "BEELINE",
    }

    def __init__(self, account: str, settings: HubSettings) -> None:
        super().__init__(account, settings)
        self._template = TEMPLATES[settings.dialect]

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- hubs tell no time
        """The envelope. Every other message carries user and password in the envelope instead of HTTP Basic."""
        (sms,) = messages
        settings, template = self.settings, self._template
        text = _base64_in_lines(sms.text) if settings.base64 else sms.text
        values = (sms.msisdn, sms.short_code, sms.keyword, text, sms.native_id, sms.said or "")
        filled = list(zip(template.elements, values, strict=True))
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{settings.dialect}"'}
        if settings.user is not None and settings.password:
            password = settings.password[0]
            if sms.number % 2:
                filled += [("username", settings.user), ("password", password)]
            else:
                pair = f"{settings.user}:{password}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        elements = "".join(f"<{name}>{_in_template(value)}</{name}>" for name, value in filled)
        call = template.frame.format(name=settings.dialect, elements=elements)
        return Request("POST", self._path(), headers, sent(_ENVELOPE.format(header="", call=call)))

    def take_reply(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Reply]:  # noqa: ARG002 -- an envelope
        """As SendMT: the call names the message."""
        found = re.search(rb"<Request_ID>([^<]*)<", body)
        inner = b"<SendMTResponse><SendMTResult>1</SendMTResult></SendMTResponse>"
        said = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>' + inner + b"</s:Body>"
        name = unescape(found[1].decode()) if found is not None else ""
        return name, Reply(200, "text/xml", said + b"</s:Envelope>")

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the value alone speaks
        """Exactly 200, and the account's own value between the literal tags, which is how hubs look for it."""
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        if reply.status != 200:
            return Verdict.REFUSED
        settings, tag = self.settings, self._template.result
        _, _, after = reply.body.decode("utf-8", "replace").partition(f"<{tag}>")
        value, closed, _ = after.partition(f"</{tag}>")
        # Whatever stands behind the bar of this dialect is for the donor.
        is_text = settings.dialect == "GetMOData" and value.startswith("0|")
        if closed and (is_text or value == (settings.success_value or self._template.success)):
            return Verdict.TAKEN
        is_declined = settings.style == "reply" and value == settings.refuse_value
        return Verdict.DECLINED if closed and is_declined else Verdict.REFUSED


def _in_template(value: str) -> str:
    return value.replace("<", "&lt;").replace(">", "&gt;")


def _base64_in_lines(text: str) -> str:
    return base64.encodebytes(sent(text)).decode().replace("\n", "\r\n")
