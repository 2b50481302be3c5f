"""What this machine has published, and the refusal to publish anything older.

A database brought back from a backup, or a standby that lags, holds lower versions than viewers have seen. Going on
from there would show figures that go backwards, or none at all to whoever rightly ignores lower versions. So the
highest versions are remembered in the data folder; at a start an older database is refused until somebody says that
it is meant, and a running worker withholds what is older and says so.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import structlog

from campaigns.totals.rollups import FigureUnreadable, select_totals, select_unallocated
from campaigns.totals.totals import CampaignTotals, UnallocatedTotals
from campaigns.totals.versions import raise_versions
from metrics.instruments import Instruments
from service.live.high_water_file import HighWaterFile, HighWaterFileUnusable, Versions
from service.runtime.logs import describe_failure
from service.runtime.refusals import Refused
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("published")

SAVE_SECONDS = 15.0
MARGIN = 1_000_000
"""Versions are raised this far above the mark: it may be SAVE_SECONDS behind what was shown last."""
NAMED_MAX = 10
TOLD = (
    "if these figures are the right ones from now on, start once with `portal1400 serve --accept-older-database`, "
    "which lifts their versions above what was shown"
)

SELECT_IDENTITY = "SELECT key_check, created_at FROM installation"


class OlderThanPublished(Refused):
    """Serving this database would publish less than was published; the sentences say what and what to do."""


class HighWaterMark:
    """The high-water mark of one worker. `open` at the start, `inspect` each read, `stop` at the end."""

    def __init__(self, data_dir: Path, instruments: Instruments) -> None:
        self._file = HighWaterFile(data_dir)
        self._instruments = instruments
        self._installation: str | None = None
        self._campaigns: dict[str, int] = {}
        self._unallocated = 0
        self._behind: tuple[str, ...] = ()
        self._has_risen = False
        self._task: asyncio.Task[None] | None = None

    async def open(self, connection: asyncpg.Connection, *, accept_older: bool) -> None:
        """Compare the database with the mark; raise its versions if it is older and `accept_older`.

        Raises OlderThanPublished; a worker that started without the database then goes on without it.
        """
        identity = await select_identity(connection)
        try:
            mark = await asyncio.to_thread(self._file.read)
            if mark is not None and mark.says_something:
                totals, unallocated = await _select_figures(connection)
                sentences = compare(mark, identity, totals, unallocated)
                if sentences and not accept_older:
                    self._tell(lower_than(mark, totals or ()) or ("(another database)",))
                    raise OlderThanPublished([*sentences, TOLD])
                if sentences:
                    await self._accept(connection, mark, identity)
            elif mark is not None and mark.installation != identity:
                mark = await asyncio.to_thread(self._file.change, lambda _: Versions(identity, {}, 0))
            self._installation = identity
            self._take(await asyncio.to_thread(self._file.read))
        except HighWaterFileUnusable as unusable:
            raise OlderThanPublished([str(unusable)]) from None

    def start(self) -> None:
        """Begin to remember."""
        self._task = repeat("published", self._save, (SAVE_SECONDS,))

    async def stop(self) -> None:
        """Remember what was shown last."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            await self._save()

    def inspect(
        self, totals: Sequence[CampaignTotals], unallocated: UnallocatedTotals | None
    ) -> list[CampaignTotals]:
        """The totals that are not older than what was published. Says so, once, when there are others.

        `unallocated` None: it could not be read, which says nothing of its age.
        """
        shown = [each for each in totals if each.version >= self._campaigns.get(each.campaign, 0)]
        shown_slugs = {each.campaign for each in shown}
        behind = tuple(slug for slug, version in self._campaigns.items() if version and slug not in shown_slugs)
        if unallocated is not None and unallocated.version < self._unallocated:
            behind += ("(unallocated)",)
        for each in shown:
            if each.version > self._campaigns.get(each.campaign, -1):
                self._campaigns[each.campaign] = each.version
                self._has_risen = True
        if unallocated is not None and unallocated.version > self._unallocated:
            self._unallocated, self._has_risen = unallocated.version, True
        self._tell(behind)
        return shown

    def _tell(self, behind: tuple[str, ...]) -> None:
        self._instruments.live.published_ahead.set(len(behind))
        if behind and not self._behind:
            log.error("database_older_than_published", count=len(behind), campaigns=_named(behind))
        elif self._behind and not behind:
            log.warning("database_caught_up_with_published")
        self._behind = behind

    async def _accept(self, connection: asyncpg.Connection, mark: Versions, identity: str) -> None:
        floors = {slug: version + MARGIN for slug, version in mark.campaigns.items() if version}
        await raise_versions(connection, floors, mark.unallocated and mark.unallocated + MARGIN)
        await asyncio.to_thread(self._file.change, lambda _: Versions(identity, {}, 0))
        log.warning("older_database_accepted", campaigns=_named(tuple(mark.campaigns)), raised_by=MARGIN)

    def _take(self, mark: Versions | None) -> None:
        if mark is not None:
            self._campaigns = dict(mark.campaigns)
            self._unallocated = mark.unallocated

    async def _save(self) -> None:
        if not self._has_risen or self._installation is None:
            return
        self._has_risen = False
        mine = Versions(self._installation, dict(self._campaigns), self._unallocated)
        try:
            kept = await asyncio.to_thread(self._file.change, lambda present: higher(present, mine))
        except HighWaterFileUnusable as unusable:
            self._has_risen = True
            log.error("published_versions_not_remembered", reason=str(unusable))
            return
        if kept is None:
            log.error("data_dir_shared_with_another_database", file=self._file.path.name)


async def why_refused(data_dir: Path, connection: asyncpg.Connection) -> list[str]:
    """The sentences by which a start on this claimed database is refused, none where it is not. Writes nothing."""
    try:
        mark = await asyncio.to_thread(HighWaterFile(data_dir).read)
    except HighWaterFileUnusable as unusable:
        return [str(unusable)]
    if mark is None or not mark.says_something:
        return []
    sentences = compare(mark, await select_identity(connection), *await _select_figures(connection))
    return [*sentences, TOLD] if sentences else []


def higher(present: Versions | None, mine: Versions) -> Versions | None:
    """What to remember; None when the present mark belongs to another installation."""
    if present is None:
        return mine
    return present.joined(mine) if present.installation == mine.installation else None


async def select_identity(connection: asyncpg.Connection) -> str:
    """What tells this installation's database, and every copy of it, from any other."""
    row = await connection.fetchrow(SELECT_IDENTITY)
    assert row is not None  # noqa: S101 -- whoever opened the database has claimed it
    return hashlib.sha256(bytes(row["key_check"]) + row["created_at"].isoformat().encode()).hexdigest()[:32]


def lower_than(mark: Versions, totals: Sequence[CampaignTotals]) -> tuple[str, ...]:
    """The campaigns of which less is found than was published."""
    found = {each.campaign: each.version for each in totals}
    return tuple(slug for slug, version in mark.campaigns.items() if version > found.get(slug, 0))


def compare(
    mark: Versions, identity: str, totals: Sequence[CampaignTotals] | None, unallocated: UnallocatedTotals | None
) -> list[str]:
    """One sentence for each way in which the database is older than, or another than, what was published.

    Figures that are None could not be read and are not compared.
    """
    found = {each.campaign: each.version for each in totals or ()}
    lower = [] if totals is None else [(slug, mark.campaigns[slug]) for slug in lower_than(mark, totals)]
    sentences = []
    if mark.installation != identity:
        sentences.append(
            f"this machine has published figures of another database (campaigns: {_named(tuple(mark.campaigns))}): "
            "PORTAL1400_DATABASE_URL or PORTAL1400_DATA_DIR names the wrong one; a new service needs a "
            "PORTAL1400_DATA_DIR of its own"
        )
    for slug, version in lower[:NAMED_MAX]:
        there = f"version {found[slug]}" if slug in found else "no such campaign"
        sentences.append(f"campaign {slug}: version {version} was published, the database has {there}")
    if len(lower) > NAMED_MAX:
        sentences.append(f"and {len(lower) - NAMED_MAX} campaign(s) more")
    if unallocated is not None and mark.unallocated > unallocated.version:
        lower.append(("(unallocated)", mark.unallocated))
        sentences.append(
            f"unallocated messages: version {mark.unallocated} was published, the database has version "
            f"{unallocated.version}"
        )
    if lower:
        sentences.append(
            "the database is older than what was shown (a restored backup, a standby that lagged?): bring the newest "
            "one back, as docs/backup.md tells"
        )
    return sentences


async def _select_figures(
    connection: asyncpg.Connection,
) -> tuple[list[CampaignTotals] | None, UnallocatedTotals | None]:
    """The figures, each None where it cannot be read: a worker starts all the same, and withholds what is older."""
    totals: list[CampaignTotals] | None = None
    unallocated: UnallocatedTotals | None = None
    try:
        totals = await select_totals(connection)
        unallocated = await select_unallocated(connection)
    except (asyncpg.DataError, FigureUnreadable) as error:
        log.error("published_not_compared", is_total=totals is None, **describe_failure(error))
    return totals, unallocated


def _named(slugs: Sequence[str]) -> str:
    more = f" and {len(slugs) - NAMED_MAX} more" if len(slugs) > NAMED_MAX else ""
    return ", ".join(slugs[:NAMED_MAX]) + more
