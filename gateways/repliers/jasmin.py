"""Jasmin's HTTP API, `/send`: a form. Free and charged SMS are told apart by their `tags`, which Jasmin routes by.

Source: Jasmin 0.11.1, "HTTP API: sending SMS-MT".
"""

import re
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlencode

from gateways.replier import Call, Fate, Judgement, OutgoingReply, Replier, RoutedReplies, login_of, route_of

PARAMETERS = frozenset({"tags", "priority"})
"""What an account may add to free and to charged replies."""
_SUCCESS = re.compile(rb'^Success "([A-Za-z0-9-]{1,100})"')
_ANSWERS: Mapping[int, Judgement] = {
    400: Judgement(Fate.REFUSED, reason="the hub will not have it"),
    401: Judgement(Fate.LATER, reason="credentials refused"),
    403: Judgement(Fate.LATER, reason="credentials or limits refuse it"),
    404: Judgement(Fate.LATER, reason="no such address"),
    412: Judgement(Fate.LATER, reason="no route, or over its limits"),
    503: Judgement(Fate.LATER, reason="the hub says later"),
}


class JasminReplier(Replier[RoutedReplies]):
    """The HTTP API of one Jasmin."""

    name: ClassVar[str] = "jasmin"

    def call(self, reply: OutgoingReply) -> Call:
        """With the donor's message in the address of its receipt, by which that joins the gift."""
        user, password = login_of(self.settings)
        form = {
            "username": user,
            "password": password,
            "from": reply.short_code,
            "to": reply.msisdn,
            "coding": "0",
            "content": reply.text,
            **route_of(self.settings, reply),
        }
        if reply.is_charged and reply.report_address is not None:
            form |= {
                "dlr": "yes",
                "dlr-level": "2",
                "dlr-method": "POST",
                "dlr-url": f"{reply.report_address}?{urlencode({'msg': reply.message_ref})}",
            }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Call(self.url, headers, urlencode(form).encode())

    def judge(self, status: int, body: bytes) -> Judgement:
        """A yes names the SMS, as its receipts will."""
        found = _SUCCESS.match(body) if status == 200 else None
        if found is not None:
            return Judgement(Fate.ACCEPTED, found[1].decode())
        return _ANSWERS.get(status, Judgement(Fate.UNKNOWN, reason="an answer of another kind"))
