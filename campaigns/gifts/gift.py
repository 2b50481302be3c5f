"""What an event does to a gift: a table for charges, a table for reversals, pure. `folding.py` applies them."""

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


class Basis(StrEnum):
    """When a message becomes money: at once, by a report about its charge, or, not read as counted, never."""

    ON_MESSAGE = "on_message"
    ON_REPORT = "on_report"
    UNCOUNTED = "uncounted"


class Standing(StrEnum):
    """What notices say together: of one charge, or of all charges of a gift. Later ones win over earlier ones."""

    NONE = "none"
    FAILED = "failed"
    UNDERWAY = "underway"
    SUCCEEDED = "succeeded"


class Disposition(StrEnum):
    """What became of a reversal: `review` moves no money, `waiting` may move some yet."""

    APPLIED = "applied"
    IGNORED = "ignored"
    WAITING = "waiting"
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
    """The effect of a reversal: the gift afterwards and the signed change of its campaign's figures.

    `question` is why a person has to look at it; empty: nobody has to.
    """

    gift: Gift
    disposition: Disposition
    question: str = ""
    messages: int = 0
    units: int = 0
    vnd: int = 0


ON_CHARGES: dict[Basis, dict[Standing, GiftState]] = {
    Basis.ON_MESSAGE: dict.fromkeys(Standing, GiftState.COUNTED),
    Basis.ON_REPORT: {
        Standing.NONE: GiftState.RECEIVED,
        Standing.UNDERWAY: GiftState.PENDING,
        Standing.SUCCEEDED: GiftState.COUNTED,
        Standing.FAILED: GiftState.FAILED,
    },
    Basis.UNCOUNTED: dict.fromkeys(Standing, GiftState.UNCOUNTED),
}
"""Where a gift stands by its basis and by what its charges say, before any reversal."""

ReversalKind = Literal["total", "partial"]
EXCEEDS = "reversals would exceed the gift"
NAMES_LESS = "total, but it names less than was left"

# State -> what a total and what a partial reversal does there. `take` moves money, the rest does not; of what is gone
# nobody may claim more, of what never counted anything.
_ON_REVERSAL: dict[GiftState, dict[ReversalKind, str]] = {
    GiftState.RECEIVED: {"total": "close", "partial": "wait"},
    GiftState.PENDING: {"total": "close", "partial": "wait"},
    GiftState.COUNTED: {"total": "take", "partial": "take"},
    GiftState.FAILED: {"total": "ignore", "partial": "ignore"},
    GiftState.REVERSED: {"total": "refuse", "partial": "refuse"},
    GiftState.UNCOUNTED: {"total": "ignore", "partial": "ignore"},
}


def reverse(gift: Gift, amount_vnd: int, scope: ReversalKind | None) -> Step:
    """Apply a reversal of `amount_vnd` (> 0). Without a scope it is total when the amount is what is left.

    A total reversal takes one message, its units and what is left; where it names less, a person is asked. A partial
    one takes only its amount, and waits while the gift is not counted. One that would take more than is left, also
    where all is gone, is for review: the sum of reversals never exceeds the gift.
    """
    kind: ReversalKind = scope or ("total" if amount_vnd == gift.left_vnd else "partial")
    act = _ON_REVERSAL[gift.state][kind]
    if act == "ignore":
        return Step(gift, Disposition.IGNORED)
    if act == "wait":
        return Step(gift, Disposition.WAITING)
    if act == "close":
        closed = Gift(GiftState.REVERSED, gift.units, gift.pledged_vnd, gift.reversed_vnd)
        return Step(closed, Disposition.APPLIED, EXCEEDS if amount_vnd > gift.left_vnd else "")
    if amount_vnd > gift.left_vnd:
        return Step(gift, Disposition.REVIEW, EXCEEDS)
    if act == "refuse":
        return Step(gift, Disposition.IGNORED)
    if kind == "partial":
        after = Gift(gift.state, gift.units, gift.pledged_vnd, gift.reversed_vnd + amount_vnd)
        return Step(after, Disposition.APPLIED, vnd=-amount_vnd)
    after = Gift(GiftState.REVERSED, gift.units, gift.pledged_vnd, gift.pledged_vnd)
    question = NAMES_LESS if amount_vnd < gift.left_vnd else ""
    return Step(after, Disposition.APPLIED, question, messages=-1, units=-gift.units, vnd=-gift.left_vnd)
