"""What a campaign's money lines sum to: the figures every surface publishes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Carrier = Literal["viettel", "vinaphone", "mobifone", "vietnamobile", "gmobile", "mvno", "unknown"]
CARRIERS: tuple[str, ...] = get_args(Carrier)
"""The order in which carriers are shown."""

_ORDER = {carrier: place for place, carrier in enumerate(CARRIERS)}

FIGURE_MAX = 2**53 - 1
"""The largest integer that every reader of JSON holds exactly (RFC 8259, section 6)."""

UNCOUNTED_REASONS = ("wrong_syntax", "before_open", "after_close")
UNALLOCATED_REASONS = ("unknown_keyword", "unknown_short_code", "empty_text")


@dataclass(frozen=True, slots=True)
class CarrierTotals:
    """A carrier's share of a campaign."""

    carrier: str
    messages: int
    units: int
    pledged_vnd: int


def in_carrier_order(shares: Iterable[CarrierTotals]) -> tuple[CarrierTotals, ...]:
    """`shares` as they are shown. A carrier that this release does not know comes last: its money counts as well."""
    return tuple(sorted(shares, key=lambda share: (_ORDER.get(share.carrier, len(_ORDER)), share.carrier)))


@dataclass(frozen=True, slots=True)
class CampaignTotals:
    """The sum of a campaign at one version. Money is integer VND; stages are cumulative.

    Equal `version` means equal figures. `as_of` is the database's time of the newest change included.
    """

    campaign: str
    campaign_id: int
    version: int
    as_of: datetime
    messages: int
    units: int
    pledged_vnd: int
    confirmed_vnd: int | None
    received_vnd: int | None
    disbursed_vnd: int | None
    """None: this stage has no source for the campaign, which is not 0."""
    goal_vnd: int | None
    reversed: tuple[int, int]
    """Messages given back whole, and the VND of all reversals; the figures above are net of both."""
    by_carrier: tuple[CarrierTotals, ...]
    uncounted: tuple[int, int, int]
    """In the order of UNCOUNTED_REASONS."""


@dataclass(frozen=True, slots=True)
class UnallocatedTotals:
    """What arrived and belongs to no campaign."""

    version: int
    as_of: datetime | None
    by_reason: tuple[int, int, int]
    """In the order of UNALLOCATED_REASONS."""
    orphan_charges: int
    orphan_vnd: int | None
    """None: beyond FIGURE_MAX. It sums what senders claim, and nobody's book bounds that."""
