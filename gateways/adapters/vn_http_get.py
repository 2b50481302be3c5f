"""`vn_http_get`: the family in which Vietnamese hubs hand over messages by fetching an address.

Settings: `dialect` (a row of DIALECTS; it decides, not the query), `success_value` (the body that says taken; default
`1`), `id_parameter` and `operator_parameter` (what a hub adds to a dialect that has no such parameter), `without_ids`
(must be true where messages have no id, which is `short` as it stands: then every call is a message of its own),
`path_secret` (hubs carry no credentials of their own: with the network list it makes the two factors), `carriers`
(operator code to carrier). Callback: GET, query up to 8 KiB.

Limits: hubs give no time of the message and do not try again by themselves; whatever is under 400 is success to them.
They encode blanks alone, so a text may hold a bare `&`: what follows it belongs to the text, unless it is one of the
dialect's own parameters that was not there yet and stands at the end.

Source: sender classes of a Vietnamese hub (`SoapDDViet`, `Sendgamefarm`, `Send2`).
"""

import re
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from gateways.account import Account, AccountSettings
from gateways.callback import Callback
from gateways.events import Carrier, Event, Message
from gateways.gateway import Gateway
from gateways.outcome import Answer, Result
from gateways.wire import encodings, fields
from gateways.wire.digest import id_without_one, keyed_digest
from gateways.wire.form import Form, query_bytes
from gateways.wire.statuses import STATUSES, TAKEN, status_alone


class Dialect(NamedTuple):
    """How one kind of hub names the parameters; None where it has none.

    `keyword` repeats the text and is not read.
    """

    native_id: str | None
    msisdn: str
    short_code: str
    text: str
    operator: str | None
    keyword: str | None

    @property
    def names(self) -> frozenset[bytes]:
        """All its parameters."""
        return frozenset(name.encode() for name in self if name is not None)


DIALECTS: dict[str, Dialect] = {
    "ddviet": Dialect("requestId", "userId", "serviceId", "message", "mobileOperator", "commandCode"),
    "txid": Dialect("txid", "mobileno", "shortcode", "msg", None, "cmdcode"),
    "short": Dialect(None, "msisdn", "service_id", "sms", None, None),
}

OWN_CARRIERS: dict[str, Carrier] = {
    "gpc": "vinaphone",
    "vms": "mobifone",
    "vnm": "vietnamobile",
    "htc": "vietnamobile",
    "beeline": "gmobile",
}

_Parameter = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,39}$")]

_CONTENT_TYPE = "text/plain; charset=utf-8"


class VnHttpGetSettings(AccountSettings):
    """The keys of a `vn_http_get` account."""

    dialect: Literal["ddviet", "txid", "short"]
    success_value: Annotated[str, Field(min_length=1, max_length=200)] = "1"
    without_ids: bool = False
    id_parameter: _Parameter | None = None
    operator_parameter: _Parameter | None = None

    @property
    def parameters(self) -> Dialect:
        """The dialect, with what the hub adds to it."""
        names = DIALECTS[self.dialect]
        return names._replace(
            native_id=names.native_id or self.id_parameter, operator=names.operator or self.operator_parameter
        )

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        names, added = DIALECTS[self.dialect], (self.id_parameter, self.operator_parameter)
        if any(all(both) for both in zip((names.native_id, names.operator), added, strict=True)):
            raise ValueError("id_parameter and operator_parameter add what the dialect has not: remove what it has")
        written = [each for each in added if each is not None]
        if len({*written, *names}) < len(written) + len({*names}):
            raise ValueError("id_parameter and operator_parameter are names that no other parameter has")
        if self.without_ids != (self.parameters.native_id is None):
            raise ValueError(
                "without_ids = true goes with dialect short without id_parameter, and with no other: its messages "
                "have no id, so a call that is repeated counts again"
            )
        return self


class VnHttpGet(Gateway[VnHttpGetSettings]):
    """One hub that fetches our address in one dialect."""

    name: ClassVar[str] = "vn_http_get"
    settings_model: ClassVar[type[AccountSettings]] = VnHttpGetSettings
    methods: ClassVar[frozenset[str]] = frozenset({"GET"})
    tells_carrier: ClassVar[bool] = True

    def __init__(self, account: Account[VnHttpGetSettings]) -> None:
        super().__init__(account)
        self._dialect = self.settings.parameters

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """A path secret, in one of the dialects."""
        return {**super().decoy_settings(), "dialect": "ddviet"}

    def verify(self, callback: Callback) -> None:
        """Nothing: the protocol's factors are the path and the source, which `open` checks."""

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The one message of a call."""
        names = self._dialect
        form = Form.of("query", _pairs(query_bytes(callback.query), names))
        flags: list[str] = []
        native_id = None if names.native_id is None else form.required(names.native_id)
        msisdn, short_code = form.msisdn(names.msisdn), form.short_code(names.short_code)
        operator = None if names.operator is None else form.optional(names.operator, flags)
        text = encodings.decode_or_vietnamese(form.text(names.text))
        kept, text_flags = fields.storable_text(text)
        if native_id is None:
            said, at = (msisdn, short_code, text), callback.received_at
            native_id = id_without_one(digest_key, self.account.code, said, None, at, flags)
        return (
            Message(
                native_id=native_id,
                digest=keyed_digest(digest_key, "message", msisdn, short_code, text, operator),
                msisdn=msisdn,
                short_code=short_code,
                text=kept,
                carrier=self.carrier_of(operator, OWN_CARRIERS),
                flags=(*text_flags, *flags),
            ),
        )

    def respond(self, result: Result) -> Answer:
        """The account's value where the message was taken; else the status alone speaks."""
        if STATUSES[result.outcome] != TAKEN:
            return status_alone(result, _CONTENT_TYPE)
        return Answer(TAKEN, self.settings.success_value.encode(), _CONTENT_TYPE)


_PARAMETER = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]{0,39}=")
"""How a parameter begins: nothing that a blank or an encoded character stands in."""


def _pairs(query: bytes, names: Dialect) -> list[bytes]:
    """The raw pairs of a query, the text with every bare `&` that belongs to it.

    From behind, for the sender's own parameters are the last: what a donor writes cannot take their place. A
    parameter of which we know nothing (a hub's `ts=...`) ends the text too: with it in the text the gift would be
    lost, and of a donor who writes `VNN 5&x=1` the gift is clear.
    """
    pairs = query.split(b"&")
    begun = next((place for place, pair in enumerate(pairs) if _name(pair) == names.text.encode()), None)
    if begun is None:
        return pairs
    missing = set(names.names - {_name(pair) for pair in pairs[: begun + 1]})
    ended = len(pairs)
    while ended > begun + 1:
        name = _name(pairs[ended - 1])
        if name in missing:
            missing.remove(name)
        elif name in names.names or _PARAMETER.match(pairs[ended - 1]) is None:
            break
        ended -= 1
    text = b"&".join(pairs[begun:ended])
    return [*pairs[:begun], text, *pairs[ended:]]


def _name(pair: bytes) -> bytes:
    return pair.partition(b"=")[0]
