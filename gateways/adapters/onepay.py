"""`onepay`: 1Pay hands over messages of a short code (SMS charging), or messages with their charge (SMSplus).

Settings: `product` (`sms` or `smsplus`; it decides, not the query), `access_key` (ours at 1Pay; another's is
refused), `secrets` (one to eight valid at once), `reply_text` (what the donor is answered by SMS where no text of the
campaign is for it), `path_secret`. With `sms`: `style` (`ack`, or `reply`: a message that does not count is answered
by status 0 with `refuse_text`, and 1Pay gives the money back). With `smsplus`: `short_code` (no call says it),
`success_codes` (which values of `error_code` are a success; every other is a failure). Callback: GET, query up to
8 KiB, with `signature` = HMAC-SHA256 in hexadecimal digits over `name=value` pairs of the decoded values, joined by
`&` in _SIGNED's order.

SMSplus calls twice. The first call asks whether the text is right, before the carrier charges: it has no id and is no
event, whatever it says. The second tells what became of the charge: a message and its charge, both `request_id`.

Limits: no call names who charged, save the first of SMSplus. Carriers wait 5 to 17 seconds for both calls together.
Which `error_code` is a success, how often 1Pay tries again and with which `request_time`, and whether its `Z` is
meant, is not documented: the time is no part of a message's content, and one ahead of our clock is not believed.

Source: 1Pay's documentation, "SMS charging" and "SMSplus charging".
"""

import secrets
from typing import Annotated, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from gateways.account import AccountSettings, Charging
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import Gateway, SignatureRejected, is_any_of
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import encodings, fields
from gateways.wire.checksums import SharedSecretSettings, hmac_sha256_hex, require_checksum
from gateways.wire.digest import keyed_digest
from gateways.wire.donor_reply import REPLY_TEXT, ReplyText
from gateways.wire.form import Form
from gateways.wire.statuses import STATUSES, TAKEN, status_alone

_SIGNED: dict[str, tuple[str, ...]] = {
    "message": ("access_key", "command", "mo_message", "msisdn", "request_id", "request_time", "short_code"),
    "question": ("access_key", "amount", "command_code", "mo_message", "msisdn", "telco"),
    "charge": (
        "access_key", "amount", "command_code", "error_code", "error_message", "mo_message", "msisdn", "request_id",
        "request_time",
    ),
}  # fmt: skip
"""What is signed of each kind of call, in this order."""
_TEXT = "mo_message"
_ONLY_OF_A_CHARGE = ("request_id", "error_code")


class OnepaySettings(SharedSecretSettings):
    """The keys of a `onepay` account."""

    access_key: Annotated[str, Field(min_length=1, max_length=200)]
    product: Literal["sms", "smsplus"]
    short_code: str | None = Field(default=None, pattern=r"^[0-9]{3,6}$")
    success_codes: tuple[Annotated[str, Field(min_length=1, max_length=50)], ...] = Field(default=(), max_length=20)
    style: Literal["ack", "reply"] = "ack"
    refuse_text: ReplyText | None = None
    reply_text: ReplyText = REPLY_TEXT

    def chargings(self) -> frozenset[Charging]:
        """SMSplus tells what became of each charge, SMS charging never does."""
        if self.product == "smsplus":
            return frozenset({"on_report", "on_settlement"})
        return frozenset({"on_message", "on_reply"} if self.charges_by_reply else {"on_message"})

    @property
    def charges_by_reply(self) -> bool:
        """In reply style, where the other status gives the money back."""
        return self.style == "reply"

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.product == "smsplus" and (self.short_code is None or not self.success_codes or self.style != "ack"):
            raise ValueError(
                "product = smsplus needs short_code and success_codes, which its calls do not say, and style = ack"
            )
        if self.product == "sms" and (self.short_code is not None or self.success_codes):
            raise ValueError("short_code and success_codes go with product = smsplus")
        if (self.style == "reply") != (self.refuse_text is not None):
            raise ValueError("style = reply and refuse_text go together")
        return self


class Onepay(Gateway[OnepaySettings]):
    """One service at 1Pay."""

    name: ClassVar[str] = "onepay"
    secret_is_theirs: ClassVar[bool] = True
    settings_model: ClassVar[type[AccountSettings]] = OnepaySettings
    methods: ClassVar[frozenset[str]] = frozenset({"GET"})
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A secret, an access key and a path secret."""
        word = secrets.token_urlsafe
        return {**super().decoy_settings(), "secrets": (word(32),), "access_key": word(32), "product": "sms"}

    @property
    def refuses_uncounted(self) -> bool:
        """In reply style, by the status 0, which gives the money back."""
        return self.settings.style == "reply"

    @property
    def carries_reply(self) -> bool:
        """Of SMS charging; of SMSplus the same words answer a charge that failed."""
        return self.settings.product == "sms"

    def verify(self, callback: Callback) -> None:
        """The signature over the bytes of the decoded values, and that the access key is ours."""
        form = Form.of_query(callback.query)
        is_ours = is_any_of(form.raw("access_key"), (self.settings.access_key,))
        signed = b"&".join(name.encode() + b"=" + form.raw(name) for name in _SIGNED[self._kind(form)])
        # Digits of either case are the same number.
        given = form.said("signature").lower()
        require_checksum(given, self.settings.secrets, lambda secret: hmac_sha256_hex(secret, signed))
        if not is_ours:
            raise SignatureRejected("another access key")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One message; with its charge in the second call of SMSplus; nothing in the first."""
        form = Form.of_query(callback.query)
        kind = self._kind(form)
        if kind == "question":
            return ()
        flags: list[str] = []
        # First of all: a callback with an id that can be read is answered kindly whatever else is wrong with it.
        native_id = form.required("request_id")
        msisdn = form.msisdn("msisdn")
        short_code = self.settings.short_code or form.short_code("short_code")
        written = form.optional("request_time", flags)
        message_at = fields.optional(fields.require_time, "query.request_time", written, flags)
        _require_one_meaning(kind, form)
        text = encodings.decode_or_vietnamese(form.text(_TEXT))
        kept, text_flags = fields.storable_text(text)
        amount_vnd = form.vnd("amount") if kind == "charge" else None
        message = Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", msisdn, short_code, text),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(None),
            message_at=message_at,
            operator_time=written if message_at else None,
            claimed_vnd=amount_vnd,
            flags=tuple(dict.fromkeys((*text_flags, *flags))),
        )
        return (message,) if kind == "message" else (message, self._charge(form, message, digest_key))

    def respond(self, result: Result) -> Answer:
        """Status 1 and the reply to the donor; 0, by which 1Pay gives the money back, only in reply style."""
        is_kept = result.outcome is Outcome.MALFORMED and all(
            error.path != "query.request_id" for error in result.errors
        )
        if STATUSES[result.outcome] != TAKEN and not is_kept:
            return status_alone(result)
        is_refused = result.outcome is Outcome.REJECTED_POLICY and self.settings.refuse_text is not None
        text = self.settings.refuse_text if is_refused else self.settings.reply_text
        said = result.reply if self.carries_reply and result.reply is not None else text
        body = {"status": 0 if is_refused else 1, "sms": said, "type": "text"}
        return Answer(TAKEN, orjson.dumps(body), "application/json")

    def _kind(self, form: Form) -> str:
        if self.settings.product == "sms":
            return "message"
        return "charge" if any(name in form.values for name in _ONLY_OF_A_CHARGE) else "question"

    def _charge(self, form: Form, message: Message, digest_key: bytes) -> Charge:
        code = form.required("error_code")
        is_success = code in self.settings.success_codes
        return Charge(
            native_id=message.native_id,
            digest=keyed_digest(digest_key, "charge", code, message.claimed_vnd),
            charge_id=message.native_id,
            status=ChargeStatus.SUCCEEDED if is_success else ChargeStatus.FAILED,
            amount_vnd=message.claimed_vnd,
            message_ref=message.native_id,
            occurred_at=message.message_at,
            reason=None if is_success else code,
        )


def _require_one_meaning(kind: str, form: Form) -> None:
    """That the signature is of this callback alone. Raises MalformedCallback.

    The pairs are joined unescaped. Where the donor's text alone may hold what looks like the next pair, no two
    callbacks are the same bytes; else whoever saw one could cut it into another gift.
    """
    for name in _SIGNED[kind]:
        if name != _TEXT and any(f"&{each}=".encode() in form.raw(name) for each in _SIGNED[kind]):
            fields.malformed(f"query.{name}", "holds what another field begins with")
