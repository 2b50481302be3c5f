"""A charged reply that its hub has taken, as the charge it is: through the writer, like every other."""

from ipaddress import IPv4Address

from campaigns.gifts.messages import ReadByOldBook
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus
from gateways.wire.digest import keyed_digest
from service.catalog.accounts import LoadedAccount
from service.delivery.outbox import Accepted
from service.intake.row_builder import NoDataKey, RowBuilder
from service.intake.writer import DatabaseDown, QueueFull, Unstorable, Writer
from service.runtime.clock import Clock
from service.runtime.random_pool import RandomPool
from service.runtime.uuid7 import uuid7

OURSELVES = IPv4Address(0)
"""Nobody's address, from which no callback is taken."""


class ReplyCharges:
    """Stores that replies were taken. What it cannot store now is asked again later."""

    def __init__(
        self, rows: RowBuilder, writer: Writer, digest_key: bytes, clock: Clock, wait_seconds: float
    ) -> None:
        self._rows = rows
        self._writer = writer
        self._digest_key = digest_key
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._random = RandomPool()

    async def record(self, account: LoadedAccount, accepted: Accepted) -> bool:
        """Record the charge of one reply; said twice it is stored once. False: not now."""
        reference, now = f"r{accepted.message_id.hex}", self._clock()
        charge = Charge(
            native_id=f"{reference}:taken",
            digest=keyed_digest(self._digest_key, "charge", reference, accepted.native_id),
            charge_id=accepted.hub_id or reference,
            status=ChargeStatus.SUCCEEDED,
            amount_vnd=None,
            message_ref=accepted.native_id,
            occurred_at=accepted.changed_at,
        )
        ours = Callback(
            method="POST", query="", headers={}, body=reference.encode(), peer=OURSELVES, received_at=now,
            request_id=uuid7(now, self._random),
        )  # fmt: skip
        try:
            entry = await self._rows.build(account, ours, (charge,))
            await self._writer.store(entry, self._wait_seconds)
        except (NoDataKey, QueueFull, DatabaseDown, ReadByOldBook, Unstorable):
            return False
        return True
