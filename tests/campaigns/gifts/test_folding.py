"""A gift folded from the set of its events: pure, complete, and the same for every order of the same events."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.gifts.folding import (
    CHARGE_CAUSE,
    Folded,
    GiftEvents,
    Line,
    Notice,
    StoredReversal,
    fold,
    owner_of,
    standing_of,
    succeeded_vnd,
)
from campaigns.gifts.gift import ON_CHARGES, Basis, GiftState, Standing

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
STATUSES = ("pending", "reserved", "succeeded", "failed", "cancelled")


def notice(status: str, ref: str | None = "m-1", number: int = 0, amount: int | None = 100_000) -> Notice:
    return Notice(UUID(int=number), status, amount, ref)


def facts(basis: Basis, charges: dict[str, list[Notice]], reversals: list[StoredReversal]) -> GiftEvents:
    pledged = 0 if basis is Basis.UNCOUNTED else 100_000
    return GiftEvents(basis, "m-1", AT, pledged // 20_000, pledged, charges, reversals)


@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("standing", Standing)
def test_every_basis_knows_every_standing(basis: Basis, standing: Standing) -> None:
    counts = basis is Basis.ON_MESSAGE or (basis is Basis.ON_REPORT and standing is Standing.SUCCEEDED)
    assert (ON_CHARGES[basis][standing] is GiftState.COUNTED) == counts


# What the notices of one charge say -> together.
TOGETHER = {
    "nothing": ((), Standing.NONE),
    "under way": (("pending", "reserved"), Standing.UNDERWAY),
    "a failure ends what was under way": (("failed", "pending"), Standing.FAILED),
    "cancelled": (("reserved", "cancelled"), Standing.FAILED),
    "a late step after the success": (("succeeded", "pending"), Standing.SUCCEEDED),
    "a success stands": (("failed", "succeeded", "cancelled"), Standing.SUCCEEDED),
}


@pytest.mark.parametrize(("statuses", "standing"), TOGETHER.values(), ids=TOGETHER.keys())
def test_the_notices_of_a_charge_say_one_thing_together(statuses: tuple[str, ...], standing: Standing) -> None:
    assert standing_of([notice(status) for status in statuses]) is standing
    assert standing_of([notice(status) for status in reversed(statuses)]) is standing
    took = succeeded_vnd([notice(status) for status in statuses])
    assert took == (100_000 if standing is Standing.SUCCEEDED else None)


# Notices, a match by number -> the message to which the charge belongs.
OWNERS = {
    "nobody named": ([notice("succeeded", None)], None, None),
    "matched by number": ([notice("succeeded", None)], "m-7", "m-7"),
    "named": ([notice("pending", "m-2")], None, "m-2"),
    "named by another notice": ([notice("succeeded", None), notice("pending", "m-2")], None, "m-2"),
    "a name comes before a match": ([notice("pending", "m-2")], "m-7", "m-2"),
    "a success names first": ([notice("pending", "m-1"), notice("succeeded", "m-2")], None, "m-2"),
    "of two, always the same": ([notice("succeeded", "m-2"), notice("succeeded", "m-1")], None, "m-1"),
}


@pytest.mark.parametrize(("notices", "matched", "owner"), OWNERS.values(), ids=OWNERS.keys())
def test_a_charge_belongs_to_one_message(notices: list[Notice], matched: str | None, owner: str | None) -> None:
    assert owner_of(notices, matched) == owner
    assert owner_of(notices[::-1], matched) == owner


takings = st.lists(
    st.builds(
        StoredReversal,
        id=st.uuids(),
        native_id=st.sampled_from([f"r-{number}" for number in range(9)]),
        amount_vnd=st.sampled_from((1, 30_000, 70_000, 100_000, 110_000)),
        scope=st.sampled_from((None, "total", "partial")),
        charge_ref=st.sampled_from((None, "c-1", "c-2", "c-9")),
        occurred_at=st.integers(0, 3).map(lambda minutes: AT + timedelta(minutes=minutes)),
    ),
    max_size=5,
    unique_by=lambda taking: taking.native_id,
)
notices = st.builds(
    Notice,
    id=st.uuids(),
    status=st.sampled_from(STATUSES),
    amount_vnd=st.sampled_from((None, 90_000, 100_000)),
    message_ref=st.sampled_from((None, "m-1")),
)
charges = st.dictionaries(st.sampled_from(("c-1", "c-2", "c-3")), st.lists(notices, min_size=1, max_size=4))


@given(st.sampled_from(list(Basis)), charges, takings, st.randoms(use_true_random=False))
def test_the_same_events_make_the_same_gift_and_its_lines_sum_up_to_it(
    basis: Basis, charges: dict[str, list[Notice]], reversals: list[StoredReversal], chance: random.Random
) -> None:
    folded = fold(facts(basis, charges, reversals))
    names = list(charges)
    chance.shuffle(names)
    mixed = {name: chance.sample(charges[name], len(charges[name])) for name in names}
    assert fold(facts(basis, mixed, chance.sample(reversals, len(reversals)))) == folded
    require_consistent(basis, folded)


def require_consistent(basis: Basis, folded: Folded) -> None:
    gift, lines = folded.gift, dict(folded.lines)
    assert 0 <= gift.reversed_vnd <= gift.pledged_vnd
    if basis is Basis.ON_MESSAGE:
        # Its line was written with the message.
        lines[CHARGE_CAUSE] = Line(1, gift.units, gift.pledged_vnd, AT)
    pledged = lines.pop(CHARGE_CAUSE, None)
    assert all(line.vnd < 0 for line in lines.values())
    sums = [sum(getattr(line, name) for line in lines.values()) for name in ("messages", "units", "vnd")]
    if pledged is None:
        assert not lines
        assert gift.reversed_vnd == 0
        assert gift.state is not GiftState.COUNTED
        return
    taken = gift.reversed_vnd
    whole = gift.state is GiftState.REVERSED
    assert gift.state in (GiftState.COUNTED, GiftState.REVERSED)
    assert sums == [-1 if whole else 0, -gift.units if whole else 0, -taken]
    assert not whole or taken == gift.pledged_vnd
