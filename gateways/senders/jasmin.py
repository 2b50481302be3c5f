"""`jasmin` as its deliverSmThrower posts a message.

Source: Jasmin 0.11.1, `routing/throwers.py`; requests seen of it.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar
from urllib.parse import parse_qsl, quote, quote_from_bytes, urlencode

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict

_UNLISTED_CONNECTOR = "smppc1"
_UUID_NAMESPACE = uuid.UUID("5b0c1f8a-5a2e-4a53-9a86-2f0d8c1a1400")
_DEFAULT_ALPHABET, _UCS2 = b"\x00", b"\x08"


class JasminSender(Sender[SenderSettings]):
    """A Jasmin with our address in an HTTP client connector."""

    name: ClassVar[str] = "jasmin"
    carrier_words: ClassVar[dict[str, str]] = {
        carrier: carrier for carrier in ("viettel", "vinaphone", "mobifone", "vietnamobile", "gmobile")
    }

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:  # noqa: ARG002 -- it sends no time
        """A form, or the same as a query for every other message: `method` of the connector is either."""
        (sms,) = messages
        is_plain = sms.text.isascii()
        content = sms.text.encode("ascii" if is_plain else "utf-16-be", AS_IT_IS)
        values = {
            "id": self.native_id(sms).encode(),
            "from": sms.msisdn.removeprefix("+").encode(),
            "to": sms.short_code.encode(),
            "origin-connector": (sms.said or _UNLISTED_CONNECTOR).encode(),
            "priority": b"0",
            # The byte of the PDU itself.
            "coding": _DEFAULT_ALPHABET if is_plain else _UCS2,
            "validity": b"",
            "content": content,
            "binary": content.hex().encode(),
        }
        form = "&".join(f"{name}={quote_from_bytes(raw, safe=' ').replace(' ', '+')}" for name, raw in values.items())
        if sms.number % 2:
            return Request("GET", f"{self._path()}?{form}", {"User-Agent": "Jasmin gateway/1.0 deliverSmHttpThrower"})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "Jasmin gateway/1.0 deliverSmHttpThrower",
        }
        return Request("POST", self._path(), headers, form.encode())

    @property
    def reports_charges(self) -> bool:
        """By receipts, of an SMS whose `dlr-url` names the message."""
        return True

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:  # noqa: ARG002 -- it sends no time
        """The SMS by which the donor is charged has reached the telephone: level 2."""
        values = {
            "id": f"r-{sms.native_id}",
            "level": "2",
            "message_status": "DELIVRD",
            "connector": _UNLISTED_CONNECTOR,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        address = f"{self._path()}/dlr?msg={quote(message_ref, safe='')}"
        return Request("POST", address, headers, urlencode(values).encode())

    def native_id(self, sms: Sms) -> str:
        """Jasmin numbers messages itself, by a UUID."""
        return str(uuid.uuid5(_UUID_NAMESPACE, sms.native_id))

    def take_reply(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Reply]:  # noqa: ARG002 -- a form
        """As the HTTP API's /send: the call names the donor."""
        return dict(parse_qsl(body.decode()))["to"], Reply(200, "text/plain", f'Success "{uuid.uuid4()}"'.encode())

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the body alone speaks
        """A status below 400 and the one body it knows; anything else it sends again, and some of it in vain."""
        if reply.status < 400 and reply.body.strip() == b"ACK/Jasmin":
            return Verdict.TAKEN
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED
