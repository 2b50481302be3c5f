"""How each carrier puts messages into its protocol, and how it takes the answer.

Written from the senders' side, from what the protocols say; nothing of our adapters is used but the signature
and the accounts' settings. Source: Standard Webhooks 1.0.0; Kannel user guide 1.4.5, "SMS services".
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from urllib.parse import quote, quote_from_bytes

import orjson

from gateways.adapters.standard.adapter import StandardSettings
from gateways.wire.signatures import sign, signing_key
from service.simulator.links import Link
from service.simulator.message import Sms

LATER_STATUSES = frozenset({429, 503})
_UUID_NAMESPACE = uuid.UUID("9d0d2c52-5d7f-4f0e-9b58-1c8e4f3f1400")


class Verdict(StrEnum):
    """What an answer says to the sender."""

    TAKEN = "taken"
    CONFLICT = "conflict"
    DECLINED = "declined"
    """By the campaign's rules: the donor is not charged. Only hubs in reply style are told so."""
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `address` is everything after the host, already encoded as the sender writes it."""

    method: str
    address: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    content_type: str
    body: bytes
    retry_after_seconds: float | None = None


class Sender(ABC):
    """One carrier or hub on one link. Stateless: the same messages make the same callback, its time aside."""

    batch_max: ClassVar[int] = 1

    def __init__(self, link: Link) -> None:
        self.link = link

    @abstractmethod
    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """The callback that carries `messages` (more than one only up to `batch_max`)."""

    @abstractmethod
    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:
        """What `reply` tells the sender. Only the protocol's own words for success are TAKEN."""

    def _path(self) -> str:
        steps = ("gw", self.link.protocol, self.link.account, self.link.settings.path_secret or "")
        return "".join(f"/{quote(step, safe='')}" for step in steps if step)


class StandardSender(Sender):
    """A partner that speaks the portal's own protocol, single events and batches."""

    batch_max = 100

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        if not isinstance(link.settings, StandardSettings):
            raise TypeError("the link of a standard sender has the settings of a standard account")
        self._keys = [signing_key(secret) for secret in link.settings.secrets]

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """JSON under Standard Webhooks' headers, signed with every secret, as a sender does while rotating."""
        written = attempt_at.isoformat(timespec="seconds")
        events = [{"type": "message.received", "timestamp": written, "data": _data(sms)} for sms in messages]
        body = orjson.dumps(
            events[0] if len(events) == 1 else {"type": "batch", "timestamp": written, "data": events}
        )
        attempt_id, timestamp = f"msg_{messages[0].native_id}", str(int(attempt_at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": attempt_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(sign(key, attempt_id, timestamp, body) for key in self._keys),
        }
        return Request("POST", self._path(), headers, body)

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:
        """200 with every id in order, or 409 with the ids that we hold with another content."""
        ids = [sms.native_id for sms in messages]
        if reply.status == 200 and _json(reply.body) == {"accepted": ids}:
            return Verdict.TAKEN
        if reply.status == 409 and _json(reply.body) == {"accepted": [], "conflicts": ids}:
            return Verdict.CONFLICT
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED


def _data(sms: Sms) -> dict[str, object]:
    data: dict[str, object] = {
        "message_id": sms.native_id,
        "msisdn": sms.msisdn,
        "short_code": sms.short_code,
        "text": sms.text,
    }
    if sms.said is not None:
        data["carrier"] = sms.said
    if sms.at is not None:
        data["operator_time"] = sms.at.isoformat()
    return data


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


class KannelSender(Sender):
    """A Kannel that fetches the `get-url` our documentation tells its operator to configure."""

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- its attempts are not timed
        """GET. A text of ASCII goes as UTF-8, any other as the UTF-16BE it had on the air."""
        (sms,) = messages
        is_plain = sms.text.isascii()
        values = {
            "id": str(uuid.uuid5(_UUID_NAMESPACE, sms.native_id)),
            "from": sms.msisdn,
            "to": sms.short_code,
            "smsc": sms.said or "smsc1",
            "ts": "" if sms.at is None else str(int(sms.at.timestamp())),
            "coding": "0" if is_plain else "2",
            "charset": "UTF-8" if is_plain else "UTF-16BE",
            "text": sms.text.encode("utf-8" if is_plain else "utf-16-be"),
            "udh": "",
            "bill": "",
            "meta": "",
        }
        query = "&".join(f"{name}={_as_kannel(value)}" for name, value in values.items())
        return Request("GET", f"{self._path()}?{query}", {"User-Agent": "Kannel/1.4.5"})

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
