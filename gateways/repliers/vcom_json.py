"""V-COM's "Send MT": JSON, signed as its callbacks are.

`is_charged` is written always: left out it means 1. V-COM sends one SMS for each pair of `request_id` and `mt_code`,
whatever we repeat, and says 104 to a repeat.

Source: V-COM's documentation, "Send MT".
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

import orjson

from gateways.replier import Call, Fate, Judgement, OutgoingReply, Replier, ReplierSettings
from gateways.wire.checksums import sha256_base64

_CODES: Mapping[int, Judgement] = {
    200: Judgement(Fate.ACCEPTED),
    104: Judgement(Fate.ACCEPTED, reason="it had been sent"),
    106: Judgement(Fate.LATER, reason="parameter or checksum refused"),
    108: Judgement(Fate.LATER, reason="our address refused"),
}


class VcomReplies(ReplierSettings, Protocol):
    """What else is read of an account's settings."""

    @property
    def client_id(self) -> str:
        """Ours at V-COM."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secure keys, the one to sign with first."""


class VcomJsonReplier(Replier[VcomReplies]):
    """One client account at V-COM."""

    name: ClassVar[str] = "vcom_json"
    drops_repeats: ClassVar[bool] = True

    def call(self, reply: OutgoingReply) -> Call:
        """Free unless it is said to charge."""
        client, time = self.settings.client_id, int(reply.at.timestamp())
        signed = f"{client}{reply.message_ref}{reply.reference}{self.settings.secrets[0]}{time}"
        body = {
            "client_id": client,
            "request_id": reply.message_ref,
            "service_id": reply.short_code,
            "command_code": reply.keyword,
            "mt_code": reply.reference,
            "message": reply.text,
            "is_charged": int(reply.is_charged),
            "time": time,
            "checksum": sha256_base64(signed.encode()),
        }
        return Call(self.url, {"Content-Type": "application/json"}, orjson.dumps(body))

    def judge(self, status: int, body: bytes) -> Judgement:
        """By the code in the body; another status than 200 says to try again."""
        if status != 200:
            return Judgement(Fate.LATER, reason="the hub says later")
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            said = None
        found = (said.get("data") or said.get("errors")) if isinstance(said, dict) else None
        code = found.get("code") if isinstance(found, dict) else None
        known = _CODES.get(code) if isinstance(code, int) else None
        return known or Judgement(Fate.UNKNOWN, reason="an answer of another kind")
