"""`telex` as its senders write it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Protocol

from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict


class TelexAccount(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def password(self) -> str:
        """Goes into a header of its own."""


class TelexSender(Sender[TelexAccount]):
    """One sender of the protocol."""

    name: ClassVar[str] = "telex"
    tells_conflicts: ClassVar[bool] = True
    carrier_words: ClassVar[Mapping[str, str]] = {"viettel": "VTL"}

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- attempts are not timed
        """Lines, a blank line, the text in UCS-2."""
        (sms,) = messages
        lines = [f"id: {sms.native_id}", f"from: {sms.msisdn}", f"to: {sms.short_code}"]
        lines += [f"at: {int(sms.at.timestamp())}"] if sms.at is not None else []
        lines += [f"network: {sms.said}"] if sms.said is not None else []
        headers = {"X-Telex-Password": self.settings.password, "X-Telex-Charset": "ucs-2"}
        body = "\n".join(lines).encode() + b"\n\n" + sms.text.encode("utf-16-be")
        return Request("POST", self._path(), headers, body)

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the status alone speaks
        """By the status."""
        if reply.status == 409:
            return Verdict.CONFLICT
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        return Verdict.TAKEN if reply.status == 200 else Verdict.REFUSED
