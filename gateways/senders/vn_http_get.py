"""`vn_http_get` as Vietnamese hubs fetch an address.

A hub writes a blank as `+` and the rest as it is. So an `&` goes bare here too; what cannot stand in a request line,
or would mean something else there, is percent-encoded all the same: a hub that does not sends another text.

Source: sender classes of a Vietnamese hub (`SoapDDViet`, `Sendgamefarm`, `Send2`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Protocol
from urllib.parse import quote_from_bytes

from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent

_AS_IT_IS = " &=?!$'()*,-./:;@_~"


class HubSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def dialect(self) -> str:
        """`ddviet`, `txid` or `short`."""

    @property
    def id_parameter(self) -> str | None:
        """Where the hub writes an id for which its dialect has no parameter."""

    @property
    def operator_parameter(self) -> str | None:
        """The same of the operator."""

    @property
    def success_value(self) -> str:
        """The body that says taken, where the hub reads it."""


class VnHttpGetSender(Sender[HubSettings]):
    """One hub, in the dialect of its account."""

    name: ClassVar[str] = "vn_http_get"
    carrier_words: ClassVar[Mapping[str, str]] = {
        "viettel": "VIETTEL",
        "vinaphone": "GPC",
        "mobifone": "VMS",
        "vietnamobile": "HTC",
        "gmobile": "BEELINE",
    }

    @property
    def names_carriers(self) -> bool:
        """Where the dialect `ddviet`, or what the hub adds to another, has a parameter for it."""
        return self.settings.dialect == "ddviet" or self.settings.operator_parameter is not None

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- hubs tell no time
        """GET, the parameters in the order in which each dialect has them."""
        (sms,) = messages
        number = sms.msisdn.removeprefix("+")
        written = {
            "ddviet": {
                "requestId": sms.native_id,
                "mobileOperator": sms.said or "",
                "userId": number,
                "serviceId": sms.short_code,
                "commandCode": sms.keyword,
                "message": sms.text,
            },
            "txid": {
                "cmdcode": sms.keyword,
                "shortcode": sms.short_code,
                "mobileno": number,
                "txid": sms.native_id,
                "msg": sms.text,
            },
            "short": {"msisdn": number, "sms": sms.text, "service_id": sms.short_code},
        }[self.settings.dialect]
        added = {self.settings.id_parameter: sms.native_id, self.settings.operator_parameter: sms.said or ""}
        written = {name: value for name, value in added.items() if name is not None} | written
        query = "&".join(f"{name}={_as_hubs_do(value)}" for name, value in written.items())
        return Request("GET", f"{self._path()}?{query}", {"User-Agent": "Java/1.6.0_20"})

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the answer names no message
        """Any status under 400 is success to a hub of the dialect `ddviet`; the others read the body too."""
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        is_read = self.settings.dialect != "ddviet"
        is_said = not is_read or reply.body == self.settings.success_value.encode()
        return Verdict.TAKEN if reply.status < 400 and is_said else Verdict.REFUSED


def _as_hubs_do(value: str) -> str:
    return quote_from_bytes(sent(value), safe=_AS_IT_IS).replace(" ", "+")
