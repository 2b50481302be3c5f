"""Vietnamese hubs that hand messages over in SOAP: their templates, word for word as they fill them in.

A hub puts the text into its template as it is: an `&` arrives bare (our adapter repairs it, and so it is
played). `<` and `>` are escaped here all the same: a hub that does not would send no XML at all.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateways.adapters.vn_soap_mo.adapter import VnSoapMoSettings
from service.simulator.links import Link
from service.simulator.message import Sms
from service.simulator.senders import LATER_STATUSES, Reply, Request, Sender, Verdict

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
    """How one dialect is written: its frame, its element names in order, the tag its sender cuts the answer from."""

    frame: str
    elements: tuple[str, ...]
    result: str


_SIX: Final = ("User_ID", "Service_ID", "Command_Code", "Message", "Request_ID", "Operator")
TEMPLATES: Final[Mapping[str, Template]] = {
    "receiverMO": Template(_DOCUMENT, _SIX, "receiverMOResult"),
    "moReceiver": Template(_RPC, _SIX, "moReceiverResult"),
    "GetMOData": Template(
        _DOCUMENT,
        ("UserID", "ServiceID", "CommandCode", "Content", "RequestID", "Operator"),
        "GetMODataResult",
    ),
}


class SoapSender(Sender):
    """One hub, in the dialect and style of its account."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        if not isinstance(link.settings, VnSoapMoSettings):
            raise TypeError("the link of a hub has the settings of a vn_soap_mo account")
        self._settings = link.settings
        self._template = TEMPLATES[link.settings.dialect]

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- hubs tell no time
        """The envelope. Every other message carries user and password in the envelope instead of HTTP Basic."""
        (sms,) = messages
        settings, template = self._settings, self._template
        text = _base64_in_lines(sms.text) if settings.base64 else sms.text
        values = (sms.msisdn, sms.short_code, sms.keyword, text, sms.native_id, sms.said or "")
        filled = list(zip(template.elements, values, strict=True))
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{settings.dialect}"'}
        if settings.user is not None and settings.password is not None:
            if sms.number % 2:
                filled += [("username", settings.user), ("password", settings.password)]
            else:
                pair = f"{settings.user}:{settings.password}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        elements = "".join(f"<{name}>{_in_template(value)}</{name}>" for name, value in filled)
        call = template.frame.format(name=settings.dialect, elements=elements)
        return Request("POST", self._path(), headers, _ENVELOPE.format(header="", call=call).encode())

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the value alone speaks
        """Exactly 200, and the account's own value between the literal tags, which is how hubs look for it."""
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        if reply.status != 200:
            return Verdict.REFUSED
        tag = self._template.result
        _, _, after = reply.body.decode("utf-8", "replace").partition(f"<{tag}>")
        value, closed, _ = after.partition(f"</{tag}>")
        if closed and value == self._settings.success:
            return Verdict.TAKEN
        is_declined = self._settings.style == "reply" and value == self._settings.refuse_value
        return Verdict.DECLINED if closed and is_declined else Verdict.REFUSED


def _in_template(value: str) -> str:
    return value.replace("<", "&lt;").replace(">", "&gt;")


def _base64_in_lines(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")
