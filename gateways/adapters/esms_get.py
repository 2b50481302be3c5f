"""`esms_get`: eSMS hands over messages of a short code by fetching an address.

Settings: `secrets` (the private key, one to eight valid at once), `cpid` (the portal's id at eSMS; another's is
refused), `reply_text` (what the donor is answered by SMS where the campaign has no text for it), `path_secret`.
Callback: GET, query up to 8 KiB, with `sign` = md5(cpid + smsid + content + receiverTime + private key) in
hexadecimal digits, over the decoded values.

Limits: the signature covers neither the number nor the short code, and MD5 is weak, so the account needs another
factor beside it. No carrier is named. Whether eSMS tries again, and what it does with another status than 200, is not
documented: nothing here relies on it. `receiverTime` is read as 24 hours, Vietnam's time.

Source: eSMS's documentation, "Connect to shortcode service".
"""

import secrets
from typing import Annotated, ClassVar
from xml.sax.saxutils import escape

from pydantic import Field

from gateways.account import AccountSettings
from gateways.callback import Callback
from gateways.events import Event, Message
from gateways.gateway import Gateway, SignatureRejected, is_any_of
from gateways.outcome import Answer, Result
from gateways.wire import encodings, fields
from gateways.wire.checksums import SharedSecretSettings, md5_hex, require_checksum
from gateways.wire.digest import keyed_digest
from gateways.wire.donor_reply import REPLY_TEXT, ReplyText
from gateways.wire.form import Form
from gateways.wire.statuses import STATUSES, TAKEN, status_alone


class EsmsGetSettings(SharedSecretSettings):
    """The keys of an `esms_get` account."""

    cpid: Annotated[str, Field(min_length=1, max_length=200)]
    reply_text: ReplyText = REPLY_TEXT


class EsmsGet(Gateway[EsmsGetSettings]):
    """One short code at eSMS."""

    name: ClassVar[str] = "esms_get"
    secret_is_theirs: ClassVar[bool] = True
    settings_model: ClassVar[type[AccountSettings]] = EsmsGetSettings
    methods: ClassVar[frozenset[str]] = frozenset({"GET"})
    tells_message_time: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A private key, an id at eSMS and a path secret."""
        word = secrets.token_urlsafe
        return {**super().decoy_settings(), "secrets": (word(32),), "cpid": word(32)}

    @property
    def carries_reply(self) -> bool:
        """In every answer."""
        return True

    def verify(self, callback: Callback) -> None:
        """The signature over the bytes of the decoded values, and that the id is ours."""
        form = Form.of_query(callback.query)
        is_ours = is_any_of(form.raw("cpid"), (self.settings.cpid,))
        signed = b"".join(form.raw(name) for name in ("cpid", "smsid", "content", "receiverTime"))
        # Digits of either case are the same number.
        given = form.said("sign").lower()
        require_checksum(given, self.settings.secrets, lambda key: md5_hex(signed + key))
        if not is_ours:
            raise SignatureRejected("another cpid")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The one message of a call."""
        form = Form.of_query(callback.query)
        flags: list[str] = []
        native_id = form.required("smsid")
        msisdn, short_code = form.msisdn("sender"), form.short_code("serviceNumber")
        written = form.optional("receiverTime", flags)
        message_at = fields.optional(fields.require_compact_time, "query.receiverTime", written, flags)
        text = encodings.decode_or_vietnamese(form.text("content"))
        kept, text_flags = fields.storable_text(text)
        return (
            Message(
                native_id=native_id,
                digest=keyed_digest(digest_key, "message", msisdn, short_code, text, message_at),
                msisdn=msisdn,
                short_code=short_code,
                text=kept,
                carrier=self.carrier_of(None),
                message_at=message_at,
                operator_time=written if message_at else None,
                flags=(*text_flags, *flags),
            ),
        )

    def respond(self, result: Result) -> Answer:
        """The reply to the donor where a message was taken; else the status alone speaks."""
        if STATUSES[result.outcome] != TAKEN:
            return status_alone(result)
        about = "".join(
            f"<Smsid>{escape(message.native_id)}</Smsid><Receiver>{message.msisdn}</Receiver>"
            for message in result.events
            if isinstance(message, Message)
        )
        reply = escape(self.settings.reply_text if result.reply is None else result.reply)
        body = f"<ClientResponse><Message>{reply}</Message>{about}</ClientResponse>"
        return Answer(TAKEN, body.encode(), "text/xml; charset=utf-8")
