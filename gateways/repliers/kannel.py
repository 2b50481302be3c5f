"""Kannel's `sendsms`: a POST whose body is the text, and whose headers say all else.

Who is charged what is no matter of Kannel's: the operator's SMSC decides, by the route, the account or the billing
information of an SMS. `reply_free` and `reply_charged` say what is written where.

Source: Kannel user guide 1.4.5, "SMS push: send-sms CGI", with its column of headers for POST.
"""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlencode

from gateways.replier import Call, Fate, Judgement, OutgoingReply, Replier, RoutedReplies, login_of, route_of

HEADERS: Mapping[str, str] = {
    "smsc": "X-Kannel-SMSC",
    "account": "X-Kannel-Account",
    "binfo": "X-Kannel-BInfo",
    "meta-data": "X-Kannel-Meta-Data",
}
"""What an account may add to free and to charged replies."""
REPORTED = 1 | 2 | 16
"""Of `dlr-mask`: delivered, failed, rejected by the SMSC; not what happens on the way."""
_TAKEN = (b"0:", b"3:")
_ANSWERS: Mapping[int, Judgement] = {
    202: Judgement(Fate.ACCEPTED),
    401: Judgement(Fate.LATER, reason="credentials refused"),
    403: Judgement(Fate.LATER, reason="credentials refused"),
    404: Judgement(Fate.LATER, reason="no such address"),
    503: Judgement(Fate.LATER, reason="the hub says later"),
}


class KannelReplier(Replier[RoutedReplies]):
    """The smsbox of one Kannel."""

    name: ClassVar[str] = "kannel"

    def call(self, reply: OutgoingReply) -> Call:
        """With the donor's message in the address of its report, by which that joins the gift."""
        user, password = login_of(self.settings)
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-Kannel-Username": user,
            "X-Kannel-Password": password,
            "X-Kannel-From": reply.short_code,
            "X-Kannel-To": reply.msisdn,
            "X-Kannel-Coding": "0",
            **{HEADERS[name]: value for name, value in route_of(self.settings, reply).items()},
        }
        if reply.is_charged and reply.report_address is not None:
            about = urlencode({"ref": reply.reference, "msg": reply.message_ref})
            headers["X-Kannel-DLR-Mask"] = str(REPORTED)
            headers["X-Kannel-DLR-Url"] = f"{reply.report_address}?{about}&d=%d&ts=%T"
        return Call(self.url, headers, reply.text.encode())

    def judge(self, status: int, body: bytes) -> Judgement:
        """By the status; one of 200 only with the words of a yes."""
        if status == 200 and body.startswith(_TAKEN):
            return Judgement(Fate.ACCEPTED)
        if 400 <= status < 500 and status not in _ANSWERS:
            return Judgement(Fate.REFUSED, reason="the hub will not have it")
        return _ANSWERS.get(status, Judgement(Fate.UNKNOWN, reason="an answer of another kind"))
