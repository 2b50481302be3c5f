"""The dispatcher: one connection, and a lane for each account whose replies this worker sends.

In a cluster an account's replies are sent by one worker, the one that holds its lock: so its rate is what the file
says, and what a dead worker left behind is told from what is under way. Nothing here is waited for by a callback.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import structlog

from metrics.instruments import Instruments
from service.catalog.accounts import LoadedAccount
from service.catalog.catalog import Catalog
from service.delivery import outbox
from service.delivery.client import HubClient
from service.delivery.lane import Lane, Means, RecordCharge
from service.delivery.replies import waiting_for
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring
from service.runtime.logs import describe_failure
from service.runtime.tasks import backoff, cancel_and_wait

log = structlog.get_logger("replies")

TAKE_SECONDS = 0.5
"""Between two looks for accounts that nobody serves; at each one is taken, so that workers share them."""
RECONNECT_SECONDS = (0.5, 1.0, 2.0, 5.0)
STOP_SECONDS = 8.0
"""How long calls that are under way are waited for: what is cut off is in doubt."""


class Dispatcher:
    """One task for each worker. Without accounts whose replies need a call it has no connection."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        catalog: Catalog,
        keyring: Keyring,
        instruments: Instruments,
        clock: Clock,
        public_url: str | None,
        record_charge: RecordCharge,
    ) -> None:
        self._connect = connect
        self._catalog = catalog
        self._keyring = keyring
        self._instruments = instruments
        self._clock = clock
        self._public_url = public_url
        self._record_charge = record_charge
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="replies")

    async def stop(self) -> None:
        """Claim nothing more, wait a little for what is under way, and leave the accounts to others."""
        self._stopping.set()
        for lane, _ in self._lanes.values():
            lane.stop()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_SECONDS)
        await cancel_and_wait(self._task)
        self._task = None

    def troubles(self) -> Iterator[str]:
        """Whose replies wait, and why. That a secret is missing the catalog tells."""
        for code, account in self._wanted().items():
            if account.reply_problem is None and (reason := waiting_for(account, self._public_url)) is not None:
                yield f"replies of {code} wait: {reason}"
        for lane, _ in self._lanes.values():
            if lane.trouble is not None:
                yield lane.trouble

    def _wanted(self) -> dict[str, LoadedAccount]:
        return {
            code: account
            for code, account in self._catalog.accounts.by_code.items()
            if account.enabled and account.replier is not None and not account.is_test
        }

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if not self._wanted():
                await self._pause(TAKE_SECONDS)
                continue
            try:
                await self._serve()
                failures = 0
            except Exception as error:  # noqa: BLE001 -- replies wait; ending would be noticed by nobody
                log.warning("replies_interrupted", **describe_failure(error))
                await self._pause(backoff(RECONNECT_SECONDS, failures))
                failures += 1

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _serve(self) -> None:
        """Take accounts and send, until stopped or the connection is lost. Raises what the database raises."""
        connection = await self._connect()
        try:
            async with HubClient() as client:
                means = Means(
                    self._catalog, self._keyring, self._instruments, self._clock, self._public_url,
                    self._record_charge, client, connection, asyncio.Lock(),
                )  # fmt: skip
                try:
                    while not self._stopping.is_set():
                        await self._tend(means)
                        await self._pause(TAKE_SECONDS)
                    for _, task in self._lanes.values():
                        await task
                finally:
                    await cancel_and_wait(*(task for _, task in self._lanes.values()))
                    self._lanes.clear()
        finally:
            connection.terminate()

    async def _tend(self, means: Means) -> None:
        wanted = self._wanted()
        for code, (lane, task) in list(self._lanes.items()):
            if code not in wanted:
                lane.stop()
            if task.done():
                del self._lanes[code]
                task.result()
                await self._leave(means, code)
        for code, account in wanted.items():
            if code in self._lanes:
                continue
            async with means.database:
                if not await outbox.take_account(means.connection, account.id):
                    continue
                assert account.replier is not None  # noqa: S101 -- _wanted saw to it
                left = await outbox.recover(means.connection, account.id, may_repeat=account.replier.drops_repeats)
            if left:
                log.warning("replies_left_behind", account=code, replies=left)
            lane = Lane(code, means)
            self._lanes[code] = lane, asyncio.create_task(lane.run(), name=f"replies-{code}")
            return

    async def _leave(self, means: Means, code: str) -> None:
        account = self._catalog.accounts.by_code.get(code)
        if account is not None:
            async with means.database:
                await outbox.leave_account(means.connection, account.id)
