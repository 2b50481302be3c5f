"""What a sender of the `standard` protocol writes: its fields, their limits, and the words for their faults."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateways.events import ChargeStatus
from gateways.outcome import FieldError
from gateways.wire import fields

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
    timestamp: Time | None = None
    data: MessageData


class ChargePayload(Payload):
    """One notice about a charge."""

    type: Literal["charge.pending", "charge.reserved", "charge.succeeded", "charge.failed", "charge.cancelled"]
    timestamp: Time | None = None
    data: ChargeData


class ReversalPayload(Payload):
    """One reversal."""

    type: Literal["charge.reversed"]
    timestamp: Time | None = None
    data: ReversalData


EventPayload = Annotated[MessagePayload | ChargePayload | ReversalPayload, Field(discriminator="type")]


class BatchPayload(Payload):
    """1 to 100 whole events; a batch inside a batch is not an event."""

    type: Literal["batch"]
    timestamp: Time | None = None
    data: Annotated[list[EventPayload], Field(min_length=1, max_length=EVENTS_MAX)]


StandardPayload = Annotated[
    MessagePayload | ChargePayload | ReversalPayload | BatchPayload, Field(discriminator="type")
]
PAYLOAD: TypeAdapter[MessagePayload | ChargePayload | ReversalPayload | BatchPayload] = TypeAdapter(StandardPayload)

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
    "timestamp": fields.NOT_A_TIME,
}


def errors_of(invalid: ValidationError) -> Iterator[FieldError]:
    """Where and why, in the sender's own field names and without a value it sent."""
    faults = invalid.errors(include_url=False, include_context=False, include_input=False)
    for fault in faults[:ERRORS_MAX]:
        steps = [str(step) for step in fault["loc"] if step not in _TYPE_NAMES]
        kind = fault["type"]
        reason = _REASONS.get(kind, "is not valid")
        if kind.startswith("union_tag"):
            steps.append("type")
        elif kind == "string_pattern_mismatch":
            reason = _PATTERN_REASONS.get(steps[-1], reason)
        yield FieldError(".".join(steps) or "body", reason)
