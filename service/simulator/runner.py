"""A simulation from beginning to end: the book file, the totals before, the run, the totals after, the report."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book
from service.simulator.compare import Standing, rows, settled, standing_of
from service.simulator.hubs import Hubs
from service.simulator.links import TIMED_PROTOCOLS, Link, Peer, links_of, timed
from service.simulator.moved import moved_since
from service.simulator.options import Options, require_sane, require_target
from service.simulator.planning import planned_deliveries, require_profile
from service.simulator.playing import IN_FLIGHT_MAX, Player, Progress
from service.simulator.posting import Poster
from service.simulator.profiles import PROFILES
from service.simulator.refused import SimulateRefused
from service.simulator.report import Report
from service.simulator.tally import Ledger

BASELINE_SECONDS = 5.0
"""How long the totals may take to come to rest before the run; after that they are taken as they are."""


async def simulate(
    target: str,
    book_file: Path,
    options: Options,
    *,
    environment: Mapping[str, str],
    progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Report:
    """Play carriers against `target` (the address of a public listener) and compare what it then shows.

    `book_file` is the apply file with the campaigns and accounts; `env:NAME` in it is looked up in `environment`.
    Raises SimulateRefused with a sentence where this cannot be done.
    """
    peers = require_target(target, is_own_server=options.is_own_server)
    require_sane(options)
    book, links, notes = _played(book_file, options, environment, peers)
    ledger = Ledger(book)
    senders = {link.account: link.sender() for link in links}
    async with (
        Poster(target, IN_FLIGHT_MAX, options.retry_seconds) as poster,
        Hubs(book, links, senders) as hubs,
    ):

        async def fetch() -> Standing:
            return standing_of(await poster.document("/api/v1/totals"))

        # Where nothing answers at all, that is to be said at once.
        await fetch()
        before = await settled(fetch, lambda _: True, BASELINE_SECONDS)
        _require_campaigns(target, before, book, options)
        began = datetime.now(UTC)
        deliveries, note = planned_deliveries(book, links, options)
        player = Player(poster, senders, ledger, stop or asyncio.Event(), progress, hubs.owe)
        await player.play(deliveries)
        after = await settled(
            fetch,
            lambda now: all(row.is_right for row in rows(before.sums, now.sums, ledger.sums)),
            options.settle_seconds,
        )
        replied = await hubs.until_answered(options.settle_seconds)
        found = tuple(rows(before.sums, after.sums, ledger.sums))
        wrong = dict.fromkeys(row.campaign for row in found if row.campaign and not row.is_right)
        moved = await moved_since(poster, wrong, began)
        return Report(
            target=target,
            seed=options.seed,
            profile=options.profile,
            notes=(*notes, *([note] if note else ()), *moved),
            progress=player.progress,
            attempts=poster.attempts,
            retries=dict(poster.retries),
            rows=found,
            replied=replied,
        )


def _played(
    book_file: Path, options: Options, environment: Mapping[str, str], peers: Sequence[Peer]
) -> tuple[Book, tuple[Link, ...], tuple[str, ...]]:
    try:
        file = load(book_file)
    except ApplyRefused as refused:
        raise SimulateRefused(str(refused)) from None
    protocols = tuple(dict.fromkeys(options.protocols))
    gateways = [entry.raw for entry in file.gateways]
    if options.profile in PROFILES:
        untimed = [protocol for protocol in protocols if protocol not in TIMED_PROTOCOLS]
        if untimed:
            raise SimulateRefused(
                f"{', '.join(untimed)} tells no time of a message, and {options.profile} replays past ones: "
                f"use {' or '.join(sorted(TIMED_PROTOCOLS))}"
            )
        gateways = timed(gateways)
    links, notes = links_of(gateways, protocols, environment, peers)
    return book_from_file(file), links, notes


def _require_campaigns(target: str, before: Standing, book: Book, options: Options) -> None:
    profile = PROFILES.get(options.profile or "")
    if profile is not None:
        require_profile(profile, book)
    needed = {profile.campaign} if profile is not None else set(book.by_slug)
    missing = sorted(needed - before.versions.keys())
    if missing:
        raise SimulateRefused(f"{target} does not have {', '.join(missing)}: apply the book file there first")
