"""`appota_ipn`: Appota's passive confirmation of an SMS payment: a message and its charge in one call.

Settings: `secrets` (the client secret, one to eight valid at once), `path_secret`. Callback: POST of a form up to 64
KiB, with `hash` = md5 of the decoded values of all other fields, joined in the alphabetical order of their names, and
the secret behind them. A call with `sandbox=1` is answered, and is no event.

Limits: the values run together unmarked before they are hashed, and MD5 is weak, so the account needs another factor
beside it. No carrier and no time of the message is named. Appota repeats a call that is not answered by 200 twice at
once and three times more, five minutes apart. Its `payment/confirm`, by which a call can be asked back, is not used.

Source: Appota's documentation of its game SDK, "Sms payment method" and "Passive confirmation via IPN".
"""

import secrets
from typing import ClassVar

from gateways.account import AccountSettings, Charging
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import Gateway
from gateways.outcome import Answer, Result
from gateways.wire import encodings, fields
from gateways.wire.checksums import SharedSecretSettings, md5_hex, require_checksum
from gateways.wire.digest import keyed_digest
from gateways.wire.form import Form
from gateways.wire.statuses import status_alone

_HASH = "hash"
_IS_SANDBOX = {"0": False, "1": True}
_STATUSES = {"0": ChargeStatus.FAILED, "1": ChargeStatus.SUCCEEDED}
_BY_SMS = {"SMS": True}
_CURRENCIES = {"VND": True}


class AppotaIpnSettings(SharedSecretSettings):
    """The keys of an `appota_ipn` account."""

    def chargings(self) -> frozenset[Charging]:
        """Each call tells what became of the charge."""
        return frozenset({"on_report", "on_settlement"})


class AppotaIpn(Gateway[AppotaIpnSettings]):
    """One application at Appota."""

    name: ClassVar[str] = "appota_ipn"
    secret_is_theirs: ClassVar[bool] = True
    settings_model: ClassVar[type[AccountSettings]] = AppotaIpnSettings
    reports_charges: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A client secret and a path secret."""
        return {**super().decoy_settings(), "secrets": (secrets.token_urlsafe(32),)}

    def verify(self, callback: Callback) -> None:
        """The hash over the bytes of the decoded values."""
        form = Form.of_body(callback.body)
        signed = b"".join(form.raw(name) for name in sorted(form.values) if name != _HASH)
        # Digits of either case are the same number.
        require_checksum(form.said(_HASH).lower(), self.settings.secrets, lambda secret: md5_hex(signed + secret))

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """A message and its charge; nothing of the sandbox."""
        fields.require_plain_body(callback.headers)
        form = Form.of_body(callback.body)
        if form.one_of("sandbox", _IS_SANDBOX):
            return ()
        form.one_of("transaction_type", _BY_SMS)
        form.one_of("currency", _CURRENCIES)
        status, amount_vnd = form.one_of("status", _STATUSES), form.vnd("amount")
        native_id = form.required("transaction_id")
        msisdn, short_code = form.msisdn("phone"), form.short_code("code")
        text = encodings.decode_or_vietnamese(form.text("message"))
        kept, text_flags = fields.storable_text(text)
        return (
            Message(
                native_id=native_id,
                digest=keyed_digest(digest_key, "message", msisdn, short_code, text),
                msisdn=msisdn,
                short_code=short_code,
                text=kept,
                carrier=self.carrier_of(None),
                claimed_vnd=amount_vnd,
                flags=text_flags,
            ),
            Charge(
                native_id=native_id,
                digest=keyed_digest(digest_key, "charge", status, amount_vnd),
                charge_id=native_id,
                status=status,
                amount_vnd=amount_vnd,
                message_ref=native_id,
            ),
        )

    def respond(self, result: Result) -> Answer:
        """Always empty; the status alone speaks."""
        return status_alone(result)
