"""Spooled callbacks back to the writer, and from there into the database: after live traffic, never instead of it.

A record enters where a verified callback does: it is parsed by its account's gateway, read, and stored with
the time at which it arrived. The sender was answered long ago, so a record can only become accepted, a
duplicate, a conflict, or a case for a person in quarantine.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import inf

import structlog

from campaigns.gifts.messages import ReadByOldBook
from campaigns.gifts.test_mode import DayFull
from gateways.gateway import MalformedCallback
from gateways.outcome import Outcome
from service.catalog.accounts import LoadedAccount
from service.catalog.catalog import Catalog
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.quarantine import NO_EVENT, NOT_IN_TIME, UNSTORABLE, Kept, Quarantine
from service.intake.replay_progress import BATCH_RECORDS, Hold, Progress, Record, Suspect
from service.intake.row_builder import NoDataKey, RowBuilder
from service.intake.spool import Spool, Spooled
from service.intake.spool_claim import SpoolFolder
from service.intake.spool_file import SpoolRefused, Stored
from service.intake.trials import TrialsAway, TrialStore
from service.intake.writer import DatabaseDown, Locked, QueueFull, Unstorable, Writer
from service.runtime.keyring import SealBroken
from service.runtime.logs import describe_failure
from service.runtime.tasks import backoff, cancel_and_wait, repeat

log = structlog.get_logger("replay")

ROUND_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 60.0
"""What was passed over, and a file that could not be used, is looked at again after this."""
START_OVER_SECONDS = 2.0
"""What was passed over for an instant's sake is."""
QUEUED_EVENTS_MAX = 200
"""With more live events than this before the writer, the replay waits."""
LIVE_FACTOR = 3
"""While carriers post, the replay rests this many times as long as it worked."""
REST_SECONDS_MAX = 1.5
"""But no longer: what took long stood still, before a database that did, and took nothing from anybody."""
MARGIN_SECONDS = 2.0
"""Over the time of a statement, until a record that is still not committed counts as failed."""
SUSPECT_FAILURES_MAX = 3
SUSPECT_SECONDS = 300.0
"""A record that was tried alone so often, over so long, and failed while others were committed is set apart."""
SUSPECT_PAUSES: tuple[float, ...] = (1.0, 5.0, 30.0, 60.0)
"""Before such a record is tried again."""
LOCK_PAUSES: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
"""Before an account whose records waited for a lock is tried again, which takes a writer a quarter of a second."""
LIVE_SECONDS = 1.0
"""How long after a live callback carriers count as posting."""


def rest_seconds(worked: float) -> float:
    """How long the replay rests for live callbacks after a batch that took `worked` seconds."""
    return min(worked * LIVE_FACTOR, REST_SECONDS_MAX)


class Later(Exception):
    """The record stays where it is: its account cannot serve, or quarantine is full."""


class NotNow(Later):
    """It stays for this instant: what it needs of the database or of the writer was not to be had. No fault of it."""


class NotInTime(Later):
    """The record was not committed in time: for its own sake, or for the database's."""


class LockHeld(Later):
    """The record, or one that was stored with it, needs a lock that somebody else holds."""


class Replay:
    """One task. It owns the worker's own spool and whatever it adopts."""

    def __init__(
        self,
        spools: SpoolFolder,
        *,
        catalog: Catalog,
        rows: RowBuilder,
        writer: Writer,
        statement_seconds: float,
        digest_key: bytes,
        quarantine: Quarantine,
        circuit: CircuitBreaker,
        trials: TrialStore,
    ) -> None:
        """Claims this worker's own spool at once. `statement_seconds`: how long a statement takes at most.

        Raises SpoolRefused.
        """
        self.own = spools.claim_own()
        self._folder = spools
        self._catalog = catalog
        self._rows = rows
        self._writer = writer
        # Longer than a commit can take: a record whose fate is not known yet would meet itself.
        self._wait_seconds = statement_seconds + MARGIN_SECONDS
        self._digest_key = digest_key
        self._quarantine = quarantine
        self._circuit = circuit
        self._trials = trials
        self._adopted: list[Spool] = []
        self._progress: dict[str, Progress] = defaultdict(Progress)
        self.suspect_seconds, self.suspect_pauses = SUSPECT_SECONDS, SUSPECT_PAUSES
        self.lock_pauses = LOCK_PAUSES
        self.refused: tuple[str, ...] = ()
        """A sentence for each file that nobody has and that cannot be used."""
        self._task: asyncio.Task[None] | None = None
        self._live_at = 0.0
        self._look_again_at = 0.0
        self._start_over_at = inf
        """When records are looked at again that were passed over for an instant's sake."""

    @property
    def records(self) -> int:
        """How many records wait in this worker's files."""
        return sum(each.records for each in self._spools)

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest of them."""
        return max(each.oldest_seconds for each in self._spools)

    def troubles(self) -> Iterable[str]:
        """What waits here, and whether more could."""
        if self._circuit.is_open:
            yield "the database does not commit in time; callbacks go into the spool"
        if self.records:
            yield f"{self.records} callbacks wait in the spool, the oldest for {round(self.oldest_seconds)} s"
        if self.own.refusal is not None:
            yield self.own.refusal
        yield from self.refused

    async def has_said_yes(self, keys: Sequence[bytes]) -> bool:
        """Whether a spool of this machine has acknowledged one of these messages and was not replayed since."""
        return await self._folder.has_said_yes(keys)

    def see_live(self) -> None:
        """A live callback is being taken: the replay rests for its sake."""
        self._live_at = time.monotonic()

    @property
    def _spools(self) -> tuple[Spool, ...]:
        return (self.own, *self._adopted)

    def start(self) -> None:
        """Begin to look after the files."""
        self._task = repeat("replay", self._round, (ROUND_SECONDS,))

    async def stop(self) -> None:
        """End, and give the files back."""
        await cancel_and_wait(self._task)
        self._task = None
        for each in self._spools:
            await each.close()

    async def _round(self) -> None:
        again = time.monotonic() >= self._look_again_at
        await self._adopt(again=again)
        if again:
            self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        if again or time.monotonic() >= self._start_over_at:
            self._start_over_at = inf
            for progress in self._progress.values():
                progress.start_over()
        for each in self._spools:
            await each.probe()
            try:
                await self._drain(each)
            except SpoolRefused as refused:
                # The others are not to wait for a file that cannot be read any more.
                log.error("spool_not_replayed", file=each.name, reason=str(refused))
        await self._let_go()

    async def _adopt(self, *, again: bool = True) -> None:
        found, problems, told = await self._folder.claim_left(again=again)
        self.refused = tuple(problems)
        for sentence in told:
            log.error("spool_not_adopted", reason=sentence)
        for spool in found:
            self._adopted.append(spool)
            if spool.records:
                log.warning("spool_adopted", file=spool.name, records=spool.records)

    async def _let_go(self) -> None:
        for each in [each for each in self._adopted if not each.records]:
            self._adopted.remove(each)
            self._progress.pop(each.name, None)
            await each.close(and_delete=True)

    async def _drain(self, spool: Spool) -> None:
        """Replay `spool` until it is empty or the database does not take its records."""
        progress = self._progress[spool.name]
        while spool.records and self._writer.connected:
            if self._writer.queued_events > QUEUED_EVENTS_MAX:
                return
            started, commits = time.monotonic(), self._writer.commits
            # While nothing is committed, one record tries whether it is again.
            batch = await spool.oldest(1 if self._circuit.is_open else progress.records, progress.passed)
            if not batch:
                if progress.is_due:
                    progress.start_over()
                return
            done, late = await self._store_groups(spool, progress, batch)
            if len(late) == 1 and await self._suspect(spool, late[0], commits):
                done.append(late[0].stored)
            if done:
                await spool.remove(done)
                for each in done:
                    progress.suspects.pop(each.id, None)
                log.info("spool_replayed", file=spool.name, records=len(done), left=spool.records)
            if late:
                progress.records = max(1, len(late) // 2)
                return
            progress.records = min(BATCH_RECORDS, 2 * progress.records)
            if progress.is_released:
                progress.start_over()
            elif len(done) < len(batch):
                progress.passed = batch[-1].number
            worked = time.monotonic() - started
            is_live = time.monotonic() - self._live_at < LIVE_SECONDS
            await asyncio.sleep(rest_seconds(worked) if is_live else 0)

    async def _store_groups(
        self, spool: Spool, progress: Progress, batch: list[Stored]
    ) -> tuple[list[Stored], list[Record]]:
        """Those of `batch` that need the spool no longer, and the group that was not committed in time, if any.

        Where a lock was waited for, each account of the group is tried alone, and held where it was its lock.
        """
        groups = progress.groups([self._open(spool, stored) for stored in batch])
        all_done: list[Stored] = []
        while groups:
            group = groups.popleft()
            done, failure = await self._store(spool, group)
            all_done += done
            if failure is NotInTime:
                return all_done, group
            if failure is None:
                progress.release({each.account for each in group})
                continue
            # Of one group some may be committed and some not: who is done is not tried, and not let go, once more.
            ended = {each.number for each in done}
            left = [each for each in group if each.stored.number not in ended]
            accounts = dict.fromkeys(each.account for each in left)
            if len(accounts) > 1:
                groups.extend([each for each in left if each.account == account] for account in accounts)
            else:
                self._hold(progress, left[0].account)
        return all_done, []

    def _hold(self, progress: Progress, account: str) -> None:
        hold = progress.held.setdefault(account, Hold())
        if not hold.failures:
            log.warning("spooled_account_locked", account=account)
        hold.again_at = time.monotonic() + backoff(self.lock_pauses, hold.failures)
        hold.failures += 1

    def _open(self, spool: Spool, stored: Stored) -> Record:
        try:
            return Record(stored, spool.opened(stored))
        except (SealBroken, ValueError, KeyError) as error:
            log.error("spooled_record_broken", request=stored.request_id, reason=type(error).__name__)
            return Record(stored, None)

    async def _store(self, spool: Spool, group: list[Record]) -> tuple[list[Stored], type[Later] | None]:
        """Those of `group` that need the spool no longer, and whether any met a lock or was not committed in time."""
        fates = await asyncio.gather(*(self._replay(spool, each) for each in group), return_exceptions=True)
        done: list[Stored] = []
        for record, fate in zip(group, fates, strict=True):
            if fate is None:
                done.append(record.stored)
            elif not isinstance(fate, Later):
                assert isinstance(fate, Exception)  # noqa: S101 -- gather hands cancellation on by itself
                log.error("spooled_callback_not_replayed", request=record.stored.request_id, **describe_failure(fate))
        failures = {type(fate) for fate in fates}
        if NotNow in failures:
            self._start_over_at = min(self._start_over_at, time.monotonic() + START_OVER_SECONDS)
        return done, next((kind for kind in (LockHeld, NotInTime) if kind in failures), None)

    async def _suspect(self, spool: Spool, record: Record, commits: int) -> bool:
        """Pass over a record that failed alone; True once it was set apart, so that it is tried no more.

        That needs proof that the fault is its own: several failures over a time, and with each something else that
        was committed since the one before. `commits` are the writer's from before it was tried.
        """
        progress, now, stored = self._progress[spool.name], time.monotonic(), record.stored
        progress.passed = stored.number
        suspect = progress.suspects.setdefault(stored.id, Suspect(now, commits))
        if self._writer.commits > suspect.commits:
            suspect.failures += 1
        suspect.commits = self._writer.commits
        suspect.again_at = now + backoff(self.suspect_pauses, suspect.failures)
        if suspect.failures < SUSPECT_FAILURES_MAX or now - suspect.since < self.suspect_seconds:
            return False
        spooled = record.spooled
        assert spooled is not None  # noqa: S101 -- it was tried
        log.error("spooled_callback_not_in_time", account=spooled.code, request=stored.request_id)
        try:
            await self._set_apart(self._account_of(spooled), spooled, NOT_IN_TIME)
        except Later:
            return False
        return True

    async def _replay(self, spool: Spool, record: Record) -> None:
        """One record into the database, or into quarantine. Raises Later; then it stays."""
        spooled = record.spooled
        if spooled is None:
            raise Later
        account = self._account_of(spooled)
        callback = spooled.callback
        try:
            events = account.gateway.parse(callback, self._digest_key)
        except MalformedCallback as malformed:
            await self._set_apart(account, spooled, malformed.reason)
            return
        if not events:
            # It had some when it was acknowledged: the account's settings are others now.
            await self._set_apart(account, spooled, NO_EVENT)
            return
        try:
            entry = await self._rows.build(account, callback, events, spooled.answer, spool.doubts_about(callback))
            entry.is_replayed = True
            if spooled.is_test:
                await self._trials.store(entry)
                return
            await self._writer.store(entry, self._wait_seconds)
        except (NoDataKey, QueueFull, ReadByOldBook):
            raise NotNow from None
        except TrialsAway:
            raise NotInTime from None
        except DayFull:
            log.warning("spooled_test_let_go", account=account.code, request=callback.request_id)
            return
        except Locked:
            raise LockHeld from None
        except DatabaseDown:
            # It says nothing of live callbacks: they find out for themselves.
            raise NotInTime from None
        except Unstorable:
            await self._set_apart(account, spooled, UNSTORABLE)
            return
        self._circuit.close()

    def _account_of(self, spooled: Spooled) -> LoadedAccount:
        account = self._catalog.accounts.by_code.get(spooled.code)
        if account is None or account.id != spooled.account_id or account.adapter != spooled.adapter:
            log.error("spooled_account_unknown", account=spooled.code, request=spooled.callback.request_id)
            raise Later
        if not account.is_usable:
            # What it makes of the carrier's words stands in settings that cannot be had now.
            log.error("spooled_account_not_usable", account=spooled.code, request=spooled.callback.request_id)
            raise Later
        return account

    async def _set_apart(self, account: LoadedAccount, spooled: Spooled, reason: str) -> None:
        if spooled.is_test:
            log.warning("spooled_test_let_go", account=account.code, request=spooled.callback.request_id)
            return
        kept = await self._quarantine.keep(account, spooled.callback, Outcome.MALFORMED, reason)
        if kept is Kept.AWAY:
            raise NotNow
        if kept is Kept.FULL:
            raise Later
