"""What a campaign's money lines sum to: the figures every surface publishes."""

from dataclasses import dataclass
from datetime import datetime

CARRIERS = ("viettel", "vinaphone", "mobifone", "vietnamobile", "gmobile", "mvno", "unknown")
"""The order in which carriers are shown."""

UNCOUNTED_REASONS = ("wrong_syntax", "before_open", "after_close")
UNALLOCATED_REASONS = ("unknown_keyword", "unknown_short_code", "empty_text")


@dataclass(frozen=True, slots=True)
class CarrierTotals:
    """A carrier's share of a campaign."""

    carrier: str
    messages: int
    units: int
    pledged_vnd: int


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
    confirmed_vnd: int
    received_vnd: int
    disbursed_vnd: int
    goal_vnd: int | None
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
    orphan_vnd: int
