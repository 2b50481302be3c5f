"""The senders: each sends as its protocol's senders do, repeats as they do, and enters every answer in the ledger."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiohttp
import orjson
from yarl import URL

from gateways.sender import Reply, Request, Sms, Verdict
from service.simulator.posting import Poster
from tests.torture.clock import SeedClock
from tests.torture.events import Clerk
from tests.torture.ledger import Ledger
from tests.torture.stream import FRESHNESS, Delivery, damaged

ATTEMPT_SECONDS = 8.0
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.2, 1.5
REPLAYED_BY_HAND = 0.4
"""How often somebody at a hub sends again what its software gave up."""
IN_FLIGHT_MAX = 400
GONE = (aiohttp.ClientError, OSError, TimeoutError)


class Carriers:
    """Plays deliveries against `target` (the address of the public listener)."""

    def __init__(self, target: str, clerk: Clerk, ledger: Ledger, seed: int, clock: SeedClock) -> None:
        self._target = target
        self._clerk = clerk
        self._ledger = ledger
        self._seed = seed
        self._clock = clock
        self._limit = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._cutter = Poster(target, 1, 0)
        self._senders = {account: link.sender() for account, link in clerk.links.items()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self.answers: Counter[str] = Counter()
        self.finishing = False
        """Set when the faults are over: what was given up is not sent again by hand any more."""

    async def __aenter__(self) -> "Carriers":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=5),
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._session is not None
        await self._session.close()

    async def play(self, deliveries: Sequence[Delivery]) -> list[asyncio.Task[None]]:
        """Send each at its due time; returns when the last has been started, with those still under way."""
        for delivery in deliveries:
            await self._clock.until(delivery.due)
            task = asyncio.create_task(self._deliver(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return [*self._tasks]

    async def _deliver(self, delivery: Delivery) -> None:
        # Chance of its own: what happens to one delivery does not move what happens to the next.
        chance = random.Random(f"delivery {self._seed} {delivery.number}")
        async with self._limit:
            if self._clerk.links[delivery.account].protocol == "standard":
                await self._standard(delivery, chance)
            else:
                await self._rarely_repeated(delivery, chance)

    async def _standard(self, delivery: Delivery, chance: random.Random) -> None:
        """A partner that repeats until it is told yes or no."""
        documents = [dict(event.data) for event in delivery.events]
        if delivery.damage:
            documents = damaged(documents, delivery.damage)
            self._ledger.refuse(delivery.events)
        else:
            self._ledger.send(delivery.events)
        skew, pause = delivery.skew, PAUSE_SECONDS
        if delivery.is_broken_off:
            await self._break_off(self._request(delivery, documents, skew), chance)
        while True:
            reply = await self._attempt(self._request(delivery, documents, skew))
            if reply is not None and reply.status not in (429, 500, 502, 503, 504):
                if reply.status != 401 or abs(skew) < FRESHNESS:
                    self._take(delivery, reply)
                    return
                skew = timedelta(0)
            wait = min(PAUSE_SECONDS_MAX, (reply and reply.retry_after_seconds) or pause)
            await asyncio.sleep(wait * chance.uniform(0.8, 1.2))
            pause = min(PAUSE_SECONDS_MAX, pause * 2)

    def _request(self, delivery: Delivery, documents: Sequence[dict[str, object]], skew: timedelta) -> Request:
        return self._clerk.standard_request(delivery.account, documents, datetime.now(UTC) + skew)

    def _take(self, delivery: Delivery, reply: Reply) -> None:
        """Enter a final answer. Only the protocol's own words count as yes."""
        told = _json(reply.body)
        if delivery.damage:
            if reply.status != 400 or not isinstance(told, dict) or told.get("error") != "malformed":
                self._complain(delivery, reply, "to a callback that cannot be read")
            return
        ids = [event.native_id for event in delivery.events]
        if reply.status == 200 and told == {"accepted": ids}:
            self._ledger.acknowledge(delivery.events)
            return
        if reply.status == 409 and isinstance(told, dict) and set(told) == {"accepted", "conflicts"}:
            conflicts = set(told["conflicts"])
            yes = [event for event in delivery.events if event.native_id not in conflicts]
            if conflicts and conflicts <= set(ids) and told["accepted"] == [event.native_id for event in yes]:
                self._ledger.acknowledge(yes)
                self._ledger.conflict(event for event in delivery.events if event.native_id in conflicts)
                return
        self._complain(delivery, reply, "to a readable callback")

    def _complain(self, delivery: Delivery, reply: Reply, what: str) -> None:
        ids = ", ".join(event.native_id for event in delivery.events[:3])
        self._ledger.complain(f"{delivery.account} was answered {reply.status} {what}: {ids}")

    async def _rarely_repeated(self, delivery: Delivery, chance: random.Random) -> None:
        """Kannel and hubs: one attempt; where no yes came, a person may send the filed message again later."""
        sender = self._senders[delivery.account]
        smses: list[Sms] = [event.sms for event in delivery.events if event.sms is not None]
        self._ledger.send(delivery.events)
        if delivery.is_broken_off:
            await self._break_off(sender.request(smses, datetime.now(UTC)), chance)
        for pause in (0.5, 1.0, 2.0):
            reply = await self._attempt(sender.request(smses, datetime.now(UTC)))
            verdict = Verdict.LATER if reply is None else sender.judge(smses, reply)
            if verdict is Verdict.TAKEN:
                self._ledger.acknowledge(delivery.events)
                return
            if reply is not None and verdict is Verdict.REFUSED and reply.status not in (500, 502, 504):
                self._complain(delivery, reply, "to a readable callback")
                return
            if self.finishing or chance.random() >= REPLAYED_BY_HAND:
                return
            await asyncio.sleep(pause)

    async def _attempt(self, request: Request) -> Reply | None:
        assert self._session is not None
        try:
            async with self._session.request(
                request.method,
                URL(self._target + request.address, encoded=True),
                data=request.body or None,
                headers=request.headers,
            ) as answer:
                body = await answer.read()
        except GONE:
            self.answers["none"] += 1
            return None
        self.answers[str(answer.status)] += 1
        self._clock.answered()
        after = answer.headers.get("retry-after", "")
        return Reply(answer.status, answer.content_type, body, float(after) if after.isdecimal() else None)

    async def _break_off(self, request: Request, chance: random.Random) -> None:
        with suppress(OSError):
            await self._cutter.cut(request, chance.uniform(0.0, 0.05))


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
