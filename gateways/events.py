"""What a callback says, in our words. Adapters return these; no sender's field name passes this file."""

from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Literal, get_args

from gateways.records import record

NamedCarrier = Literal["viettel", "vinaphone", "mobifone", "vietnamobile", "gmobile", "mvno"]
"""Who may charge a donor."""
Carrier = Literal[NamedCarrier, "unknown"]
CARRIERS: tuple[Carrier, ...] = get_args(Carrier)
"""Who can have charged a donor; `unknown` is what a message from an unlisted network becomes."""


class ChargeStatus(StrEnum):
    """How far a charge has come."""

    PENDING = "pending"
    RESERVED = "reserved"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReversalScope(StrEnum):
    """Whether a reversal takes back what is left of a gift, or a part of it."""

    TOTAL = "total"
    PARTIAL = "partial"


@record(kw_only=True)
class Message:
    """One SMS of a donor.

    `native_id` is the sender's own id of it, 1..200 characters; `digest` the keyed digest over the canonical
    fields, by which a repeat is told from a conflict; `msisdn` is 84 and 9 digits; `text` at most 1,000
    characters (`flags` then has `text_cut`). `message_at` is the carrier's time of the message, aware, None
    where the protocol has none; `operator_time` is that time verbatim; `claimed_vnd` the amount the carrier
    claims.
    """

    native_id: str
    digest: bytes
    msisdn: str = field(repr=False)
    short_code: str
    text: str = field(repr=False)
    carrier: Carrier
    message_at: datetime | None = None
    operator_time: str | None = None
    parts: int | None = None
    claimed_vnd: int | None = None
    flags: tuple[str, ...] = ()


@record(kw_only=True)
class Charge:
    """One notice about a charge. `native_id` names the notice, `charge_id` the charge over all its notices.

    `amount_vnd` is None where the protocol names no amount. `echoed` is what the protocol's answer says again, in the
    adapter's own order; it is not stored.
    """

    native_id: str
    digest: bytes
    charge_id: str
    status: ChargeStatus
    amount_vnd: int | None
    message_ref: str | None = None
    msisdn: str | None = field(default=None, repr=False)
    short_code: str | None = None
    occurred_at: datetime | None = None
    reason: str | None = None
    echoed: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@record(kw_only=True)
class Reversal:
    """Money given back to a donor. Names its gift by `charge_ref`, `message_ref` or both.

    `scope` None: total when `amount_vnd` is what is left of the gift, else partial.
    """

    native_id: str
    digest: bytes
    amount_vnd: int
    charge_ref: str | None = None
    message_ref: str | None = None
    scope: ReversalScope | None = None
    kind: str | None = None
    occurred_at: datetime | None = None
    flags: tuple[str, ...] = ()


Event = Message | Charge | Reversal
