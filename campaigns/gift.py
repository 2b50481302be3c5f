"""What an event does to a gift: one table, pure. Every change of money starts here or with a counted message."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class GiftState(StrEnum):
    """Where a gift stands. `uncounted`: its message was not read as counted."""

    RECEIVED = "received"
    PENDING = "pending"
    COUNTED = "counted"
    FAILED = "failed"
    REVERSED = "reversed"
    UNCOUNTED = "uncounted"


class Disposition(StrEnum):
    """What became of an event: `review` is stored, moves no money and is listed for a person."""

    APPLIED = "applied"
    IGNORED = "ignored"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Gift:
    """The projection of one gift. Money is integer VND; `reversed_vnd` never exceeds `pledged_vnd`."""

    state: GiftState
    units: int
    pledged_vnd: int
    reversed_vnd: int = 0

    @property
    def left_vnd(self) -> int:
        """What a reversal may still take."""
        return self.pledged_vnd - self.reversed_vnd


@dataclass(frozen=True, slots=True)
class Step:
    """The effect of an event: the gift afterwards and the signed change of its campaign's figures."""

    gift: Gift
    disposition: Disposition
    reason: str = ""
    messages: int = 0
    units: int = 0
    vnd: int = 0


ReversalKind = Literal["total", "partial"]

# State -> what a total and what a partial reversal does there. `take` moves money, the rest does not.
_ON_REVERSAL: dict[GiftState, dict[ReversalKind, str]] = {
    GiftState.RECEIVED: {"total": "close", "partial": "review"},
    GiftState.PENDING: {"total": "close", "partial": "review"},
    GiftState.COUNTED: {"total": "take", "partial": "take"},
    GiftState.FAILED: {"total": "ignore", "partial": "ignore"},
    GiftState.REVERSED: {"total": "ignore", "partial": "ignore"},
    GiftState.UNCOUNTED: {"total": "ignore", "partial": "ignore"},
}


def reverse(gift: Gift, amount_vnd: int, scope: ReversalKind | None) -> Step:
    """Apply a reversal of `amount_vnd` (> 0). Without a scope it is total when the amount is what is left.

    A total reversal takes one message, its units and what is left; a partial one only its amount. One that
    would take more than is left is for review: the sum of reversals never exceeds the gift.
    """
    kind: ReversalKind = scope or ("total" if amount_vnd == gift.left_vnd else "partial")
    act = _ON_REVERSAL[gift.state][kind]
    if act == "ignore":
        return Step(gift, Disposition.IGNORED, f"gift is {gift.state}")
    if act == "review":
        return Step(gift, Disposition.REVIEW, f"partial reversal of a gift that is {gift.state}")
    if act == "close":
        closed = Gift(GiftState.REVERSED, gift.units, gift.pledged_vnd, gift.reversed_vnd)
        return Step(closed, Disposition.APPLIED)
    if amount_vnd > gift.left_vnd:
        return Step(gift, Disposition.REVIEW, "reversals would exceed the gift")
    if kind == "partial":
        after = Gift(gift.state, gift.units, gift.pledged_vnd, gift.reversed_vnd + amount_vnd)
        return Step(after, Disposition.APPLIED, vnd=-amount_vnd)
    after = Gift(GiftState.REVERSED, gift.units, gift.pledged_vnd, gift.pledged_vnd)
    return Step(after, Disposition.APPLIED, messages=-1, units=-gift.units, vnd=-gift.left_vnd)
