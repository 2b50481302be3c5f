"""`generic`: a hub that nobody has seen, by a dialect in its account's settings.

Settings: `dialect` (its format, where each fact of a message is, how it is signed, what it is answered, and an
example by which `apply` tries all of that; see `dialect.py`), `secrets` (with a dialect that has a signature),
`without_ids` (must be true where the dialect has no `fields.id`: an id is then derived from number, code, time and
text), `path_secret`, `carriers` (the hub's words for carriers: the dialect has none of its own). Callback: GET or
POST, body up to 64 KiB, query up to 8 KiB.

Limits: one message a callback, and its charge with it or never. Whoever has not passed every factor, and whoever is
too early or too large, is answered by status alone (403, 413, 503), the same whatever the dialect: else an answer
would tell which accounts there are. The time of a message is no part of its content. No header is a field: only
those that all protocols keep come back from the spool.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from gateways.account import SECRETS_MAX, Account, AccountSettings, Charging
from gateways.adapters.generic.dialect import ChargeFields, Dialect, Words
from gateways.adapters.generic.example import callback_of, fault_of_example, fault_of_question
from gateways.adapters.generic.reading import JsonTree, Reading, read
from gateways.adapters.generic.signature import require_signature
from gateways.adapters.generic.words import REPLY, body_of
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message
from gateways.gateway import CredentialsAbsent, Gateway, MalformedCallback, SignatureRejected, is_any_of
from gateways.outcome import Answer, Outcome, Result
from gateways.wire import encodings, fields
from gateways.wire.digest import id_without_one, keyed_digest


def _unreadable(dialect: Dialect, unread: MalformedCallback) -> SignatureRejected:
    """Whoever looks for a wrong secret is told that the body is of another form."""
    return SignatureRejected(f"no {dialect.format} that can be read: {unread.reason}")


def _require_epoch_ms(path: str, text: str) -> datetime:
    if len(text) < 4:
        fields.malformed(path, "is not a time in milliseconds since 1970")
    at, rest = fields.require_epoch(path, text[:-3]), text[-3:]
    if not (rest.isascii() and rest.isdigit()):
        fields.malformed(path, "is not a time in milliseconds since 1970")
    return at.replace(microsecond=int(rest) * 1000)


_TIMES: dict[str, Callable[[str, str], datetime]] = {
    "rfc3339": fields.require_time,
    "compact": fields.require_compact_time,
    "epoch": fields.require_epoch,
    "epoch_ms": _require_epoch_ms,
}
_ENCODED: dict[str, Callable[[str], bytes]] = {
    "base64": encodings.from_base64,
    "hex": lambda written: bytes.fromhex(written.strip()),
}

# What is answered before somebody is known, by every account alike.
_STATUSES: dict[Outcome, int] = {
    Outcome.UNAUTHENTICATED: 403,
    Outcome.STALE: 403,
    Outcome.TOO_LARGE: 413,
    Outcome.OVERLOADED: 503,
    Outcome.UNAVAILABLE: 503,
}

PLACE = re.compile(r"\{[A-Za-z_]{1,40}\}")
"""What looks in an answer's words like a place for something. A brace of JSON has a quote behind it."""
FILLS = frozenset({"{id}", REPLY}), "has a place for something else than id and reply: it would be sent as it stands"
NOTHING_FILLS = frozenset[str](), "has a place for what could not be read: it would be sent as it stands"
READ_NOTHING = frozenset({"malformed", "malformed_with_id"})

CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})
"""Headers that may carry a secret whatever a dialect says of them: never kept."""


class GenericSettings(AccountSettings):
    """The keys of a `generic` account."""

    dialect: Dialect
    secrets: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=SECRETS_MAX, repr=False
    )
    without_ids: bool = False

    def factors(self) -> frozenset[str]:
        """The signature, and the path secret, where there are such."""
        return super().factors() | ({"signature"} if self.secrets else set())

    def chargings(self) -> frozenset[Charging]:
        """Where the dialect has a charge, what became of it; else that the message came."""
        is_told = self.dialect.charge is not None
        if is_told:
            return frozenset({"on_report", "on_settlement"})
        return super().chargings() - {"on_report"}

    @property
    def charges_by_reply(self) -> bool:
        """Where what does not count is answered otherwise, so that it is not charged."""
        return self.dialect.answers.not_counted is not None

    def mistakes(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Places for something in an answer's words that nothing fills, which would be sent as they stand."""
        answers = self.dialect.answers
        found = []
        for name in type(answers).model_fields:
            words: Words | None = getattr(answers, name)
            fills, fault = NOTHING_FILLS if name in READ_NOTHING else FILLS
            if words is not None and not fills.issuperset(PLACE.findall(words.body)):
                found.append((("dialect", "answers", name, "body"), fault))
        return tuple(found)

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        dialect = self.dialect
        if (dialect.signature is None) == bool(self.secrets):
            raise ValueError("secrets go with dialect.signature: give both or neither")
        if self.without_ids != (dialect.fields.id is None):
            raise ValueError(
                "without_ids = true goes with a dialect without fields.id: a repeat is then told by the time alone"
            )
        if dialect.example.secret in self.secrets:
            raise ValueError("dialect.example.secret is kept in clear: sign the example with one made up for it")
        return self

    @model_validator(mode="after")
    def _understands_its_example(self) -> Self:
        fault = fault_of_example(self.dialect, partial(_tried, self))
        if fault is not None:
            raise ValueError(f"dialect.example {fault}")
        fault = fault_of_question(self.dialect, partial(_tried, self))
        if fault is not None:
            raise ValueError(f"dialect.question.example {fault}")
        return self


class Generic(Gateway[GenericSettings]):
    """One hub, in the dialect of its account."""

    name: ClassVar[str] = "generic"
    settings_model: ClassVar[type[AccountSettings]] = GenericSettings
    methods: ClassVar[frozenset[str]] = frozenset({"GET", "POST"})
    tells_carrier: ClassVar[bool] = True
    reports_charges: ClassVar[bool] = True

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A secret and a path secret, in a dialect of nobody."""
        word = secrets.token_urlsafe(32)
        return {**super().decoy_settings(), "secrets": (word,), "dialect": _NOBODYS_DIALECT}

    @property
    def headers_to_keep(self) -> tuple[str, ...]:
        """With those of a signature, by which the record shows whose it is; a token is a secret."""
        signature = self.settings.dialect.signature
        if signature is None or signature.kind == "token":
            return self.kept_headers
        question = self.settings.dialect.question
        own = (signature.place, *signature.parts, *(question.parts if question is not None else ()))
        names = {each.removeprefix("header:").lower() for each in own if each.startswith("header:")}
        return (*self.kept_headers, *sorted(names - CREDENTIALS))

    @property
    def is_timed(self) -> bool:
        """Where the dialect has a time."""
        return self.settings.dialect.fields.time is not None

    @property
    def refuses_uncounted(self) -> bool:
        """Where what does not count is answered otherwise."""
        return self.settings.dialect.answers.not_counted is not None

    @property
    def carries_reply(self) -> bool:
        """Where the dialect's words have a place for it, and no charge that may have failed."""
        answers = self.settings.dialect.answers
        words = [each.body for each in (answers.accepted, answers.not_counted) if each is not None]
        return self.settings.dialect.charge is None and any(REPLY in each for each in words)

    def verify(self, callback: Callback) -> None:
        """The signature by the dialect's recipe, and that what names us does so."""
        dialect = self.settings.dialect
        unread = None
        try:
            reading = read(callback, dialect.format)
        except MalformedCallback as malformed:
            # Who cannot be read cannot be known: unauthenticated, and kept if it came from a listed network.
            reading, unread = JsonTree(None), malformed
        are_ours = True
        for name, value in dialect.ours.items():
            are_ours &= is_any_of(reading.raw(name), (value,))
        if dialect.signature is not None:
            question = dialect.question if self._is_question(reading) else None
            parts = (question or dialect.signature).split_parts
            try:
                require_signature(dialect.signature, parts, self.settings.secrets, callback, reading)
            except SignatureRejected as rejected:
                if unread is None or isinstance(rejected, CredentialsAbsent):
                    raise
                raise _unreadable(dialect, unread) from None
        if not are_ours:
            raise SignatureRejected("another's name") if unread is None else _unreadable(dialect, unread)

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The one message of a callback, and its charge where the dialect has one; none of a trial or question."""
        fields.require_plain_body(callback.headers)
        dialect = self.settings.dialect
        reading = read(callback, dialect.format)
        if self._is_question(reading):
            return ()
        doubted = None
        for name, values in dialect.trial.items():
            doubts: list[str] = []
            if reading.word(name, doubts) in values:
                return ()
            doubted = name if doubts else doubted
        # First of all: what has an id may be answered otherwise, whatever else is wrong with it.
        native_id = None if dialect.fields.id is None else reading.required(dialect.fields.id)
        if doubted is not None:
            # No trial may become money.
            fields.malformed(reading.path(doubted), "says whether it is a trial, and cannot be read")
        for path, length in reading.lists(self._read_always).items():
            if length > self._lists_of_example.get(path, 0):
                # One message a callback: what stands behind it would be lost.
                fields.malformed(
                    reading.path(path) if path else "body", "is a list that is longer than the example's"
                )
        for name, values in dialect.allowed.items():
            if reading.required(name) not in values:
                fields.malformed(reading.path(name), "is none of the values that the dialect allows")
        message = self._message(native_id, reading, callback.received_at, digest_key)
        if dialect.charge is None:
            return (message,)
        charge = _charge(dialect.charge, message.native_id, reading, digest_key)
        return (
            replace(message, claimed_vnd=charge.amount_vnd),
            replace(charge, message_ref=message.native_id, occurred_at=message.message_at),
        )

    def respond(self, result: Result) -> Answer:
        """The dialect's words to whoever is known; a status to all others."""
        if result.outcome in _STATUSES:
            status = _STATUSES[result.outcome]
            headers = (("retry-after", str(result.retry_after_seconds)),) if status == 503 else ()
            return Answer(status, b"", "text/plain", headers)
        answers = self.settings.dialect.answers
        words = {
            Outcome.CONFLICT: answers.conflict,
            Outcome.REJECTED_POLICY: answers.not_counted,
            Outcome.MALFORMED: (self._has_id(result) and answers.malformed_with_id) or answers.malformed,
        }.get(result.outcome) or answers.accepted
        return Answer(words.status, body_of(words, result), words.content_type)

    @cached_property
    def _read_always(self) -> tuple[str, ...]:
        """Where those facts are that every callback has."""
        dialect = self.settings.dialect
        names = dialect.fields
        charge = (dialect.charge.status, dialect.charge.amount) if dialect.charge is not None else ()
        return tuple(name for name in (names.id, names.msisdn, names.short_code, names.text, *charge) if name)

    @cached_property
    def _lists_of_example(self) -> Mapping[str, int]:
        dialect = self.settings.dialect
        return read(callback_of(dialect, dialect.example), dialect.format).lists(self._read_always)

    def _is_question(self, reading: Reading) -> bool:
        question = self.settings.dialect.question
        return question is not None and not any(map(reading.has, question.without))

    def _has_id(self, result: Result) -> bool:
        """Whether what is malformed had an id that could be read."""
        name = self.settings.dialect.fields.id
        nameless = {"body", f"body.{name}", f"query.{name}", "headers.content-encoding"}
        return name is not None and all(error.path not in nameless for error in result.errors)

    def _message(self, native_id: str | None, reading: Reading, received_at: datetime, digest_key: bytes) -> Message:
        dialect, names, flags = self.settings.dialect, self.settings.dialect.fields, list(reading.flags)
        msisdn = fields.require_msisdn(reading.path(names.msisdn), reading.required(names.msisdn))
        short_code = dialect.short_code or ""
        if names.short_code is not None:
            code = reading.required(names.short_code)
            short_code = fields.require_short_code(reading.path(names.short_code), code)
        said = None if names.carrier is None else reading.optional(names.carrier, flags)
        written = None if names.time is None else reading.optional(names.time, flags)
        message_at = fields.optional(_TIMES[dialect.time_format], "time", written, flags)
        text = _decoded(reading.path(names.text), reading.text(names.text), dialect.text_form)
        if native_id is None:
            at, told = written if message_at else None, (msisdn, short_code, text)
            native_id = id_without_one(digest_key, self.account.code, told, at, received_at, flags)
        kept, text_flags = fields.storable_text(text)
        # Of a hub that names no carrier it is no part of the content.
        content = (msisdn, short_code, text, *(() if names.carrier is None else (said,)))
        return Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", *content),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(said),
            message_at=message_at,
            operator_time=written if message_at else None,
            flags=tuple(dict.fromkeys((*text_flags, *flags))),
        )


def _charge(names: ChargeFields, native_id: str, reading: Reading, digest_key: bytes) -> Charge:
    said = reading.required(names.status)
    status = names.meaning(said)
    if status is None:
        fields.malformed(reading.path(names.status), "is none of the words that the dialect knows")
    amount_vnd = fields.require_vnd(reading.path(names.amount), reading.required(names.amount))
    flags: list[str] = []
    reason = None if names.reason is None else reading.optional(names.reason, flags)
    return Charge(
        native_id=native_id,
        digest=keyed_digest(digest_key, "charge", said, amount_vnd),
        charge_id=native_id,
        status=status,
        amount_vnd=amount_vnd,
        reason=None if status is ChargeStatus.SUCCEEDED else reason,
        flags=tuple(flags),
    )


def _decoded(path: str, written: str, form: str) -> str:
    decode = _ENCODED.get(form)
    if decode is None:
        return written
    try:
        return encodings.decode_unnamed(decode(written))
    except ValueError:
        fields.malformed(path, f"is not {form}")


def _tried(settings: GenericSettings, valid: tuple[str, ...]) -> Generic:
    """A gateway of this dialect with no other factor than the example's secret."""
    tried = settings.model_copy(update={"secrets": valid, "path_secret": ()})
    return Generic(Account("example", "from_message", (), tried))


_NOBODYS_BODY = '{"id":"1","from":"84950000001","to":"1408","text":"VNN"}'
_NOBODYS_DIALECT: dict[str, object] = {
    "format": "json",
    "fields": {"id": "id", "msisdn": "from", "short_code": "to", "text": "text"},
    "signature": {"place": "header:x-signature", "kind": "hmac", "parts": ("body",)},
    "answers": {"accepted": {}},
    "example": {
        "body": _NOBODYS_BODY,
        "secret": "nobody",
        "headers": {"x-signature": hmac.digest(b"nobody", _NOBODYS_BODY.encode(), "sha256").hex()},
        "means": {"id": "1", "msisdn": "84950000001", "short_code": "1408", "text": "VNN"},
    },
}
