"""`telex`: a protocol nobody speaks, to show what a new one takes.

Callback: POST of `key: value` lines, a blank line, the text.

Settings: `password` (header `x-telex-password`), `path_secret`, `carriers`. A callback with a `charge` line is
a notice of a charge that succeeded. `x-telex-charset` names the text's encoding.
"""

import hmac
import secrets
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from gateways.account import AccountSettings
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import CredentialsAbsent, Gateway, SignatureRejected
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import encodings, fields
from gateways.wire.digest import keyed_digest

_STATUSES = {
    Outcome.ACCEPTED: 200,
    Outcome.DUPLICATE: 200,
    Outcome.UNALLOCATED: 200,
    Outcome.REJECTED_POLICY: 200,
    Outcome.CONFLICT: 409,
    Outcome.MALFORMED: 400,
    Outcome.UNAUTHENTICATED: 401,
    Outcome.STALE: 401,
    Outcome.TOO_LARGE: 413,
    Outcome.OVERLOADED: 503,
    Outcome.UNAVAILABLE: 503,
}
_CODECS = {"utf-8": "utf-8", "ucs-2": "utf-16-be"}


class TelexSettings(AccountSettings):
    """The keys of a `telex` account."""

    password: str = Field(min_length=1, max_length=200, repr=False)

    def factors(self) -> frozenset[str]:
        """The password, and the path secret where there is one."""
        return super().factors() | {"password"}


class Telex(Gateway[TelexSettings]):
    """One sender of the protocol."""

    name: ClassVar[str] = "telex"
    settings_model: ClassVar[type[AccountSettings]] = TelexSettings
    kept_headers: ClassVar[tuple[str, ...]] = (*Gateway.kept_headers, "x-telex-charset")
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True
    tells_carrier: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A password, and a path secret."""
        return {**super().decoy_settings(), "password": secrets.token_urlsafe(32)}

    def verify(self, callback: Callback) -> None:
        """The password in its header."""
        given = callback.headers.get("x-telex-password", "").encode("utf-8", "surrogatepass")
        if not given:
            raise CredentialsAbsent("password")
        if not hmac.compare_digest(self.settings.password.encode(), given):
            raise SignatureRejected("password")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One message, or one notice of a charge."""
        fields.require_plain_body(callback.headers)
        head, blank, text = callback.body.partition(b"\n\n")
        values = _values(head)
        if "charge" in values:
            charge_id = fields.require_short_field("charge", values["charge"])
            native_id = f"{charge_id}:succeeded"
            digest = keyed_digest(digest_key, "charge", native_id)
            status = ChargeStatus.SUCCEEDED
            return (Charge(native_id=native_id, digest=digest, charge_id=charge_id, status=status, amount_vnd=None),)
        codec = _CODECS.get(callback.headers.get("x-telex-charset", "utf-8"))
        if codec is None:
            fields.malformed("headers.x-telex-charset", "is not an encoding of the protocol")
        if not blank:
            fields.malformed("text", "is missing")
        native_id = fields.require_short_field("id", _required(values, "id"))
        msisdn = fields.require_msisdn("from", _required(values, "from"))
        short_code = fields.require_short_code("to", _required(values, "to"))
        sent = text.decode(codec, "replace")
        kept, flags = fields.storable_text(sent)
        return (
            Message(
                native_id=native_id,
                digest=keyed_digest(digest_key, "message", msisdn, short_code, sent),
                msisdn=msisdn,
                short_code=short_code,
                text=kept,
                carrier=self.carrier_of(values.get("network"), {"vtl": "viettel"}),
                message_at=fields.require_epoch("at", values["at"]) if "at" in values else None,
                flags=flags,
            ),
        )

    def respond(self, result: Result) -> Answer:
        """The status alone speaks."""
        return Answer(_STATUSES[result.outcome], b"", "text/plain")


def _values(head: bytes) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in encodings.decode_or_latin(head).split("\n"):
        key, colon, value = line.partition(": ")
        if not colon or key in values:
            fields.malformed("head", "is not made of lines `key: value`, each key once")
        values[key] = value
    return values


def _required(values: Mapping[str, str], key: str) -> str:
    if key not in values:
        fields.malformed(key, "is missing")
    return values[key]
