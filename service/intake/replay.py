"""Spooled callbacks back to the writer, and from there into the database: after live traffic, never instead of it.

A record enters where a verified callback does: it is parsed by its account's gateway, read, and stored with
the time at which it arrived. The sender was answered long ago, so a record can only become accepted, a
duplicate, a conflict, or a case for a person in quarantine.
"""

import asyncio
import time
from collections.abc import Iterable

import structlog

from gateways.gateway import MalformedCallback
from gateways.outcome import Outcome
from service.catalog.accounts import LoadedAccount
from service.catalog.catalog import Catalog
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.quarantine import Kept, Quarantine
from service.intake.row_builder import NoDataKey, RowBuilder
from service.intake.spool import Spool, Spooled, SpoolFolder
from service.intake.spool_file import Stored
from service.intake.writer import DatabaseDown, QueueFull, Unstorable, Writer
from service.runtime.keyring import SealBroken
from service.runtime.logs import describe_failure
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("replay")

BATCH_RECORDS = 50
"""Records parsed in one go: the event loop is kept from live callbacks for a few milliseconds at most."""
ROUND_SECONDS = 0.5
ADOPT_SECONDS = 60.0
QUEUED_EVENTS_MAX = 200
"""With more live events than this before the writer, the replay waits."""
LIVE_FACTOR = 3
"""While carriers post, the replay rests this many times as long as it worked."""
LIVE_SECONDS = 1.0
"""How long after a live callback carriers count as posting."""


class Later(Exception):
    """The record stays where it is: the database is away, or its account cannot serve."""


class Replay:
    """One task. It owns the worker's own spool and whatever it adopts."""

    def __init__(
        self,
        spools: SpoolFolder,
        *,
        catalog: Catalog,
        rows: RowBuilder,
        writer: Writer,
        wait_seconds: float,
        digest_key: bytes,
        quarantine: Quarantine,
        circuit: CircuitBreaker,
    ) -> None:
        """Claims this worker's own spool at once. Raises SpoolRefused."""
        self.own = spools.claim_own()
        self._folder = spools
        self._catalog = catalog
        self._rows = rows
        self._writer = writer
        self._wait_seconds = wait_seconds
        self._digest_key = digest_key
        self._quarantine = quarantine
        self._circuit = circuit
        self._adopted: list[Spool] = []
        self._passed: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._live_at = 0.0
        self._adopt_at = 0.0

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
        if time.monotonic() >= self._adopt_at:
            await self._adopt()
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
            # Once a minute, what was passed over is looked at again.
            self._passed.clear()
        for each in self._spools:
            await each.probe()
            await self._drain(each)
        await self._let_go()

    async def _adopt(self) -> None:
        found, problems = await self._folder.claim_left()
        for sentence in problems:
            log.error("spool_not_adopted", reason=sentence)
        for spool in found:
            self._adopted.append(spool)
            if spool.records:
                log.warning("spool_adopted", file=spool.name, records=spool.records)

    async def _let_go(self) -> None:
        for each in [each for each in self._adopted if not each.records]:
            self._adopted.remove(each)
            await each.close(and_delete=True)

    async def _drain(self, spool: Spool) -> None:
        """Replay `spool` until it is empty or the database does not take its records."""
        while spool.records and self._writer.connected:
            if self._writer.queued_events > QUEUED_EVENTS_MAX:
                return
            started = time.monotonic()
            batch = await spool.oldest(BATCH_RECORDS, self._passed.get(spool.name, 0))
            if not batch:
                return
            done = await self._store(spool, batch)
            if done:
                await spool.remove(done)
                log.info("spool_replayed", file=spool.name, records=len(done), left=spool.records)
            if self._circuit.is_open:
                return
            if len(done) < len(batch):
                self._passed[spool.name] = batch[-1].number
            worked = time.monotonic() - started
            is_live = time.monotonic() - self._live_at < LIVE_SECONDS
            await asyncio.sleep(worked * LIVE_FACTOR if is_live else 0)

    async def _store(self, spool: Spool, batch: list[Stored]) -> list[Stored]:
        """Those of `batch` that need the spool no longer."""
        fates = await asyncio.gather(*(self._replay(spool, each) for each in batch), return_exceptions=True)
        done: list[Stored] = []
        for stored, fate in zip(batch, fates, strict=True):
            if fate is None:
                done.append(stored)
            elif not isinstance(fate, Later):
                assert isinstance(fate, Exception)  # noqa: S101 -- gather hands cancellation on by itself
                log.error("spooled_callback_not_replayed", record=stored.id.hex(), **describe_failure(fate))
        return done

    async def _replay(self, spool: Spool, stored: Stored) -> None:
        """One record into the database, or into quarantine. Raises Later; then it stays."""
        try:
            spooled = spool.opened(stored)
        except (SealBroken, ValueError, KeyError) as error:
            log.error("spooled_record_broken", record=stored.id.hex(), reason=type(error).__name__)
            raise Later from None
        account = self._account_of(spooled)
        callback = spooled.callback
        try:
            events = account.gateway.parse(callback, self._digest_key)
        except MalformedCallback as malformed:
            await self._set_apart(account, spooled, malformed.reason)
            return
        try:
            entry = await self._rows.build(account, callback, events, spooled.answer)
            results = await self._writer.store(entry, self._wait_seconds)
        except (NoDataKey, QueueFull):
            raise Later from None
        except DatabaseDown:
            self._circuit.open()
            raise Later from None
        except Unstorable:
            await self._set_apart(account, spooled, "unstorable")
            return
        self._circuit.close()
        for result in results:
            if spooled.answer is not None and result.answer is not None and result.answer != spooled.answer:
                # Its commit came back after we had given up waiting and acknowledged from the spool.
                log.error("spooled_answer_differs", account=account.code, record=stored.id.hex())

    def _account_of(self, spooled: Spooled) -> LoadedAccount:
        account = self._catalog.accounts.by_code.get(spooled.code)
        if account is None or account.id != spooled.account_id or account.adapter != spooled.adapter:
            log.error("spooled_account_unknown", account=spooled.code)
            raise Later
        if not account.is_usable:
            # What it makes of the carrier's words stands in settings that cannot be had now.
            log.error("spooled_account_not_usable", account=spooled.code)
            raise Later
        return account

    async def _set_apart(self, account: LoadedAccount, spooled: Spooled, reason: str) -> None:
        if await self._quarantine.keep(account, spooled.callback, Outcome.MALFORMED, reason) is not Kept.YES:
            raise Later
