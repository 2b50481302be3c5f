"""The replies of one account on their way: claimed, written, handed over, settled. One lane for each account."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import NamedTuple

import asyncpg
import structlog

from gateways.replier import Fate, Judgement
from metrics.instruments import Instruments
from service.catalog.accounts import LoadedAccount
from service.catalog.catalog import Catalog
from service.delivery import outbox
from service.delivery.client import HubClient
from service.delivery.outbox import Accepted, Claimed, Settled
from service.delivery.pace import Pace
from service.delivery.replies import Dropped, day_of, waiting_for, written
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring, Sealer
from service.runtime.tasks import backoff, cancel_and_wait

log = structlog.get_logger("replies")

IN_FLIGHT_MAX = 64
"""Calls of one account at a time: a hub that hangs holds so many of the client's connections, and no more."""
POLL_SECONDS = 0.25
"""With nothing due, the outbox is looked at again after this."""
PACE_SECONDS = 0.02
"""With more due than may go at once, after this."""
GATHER_SECONDS = 0.01
"""While calls are under way, what ends within this time is settled in one statement."""
PAUSES = tuple(timedelta(seconds=each) for each in (2, 5, 15, 30, 60, 120, 300))
"""Before a reply is tried again."""
PATIENCE = timedelta(hours=1)
"""How long after its message a free reply is still tried: later it would be a riddle to the donor."""
CHARGED_PATIENCE = timedelta(hours=24)
"""The same of one that makes a gift money."""
REST_AFTER = 5
"""So many failures in a row, and the lane tries one reply at a time, with rests."""
RESTS = (0.5, 1.0, 2.0, 5.0, 10.0)
CHARGES_AGAIN_SECONDS = 2.0
COUNT_SECONDS = 5.0

RecordCharge = Callable[[LoadedAccount, Accepted], Awaitable[bool]]
"""Store that a charged reply was taken, once however often it is said; False: not now."""


class Means(NamedTuple):
    """What all lanes of a worker share. The connection is used by one at a time."""

    catalog: Catalog
    keyring: Keyring
    instruments: Instruments
    clock: Clock
    public_url: str | None
    record_charge: RecordCharge
    client: HubClient
    connection: asyncpg.Connection
    database: asyncio.Lock


class Lane:
    """Sends the replies of the account `code` until it is told to stop. Raises what the database raises."""

    def __init__(self, code: str, means: Means) -> None:
        self.code = code
        self._means = means
        self._pace = Pace()
        self._calls: set[asyncio.Task[None]] = set()
        self._settled: list[Settled] = []
        self._ended = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failures = 0
        self._reason = ""
        self._sealers: dict[date, Sealer | None] = {}
        self._has_accepted = True
        self._charges_at = 0.0
        self._count_at = 0.0

    @property
    def trouble(self) -> str | None:
        """Why the replies wait, while they do."""
        return f"replies of {self.code} wait: {self._reason}" if self._failures >= REST_AFTER else None

    def stop(self) -> None:
        """Claim nothing more; what is under way ends."""
        self._stopped.set()
        self._ended.set()

    async def run(self) -> None:
        """Send what is due until stopped."""
        try:
            while self._calls or not self._stopped.is_set():
                is_drained = await self._claim()
                await self._flush()
                await self._record_charges()
                await self._count()
                await self._wait(POLL_SECONDS if is_drained else PACE_SECONDS)
            await self._flush()
            await self._record_charges()
        finally:
            await cancel_and_wait(*self._calls)

    def _account(self) -> LoadedAccount | None:
        """The account as it is now; None where it sends no replies any more, or cannot."""
        account = self._means.catalog.accounts.by_code.get(self.code)
        if account is None or not account.enabled or account.replier is None:
            return None
        return account if waiting_for(account, self._means.public_url) is None else None

    async def _wait(self, seconds: float) -> None:
        self._ended.clear()
        event = self._ended
        if self._failures >= REST_AFTER and not self._stopped.is_set():
            # A rest ends by its time, or with the lane: not with the one call that tries.
            event, seconds = self._stopped, backoff(RESTS, self._failures - REST_AFTER)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECONDS)

    async def _claim(self) -> bool:
        """Begin to send what may go now; whether nothing more was due."""
        account = self._account()
        if account is None or self._stopped.is_set():
            return True
        most = IN_FLIGHT_MAX if self._failures < REST_AFTER else 1
        per_second = account.gateway.settings.reply_per_second
        allowed = self._pace.take(per_second, max(0, most - len(self._calls)))
        if allowed < 1:
            return False
        async with self._means.database:
            rows = await outbox.claim(self._means.connection, account.id, allowed)
        self._pace.spend(len(rows))
        for row in rows:
            call = asyncio.create_task(self._send(account, row), name=f"reply-{self.code}")
            self._calls.add(call)
            call.add_done_callback(self._forget)
        return len(rows) < allowed

    def _forget(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._ended.set()
        if not call.cancelled() and call.exception() is not None:
            # It stays as being sent, and is in doubt from the next start on.
            log.error("reply_failed", account=self.code, kind=type(call.exception()).__name__)

    async def _send(self, account: LoadedAccount, row: Claimed) -> None:
        means, now = self._means, self._means.clock()
        reply = written(
            row, account, means.catalog.book, means.keyring, await self._sealer(day_of(row)), now=now,
            public_url=means.public_url,
        )  # fmt: skip
        if isinstance(reply, Dropped):
            self._settled.append(Settled(row.message_id, "dropped", reason=reply.reason))
            return
        replier = account.replier
        assert replier is not None  # noqa: S101 -- _account saw to it
        said = await means.client.post(replier.call(reply))
        judgement = said if isinstance(said, Judgement) else replier.judge(*said)
        self._settle(account, row, judgement, may_repeat=replier.drops_repeats)

    def _settle(self, account: LoadedAccount, row: Claimed, judgement: Judgement, *, may_repeat: bool) -> None:
        fate, reason = judgement.fate, judgement.reason
        if fate is Fate.UNKNOWN and may_repeat:
            fate = Fate.LATER
        now = self._means.clock()
        if fate is Fate.ACCEPTED:
            self._failures = 0
            is_charge = row.is_charged and account.charging == "on_reply"
            self._settled.append(
                Settled(row.message_id, "accepted" if is_charge else "sent", hub_id=judgement.hub_id, reason=reason)
            )
            self._means.instruments.replies.reply_seconds.observe(max(0.0, (now - row.received_at).total_seconds()))
            return
        self._failures += 1
        self._reason = reason or ""
        if self._failures == REST_AFTER:
            log.warning("replies_rest", account=self.code, reason=self._reason)
        patience = CHARGED_PATIENCE if row.is_charged else PATIENCE
        state = {Fate.REFUSED: "refused", Fate.UNKNOWN: "in_doubt"}.get(fate, "due")
        pause = PAUSES[min(row.attempts, len(PAUSES)) - 1]
        if state == "due" and now + pause - row.received_at > patience:
            state = "given_up"
        self._settled.append(Settled(row.message_id, state, pause, judgement.hub_id, reason))

    async def _sealer(self, day: date | None) -> Sealer | None:
        if day is None:
            return None
        known = self._means.keyring.day(day) or self._sealers.get(day)
        if known is None:
            async with self._means.database:
                known = self._sealers[day] = await self._means.keyring.find_day(self._means.connection, day)
        return known

    async def _flush(self) -> None:
        settled, self._settled = self._settled, []
        if not settled:
            return
        async with self._means.database:
            await outbox.settle(self._means.connection, settled)
        self._has_accepted |= any(each.state == "accepted" for each in settled)
        for each in settled:
            self._means.instruments.replies.count_reply(self.code, "retried" if each.state == "due" else each.state)
        ended = Counter((each.state, each.reason) for each in settled if each.state in ENDED_BADLY)
        for (state, reason), count in ended.items():
            log.warning("replies_ended", account=self.code, state=state, reason=reason, replies=count)

    async def _record_charges(self) -> None:
        account = self._means.catalog.accounts.by_code.get(self.code)
        now = asyncio.get_running_loop().time()
        if not self._has_accepted or account is None or now < self._charges_at:
            return
        async with self._means.database:
            accepted = await outbox.select_accepted(self._means.connection, account.id)
        recorded = await asyncio.gather(*(self._means.record_charge(account, each) for each in accepted))
        done = [each.message_id for each, is_done in zip(accepted, recorded, strict=True) if is_done]
        if done:
            async with self._means.database:
                await outbox.finish(self._means.connection, done)
            for _ in done:
                self._means.instruments.replies.count_reply(self.code, "sent")
        self._has_accepted = len(done) < len(accepted) or len(accepted) == outbox.ACCEPTED_MAX
        if len(done) < len(accepted):
            self._charges_at = now + CHARGES_AGAIN_SECONDS

    async def _count(self) -> None:
        account = self._means.catalog.accounts.by_code.get(self.code)
        now = asyncio.get_running_loop().time()
        if account is None or now < self._count_at:
            return
        self._count_at = now + COUNT_SECONDS
        async with self._means.database:
            count, oldest = await outbox.waiting(self._means.connection, account.id)
        self._means.instruments.replies.see_replies(self.code, waiting=count, oldest_seconds=oldest)


ENDED_BADLY = frozenset({"refused", "given_up", "in_doubt"})
"""States that a person should hear of."""
