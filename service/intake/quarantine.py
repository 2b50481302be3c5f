"""Callbacks kept whole for a person: malformed ones, and unauthenticated ones from a listed network."""

import asyncio
from datetime import UTC
from enum import Enum

import structlog

from campaigns.gifts import evidence
from gateways.callback import Callback
from gateways.outcome import Outcome
from metrics.instruments import Instruments
from service.catalog.accounts import LoadedAccount
from service.intake.packing import pack_callback
from service.postgres.data_keys import DataKeys
from service.postgres.database import DATABASE_ERRORS, Database, is_away
from service.runtime.logs import describe_failure
from service.runtime.tasks import Unhurried

log = structlog.get_logger("quarantine")

REASON_CHARACTERS_MAX = 300
UNSTORABLE = "unstorable"
NOT_IN_TIME = "could not be stored in time, again and again, while others were"
NO_EVENT = "carries no event by the account's settings of now"
UNSTORABLE_REASONS = frozenset({UNSTORABLE, NOT_IN_TIME})
WAIT_SECONDS = 2.0
"""A sender waits no longer for the database than this; what it then does is finished behind the answer's back."""

BACKGROUND_MAX = 64
"""Callbacks that may wait to be kept behind their answers, 1 MiB each at most."""


class Kept(Enum):
    """What became of a callback that was to be kept for a person."""

    YES = "yes"
    FULL = "full"
    AWAY = "away"


class Quarantine:
    """Seals and stores callbacks that could not become gifts, within bounds per account and day."""

    def __init__(self, database: Database, data_keys: DataKeys, instruments: Instruments, kept_max: int) -> None:
        self._database = database
        self._data_keys = data_keys
        self._instruments = instruments
        self._kept_max = kept_max
        self._keeping = Unhurried(WAIT_SECONDS)
        self._turn = asyncio.Lock()

    async def keep(self, account: LoadedAccount, callback: Callback, outcome: Outcome, reason: str) -> Kept:
        """Keep `callback`, unless there are too many or the database is away. `reason` holds no value that was sent.

        The bound is there so that nobody can fill the disk. Beyond it an unauthenticated callback is let go, as a
        stranger's would be; a verified one is not kept either, and its sender must hear "later".
        """
        return await self._keeping.wait(self._keep(account, callback, outcome, reason), Kept.AWAY)

    def keep_in_background(self, account: LoadedAccount, callback: Callback, outcome: Outcome, reason: str) -> None:
        """Keep `callback` while its sender is answered: the answer's time then does not tell that it was kept.

        For callbacks whose answer does not depend on it. Of a flood some are let go.
        """
        if len(self._keeping) >= BACKGROUND_MAX:
            log.warning("quarantine_busy", account=account.code, outcome=outcome.value, request=callback.request_id)
            return
        self._keeping.begin(self._keep_in_turn(account, callback, outcome, reason)).add_done_callback(_log_failure)

    async def _keep_in_turn(self, account: LoadedAccount, callback: Callback, outcome: Outcome, reason: str) -> Kept:
        # One after another: at once they would each count the same rows, and go beyond the bound together.
        async with self._turn:
            return await self._keep(account, callback, outcome, reason)

    async def stop(self) -> None:
        """Wait a little for what is still being kept."""
        await self._keeping.finish()

    async def _keep(self, account: LoadedAccount, callback: Callback, outcome: Outcome, reason: str) -> Kept:
        day = callback.received_at.astimezone(UTC).date()
        sealer = await self._data_keys.of(day)
        if sealer is None:
            return Kept.AWAY
        row_id = callback.request_id
        try:
            async with self._database.borrow(1) as connection:
                kept = await evidence.quarantine(
                    connection,
                    id=row_id,
                    received_at=callback.received_at,
                    adapter=account.adapter,
                    account_id=account.id,
                    outcome=outcome.value,
                    reason=reason[:REASON_CHARACTERS_MAX],
                    sealed=sealer.seal(
                        pack_callback(callback, account.gateway), b"quarantine.sealed:" + row_id.bytes
                    ),
                    day=day,
                    kept_max=self._kept_max,
                )
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            log.warning("quarantine_unavailable", account=account.code, error=type(error).__name__, request=row_id)
            return Kept.AWAY
        label = "unstorable" if reason in UNSTORABLE_REASONS else outcome.value
        if kept:
            self._instruments.intake.quarantined.labels(account.adapter, label).inc()
        else:
            log.warning("quarantine_full", account=account.code, outcome=outcome.value, request=row_id)
        return Kept.YES if kept else Kept.FULL


def _log_failure(task: asyncio.Task[Kept]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("quarantine_failed", **describe_failure(error))
