"""All events of a gift, folded into where it stands. Pure.

A gift is a function of the set of its events, not of the order in which they came: `fold` is given all of them
and says where the gift stands, what its money lines must sum up to, and what a person has to look at. What it
does by the tables of `gift.py` is the same, however often and over whichever connections the events came.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from campaigns.gifts.gift import NAMES_LESS, ON_CHARGES, Basis, Gift, GiftState, ReversalKind, Standing, reverse


@dataclass(frozen=True, slots=True)
class Notice:
    """One stored notice about a charge, as far as it decides anything. `amount_vnd` None: it named none."""

    id: UUID
    status: str
    amount_vnd: int | None
    message_ref: str | None


@dataclass(frozen=True, slots=True)
class StoredReversal:
    """One stored reversal, as far as it decides anything. `occurred_at` is the minute its money line lies in."""

    id: UUID
    native_id: str
    amount_vnd: int
    scope: ReversalKind | None
    charge_ref: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """What the money lines of one cause must sum up to; all of them lie at `at`."""

    messages: int
    units: int
    vnd: int
    at: datetime


@dataclass(frozen=True, slots=True)
class GiftEvents:
    """All that is known of one gift. `charges` are those that belong to it, each with all of its notices.

    `owners` are the messages to which the charges belong that `reversals` name, as far as that is known.
    """

    basis: Basis
    message_ref: str
    message_at: datetime
    units: int
    pledged_vnd: int
    charges: Mapping[str, Sequence[Notice]]
    reversals: Sequence[StoredReversal]
    owners: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Folded:
    """What the facts of a gift make of it. `listed` are events a person has to look at, with the reason."""

    gift: Gift
    lines: dict[str, Line] = field(default_factory=dict)
    listed: dict[UUID, str] = field(default_factory=dict)


CHARGE_CAUSE = "charge"
"""The cause of the line by which a report counts a gift: one per gift, whichever charge it was."""
REVERSAL_CAUSE = "reversal:"

_STANDINGS = {
    "pending": Standing.UNDERWAY,
    "reserved": Standing.UNDERWAY,
    "succeeded": Standing.SUCCEEDED,
    "failed": Standing.FAILED,
    "cancelled": Standing.FAILED,
}
# Of one charge, a notice of its failure ends what was under way; of several, one under way is another attempt.
_OF_A_CHARGE = (Standing.SUCCEEDED, Standing.FAILED, Standing.UNDERWAY)
_OF_A_GIFT = (Standing.SUCCEEDED, Standing.UNDERWAY, Standing.FAILED)


def standing_of(notices: Iterable[Notice]) -> Standing:
    """What the notices of one charge say together. A success stands, whatever else is said of the charge."""
    return _strongest((_STANDINGS[notice.status] for notice in notices), _OF_A_CHARGE)


def owner_of(notices: Sequence[Notice], matched: str | None) -> str | None:
    """The message to which a charge belongs: one, whatever its notices name. None: not known.

    `matched` is the message found for it by number, code, time and amount. What a notice names comes first,
    that of a success before others.
    """
    named = [
        (_STANDINGS[notice.status] is not Standing.SUCCEEDED, notice.message_ref)
        for notice in notices
        if notice.message_ref is not None
    ]
    return min(named)[1] if named else matched


def succeeded_vnd(notices: Sequence[Notice]) -> int | None:
    """What a charge took by its notices, 0 where none names an amount. None: it did not succeed."""
    if standing_of(notices) is not Standing.SUCCEEDED:
        return None
    return max((each.amount_vnd or 0 for each in notices if _STANDINGS[each.status] is Standing.SUCCEEDED), default=0)


def _strongest(said: Iterable[Standing], order: Sequence[Standing]) -> Standing:
    present = set(said)
    return next((standing for standing in order if standing in present), Standing.NONE)


def fold(facts: GiftEvents) -> Folded:
    """Where a gift stands by all its events. The same events give the same result, in whatever order they came."""
    standings = {charge_id: standing_of(notices) for charge_id, notices in facts.charges.items()}
    together = _strongest(standings.values(), _OF_A_GIFT)
    gift = Gift(ON_CHARGES[facts.basis][together], facts.units, facts.pledged_vnd)
    folded = Folded(gift)
    counting = _counting(facts, standings)
    if facts.basis is Basis.ON_REPORT and gift.state is GiftState.COUNTED:
        folded.lines[CHARGE_CAUSE] = Line(1, gift.units, gift.pledged_vnd, facts.message_at)
    for each in _in_order(facts, counting):
        step = reverse(folded.gift, each.amount_vnd, each.scope)
        folded.gift = step.gift
        if step.messages or step.vnd:
            folded.lines[REVERSAL_CAUSE + each.native_id] = Line(
                step.messages, step.units, step.vnd, each.occurred_at
            )
        if step.question:
            folded.listed[each.id] = step.question
    for each in facts.reversals:
        if each.charge_ref is not None and facts.owners.get(each.charge_ref, facts.message_ref) != facts.message_ref:
            folded.listed.setdefault(each.id, "names another message than its charge")
    _list_less_than_charged(facts, standings, counting, folded.listed)
    _list_notices(facts, standings, together, counting, folded)
    return folded


def _counting(facts: GiftEvents, standings: Mapping[str, Standing]) -> str | None:
    """Of the charges that succeeded, the one that counts: one that was not given back, by preference."""
    succeeded = [charge_id for charge_id, standing in standings.items() if standing is Standing.SUCCEEDED]
    return min(succeeded, key=lambda charge_id: (_is_given_back(facts, charge_id), charge_id), default=None)


def _taken(facts: GiftEvents, charge_id: str) -> int:
    """What a charge took by its notices of success, else what the gift is."""
    return succeeded_vnd(facts.charges[charge_id]) or facts.pledged_vnd


def _is_given_back(facts: GiftEvents, charge_id: str) -> bool:
    """Whether a charge was given back whole, at once or in parts."""
    claims = [each for each in facts.reversals if each.charge_ref == charge_id]
    total = sum(each.amount_vnd for each in claims)
    return any(each.scope == "total" for each in claims) or (bool(claims) and total >= _taken(facts, charge_id))


def _are_given_back_by_message(facts: GiftEvents, standings: Mapping[str, Standing]) -> bool:
    """Whether what names no charge gives back all that the charges of a message took which does not count."""
    left = [
        _taken(facts, charge_id)
        for charge_id, standing in standings.items()
        if standing is Standing.SUCCEEDED and not _is_given_back(facts, charge_id)
    ]
    given = [each.amount_vnd for each in facts.reversals if each.charge_ref is None]
    return facts.basis is Basis.UNCOUNTED and bool(given) and sum(given) >= sum(left)


def _list_less_than_charged(
    facts: GiftEvents, standings: Mapping[str, Standing], counting: str | None, listed: dict[UUID, str]
) -> None:
    """Totals that give back a charge which does not count, and name less than it took."""
    for charge_id, standing in standings.items():
        if standing is not Standing.SUCCEEDED or (charge_id == counting and facts.basis is not Basis.UNCOUNTED):
            continue
        claims = [each for each in facts.reversals if each.charge_ref == charge_id]
        if sum(each.amount_vnd for each in claims) < _taken(facts, charge_id):
            listed.update((each.id, NAMES_LESS) for each in claims if each.scope == "total")


def _in_order(facts: GiftEvents, counting: str | None) -> list[StoredReversal]:
    """The reversals that speak of the gift's money, in the order in which they are applied.

    One that names another charge of the gift than the one that counts gives back that charge's money. While
    all claims together fit the gift, parts come before totals and earlier ones before later ones. Where they
    claim more, totals and then the largest come first, so that the time of a claim decides nothing.
    """
    claims = list(facts.reversals)
    if counting is not None:
        others = facts.charges.keys() - {counting}
        claims = [each for each in claims if each.charge_ref not in others]
    if sum(each.amount_vnd for each in claims) <= facts.pledged_vnd:
        rank = {"partial": 0, None: 1, "total": 2}
        return sorted(claims, key=lambda each: (rank[each.scope], each.occurred_at, each.native_id))
    rank = {"total": 0, None: 1, "partial": 1}
    return sorted(
        claims, key=lambda each: (rank[each.scope], -each.amount_vnd, each.scope == "partial", each.native_id)
    )


def _list_notices(
    facts: GiftEvents,
    standings: Mapping[str, Standing],
    together: Standing,
    counting: str | None,
    folded: Folded,
) -> None:
    """Which notices do not fit their gift, and why. None of this moves money.

    Of a gift that was given back whole nobody is asked whether it counts, nor how much it was.
    """
    listed, gift = folded.listed, folded.gift
    is_nothing_left = gift.state is GiftState.COUNTED and gift.reversed_vnd > 0 and not gift.left_vnd
    is_gone = gift.state is GiftState.REVERSED or is_nothing_left
    all_given_back = _are_given_back_by_message(facts, standings)
    for charge_id, notices in facts.charges.items():
        succeeded = standings[charge_id] is Standing.SUCCEEDED
        stands = succeeded and not all_given_back and not _is_given_back(facts, charge_id)
        for notice in notices:
            said = _STANDINGS[notice.status]
            if notice.message_ref not in (None, facts.message_ref):
                listed[notice.id] = "names another message than other notices of its charge"
            elif said is Standing.FAILED and (is_gone or facts.basis is Basis.UNCOUNTED):
                continue
            elif said is Standing.FAILED and succeeded:
                listed[notice.id] = "failed, but another notice of its charge says succeeded"
            elif said is Standing.FAILED and facts.basis is Basis.ON_MESSAGE and together is not Standing.SUCCEEDED:
                listed[notice.id] = "failed, but its message is counted"
            elif said is not Standing.SUCCEEDED:
                continue
            elif facts.basis is Basis.UNCOUNTED and stands:
                listed[notice.id] = "succeeded, but its message is not counted"
            elif charge_id != counting and stands:
                listed[notice.id] = "succeeded, but another charge of its message did so too"
            elif (
                facts.basis is Basis.ON_REPORT
                and not is_gone
                and charge_id == counting
                and notice.amount_vnd not in (None, facts.pledged_vnd)
            ):
                listed[notice.id] = "its amount is not the book's; the book's counts"
