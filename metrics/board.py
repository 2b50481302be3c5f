"""The live board: the newest totals of every campaign as the very bytes every surface publishes.

A snapshot is encoded once and shared by the JSON API, the event stream and the pages. Versions only rise here.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import orjson

from campaigns.book.book import VIETNAM
from campaigns.totals.totals import (
    UNALLOCATED_REASONS,
    UNCOUNTED_REASONS,
    CampaignTotals,
    CarrierTotals,
    UnallocatedTotals,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One campaign's totals at one version: the figures, their JSON, and the server-sent event."""

    totals: CampaignTotals
    body: bytes
    frame: bytes


class Board:
    """What this worker shows. Written by the feed alone, read by every surface."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._unallocated = b"null"
        self._unallocated_version = -1
        self._seen_at: float | None = None
        self.generation = 0
        """Rises with every change of what is shown: equal generation, equal bytes of everything together."""
        self.changed = asyncio.Event()
        """Set when something newer is shown; the one who follows the board clears it."""
        self._looked = asyncio.Event()
        """Set by the next look at the database, and another one from then on."""

    def post(self, totals: Iterable[CampaignTotals], unallocated: UnallocatedTotals | None, seen_at: float) -> int:
        """Take over what is newer; returns how many campaigns changed. `seen_at` is monotonic seconds of the read.

        `unallocated` None: it could not be read, and what is shown stays.
        """
        changed = 0
        for each in totals:
            known = self._snapshots.get(each.campaign)
            if known is None or known.totals.version < each.version:
                self._snapshots[each.campaign] = encode(each)
                changed += 1
        if unallocated is not None and unallocated.version > self._unallocated_version:
            self._unallocated_version = unallocated.version
            self._unallocated = encode_unallocated(unallocated)
            self.generation += 1
        self._seen_at = seen_at
        self._looked.set()
        self._looked = asyncio.Event()
        if changed:
            self.generation += 1
            self.changed.set()
        return changed

    def get(self, slug: str) -> Snapshot | None:
        """The newest snapshot of a campaign."""
        return self._snapshots.get(slug)

    async def first(self, slug: str, seconds: float) -> Snapshot | None:
        """As `get`, or the first one that comes within `seconds`: the book has a new campaign before the board."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while slug not in self._snapshots:
                    await self._looked.wait()
        return self.get(slug)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All of them, in the order the campaigns were applied."""
        return tuple(self._snapshots.values())

    @property
    def unallocated(self) -> bytes:
        """The JSON of what belongs to no campaign."""
        return self._unallocated

    @property
    def age_seconds(self) -> float | None:
        """How long ago this worker last read the database; None before the first time."""
        return None if self._seen_at is None else max(0.0, time.monotonic() - self._seen_at)


def encode(totals: CampaignTotals) -> Snapshot:
    """The JSON object of the contract and its event. Integers only; times RFC 3339 in Vietnam's zone."""
    body = orjson.dumps(
        {
            "campaign": totals.campaign,
            "version": totals.version,
            "as_of": local(totals.as_of),
            "messages": totals.messages,
            "units": totals.units,
            "pledged_vnd": totals.pledged_vnd,
            "confirmed_vnd": totals.confirmed_vnd,
            "received_vnd": totals.received_vnd,
            "disbursed_vnd": totals.disbursed_vnd,
            "goal_vnd": totals.goal_vnd,
            "reversed": dict(zip(("messages", "vnd"), totals.reversed, strict=True)),
            "by_carrier": [encode_share(share) for share in totals.by_carrier],
            "uncounted": dict(zip(UNCOUNTED_REASONS, totals.uncounted, strict=True)),
        }
    )
    return Snapshot(totals, body, b"event: totals\nid: %d\ndata: %b\n\n" % (totals.version, body))


def encode_share(share: CarrierTotals) -> dict[str, str | int]:
    """A carrier's share as JSON shows it."""
    return {
        "carrier": share.carrier,
        "messages": share.messages,
        "units": share.units,
        "pledged_vnd": share.pledged_vnd,
    }


def encode_unallocated(totals: UnallocatedTotals) -> bytes:
    """The JSON object of what belongs to no campaign."""
    return orjson.dumps(
        {
            "version": totals.version,
            "as_of": local(totals.as_of) if totals.as_of else None,
            "messages": sum(totals.by_reason),
            "by_reason": dict(zip(UNALLOCATED_REASONS, totals.by_reason, strict=True)),
            "orphan_charges": {"count": totals.orphan_charges, "vnd": totals.orphan_vnd},
        }
    )


def local(at: datetime) -> str:
    """RFC 3339 in Vietnam's zone, always with microseconds."""
    return at.astimezone(VIETNAM).isoformat(timespec="microseconds")
