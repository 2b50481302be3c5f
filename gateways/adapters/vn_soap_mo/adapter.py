"""`vn_soap_mo`: the SOAP family in which Vietnamese hubs hand over messages.

Settings: `dialect` (a row of vn_soap_dialects; it decides, not the body), `style` (`ack`: the answer only
says that we have it; `reply`: it is the charge, and any value but the good one and -1 makes the hub refund),
`success_value` (default: the dialect's), `refuse_value` (required for `reply`), `base64` (the text comes in
Base64), `user` and `password` (HTTP Basic, or elements of the body or header), `path_secret`, `carriers`
(operator code to carrier). Callback: POST of a SOAP 1.1 envelope up to 64 KiB; GET `?wsdl` describes the
account's dialect.

A `GetMOData` hub in reply style sends the donor what stands behind `0|` in the good value: the reply of the campaign,
where it has one for the message. What it sends after `refuse_value` is its own.

Limits: hubs give no time of the message and do not try again by themselves, so the answer is a result code
only where a message was taken; everything else is a fault, which the hub files and replays by hand.

Source: sender classes of a Vietnamese hub (`com.vmg.soap.mo`) and the portal's contract.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from typing import ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from gateways.account import Account, AccountSettings, Passwords
from gateways.adapters.vn_soap_mo.dialects import (
    DIALECTS,
    MEANINGS,
    OTHER_OPERATIONS,
    OWN_CARRIERS,
    SUCCESS_VALUES,
    folded,
    meanings,
)
from gateways.callback import Callback
from gateways.events import Event, Message
from gateways.gateway import CredentialsAbsent, Gateway, MalformedCallback, SignatureRejected, is_any_of
from gateways.outcome import Answer, Outcome, Result
from gateways.replier import ReplyingSettings
from gateways.wire import encodings, fields, soap
from gateways.wire.digest import keyed_digest
from gateways.wire.xml import local_name

# One row for each outcome without a result code: status, fault code, sentence.
_FAULTS: dict[Outcome, tuple[int, str, str]] = {
    Outcome.MALFORMED: (500, "Client", "malformed"),
    Outcome.UNAUTHENTICATED: (401, "Client", "unauthenticated"),
    Outcome.STALE: (401, "Client", "unauthenticated"),
    Outcome.TOO_LARGE: (413, "Client", "too large"),
    Outcome.OVERLOADED: (503, "Server", "try again later"),
    Outcome.UNAVAILABLE: (503, "Server", "try again later"),
}
_CONTROL_BLANKS = re.compile("[\x0b\x0c\x1c-\x1f]")
"""Control characters that Python takes for blanks: around an id they are damage, not the layout of a template."""

BEFORE_REPLY = "0|"
"""What stands before the text that a hub sends on, in the one dialect that has such."""
NOTHING_SHOWN = (b"", b"")
"""User and password of who shows neither."""
UNREADABLE = (b"", b"\xff")
"""Those of who cannot be read: no password of an account is no text."""

ResultValue = Field(default=None, min_length=1, max_length=160, pattern=r"^[^\x00-\x1f\x7f-\x9f<>&]+$")


class VnSoapMoSettings(ReplyingSettings):
    """The keys of a `vn_soap_mo` account. Result values hold no `<`, `>`, `&`: senders do not unescape them."""

    dialect: Literal["receiverMO", "moReceiver", "GetMOData"]
    style: Literal["ack", "reply"] = "ack"
    success_value: str | None = ResultValue
    refuse_value: str | None = ResultValue
    base64: bool = False
    user: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^:\x00-\x1f]+$")
    password: Passwords = ()
    reply_namespace: str = Field(default="http://tempuri.org/", min_length=1, max_length=200, pattern=r"^[!-~]+$")

    @property
    def success(self) -> str:
        """The value that says: taken."""
        return self.success_value or SUCCESS_VALUES[self.dialect]

    @property
    def charges_by_reply(self) -> bool:
        """In reply style, where the good value is the charge, or where we send replies."""
        return self.style == "reply" or self.reply_url is not None

    def factors(self) -> frozenset[str]:
        """The password, and the path secret where there is one."""
        return super().factors() | ({"password"} if self.password else set())

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.style == "reply" and self.reply_url is not None:
            raise ValueError("reply_url goes with style = ack: in style reply our answer is the charge")
        if (self.user is None) == bool(self.password):
            raise ValueError("user and password go together")
        if self.style == "reply" and self.refuse_value is None:
            raise ValueError('refuse_value is required with style = "reply": it is what makes the hub refund')
        if self.refuse_value is not None and self.refuse_value in (self.success, "-1"):
            raise ValueError("refuse_value must be neither the success value nor -1, which hubs only file")
        if self.dialect == "GetMOData":
            if not self.success.startswith(BEFORE_REPLY):
                raise ValueError("success_value of GetMOData begins with 0|, for its sender cuts the text after it")
            if self.refuse_value is not None and self.refuse_value.startswith("0"):
                raise ValueError("refuse_value of GetMOData must not begin with 0, which means success")
        return self


class VnSoapMo(Gateway[VnSoapMoSettings]):
    """One hub that calls us in one dialect."""

    name: ClassVar[str] = "vn_soap_mo"
    settings_model: ClassVar[type[AccountSettings]] = VnSoapMoSettings
    methods: ClassVar[frozenset[str]] = frozenset({"POST", "GET"})
    tells_carrier: ClassVar[bool] = True
    kept_headers: ClassVar[tuple[str, ...]] = (*Gateway.kept_headers, "soapaction")
    challenges: ClassVar[bool] = True

    def __init__(self, account: Account[VnSoapMoSettings]) -> None:
        super().__init__(account)
        dialect = self.settings.dialect
        self._operation = DIALECTS[dialect]
        self._operations = {folded(name) for name in (dialect, *OTHER_OPERATIONS.get(dialect, ()))}

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """User, password and path secret, in one of the dialects."""
        word = secrets.token_urlsafe
        return {**super().decoy_settings(), "dialect": "receiverMO", "user": word(32), "password": word(32)}

    @property
    def refuses_uncounted(self) -> bool:
        """In reply style, where any other value than the good one undoes the charge."""
        return self.settings.style == "reply"

    @property
    def carries_reply(self) -> bool:
        """Where the hub sends on what stands behind its `0|`."""
        return self.settings.style == "reply" and self.settings.dialect == "GetMOData"

    def document(self, callback: Callback) -> Answer | None:
        """The WSDL of the account's dialect."""
        if callback.method != "GET" or callback.query.casefold() not in ("wsdl", "singlewsdl", "wsdl="):
            return None
        steps = ("gw", self.name, self.account.code, callback.path_secret or "")
        path = "".join(f"/{quote(step, safe='')}" for step in steps if step)
        address = soap.location(callback.public_url, callback.headers.get("host", ""), path)
        return Answer(200, soap.describe(self._operation, address), soap.CONTENT_TYPE)

    def verify(self, callback: Callback) -> None:
        """User and password, from HTTP Basic where that header is there, else from the envelope."""
        header = callback.headers.get("authorization")
        given = _credentials_of_envelope(callback.body) if header is None else _credentials_of_basic(header)
        if not self.settings.password:
            # They were looked for all the same: an account that does not exist has a stand-in with a password.
            return
        user, password = given
        is_right = is_any_of(user, (self.settings.user or "",))
        # Both are compared, whatever the first gave.
        is_right &= is_any_of(password, self.settings.password)
        if not is_right:
            if header is None and given == NOTHING_SHOWN:
                raise CredentialsAbsent("user and password missing")
            raise SignatureRejected("user or password wrong")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The one message of a call."""
        if callback.method == "GET":
            fields.malformed("method", "is GET: a message is posted; only the description, ?wsdl, is fetched")
        fields.require_plain_body(callback.headers)
        call = soap.require_call(callback.body)
        if folded(local_name(call.operation)) not in self._operations:
            fields.malformed("body.Envelope.Body", "holds another operation than the account's dialect")
        names = self._names()
        read = meanings(call.operation, names)
        values = read.values
        native_id = fields.require_short_field(names["id"], _required(values, names, "id"))
        msisdn = fields.require_msisdn(names["msisdn"], _required(values, names, "msisdn"))
        short_code = fields.require_short_code(names["short_code"], _required(values, names, "short_code"))
        left_out: list[str] = []
        said = (values.get("operator") or "").strip() or None
        operator = fields.optional(fields.require_short_field, names["operator"], said, left_out)
        if "text" not in values:
            fields.malformed(names["text"], "is missing")
        text = _from_base64(names["text"], values["text"]) if self.settings.base64 else values["text"]
        kept, flags = fields.storable_text(text)
        repaired = ("repaired",) if call.is_repaired else ()
        return (
            Message(
                native_id=native_id,
                digest=keyed_digest(digest_key, "message", msisdn, short_code, text, operator),
                msisdn=msisdn,
                short_code=short_code,
                text=kept,
                carrier=self.carrier_of(operator, OWN_CARRIERS),
                flags=tuple(dict.fromkeys((*flags, *repaired, *left_out, *read.flags))),
            ),
        )

    def respond(self, result: Result) -> Answer:
        """A result code where a message was taken, else a fault: a stray code would refund the gift."""
        if result.outcome in _FAULTS:
            return self._fault(result)
        is_refused = result.outcome is Outcome.REJECTED_POLICY and self.settings.style == "reply"
        value = (is_refused and self.settings.refuse_value) or self.settings.success
        if self.carries_reply and not is_refused and result.reply is not None:
            value = BEFORE_REPLY + result.reply
        return Answer(200, soap.result(self._operation, value), soap.CONTENT_TYPE)

    def _fault(self, result: Result) -> Answer:
        status, code, sentence = _FAULTS[result.outcome]
        headers: tuple[tuple[str, str], ...] = ()
        if status == 401:
            headers = (("www-authenticate", 'Basic realm="portal1400", charset="UTF-8"'),)
        elif status == 503:
            headers = (("retry-after", str(result.retry_after_seconds)),)
        errors = result.errors if result.outcome is Outcome.MALFORMED else ()
        return Answer(status, soap.fault(code, sentence, errors), soap.CONTENT_TYPE, headers)

    def _names(self) -> Mapping[str, str]:
        # A fault is told in the dialect's own spelling, which is what the sender can find in its template.
        return {MEANINGS[folded(name)]: f"{self._operation.name}.{name}" for name in self._operation.fields}


def _required(values: Mapping[str, str], names: Mapping[str, str], meaning: str) -> str:
    # Blanks around an id or number come from templates that are written over several lines.
    value = values.get(meaning, "")
    if _CONTROL_BLANKS.search(value):
        fields.malformed(names[meaning], fields.UNSTORABLE)
    value = value.strip()
    if not value:
        fields.malformed(names[meaning], "is missing")
    return value


def _from_base64(path: str, encoded: str) -> str:
    try:
        return encodings.decode_unnamed(encodings.from_base64(encoded))
    except ValueError:
        fields.malformed(path, "is not Base64")


def _credentials_of_basic(header: str) -> tuple[bytes, bytes]:
    scheme, _, encoded = header.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b"", b""
    # Only the one canonical writing: a flipped bit in the padding is a flipped bit.
    if scheme.casefold() != "basic" or base64.b64encode(decoded).decode() != encoded.strip():
        return b"", b""
    user, _, password = decoded.partition(b":")
    return user, password


def _credentials_of_envelope(body: bytes) -> tuple[bytes, bytes]:
    try:
        call = soap.require_call(body)
    except MalformedCallback:
        # Who cannot be read cannot be known: unauthenticated, and kept if it came from a listed network. Some clients
        # keep even the body until they are challenged.
        return UNREADABLE if body else NOTHING_SHOWN
    found: dict[str, str] = {}
    for element in (*call.operation, *(call.header.iter() if call.header is not None else ())):
        meaning = MEANINGS.get(folded(local_name(element)))
        if meaning in ("user", "password"):
            found.setdefault(meaning, (element.text or "").strip())
    # surrogatepass, because a repaired envelope may hold half a character, and no caller may cause an error.
    user, password = (found.get(name, "").encode("utf-8", "surrogatepass") for name in ("user", "password"))
    return user, password
