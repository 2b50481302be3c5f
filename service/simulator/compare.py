"""The target's public totals before and after, and whether they grew by what was sent and by nothing else."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from campaigns.totals.totals import CARRIERS, UNALLOCATED_REASONS, UNCOUNTED_REASONS
from service.simulator.refused import SimulateRefused
from service.simulator.tally import NOTHING, Figures, Sums

POLL_SECONDS = 0.3
QUIET_SECONDS = 1.5
"""A worker may be a second behind another: only after that long without a change is a total final."""


@dataclass(slots=True)
class Standing:
    """What `GET /api/v1/totals` says at one moment; `versions` by campaign, "" for the unallocated."""

    sums: Sums = field(default_factory=Sums)
    versions: dict[str, int] = field(default_factory=dict)

    def merge_newer(self, other: "Standing") -> bool:
        """Take over each campaign of which `other` does not know a lower version; says whether anything changed.

        Two workers may differ for a second, and a lower version is to be ignored (the contract, totals object).
        Equal versions are taken too: they should be equal bytes, and where they are not, that must be seen.
        """
        before = deepcopy(self)
        newer = {slug for slug, version in other.versions.items() if version >= self.versions.get(slug, -1)}
        self.versions.update({slug: other.versions[slug] for slug in newer})
        for ours, theirs in ((self.sums.counted, other.sums.counted), (self.sums.uncounted, other.sums.uncounted)):
            _replace(ours, theirs, newer)
        if "" in newer:
            self.sums.unallocated = other.sums.unallocated
        return self != before


def _replace(ours: dict[tuple[str, str], Any], theirs: Mapping[tuple[str, str], Any], newer: set[str]) -> None:
    for place in [place for place in ours if place[0] in newer]:
        del ours[place]
    ours.update({place: value for place, value in theirs.items() if place[0] in newer})


def standing_of(document: Any) -> Standing:
    """Read the totals document. Raises SimulateRefused where it is not what the contract says."""
    standing = Standing()
    try:
        for totals in document["campaigns"]:
            slug = totals["campaign"]
            standing.versions[slug] = totals["version"]
            standing.sums.counted[slug, ""] = _figures(totals)
            for share in totals["by_carrier"]:
                standing.sums.counted[slug, share["carrier"]] = _figures(share)
            for reason, messages in totals["uncounted"].items():
                standing.sums.uncounted[slug, reason] = messages
        unallocated = document["unallocated"]
        standing.versions[""] = unallocated["version"]
        standing.sums.unallocated = Counter(unallocated["by_reason"])
    except (KeyError, TypeError, AttributeError):
        raise SimulateRefused(
            "the target's /api/v1/totals is not a portal's: is --target the public listener?"
        ) from None
    return standing


def _figures(totals: Mapping[str, int]) -> Figures:
    return Figures(totals["messages"], totals["units"], totals["pledged_vnd"])


@dataclass(frozen=True, slots=True)
class Row:
    """One figure that is compared. `place`: a carrier, "all carriers", or why messages did not count."""

    campaign: str | None
    place: str
    expected: Figures
    grown: Figures

    @property
    def difference(self) -> Figures:
        """How much more the target grew than was sent."""
        return self.grown - self.expected

    @property
    def is_right(self) -> bool:
        """Whether it grew by just what was sent."""
        return self.difference == NOTHING


def rows(before: Sums, after: Sums, sent: Sums) -> list[Row]:
    """Every figure that grew or should have, in the order of the target's campaigns; what did neither is left out."""
    found = [*_counted(before, after, sent), *_uncounted(before, after, sent)]
    for reason in _ordered({*after.unallocated, *sent.unallocated, *before.unallocated}, UNALLOCATED_REASONS):
        grown = after.unallocated[reason] - before.unallocated[reason]
        found.append(Row(None, reason, Figures(sent.unallocated[reason]), Figures(grown)))
    return [row for row in found if row.expected != NOTHING or row.grown != NOTHING]


def _counted(before: Sums, after: Sums, sent: Sums) -> Iterator[Row]:
    for campaign in dict.fromkeys(slug for slug, _ in (*after.counted, *before.counted, *sent.counted)):
        named = {carrier for sums in (before, after, sent) for slug, carrier in sums.counted if slug == campaign}
        for carrier in _ordered(named, (*CARRIERS, "")):
            place = campaign, carrier
            grown = after.counted.get(place, NOTHING) - before.counted.get(place, NOTHING)
            yield Row(campaign, carrier or "all carriers", sent.counted.get(place, NOTHING), grown)


def _uncounted(before: Sums, after: Sums, sent: Sums) -> Iterator[Row]:
    for campaign in dict.fromkeys(slug for slug, _ in (*after.uncounted, *before.uncounted, *sent.uncounted)):
        named = {reason for sums in (before, after, sent) for slug, reason in sums.uncounted if slug == campaign}
        for reason in _ordered(named, UNCOUNTED_REASONS):
            place = campaign, reason
            grown = after.uncounted[place] - before.uncounted[place]
            yield Row(campaign, reason, Figures(sent.uncounted[place]), Figures(grown))


def _ordered(names: set[str], order: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


async def settled(
    fetch: Callable[[], Awaitable[Standing]], is_enough: Callable[[Standing], bool], limit_seconds: float
) -> Standing:
    """The totals once `is_enough` and nothing moved for QUIET_SECONDS, or as they are after `limit_seconds`.

    A target that does not answer for a while is asked again: it may be starting anew. Raises SimulateRefused
    where it is still away at the end.
    """
    loop = asyncio.get_running_loop()
    began = changed = loop.time()
    standing = Standing()
    while True:
        is_last = loop.time() - began >= limit_seconds
        try:
            is_changed = standing.merge_newer(await fetch())
        except SimulateRefused:
            if is_last:
                raise
            is_changed = True
        if is_changed:
            changed = loop.time()
        if is_last or (loop.time() - changed >= QUIET_SECONDS and is_enough(standing)):
            return standing
        await asyncio.sleep(POLL_SECONDS)
