"""A hub's `SendMT`: SOAP 1.1, the message type saying who pays.

1 charges the donor, 0 is free, 2 gives back what the message cost: a reply to what does not count, for which by law
nothing may be charged. The namespace is the hub's (`reply_namespace`).

Source: sender classes of a Vietnamese hub (`com.vmg.soap.mo`), the reply channel.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Protocol
from xml.sax.saxutils import escape, quoteattr

from gateways.replier import Call, Fate, Judgement, LoginReplies, OutgoingReply, Replier, login_of

OPERATORS: Mapping[str, str] = {
    "viettel": "VIETTEL",
    "vinaphone": "GPC",
    "mobifone": "VMS",
    "vietnamobile": "VNM",
    "gmobile": "BEELINE",
}
"""How hubs of this family call the carriers; whoever is not here is written in capitals."""
CHARGE, FREE, REFUND = "1", "0", "2"
_ENVELOPE = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    "<SendMT xmlns={namespace}>{elements}</SendMT></soap:Body></soap:Envelope>"
)
_RESULT = re.compile(rb"<(?:[A-Za-z0-9]+:)?(?:SendMTResult|SendMTReturn|return)(?: [^<>]*)?>\s*(-?[0-9]{1,3})\s*<")
_RESULTS: Mapping[str, Judgement] = {
    "1": Judgement(Fate.ACCEPTED),
    "2": Judgement(Fate.LATER, reason="credentials refused"),
    "3": Judgement(Fate.REFUSED, reason="the hub will not have it"),
    "4": Judgement(Fate.REFUSED, reason="service or operator refused"),
    "9": Judgement(Fate.REFUSED, reason="the hub knows no such message"),
}


class SoapReplies(LoginReplies, Protocol):
    """What else is read of an account's settings."""

    @property
    def reply_namespace(self) -> str:
        """The XML namespace of the call."""


class VnSoapMoReplier(Replier[SoapReplies]):
    """One hub that is called."""

    name: ClassVar[str] = "vn_soap_mo"

    def call(self, reply: OutgoingReply) -> Call:
        """Its elements in the order in which hubs know them."""
        user, password = login_of(self.settings)
        kind = CHARGE if reply.is_charged else FREE if reply.is_counted else REFUND
        said = {
            "User_ID": reply.msisdn,
            "Message": reply.text,
            "Service_ID": reply.short_code,
            "Command_Code": reply.keyword,
            "Message_Type": kind,
            "Request_ID": reply.message_ref,
            "Total_Message": "1",
            "Content_Type": "0",
            "Operator": OPERATORS.get(reply.carrier, reply.carrier.upper()),
            "UserName": user,
            "Password": password,
        }
        elements = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in said.items())
        body = _ENVELOPE.format(namespace=quoteattr(self.settings.reply_namespace), elements=elements)
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"SendMT"'}
        return Call(self.url, headers, body.encode())

    def judge(self, status: int, body: bytes) -> Judgement:
        """By the result's number; a fault may come from behind the hub's own door."""
        found = _RESULT.search(body) if status == 200 else None
        if status in (401, 403, 404, 503):
            return Judgement(Fate.LATER, reason="the hub says later")
        if found is None:
            return Judgement(Fate.UNKNOWN, reason="an answer of another kind")
        return _RESULTS.get(found[1].decode(), Judgement(Fate.UNKNOWN, reason="an answer of another kind"))
