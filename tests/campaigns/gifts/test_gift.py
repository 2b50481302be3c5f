"""The state machine of a gift: a row for every state and every reversal, and nothing ever taken twice."""

import random

import pytest

from campaigns.gifts.gift import Disposition, Gift, GiftState, ReversalKind, reverse

COUNTED = Gift(GiftState.COUNTED, 5, 100_000)
PARTLY = Gift(GiftState.COUNTED, 5, 100_000, 30_000)

GONE = Gift(GiftState.REVERSED, 5, 100_000, 100_000)
CLOSED = Gift(GiftState.REVERSED, 5, 100_000)
UNCOUNTED = Gift(GiftState.UNCOUNTED, 0, 0)
FAILED, RECEIVED, PENDING = (
    Gift(state, 5, 100_000) for state in (GiftState.FAILED, GiftState.RECEIVED, GiftState.PENDING)
)
APPLIED, IGNORED, WAITING, REVIEW = Disposition
WHOLE, NOTHING = (-1, -5, -100_000), (0, 0, 0)
Row = tuple[Gift, int, ReversalKind | None, Disposition, GiftState, int, tuple[int, int, int]]

# gift, amount, scope -> disposition, state afterwards, reversed VND afterwards, change of messages, units, VND
TABLE: dict[str, Row] = {
    "total": (COUNTED, 100_000, "total", APPLIED, GiftState.REVERSED, 100_000, WHOLE),
    "total by its amount": (COUNTED, 100_000, None, APPLIED, GiftState.REVERSED, 100_000, WHOLE),
    "a total of less takes what is left": (COUNTED, 99_000, "total", APPLIED, GiftState.REVERSED, 100_000, WHOLE),
    "partial": (COUNTED, 30_000, "partial", APPLIED, GiftState.COUNTED, 30_000, (0, 0, -30_000)),
    "partial by its amount": (COUNTED, 30_000, None, APPLIED, GiftState.COUNTED, 30_000, (0, 0, -30_000)),
    "a partial of all of it": (COUNTED, 100_000, "partial", APPLIED, GiftState.COUNTED, 100_000, (0, 0, -100_000)),
    "what is left makes it total": (PARTLY, 70_000, None, APPLIED, GiftState.REVERSED, 100_000, (-1, -5, -70_000)),
    "total after a part": (PARTLY, 70_000, "total", APPLIED, GiftState.REVERSED, 100_000, (-1, -5, -70_000)),
    "more than the gift": (COUNTED, 100_001, None, REVIEW, GiftState.COUNTED, 0, NOTHING),
    "more than is left": (PARTLY, 70_001, "partial", REVIEW, GiftState.COUNTED, 30_000, NOTHING),
    "a total of more than is left": (PARTLY, 100_000, "total", REVIEW, GiftState.COUNTED, 30_000, NOTHING),
    "already reversed, total": (GONE, 100_000, "total", REVIEW, GiftState.REVERSED, 100_000, NOTHING),
    "already reversed, partial": (GONE, 1, "partial", REVIEW, GiftState.REVERSED, 100_000, NOTHING),
    "already reversed, nothing": (GONE, 0, "total", IGNORED, GiftState.REVERSED, 100_000, NOTHING),
    "closed before it was paid, again": (CLOSED, 100_000, "total", IGNORED, GiftState.REVERSED, 0, NOTHING),
    "closed before it was paid, more than it was": (
        CLOSED, 100_001, "total", REVIEW, GiftState.REVERSED, 0, NOTHING,
    ),
    "never counted": (UNCOUNTED, 20_000, "total", IGNORED, GiftState.UNCOUNTED, 0, NOTHING),
    "failed": (FAILED, 100_000, None, IGNORED, GiftState.FAILED, 0, NOTHING),
    "received, total": (RECEIVED, 100_000, "total", APPLIED, GiftState.REVERSED, 0, NOTHING),
    "received, partial": (RECEIVED, 1, "partial", WAITING, GiftState.RECEIVED, 0, NOTHING),
    "received, a total of more": (RECEIVED, 100_001, "total", APPLIED, GiftState.REVERSED, 0, NOTHING),
    "pending, total": (PENDING, 100_000, "total", APPLIED, GiftState.REVERSED, 0, NOTHING),
    "pending, partial": (PENDING, 1, "partial", WAITING, GiftState.PENDING, 0, NOTHING),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_a_reversal_does_what_its_row_says(
    case: Row,
) -> None:
    gift, amount, scope, disposition, state, reversed_vnd, change = case
    step = reverse(gift, amount, scope)
    assert (step.disposition, step.gift.state, step.gift.reversed_vnd) == (disposition, state, reversed_vnd)
    assert (step.messages, step.units, step.vnd) == change
    assert (step.gift.units, step.gift.pledged_vnd) == (gift.units, gift.pledged_vnd)
    is_total_of_less = disposition is APPLIED and step.messages < 0 and amount < gift.left_vnd
    is_more = disposition is APPLIED and amount > gift.left_vnd
    is_asked = disposition is REVIEW or is_total_of_less or is_more
    assert bool(step.question) == is_asked, "whether a person is asked"


def test_every_state_has_its_rows() -> None:
    kinds: tuple[ReversalKind, ...] = ("total", "partial")
    assert {row[0].state for row in TABLE.values()} == set(GiftState)
    for state in GiftState:
        for kind in kinds:
            reverse(Gift(state, 1, 20_000), 20_000, kind)


def test_whatever_comes_in_whatever_order_a_gift_is_never_overdrawn() -> None:
    rng = random.Random(1400)
    kinds: tuple[ReversalKind | None, ...] = ("total", "partial", None)
    totals = reviews = 0
    for _ in range(2000):
        gift, messages, units, vnd = COUNTED, 1, 5, 100_000
        for _ in range(6):
            step = reverse(gift, rng.choice((1, 20_000, 50_000, 99_999, 100_000, 100_001)), rng.choice(kinds))
            gift, messages, units, vnd = (
                step.gift,
                messages + step.messages,
                units + step.units,
                vnd + step.vnd,
            )
            totals += step.messages < 0
            reviews += step.disposition is Disposition.REVIEW
            assert 0 <= gift.reversed_vnd <= gift.pledged_vnd
            assert vnd == gift.left_vnd
            assert (messages, units) in ((1, 5), (0, 0))
            assert (messages == 0) == (gift.state is GiftState.REVERSED)
    assert totals > 100
    assert reviews > 100
