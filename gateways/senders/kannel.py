"""`kannel` as its smsbox fetches an address.

Source: Kannel user guide 1.4.5, "SMS services"; requests seen with Kannel 1.4.5.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import quote_from_bytes

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict

_UNLISTED_SMSC = "smsc1"
_UUID_NAMESPACE = uuid.UUID("9d0d2c52-5d7f-4f0e-9b58-1c8e4f3f1400")


class KannelSender(Sender[SenderSettings]):
    """A Kannel that fetches the `get-url` our documentation tells its operator to configure."""

    name: ClassVar[str] = "kannel"

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- its attempts are not timed
        """A text of ASCII goes as UTF-8, any other as the UTF-16BE it had on the air.

        By `get-url`, or by `post-url` for every third message: one Kannel may be configured either way.
        """
        (sms,) = messages
        is_plain = sms.text.isascii()
        if sms.number % 3 == 1:
            return self._posted(sms, is_plain)
        values = {
            "id": self.native_id(sms),
            "from": sms.msisdn,
            "to": sms.short_code,
            "smsc": sms.said or _UNLISTED_SMSC,
            "ts": "" if sms.at is None else str(int(sms.at.timestamp())),
            "coding": "0" if is_plain else "2",
            "charset": "UTF-8" if is_plain else "UTF-16BE",
            "text": sms.text.encode("utf-8" if is_plain else "utf-16-be", AS_IT_IS),
            "udh": "",
            "bill": "",
            "meta": "",
        }
        query = "&".join(f"{name}={_as_kannel(value)}" for name, value in values.items())
        return Request("GET", f"{self._path()}?{query}", {"User-Agent": "Kannel/1.4.5"})

    def _posted(self, sms: Sms, is_plain: bool) -> Request:
        headers = {
            "User-Agent": "Kannel/1.4.5",
            "Content-Type": f'text/plain; charset="{"UTF-8" if is_plain else "UTF-16BE"}"',
            "X-Kannel-From": sms.msisdn,
            "X-Kannel-To": sms.short_code,
            **({} if sms.at is None else {"X-Kannel-Time": sms.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")}),
            "X-Kannel-SMSC": sms.said or _UNLISTED_SMSC,
            "X-Kannel-Coding": "0" if is_plain else "2",
            "X-Kannel-Service": "default",
        }
        body = sms.text.encode("utf-8" if is_plain else "utf-16-be", AS_IT_IS)
        return Request("POST", f"{self._path()}?id={self.native_id(sms)}", headers, body)

    @property
    def reports_charges(self) -> bool:
        """By delivery reports, of an SMS whose `dlr-url` names the message."""
        return True

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:
        """The SMS by which the donor is charged has reached the telephone: `%d` is 1."""
        values = {"ref": f"r-{sms.native_id}", "msg": message_ref, "d": "1", "ts": str(int(attempt_at.timestamp()))}
        query = "&".join(f"{name}={_as_kannel(value)}" for name, value in values.items())
        return Request("GET", f"{self._path()}/dlr?{query}", {"User-Agent": "Kannel/1.4.5"})

    def native_id(self, sms: Sms) -> str:
        """`%I`: Kannel numbers messages itself, by a UUID."""
        return str(uuid.uuid5(_UUID_NAMESPACE, sms.native_id))

    def take_reply(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Reply]:  # noqa: ARG002 -- a text
        """As sendsms: the call names the donor."""
        return headers["x-kannel-to"], Reply(202, "text/plain", b"0: Accepted for delivery")

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the status alone speaks
        """200 or 202 with nothing in it: whatever stood there would reach the donor as an SMS."""
        if reply.status in (200, 202):
            is_silent = not reply.body and reply.content_type == "text/plain"
            return Verdict.TAKEN if is_silent else Verdict.REFUSED
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED


def _as_kannel(value: str | bytes) -> str:
    """Byte by byte: a blank is `+`, letters, digits and a few signs stand for themselves, the rest is `%XX`."""
    raw = value.encode() if isinstance(value, str) else value
    return quote_from_bytes(raw, safe="-_.!~*'() ").replace(" ", "+")
