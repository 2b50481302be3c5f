"""`vascloud`: VinaPhone's VAS Cloud hands over messages (SMSGW) and tells of charges (SDP, its event notifier).

Settings: `transport` (`xml`, or `form`: the same messages as form fields; it decides, not the body), `services`
(service id to short code: a charge names its service alone; without it there are no charges), `path_secret`. With
`form`: `secrets` (the token, one to eight valid at once), `signed` (the fields and `token` in the order in which they
are hashed) and `separator` (what stands between them). Callback: POST of an ACCESSGW document up to 64 KiB; with
`form` POST of a form, or GET, with `signature` = md5 of those values in hexadecimal digits.

Limits: a document carries no credentials: with the network list `path_secret` makes the two factors. A charge names
no message; it is joined with one by number, short code, amount and time. Not documented: whether VAS Cloud tries
again, the order and separator of a form's signature (hence settings), and whether the notifier, made for
subscriptions, tells of a single SMS.

Source: VNPT Media's guide to the VAS Cloud API, 4.0 and 8; a partner's note on receiving messages; event consumers.
"""

import secrets
from typing import Annotated, ClassVar, Literal, Self
from xml.sax.saxutils import escape

import orjson
from pydantic import Field, model_validator

from gateways.account import SECRETS_MAX, AccountSettings, Charging
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import Gateway, SignatureRejected
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import encodings, fields
from gateways.wire.checksums import is_checksum, md5_hex
from gateways.wire.digest import keyed_digest
from gateways.wire.form import Form
from gateways.wire.statuses import TAKEN, status_alone
from gateways.wire.xml import local_name, only_child, require_xml

_NAMESPACE = "http://ws.apache.org/ns/synapse"
_MESSAGES, _CHARGES = "SMSGW", "SDP"
_CHARGES_ANSWERED = "SDP NOTIFIER"
_ECHOED = ("queueID", "msisdn", "service_id", "package_id")
_TEXT = "content"
_READ = frozenset(
    {
        "mo_id",
        "source_address",
        "destination_address",
        _TEXT,
        "queueID",
        "resultCode",
        "service_id",
        "msisdn",
        "price",
    }
)
"""What decides of a document which gift is meant."""
_LAYOUT = " \t\r\n"
"""Blanks that a template may have around an id."""
_DONE = "0"

TOKEN = "token"  # noqa: S105 -- the word for its place
_SIGNABLE = frozenset({"mo_id", "source_address", "mo_time", "msisdn", "mo", TOKEN})

_SUCCESS, _LATER = "Success", "Try again later"
# What is told of each outcome; None where the status alone speaks, and so of `later` where nothing was read: whoever
# was not let in is not to learn from the answer which accounts there are.
_ANSWERS: dict[Outcome, tuple[int, str | None]] = {
    Outcome.ACCEPTED: (0, _SUCCESS),
    Outcome.DUPLICATE: (0, _SUCCESS),
    Outcome.CONFLICT: (0, _SUCCESS),
    Outcome.UNALLOCATED: (0, _SUCCESS),
    Outcome.REJECTED_POLICY: (0, _SUCCESS),
    Outcome.MALFORMED: (1, "Invalid parameter"),
    Outcome.UNAUTHENTICATED: (1, None),
    Outcome.STALE: (1, None),
    Outcome.TOO_LARGE: (1, None),
    Outcome.OVERLOADED: (1, _LATER),
    Outcome.UNAVAILABLE: (1, _LATER),
}


class VascloudSettings(AccountSettings):
    """The keys of a `vascloud` account."""

    transport: Literal["xml", "form"] = "xml"
    services: dict[
        Annotated[str, Field(min_length=1, max_length=200)], Annotated[str, Field(pattern=r"^[0-9]{3,6}$")]
    ] = Field(default_factory=dict, max_length=200)
    secrets: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=SECRETS_MAX, repr=False
    )
    signed: tuple[str, ...] = Field(default=(), max_length=len(_SIGNABLE))
    separator: str | None = Field(default=None, max_length=10)

    def factors(self) -> frozenset[str]:
        """The signature of a form, and the path secret where there is one."""
        return super().factors() | ({"signature"} if self.secrets else set())

    def chargings(self) -> frozenset[Charging]:
        """Without services no charge can be told from another code's."""
        return super().chargings() - (set() if self.services else {"on_report"})

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.transport == "form" and not (self.secrets and self.signed and self.separator is not None):
            raise ValueError("transport = form needs secrets, signed and separator: ask VAS Cloud for its recipe")
        if self.transport == "form" and self.services:
            raise ValueError("services go with transport = xml: no form tells of a charge")
        if self.transport == "xml" and (self.secrets or self.signed or self.separator is not None):
            raise ValueError("secrets, signed and separator go with transport = form: a document is not signed")
        if self.signed and (set(self.signed) - _SIGNABLE or not {"mo_id", TOKEN} <= set(self.signed)):
            raise ValueError("signed names mo_id, token and others of source_address, mo_time, msisdn and mo")
        if len(set(self.signed)) < len(self.signed):
            raise ValueError("signed names each field once")
        return self


class Vascloud(Gateway[VascloudSettings]):
    """One partner account at VAS Cloud."""

    name: ClassVar[str] = "vascloud"
    secret_is_theirs: ClassVar[bool] = True
    settings_model: ClassVar[type[AccountSettings]] = VascloudSettings
    methods: ClassVar[frozenset[str]] = frozenset({"POST", "GET"})
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A token, its recipe and a path secret."""
        token = (secrets.token_urlsafe(32),)
        recipe = {"transport": "form", "signed": ("mo_id", "mo", TOKEN), "separator": "|"}
        return {**super().decoy_settings(), **recipe, "secrets": token}

    def verify(self, callback: Callback) -> None:
        """The signature of a form. A document's is looked for all the same: it takes the work of the stand-in's."""
        form = _form(callback)
        separator = (self.settings.separator or "").encode()

        def made(token: bytes) -> str:
            values = (token if name == TOKEN else form.raw(name) for name in self.settings.signed)
            return md5_hex(separator.join(values))

        # Digits of either case are the same number.
        given = form.said("signature").lower()
        is_right = is_checksum(given, self.settings.secrets, made)
        if self.settings.transport == "form" and not is_right:
            raise SignatureRejected("checksum wrong" if given else "checksum missing")

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """One message, or one charge."""
        fields.require_plain_body(callback.headers)
        if self.settings.transport == "form":
            form = _form(callback)
            # Here the address of the source is the short code, in a document the subscriber's.
            return (self._message(form, "msisdn", "source_address", "mo", [], digest_key),)
        command, is_repaired = _command(callback.body)
        flags = ["repaired"] if is_repaired else []
        if command.place == _CHARGES:
            return (self._charge(command, flags, digest_key),)
        return (self._message(command, "source_address", "destination_address", _TEXT, flags, digest_key),)

    def respond(self, result: Result) -> Answer:
        """`error_id` 0 or 1 where the callback was read; to whoever was not let in the status alone."""
        error_id, sentence = _ANSWERS[result.outcome]
        if sentence is None or (sentence is _LATER and not result.events):
            return status_alone(result)
        if self.settings.transport == "form":
            body = orjson.dumps({"error_id": error_id, "error_desc": sentence})
            return Answer(TAKEN, body, "application/json")
        module, more = _MESSAGES, ""
        for event in result.events:
            if isinstance(event, Charge):
                module = _CHARGES_ANSWERED
                echoed = zip(_ECHOED, event.echoed, strict=True)
                more = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in echoed)
        if any(error.path.startswith(f"{_CHARGES}.") for error in result.errors):
            module = _CHARGES_ANSWERED
        said = f"<error_id>{error_id}</error_id><error_desc>{sentence}</error_desc>{more}"
        head = f"<MODULE>{module}</MODULE><MESSAGE_TYPE>RESPONSE</MESSAGE_TYPE>"
        document = f'<ACCESSGW xmlns="{_NAMESPACE}">{head}<COMMAND>{said}</COMMAND></ACCESSGW>'
        return Answer(TAKEN, document.encode(), "text/xml; charset=utf-8")

    def _message(
        self, form: Form, msisdn_name: str, code_name: str, text_name: str, flags: list[str], digest_key: bytes
    ) -> Message:
        native_id = form.required("mo_id")
        msisdn, short_code = form.msisdn(msisdn_name), form.short_code(code_name)
        written = form.optional("mo_time", flags)
        message_at = fields.optional(fields.require_compact_time, f"{form.place}.mo_time", written, flags)
        kind = form.optional("content_type", flags)
        if kind is not None and kind.upper() != "TEXT":
            # What another type means is not documented: the text is read as it is.
            flags.append(fields.FIELD_LEFT_OUT)
        text = encodings.decode_or_vietnamese(form.text(text_name))
        kept, text_flags = fields.storable_text(text)
        return Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", msisdn, short_code, text, message_at),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(None),
            message_at=message_at,
            operator_time=written if message_at else None,
            flags=tuple(dict.fromkeys((*text_flags, *flags))),
        )

    def _charge(self, form: Form, flags: list[str], digest_key: bytes) -> Charge:
        charge_id = form.required("queueID")
        code = form.required("resultCode")
        service, package = form.required("service_id"), form.optional("package_id", flags)
        short_code = self.settings.services.get(service)
        if short_code is None:
            fields.malformed(f"{_CHARGES}.service_id", "is not one of the account's services")
        msisdn, amount_vnd = form.msisdn("msisdn"), form.vnd("price")
        written = form.optional("startTime", flags)
        occurred_at = fields.optional(fields.require_epoch_milliseconds, f"{_CHARGES}.startTime", written, flags)
        is_success = code == _DONE
        return Charge(
            native_id=charge_id,
            digest=keyed_digest(digest_key, "charge", code, amount_vnd, msisdn, short_code),
            charge_id=charge_id,
            status=ChargeStatus.SUCCEEDED if is_success else ChargeStatus.FAILED,
            amount_vnd=amount_vnd,
            msisdn=msisdn,
            short_code=short_code,
            occurred_at=occurred_at,
            reason=None if is_success else code,
            echoed=(charge_id, form.required("msisdn"), service, package or ""),
            flags=tuple(dict.fromkeys(flags)),
        )


def _form(callback: Callback) -> Form:
    return Form.of_query(callback.query) if callback.method == "GET" else Form.of_body(callback.body)


def _command(body: bytes) -> tuple[Form, bool]:
    """The fields of a document's command under the name of its module, and whether it had to be repaired."""
    root, is_repaired = require_xml(body)
    if local_name(root) != "ACCESSGW":
        fields.malformed("body", "is not an ACCESSGW document")
    named = only_child("ACCESSGW.MODULE", root, "MODULE")
    module = ((named.text or "") if named is not None else "").strip(_LAYOUT)
    if module not in (_MESSAGES, _CHARGES):
        fields.malformed("ACCESSGW.MODULE", f"must be one of {_MESSAGES}, {_CHARGES}")
    command = only_child(f"{module}.COMMAND", root, "COMMAND")
    if command is None:
        fields.malformed(f"{module}.COMMAND", "is missing")
    values: dict[str, bytes] = {}
    repeated: set[str] = set()
    for element in command:
        name, text = local_name(element), element.text or ""
        if len(element) and name in _READ:
            fields.malformed(f"{module}.{name}", "holds elements instead of text")
        if name in values:
            repeated.add(name)
            continue
        # surrogatepass: a repaired document may hold half a character, for the fields to judge.
        values[name] = (text if name == _TEXT else text.strip(_LAYOUT)).encode("utf-8", "surrogatepass")
    return Form(module, values, frozenset(repeated)), is_repaired
