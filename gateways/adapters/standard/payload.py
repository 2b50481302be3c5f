"""What a sender of the `standard` protocol writes: its fields, their limits, and the words for their faults."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateways.events import ChargeStatus
from gateways.gateway import MalformedCallback
from gateways.outcome import FieldError
from gateways.wire import fields
from gateways.wire.strict_json import Unreadable

EVENTS_MAX = 100
PARTS_MAX = 255
ERRORS_MAX = 50
"""Faults named in one answer; the sender mends its software, not each event."""

ShortField = Annotated[
    str,
    Field(
        min_length=1,
        max_length=fields.SHORT_FIELD_CHARACTERS_MAX,
        pattern=f"^{fields.UNCONTROLLED_PATTERN}$",
    ),
]
Msisdn = Annotated[str, Field(pattern=f"^{fields.MSISDN_PATTERN}$")]
ShortCode = Annotated[str, Field(pattern=f"^{fields.SHORT_CODE_PATTERN}$")]
Time = Annotated[str, Field(pattern=f"^{fields.TIME_PATTERN}$")]
Amount = Annotated[int, Field(ge=0, le=fields.AMOUNT_VND_MAX)]


class Payload(BaseModel):
    """Something a sender wrote; what it wrote beside our fields is its own affair."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class MessageData(Payload):
    """`data` of `message.received`."""

    message_id: ShortField
    msisdn: Msisdn
    short_code: ShortCode
    text: str
    carrier: ShortField | None = None
    operator_time: Time | None = None
    parts: Annotated[int, Field(ge=1, le=PARTS_MAX)] | None = None
    amount: Amount | None = None


class ChargeData(Payload):
    """`data` of `charge.pending` and its kind."""

    charge_id: ShortField
    amount: Amount
    currency: Literal["VND"]
    message_id: ShortField | None = None
    msisdn: Msisdn | None = None
    short_code: ShortCode | None = None
    occurred_at: Time | None = None
    reason: ShortField | None = None


class ReversalData(Payload):
    """`data` of `charge.reversed`."""

    reversal_id: ShortField
    amount: Amount
    charge_id: ShortField | None = None
    message_id: ShortField | None = None
    currency: Literal["VND"] | None = None
    scope: Literal["total", "partial"] | None = None
    kind: ShortField | None = None
    occurred_at: Time | None = None


class MessagePayload(Payload):
    """One message."""

    type: Literal["message.received"]
    data: MessageData


class ChargePayload(Payload):
    """One notice about a charge."""

    type: Literal["charge.pending", "charge.reserved", "charge.succeeded", "charge.failed", "charge.cancelled"]
    data: ChargeData


class ReversalPayload(Payload):
    """One reversal."""

    type: Literal["charge.reversed"]
    data: ReversalData


EventPayload = Annotated[MessagePayload | ChargePayload | ReversalPayload, Field(discriminator="type")]


class BatchPayload(Payload):
    """1 to 100 whole events; a batch inside a batch is not an event."""

    type: Literal["batch"]
    data: Annotated[list[EventPayload], Field(min_length=1, max_length=EVENTS_MAX)]


StandardPayload = MessagePayload | ChargePayload | ReversalPayload | BatchPayload
PAYLOAD: TypeAdapter[StandardPayload] = TypeAdapter(Annotated[StandardPayload, Field(discriminator="type")])

# pydantic puts the type it chose into the place of a fault; a sender knows no such place.
_TYPE_NAMES = frozenset(
    {"message.received", "charge.reversed", "batch", *(f"charge.{status}" for status in ChargeStatus)}
)
_REASONS = {
    "missing": "is missing",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "dict_type": "is not an object",
    "list_type": "is not a list",
    "string_type": "is not a string",
    "string_too_short": fields.WRONG_LENGTH,
    "string_too_long": fields.WRONG_LENGTH,
    "string_pattern_mismatch": fields.UNSTORABLE,
    "string_unicode": fields.UNSTORABLE,
    "int_type": "is not an integer",
    "int_from_float": "is not an integer",
    "greater_than_equal": "is out of range",
    "less_than_equal": "is out of range",
    "literal_error": "is not one of the values allowed here",
    "too_short": f"must hold 1 to {EVENTS_MAX} events",
    "too_long": f"must hold 1 to {EVENTS_MAX} events",
    "union_tag_invalid": "is not a type of event that is allowed here",
    "union_tag_not_found": "is missing",
}
_PATTERN_REASONS = {
    "msisdn": fields.NOT_A_NUMBER,
    "short_code": fields.NOT_A_SHORT_CODE,
    "operator_time": fields.NOT_A_TIME,
    "occurred_at": fields.NOT_A_TIME,
}


# What a gift is whole without: who charged for it, when, in how many parts. A reference to another event is not
# among it, nor is how much is given back: an answer of success would end the search for a gift that is not found.
_REVERSAL, _MESSAGE = "charge.reversed", "message.received"
_LEFT_OUT: Mapping[str, frozenset[str]] = {
    _MESSAGE: frozenset({"carrier", "operator_time", "parts", "amount"}),
    _REVERSAL: frozenset({"kind", "occurred_at"}),
    **{f"charge.{status}": frozenset({"occurred_at", "reason"}) for status in ChargeStatus},
}
_MAY_BE_EMPTY: Mapping[str, frozenset[str]] = {
    _MESSAGE: _LEFT_OUT[_MESSAGE],
    _REVERSAL: _LEFT_OUT[_REVERSAL] | {"charge_id", "message_id", "currency", "scope"},
    **{
        f"charge.{status}": _LEFT_OUT[f"charge.{status}"] | {"message_id", "msisdn", "short_code"}
        for status in ChargeStatus
    },
}
"""An empty string names nothing, so it is read as the absence that serializers write so."""


def require_payload(value: object) -> tuple[StandardPayload, frozenset[int]]:
    """The payload in a JSON value, and the positions of events of which an optional field was left out.

    A single event has the position 0. `value` is the caller's no more: what is left out is taken from it.
    Raises MalformedCallback with all that cannot be left out.
    """
    try:
        return PAYLOAD.validate_python(value), frozenset()
    except ValidationError as invalid:
        faults = invalid.errors(include_url=False, include_context=False)
    refused = [fault for fault in faults if not _may_be_left_out(fault)]
    if refused:
        raise MalformedCallback(tuple(_errors_of(refused)))
    left_out = frozenset(_leave_out(value, fault["loc"]) for fault in faults)
    try:
        return PAYLOAD.validate_python(value), left_out
    except ValidationError as invalid:
        # What was left out may have been what hid another fault: nothing is left out twice.
        faults = invalid.errors(include_url=False, include_context=False)
        raise MalformedCallback(tuple(_errors_of(faults))) from None


def _may_be_left_out(fault: ErrorDetails) -> bool:
    table = _MAY_BE_EMPTY if fault["input"] == "" else _LEFT_OUT
    place = fault["loc"]
    return place[-2:-1] == ("data",) and place[-1] in table.get(_kind_of(place), ())


def _leave_out(value: Any, place: Sequence[int | str]) -> int:
    """Take a field from its event; the position of the event."""
    *steps, field = (step for step in place if step not in _TYPE_NAMES)
    for step in steps:
        value = value[step]
    value.pop(field, None)
    return int(steps[1]) if len(steps) > 1 else 0


def _kind_of(place: Sequence[int | str]) -> str:
    return str(next((step for step in reversed(place) if step in _TYPE_NAMES), ""))


def _errors_of(faults: Sequence[ErrorDetails]) -> Iterator[FieldError]:
    """Where and why, in the sender's own field names and without a value it sent."""
    for fault in faults[:ERRORS_MAX]:
        steps = [str(step) for step in fault["loc"] if step not in _TYPE_NAMES]
        kind, said = fault["type"], fault["input"]
        reason = _REASONS.get(kind, "is not valid")
        if kind.startswith("union_tag"):
            steps.append("type")
            said = said.get("type") if isinstance(said, dict) else said
        elif kind == "string_pattern_mismatch":
            reason = _PATTERN_REASONS.get(steps[-1], reason)
        if isinstance(said, Unreadable):
            reason = said.reason
        yield FieldError(".".join(steps) or "body", reason)
