"""`vcom_json` as V-COM writes it.

Source: V-COM's documentation, "Receive MO".
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Protocol

import orjson

from gateways.sender import LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, as_json
from gateways.wire.checksums import sha256_base64


class ClientSettings(SenderSettings, Protocol):
    """What this sender reads of its account."""

    @property
    def client_id(self) -> str:
        """The portal's name at V-COM."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secure keys; the first signs."""


class VcomJsonSender(Sender[ClientSettings]):
    """V-COM, for one of its clients."""

    name: ClassVar[str] = "vcom_json"
    tells_conflicts: ClassVar[bool] = True
    carrier_words: ClassVar[Mapping[str, str]] = {
        "viettel": "VT",
        "vinaphone": "VN",
        "mobifone": "MB",
        "vietnamobile": "HT",
    }

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """JSON; every other message is a recovery."""
        (sms,) = messages
        client_id, key = self.settings.client_id, self.settings.secrets[0]
        phone, seconds = sms.msisdn.removeprefix("+"), int((sms.at or attempt_at).timestamp())
        document: dict[str, object] = {
            "type": "recovery" if sms.number % 2 else "new",
            "client_id": client_id,
            "request_id": sms.native_id,
            "service_id": sms.short_code,
            "command_code": sms.keyword,
            "message": sms.text,
            "telco": sms.said or "VT",
            "phone": phone,
            "time": seconds,
            "checksum": sha256_base64(f"{client_id}{sms.native_id}{phone}{key}{seconds}".encode()),
        }
        return Request("POST", self._path(), {"Content-Type": "application/json"}, as_json(document))

    def take_reply(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Reply]:  # noqa: ARG002 -- JSON
        """The call names the message."""
        said = as_json({"data": {"code": 200, "status": "success", "message": "Thanks"}})
        return str(orjson.loads(body)["request_id"]), Reply(200, "application/json", said)

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:  # noqa: ARG002 -- the answer names no message
        """200 and the code in the body: 200 is taken, 104 an id that exists, every other the end of it."""
        if reply.status in LATER_STATUSES:
            return Verdict.LATER
        document = _object(reply.body)
        if reply.status != 200:
            return Verdict.REFUSED
        if _object_in(document, "data").get("code") == 200:
            return Verdict.TAKEN
        return Verdict.CONFLICT if _object_in(document, "errors").get("code") == 104 else Verdict.REFUSED


def _object(body: bytes) -> Mapping[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _object_in(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
