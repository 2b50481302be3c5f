"""`vcom_json`: V-COM hands over messages as JSON.

Settings: `secrets` (the secure key, one to eight valid at once), `client_id` (ours at V-COM; another's is refused),
`path_secret`, `carriers` (`telco` to carrier, beside V-COM's own MB, VT, VN, HT). Callback: POST, JSON, up to 64 KiB,
with `checksum` = base64(sha256(client_id + request_id + phone + secure key + time)).

Limits: the checksum covers neither text nor short code nor `type`, so the account needs another factor beside it.
`time` is the time of an attempt: V-COM may send another one with a repeat, so it is no part of a message's content,
and an old one is legal (`recovery`). Whether a `recovery` has the first time or a new one is not known; a new one is
our time of receipt, so `time` is never worse than nothing. V-COM tries twice more, 20 seconds apart, where the status
is not 200; an `errors` answer is the end of it.

Source: V-COM's documentation, "Receive MO".
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, ClassVar

import orjson
from pydantic import Field

from gateways.account import AccountSettings
from gateways.callback import Callback
from gateways.events import Carrier, Event, Message
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected, is_any_of
from gateways.outcome import Answer, Outcome, Result
from gateways.replier import ReplyingSettings
from gateways.wire import fields
from gateways.wire.checksums import SharedSecretSettings, require_checksum, sha256_base64
from gateways.wire.digest import keyed_digest
from gateways.wire.strict_json import Unreadable, require_json

OWN_CARRIERS: dict[str, Carrier] = {"mb": "mobifone", "vt": "viettel", "vn": "vinaphone", "ht": "vietnamobile"}
TYPES = ("new", "recovery")

_SUCCESS: dict[str, object] = {"data": {"code": 200, "status": "success", "message": ""}}


def _error(code: int, message: str) -> dict[str, object]:
    return {"errors": {"code": code, "message": message}}


# One row for each outcome: status and body. Wrong credentials are 106 too, which V-COM files and does not refund.
_ANSWERS: dict[Outcome, tuple[int, dict[str, object]]] = {
    Outcome.ACCEPTED: (200, _SUCCESS),
    Outcome.DUPLICATE: (200, _SUCCESS),
    Outcome.UNALLOCATED: (200, _SUCCESS),
    Outcome.REJECTED_POLICY: (200, _SUCCESS),
    Outcome.CONFLICT: (200, _error(104, "request_id exists with another content")),
    Outcome.MALFORMED: (200, _error(106, "invalid parameter")),
    Outcome.UNAUTHENTICATED: (200, _error(106, "invalid checksum")),
    Outcome.STALE: (200, _error(106, "invalid checksum")),
    Outcome.TOO_LARGE: (413, _error(106, "too large")),
    Outcome.OVERLOADED: (503, _error(503, "later")),
    Outcome.UNAVAILABLE: (503, _error(503, "later")),
}


class VcomJsonSettings(SharedSecretSettings, ReplyingSettings):
    """The keys of a `vcom_json` account. Replies are signed by the first of its `secrets`."""

    client_id: Annotated[str, Field(min_length=1, max_length=200)]


class VcomJson(Gateway[VcomJsonSettings]):
    """One client account at V-COM."""

    name: ClassVar[str] = "vcom_json"
    secret_is_theirs: ClassVar[bool] = True
    settings_model: ClassVar[type[AccountSettings]] = VcomJsonSettings
    tells_message_time: ClassVar[bool] = True
    tells_carrier: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A secure key, a client id and a path secret."""
        word = secrets.token_urlsafe
        return {**super().decoy_settings(), "secrets": (word(32),), "client_id": word(32)}

    def verify(self, callback: Callback) -> None:
        """The checksum, and that the client is ours."""
        try:
            document = _document(callback.body)
        except MalformedCallback:
            # Who cannot be read cannot be known: unauthenticated, and kept if it came from a listed network.
            document = {}
        client_id, request_id, phone, time = (
            (_plain(document.get(name)) or "").encode("utf-8", "surrogatepass")
            for name in ("client_id", "request_id", "phone", "time")
        )
        is_ours = is_any_of(client_id, (self.settings.client_id,))
        before = client_id + request_id + phone
        given = _plain(document.get("checksum")) or ""
        require_checksum(given, self.settings.secrets, lambda key: sha256_base64(before + key + time))
        if not is_ours:
            raise SignatureRejected("another client")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The one message of a call."""
        fields.require_plain_body(callback.headers)
        document = _document(callback.body)
        if _required(document, "type") not in TYPES:
            fields.malformed("body.type", f"must be one of {', '.join(TYPES)}")
        flags: list[str] = []
        native_id = fields.require_short_field("body.request_id", _required(document, "request_id"))
        msisdn = fields.require_msisdn("body.phone", _required(document, "phone"))
        short_code = fields.require_short_code("body.service_id", _required(document, "service_id"))
        telco = fields.optional(fields.require_short_field, "body.telco", _optional(document, "telco", flags), flags)
        time = _optional(document, "time", flags)
        message_at = fields.optional(fields.require_epoch, "body.time", time, flags)
        text = document.get("message")
        if text is None:
            fields.malformed("body.message", "is missing")
        if not isinstance(text, str):
            fields.malformed("body.message", text.reason if isinstance(text, Unreadable) else "is not text")
        kept, text_flags = fields.storable_text(text)
        return (
            Message(
                native_id=native_id,
                digest=keyed_digest(digest_key, "message", msisdn, short_code, text, telco),
                msisdn=msisdn,
                short_code=short_code,
                text=kept,
                carrier=self.carrier_of(telco, OWN_CARRIERS),
                message_at=message_at,
                operator_time=time if message_at else None,
                flags=tuple(dict.fromkeys((*text_flags, *flags))),
            ),
        )

    def respond(self, result: Result) -> Answer:
        """JSON; V-COM reads the code in it only where the status is 200."""
        status, body = _ANSWERS[result.outcome]
        headers = (("retry-after", str(result.retry_after_seconds)),) if status == 503 else ()
        return Answer(status, orjson.dumps(body), "application/json", headers)


def _document(body: bytes) -> Mapping[str, object]:
    document = require_json(body)
    if not isinstance(document, dict):
        fields.malformed("body", "is not an object")
    return document


def _plain(value: object) -> str | None:
    """A text or a whole number as it was written; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def _required(document: Mapping[str, object], name: str) -> str:
    found = document.get(name)
    value = _plain(found)
    if found is None or value == "":
        fields.malformed(f"body.{name}", "is missing")
    if value is None:
        fields.malformed(f"body.{name}", found.reason if isinstance(found, Unreadable) else "is not text or a number")
    return value


def _optional(document: Mapping[str, object], name: str, flags: list[str]) -> str | None:
    found = document.get(name)
    value = _plain(found)
    if found is not None and value is None:
        flags.append(fields.FIELD_LEFT_OUT)
    return value or None
