"""Carriers that post at a steady rate, whatever is answered: who was told yes, and when.

Open loop: a message leaves when its time has come, not when the one before was answered. Two of the four carriers
never repeat a message they were not told yes for, as real ones do not; the aggregator repeats it a few times.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from tests.support.portal import PATH_SECRET, message, signed
from tests.support.protocols import SOAP_LOGIN, envelope

PATIENCE_SECONDS = 10.0
RETRY_SECONDS = (1.0, 2.0, 4.0)
REPEATED_EVERY = 50
"""Every so many messages that were told yes come again all the same: a repeat must change nothing."""


@dataclass(frozen=True)
class Carrier:
    """Whose messages: the protocol and account they come by, and whether an unanswered one comes again."""

    name: str
    protocol: str
    account: str
    retries: bool


CARRIERS = (
    Carrier("aggregator", "standard", "hub", retries=True),
    Carrier("vinaphone", "kannel", "vina", retries=False),
    Carrier("mobifone", "kannel", "vina", retries=False),
    Carrier("a telco by SOAP", "vn_soap_mo", "soap", retries=False),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """One message that was told yes: at which wall-clock time, and after how many seconds."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its carrier sends and repeats it; `rest` is what follows the account in the address."""

    method: str
    rest: str
    body: bytes | None
    headers: Mapping[str, str]


@dataclass
class Load:
    """What was sent, by account and native id, and what became of it."""

    bases: Sequence[str]
    rate: float
    seed: int
    sent: dict[tuple[str, str], float] = field(default_factory=dict)
    answered: dict[tuple[str, str], Answered] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    _stopping: bool = False

    async def run(self) -> None:
        """Post until `stop`, then wait for the last answers."""
        chance = random.Random(self.seed)
        limits = aiohttp.TCPConnector(limit=0)
        patience = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with (
            aiohttp.ClientSession(connector=limits, timeout=patience) as http,
            asyncio.TaskGroup() as all_of_it,
        ):
            started = time.monotonic()
            number = 0
            while not self._stopping:
                due = int((time.monotonic() - started) * self.rate)
                for at in range(number, due):
                    carrier = CARRIERS[at % len(CARRIERS)]
                    all_of_it.create_task(self._deliver(http, carrier, at, chance.randrange(1, 50)))
                number = max(number, due)
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        """No more messages."""
        self._stopping = True

    async def _deliver(self, http: aiohttp.ClientSession, carrier: Carrier, number: int, units: int) -> None:
        native_id = f"ha-{self.seed}-{number}"
        key = (carrier.account, native_id)
        began = self.sent[key] = time.time()
        donor = f"8495{number % 10_000_000:07}"
        call = self._call(carrier, native_id, donor, f"VNN {units}")
        for attempt, pause in enumerate((0.0, *RETRY_SECONDS)):
            await asyncio.sleep(pause)
            if await self._told_yes(http, carrier, call, self.bases[(number + attempt) % len(self.bases)]):
                now = time.time()
                self.answered[key] = Answered(now, now - began)
                break
            if not carrier.retries:
                return
        if number % REPEATED_EVERY == 0:
            await self._told_yes(http, carrier, call, self.bases[(number + 1) % len(self.bases)])

    def _call(self, carrier: Carrier, native_id: str, donor: str, text: str) -> Call:
        """The request by which the carrier delivers the message."""
        if carrier.protocol == "standard":
            raw = orjson.dumps(message(native_id, text, msisdn=donor))
            return Call("POST", "", raw, signed(raw, message_id=f"msg_{native_id}"))
        if carrier.protocol == "kannel":
            smsc = "vnp1" if carrier.name == "vinaphone" else "vms1"
            asked = {"id": native_id, "from": donor, "to": "1408", "smsc": smsc, "coding": "0", "text": text}
            return Call("GET", f"/{quote(PATH_SECRET)}?{urlencode(asked | {'charset': 'UTF-8'})}", None, {})
        headers = {"content-type": "text/xml; charset=utf-8", "authorization": SOAP_LOGIN}
        return Call("POST", "", envelope(native_id, text, donor, "1408"), headers)

    async def _told_yes(self, http: aiohttp.ClientSession, carrier: Carrier, call: Call, base: str) -> bool:
        address = f"{base}/gw/{carrier.protocol}/{carrier.account}{call.rest}"
        try:
            async with http.request(call.method, address, data=call.body, headers=call.headers) as answer:
                await answer.read()
                if answer.status != 200:
                    self.refusals[f"{carrier.protocol} {answer.status}"] += 1
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError) as error:
            self.refusals[f"{carrier.protocol} {type(error).__name__}"] += 1
            return False
